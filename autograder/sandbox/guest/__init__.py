"""What runs inside the sandbox, before and beside the student's code.

Imported there by `python -I` with `autograder/sandbox` as the only part of `autograder` that is mounted.
"""
