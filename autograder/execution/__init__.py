"""One submission in a student's kernel: run its cells, put the probes, train where an exam asks for it, judge.

Knows labs and judges, but neither course folders nor nbgrader.
"""
