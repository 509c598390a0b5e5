"""Where the time of one submission goes: medians by stage over a graded course folder.

    python benchmarks/stages.py [COURSE]        (default: .run/demo, after `make demo`)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

STAGES = {
    "rebuild": "the submission put back into the release's shape",
    "start": "a kernel until it is ready",
    "cells": "the student's cells, `import torch` included",
    "probes": "questions put, answers received",
    "judge": "answers compared, ideas named",
    "replays": "cells run again after a kernel died",
    "record": "verdicts into the gradebook",
}


def main(course: Path) -> None:
    """Print the table, or one sentence when nothing was graded there."""
    records = [json.loads(path.read_text()) for path in sorted(course.glob("verdicts/*/*/*.json"))]
    if not records:
        sys.exit(f"Expected graded submissions in {course}/verdicts, found none; run `make demo` first.")
    print(f"{len(records)} submissions in {course}; seconds of wall time")
    print(f"{'stage':9} {'median':>7} {'largest':>8}")
    for stage, about in STAGES.items():
        seconds = [record["seconds"].get(stage, 0.0) for record in records]
        print(f"{stage:9} {median(seconds):7.3f} {max(seconds):8.3f}  {about}")
    totals = [sum(record["seconds"].values()) for record in records]
    print(f"{'sum':9} {median(totals):7.3f} {max(totals):8.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".run/demo"))
