"""A whole class: who handed in what, what is graded already, many submissions at a time, on this machine or on Dask.

One submission's grading lives in `execution` and `nbgrader_integration`; pages about the class live in `reporting`.
"""
