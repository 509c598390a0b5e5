"""Where the time of a class went, by stage: medians over its submissions, from their records."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from autograder.storage.verdict_files import read_record

STAGES = {
    "rebuild": "the submission put back into the release's shape",
    "start": "a kernel until it is ready",
    "cells": "the student's cells",
    "probes": "questions put, answers received",
    "judge": "answers compared, ideas named",
    "replays": "cells run again after a kernel died",
    "again": "the second look, with stand-ins for what was not right",
    "record": "verdicts into the gradebook",
}


def table(course: Path, assignment: str = "*") -> str:
    """The table of stages; one sentence when nothing was graded there."""
    paths = sorted(course.glob(f"verdicts/*/{assignment}/*.json"))
    records = [record for path in paths if (record := read_record(path)) is not None]
    if not records:
        return f"Nothing was graded in {course}."
    lines = [
        f"{len(records)} submissions in {course}; seconds of wall time, of which the student's code took CPU time:"
    ]
    lines.append(f"{'stage':9} {'median':>8} {'largest':>8} {'sum':>9}")
    for stage, about in STAGES.items():
        seconds = [record.seconds.get(stage, 0.0) for record in records]
        lines.append(f"{stage:9} {median(seconds):8.3f} {max(seconds):8.3f} {sum(seconds):9.1f}  {about}")
    totals = [sum(record.seconds.values()) for record in records]
    lines.append(f"{'all':9} {median(totals):8.3f} {max(totals):8.3f} {sum(totals):9.1f}")
    cpu = [record.cpu for record in records]
    lines.append(
        f"{'CPU':9} {median(cpu):8.3f} {max(cpu):8.3f} {sum(cpu):9.1f}  of the student's code, in cells and probes"
    )
    return "\n".join(lines)
