"""Figures that several labs draw: curves, comparisons, tables of layers, and what all figures have in common.

Every figure has alternative text. Figures of one lab live in that lab's folder.
"""

from vitedu.plots import anatomy, comparisons, curves
from vitedu.plots.anatomy import Table
from vitedu.plots.figure import Picture

__all__ = ["Picture", "Table", "anatomy", "comparisons", "curves"]
