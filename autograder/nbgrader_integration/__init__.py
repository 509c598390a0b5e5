"""What takes the place of parts of nbgrader, or calls them: converters, preprocessors, exchange, formgrader.

`course.py` puts it into nbgrader's configuration. A submission is run in `execution` and judged in `judging`; pages and
CSV are made in `reporting`.
"""
