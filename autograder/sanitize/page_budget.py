"""What one page that shows a submission may cost: a notebook may hold thousands of cells that are slow to show.

Each part of a page has a limit of its own; this is the limit of all parts together. What goes beyond is shown more
plainly, code in one colour and Markdown as its source, or not at all, with a sentence.
"""

from __future__ import annotations

from autograder.sanitize.pictures import Attachments, Budget

# Characters that are put in colours, rendered, cleaned, and shown, in this order.
LIMITS = {"code": 200_000, "markdown": 100_000, "markup": 2_000_000, "text": 4_000_000}
OUTPUT_COST = 200  # characters that an output costs, however short it is
TAG_COST = 30  # characters that a tag costs: parsers are slow at them


class PageBudget:
    """How much of each kind is left for one page."""

    def __init__(self) -> None:
        self._left = dict(LIMITS)
        self.full = False  # no output is shown any more
        self._pictures = Budget()

    def affords(self, kind: str, size: int) -> bool:
        """Whether there is room for this many more characters of a kind; if so, it is taken."""
        if size > self._left[kind]:
            return False
        self._left[kind] -= size
        return True

    def output(self, characters: int) -> bool:
        """The same for the text of an output; after one for which there is none, none has room."""
        self.full = self.full or not self.affords("text", OUTPUT_COST + characters)
        return not self.full

    def markup(self, markup: str) -> bool:
        """The same for HTML that is to be cleaned."""
        return self.affords("markup", len(markup) + TAG_COST * markup.count("<"))

    def picture(self, attachments: Attachments) -> str:
        """Why there is no room for a picture, as the end of a sentence; "" where there is."""
        refused = self._pictures.take(attachments)[1]
        return refused[0].partition(": ")[2].rstrip(".") if refused else ""
