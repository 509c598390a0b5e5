"""nbgrader's exchange, except that a submission that came in another way does not stop the release of feedback."""

from __future__ import annotations

from glob import glob
from pathlib import Path

from nbgrader.exchange.default import ExchangeReleaseFeedback

from .handed_in import SECRET
from .timestamps import FILE
from .untrusted import terminal


class ReleaseFeedback(ExchangeReleaseFeedback):
    """Releases the feedback of everybody who used the exchange, and names the others."""

    def copy_files(self) -> None:
        """nbgrader's step; it needs two files, which only the exchange puts beside a submission."""
        folders = {Path(page).parent for page in glob(f"{self.src_path}/*.html")}
        others = sorted(f.parent.name for f in folders if not all((f / name).is_file() for name in (SECRET, FILE)))
        excluded = self.coursedir.student_id_exclude
        self.coursedir.student_id_exclude = ",".join(filter(None, [excluded, *others]))
        try:
            super().copy_files()
        finally:
            self.coursedir.student_id_exclude = excluded
        for student in others:
            self.log.warning(
                "The feedback of %s was not released: the submission did not come through the exchange. Give %s to "
                "this student in another way.", terminal(student, 80), terminal(self._page(student), 200),
            )  # fmt: skip

    def _page(self, student: str) -> str:
        folder = self.coursedir.feedback_directory
        return self.coursedir.format_path(folder, student, self.coursedir.assignment_id)
