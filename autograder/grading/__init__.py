"""A whole class: what is graded already, many submissions at a time on this machine or on Dask, every result recorded.

One submission's grading is in `execution` and `nbgrader_integration`, the search for submissions in `storage`, and
pages about the class are in `reporting`.
"""
