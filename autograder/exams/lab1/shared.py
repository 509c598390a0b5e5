"""What the exams of Lab 1 share: the solution cells, where ideas were met, and functions that do all of the work."""

from __future__ import annotations

from autograder.labs.lab import solution_cells

CODE = solution_cells("lab1_attention")
REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public attention code and of courses"
WRITING = "thought of while writing this exam"

# Functions and classes of torch that do an exercise's whole work.
LIBRARY = ("scaled_dot_product_attention", "multi_head_attention_forward", "MultiheadAttention")
