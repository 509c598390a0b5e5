"""Everything that plugs into nbgrader or patches it: converters, preprocessors, exchange, formgrader, configuration.

No other package may replace a part of nbgrader. Grading itself is `execution`, judging is `judging`.
"""
