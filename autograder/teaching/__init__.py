"""What an instructor runs before a class begins: a new course folder, and what students get of a lab.

Nothing here runs or judges a submission.
"""
