"""axe-core on a page: the faults that keep somebody from reading or using it."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = ("serious", "critical")


def grave_faults(page: Page, within: str | None = None) -> list[str]:
    """Serious and critical faults of what stands in the page, folded parts opened; a line for each.

    Args:
        within: a CSS selector: only these parts.
    """
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    found: list[dict[str, Any]] = Axe().run(page, context=within).response["violations"]
    return [
        f"{page.url}: {fault['id']} ({fault['impact']}): {node['target']}: {' '.join(node['html'].split())[:200]}"
        for fault in found
        if fault["impact"] in GRAVE
        for node in fault["nodes"]
    ]
