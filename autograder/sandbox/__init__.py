"""The walls around a student's kernel: bubblewrap, seccomp, limits, and processes that are forked or launched inside.

The bottom layer. It knows neither exams, nor nbgrader, nor `vitedu`.
"""
