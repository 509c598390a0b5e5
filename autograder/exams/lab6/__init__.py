"""Lab 6's exams: transforms and loaders, freezing, counting, heads, and fine-tuning.

What they have in common stands in problems.py.
"""
