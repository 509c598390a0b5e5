"""The feedback page of one student, made by nbgrader's generate_feedback from cleaned parts only.

Everything a submission brought along is untrusted. `Clean` rebuilds each cell from scratch, with
sanitised outputs of four kinds (text, HTML, PNG, JPEG); the page's Content-Security-Policy
forbids scripts and everything from elsewhere, as a second wall. As scripts are forbidden,
formulas cannot be set: the course text is left out but for its headings; students have it.
"""

from __future__ import annotations

import html as entities
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import nbformat
from jinja2 import BytecodeCache, Environment, pass_context
from jinja2.bccache import Bucket
from nbconvert.exporters import HTMLExporter
from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor, Preprocessor
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets.config import Config

from autograder.judging.verdict import GRADED, NOT_ANSWERED
from autograder.reporting import wording
from autograder.reporting.class_results import WAITING, Cell, Submission, read
from autograder.reporting.feedback_cells import affordable, as_affordable, rich, showable
from autograder.sanitize import markdown, untrusted
from autograder.sanitize.markdown import MAX_TEXT
from autograder.sanitize.page_budget import PageBudget
from autograder.storage.course_folder import Course

TEMPLATES = Path(__file__).parent / "templates"
MAX_STREAM = 2**21  # characters of one output of text in formgrader's page
NO_FORMULAS = "tex2jax_ignore"  # the class by which MathJax leaves a text alone


def configure(c: Config) -> None:
    """Make `nbgrader generate_feedback` and formgrader's button write our feedback page.

    Call it from nbgrader_config.py with `c = get_config()`.
    """
    c.GenerateFeedback.preprocessors = [Clean, CSSHTMLHeaderPreprocessor]  # Clean reads the points, too
    c.GenerateFeedback.exporter_class = FeedbackExporter
    # Set for our exporter alone: formgrader's own pages use HTMLExporter with another template.
    c.FeedbackExporter.template_name = "vitedu_feedback"
    c.FeedbackExporter.extra_template_basedirs = [str(TEMPLATES)]
    c.CSSHTMLHeaderPreprocessor.style = "default"
    # Formgrader shows a submission inside the instructor's own session.
    c.HTMLExporter.preprocessors = [Harmless]
    c.HTMLExporter.filters = markdown.FILTERS
    c.FeedbackExporter.preprocessors = []  # Clean does more
    c.FeedbackExporter.optimistic_validation = True  # once, at the end


class Harmless(Preprocessor):
    """Clean what a student wrote or displayed, for formgrader's page; the verdicts stay as they are.

    Markdown is cleaned where it is rendered, see markdown.py; a cell's code and errors are escaped by the template.
    """

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """One page."""
        self._budget = PageBudget()
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell: NotebookNode, resources: Any, index: int) -> tuple[NotebookNode, Any]:
        """One cell."""
        cell.source = untrusted.SURROGATES.sub("\ufffd", cell.source)
        if cell.cell_type == "raw":
            cell.source, cell.metadata = f"<pre>{entities.escape(untrusted.text(cell.source, MAX_TEXT))}</pre>", {}
        if cell.cell_type == "code":
            verdicts = [_verdict(output) for output in cell.outputs if _is_verdict(output)]
            others = [output for output in cell.outputs if not _is_verdict(output)]
            cell.outputs = [*affordable(others, _shown, self._budget), *verdicts]
        if not markdown.is_prose(cell):
            plain = cell.cell_type == "code" and not self._budget.affords("code", len(cell.source))
            if cell.cell_type == "markdown":
                cell.source, plain = as_affordable(cell.source, self._budget)
            cell.metadata["vitedu"] = NotebookNode(cell.metadata.get("vitedu", {}), plain=plain)
        return cell, resources


def _is_verdict(output: NotebookNode) -> bool:
    """Whether an output is the judge's; a student's cannot be marked so, see kernel_messages.py."""
    return output.get("metadata", {}).get("vitedu", {}).get("verdict") is True


def _verdict(output: NotebookNode) -> NotebookNode:
    if "text/html" in output.data:  # it quotes the student's errors, which are no formulas
        output.data["text/html"] = f'<div class="{NO_FORMULAS}">{output.data["text/html"]}</div>'
    return output


def _shown(output: NotebookNode, budget: PageBudget) -> list[NotebookNode]:
    """An output of a student's as formgrader shows it."""
    if output.output_type == "stream":
        output.text = untrusted.text(output.text, MAX_STREAM)
    if output.output_type not in ("display_data", "execute_result"):  # what no page can hold is replaced
        return [nbformat.from_dict(untrusted.json_safe(output))]
    clean = rich(output.data, budget)
    if "text/html" in clean.get("data", {}):
        clean.data["text/html"] = markdown.contained(clean.data["text/html"])
    return [clean]


class _Compiled(BytecodeCache):
    """Templates that this process has compiled; nbgrader makes a new exporter for each submission."""

    _known: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._known:
            bucket.bytecode_from_string(self._known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key] = bucket.bytecode_to_string()


class FeedbackExporter(HTMLExporter):
    """HTML with a markdown filter that sanitises what it made."""

    exclude_anchor_links = True

    def _create_environment(self) -> Environment:
        environment = super()._create_environment()
        environment.bytecode_cache = _Compiled()
        return environment

    def from_notebook_node(  # type: ignore[override]  # as TemplateExporter has it
        self, nb: NotebookNode, resources: Any = None, **kwargs: Any
    ) -> tuple[str, dict[str, Any]]:
        """As every exporter with a template; HTMLExporter would then parse the page anew, for what Clean has done."""
        self.register_filter("highlight_code", markdown.highlight_code)
        return super(HTMLExporter, self).from_notebook_node(nb, self._init_resources(resources), **kwargs)

    def default_filters(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        yield from super().default_filters()
        yield "safe_markdown", self.safe_markdown

    @pass_context
    def safe_markdown(self, context: Any, source: str) -> str:
        """A cell's Markdown, or a comment's, as sanitised HTML."""
        cell = context.get("cell", {})
        if source != cell.get("source"):
            return markdown.markdown(source)
        return markdown.markdown(source, cell.get("attachments"), markdown.is_plain(cell))


class Clean(NbGraderPreprocessor):
    """Rebuild the notebook as the feedback page shows it, and add the summary as `resources["vitedu"]`."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Runs in the course folder, like every stage of nbgrader's converters."""
        names = resources["nbgrader"]
        found = read(Course(Path(), names["db_url"]), [names["assignment"]], [names["student"]])
        submission = found.assignments[names["assignment"]][0]
        cells = [cell for cell in submission.cells if cell.notebook == names["notebook"]]
        rows = {cell.grade_id: _row(cell, i) for i, cell in enumerate(cells)}
        comments = submission.comments.get(names["notebook"], {})
        budget = PageBudget()
        shown = [clean for cell in nb.cells if (clean := showable(cell, rows, comments, budget)) is not None]
        # A heading with nothing of the student's under it says nothing here.
        shown = [
            c for c, after in zip(shown, [*shown[1:], None], strict=True) if not (_is_heading(c) and _is_heading(after))
        ]
        if submission.lost:  # what stands there is only the release; a grader's comment is not
            shown = [cell for cell in shown if cell.metadata.vitedu.get("comment")]
        for i, cell in enumerate(shown):
            cell["id"] = f"cell-{i}"  # nbformat's own are random, and no two pages would be equal
        resources["vitedu"] = _summary(submission, cells, list(rows.values()), names)
        return NotebookNode(nbformat=4, nbformat_minor=5, metadata=_python(), cells=shown), resources


def _is_heading(cell: NotebookNode | None) -> bool:
    """Whether a shown cell is one of the author's headings, or there is no cell."""
    return cell is None or "heading" in cell.metadata.vitedu


def _python() -> NotebookNode:
    return NotebookNode(language_info=NotebookNode(name="python", pygments_lexer="ipython3"))


def _row(cell: Cell, place: int) -> NotebookNode:
    """One line of the summary, plain text; the template escapes it."""
    style, sign = wording.status_style(cell)
    sentences = [sentence for sentence in wording.full(cell) if sentence not in (NOT_ANSWERED, "waits for grading")]
    questions = [f"Ask: {untrusted.terminal(d.question, 400)}" for d in cell.verdict.diagnoses] if cell.verdict else []
    status = {"full": "right", "part": "partly right"}.get(style, cell.status)
    return NotebookNode(
        name=untrusted.terminal(cell.name, 80), parts=wording.breakable(cell.name), anchor=f"result-{place}",
        style=style, sign=sign, sentences=sentences + questions,
        points=wording.points(cell.points), max_points=wording.points(cell.max_points),
        status={GRADED: "wrong", WAITING: "waits for grading"}.get(status, status),
    )  # fmt: skip


def _summary(
    submission: Submission, cells: list[Cell], rows: list[NotebookNode], names: dict[str, Any]
) -> dict[str, Any]:
    """What stands above the cells."""
    undecided = any(cell.missing for cell in cells)
    total = None if undecided else max(0.0, sum(cell.points or 0.0 for cell in cells) - submission.penalty)
    lost = f"{wording.points(submission.penalty)} point{'s' * (submission.penalty != 1)}"
    late = f"late submission: {lost} taken off" if submission.penalty else ""
    return {
        "student": untrusted.shown(names["student"]),
        "assignment": untrusted.terminal(names["assignment"], 80),
        "notebook": untrusted.terminal(names["notebook"], 80),
        "style": (TEMPLATES / "style.css").read_text("utf-8"),
        "rows": [row | {"sentences": []} for row in rows] if submission.lost else rows,
        "total": wording.points(total),
        "max_points": wording.points(sum(cell.max_points for cell in cells)),
        "note": "; ".join(part for part in (submission.note, late) if part),
        "repairs": submission.repairs,
        "lost": submission.lost,
        "unsandboxed": submission.sandbox is False,
    }
