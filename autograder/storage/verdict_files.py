"""The verdict record: what a grading has decided, as it stands in verdicts/STUDENT/LAB/NOTEBOOK.json.

It is written once for each grading, whole. The names in the file are those of the first version: `stamp`, `mended`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from autograder.errors import UserError
from autograder.judging.verdict import NOT_GRADED, Verdict
from autograder.sanitize import untrusted
from autograder.storage.atomic_files import write_atomically

OPTIONAL = ("unread", "problems", "stamp", "recording")  # not in the file where there is nothing to say


class WrittenAnswer(msgspec.Struct, kw_only=True):
    """A question that is answered in words, and marked by a person."""

    grade_id: str
    max_points: float = 0.0
    answered: bool


class VerdictRecord(msgspec.Struct, kw_only=True):
    """What a grading has decided on one notebook.

    Attributes:
        repairs: sentences about what was put right in the notebook, or left out.
        cpu: CPU time of the student's code; seconds: wall time by stage.
        trained: names of the files with trained answers, in the course's folder trained/LAB/.
        answers: a digest of each answer, by grade_id.
        unread: why nothing could be graded: a sentence; "" where something could.
        problems: sentences about the submission's timestamp.
        cache_key: a digest of all that decided; "" while something must be graded again.
        recording: a digest of what decides a penalty; "" where it was not looked at.
    """

    student: str = ""
    assignment: str = ""
    notebook: str = ""
    repairs: list[str] = msgspec.field(name="mended", default_factory=list)
    cpu: float = 0.0
    sandbox: bool = False
    seconds: dict[str, float] = msgspec.field(default_factory=dict)
    trained: list[str] = msgspec.field(default_factory=list)
    exercises: list[Verdict]
    written: list[WrittenAnswer] = msgspec.field(default_factory=list)
    answers: dict[str, str] = msgspec.field(default_factory=dict)
    unread: str = ""
    problems: list[str] = msgspec.field(default_factory=list)
    cache_key: str = msgspec.field(name="stamp", default="")
    recording: str = ""

    @property
    def not_graded(self) -> list[str]:
        """Why exercises were not graded, a reason for each."""
        return [verdict.reason for verdict in self.exercises if verdict.status == NOT_GRADED]


def write_record(path: Path, record: VerdictRecord) -> None:
    """Put a record in the place of an earlier one.

    Raises:
        OSError: it could not be written, and the earlier one is there unchanged.
    """
    data: dict[str, Any] = msgspec.to_builtins(record)
    # By Python's own json: a student's texts may hold what is no Unicode, and numbers may be NaN.
    write_atomically(path, json.dumps({k: v for k, v in data.items() if v or k not in OPTIONAL}, indent=1))


def read_record(path: Path) -> VerdictRecord | None:
    """A record as it was written, for the next grading; None where there is none, or where it is damaged."""
    try:
        return _record(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None


def read_cleaned(path: Path) -> VerdictRecord | None:
    """A record for what people read, its texts cleaned; None where there is none.

    Raises:
        UserError: the file is damaged.
    """
    try:
        record = _record(untrusted.json_safe(json.loads(path.read_text("utf-8"))))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        where = "/".join(path.parts[-3:])
        raise UserError(f"verdicts/{where} is damaged ({type(error).__name__}); grade this submission again") from None
    record.repairs = [untrusted.text(sentence, 300) for sentence in record.repairs]
    record.unread = untrusted.text(record.unread, 600)
    record.problems = [untrusted.text(sentence, 300) for sentence in record.problems]
    record.seconds = {untrusted.terminal(stage, 30): seconds for stage, seconds in record.seconds.items()}
    return record


def _record(data: Any) -> VerdictRecord:
    return msgspec.convert(data, VerdictRecord)
