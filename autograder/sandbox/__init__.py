"""The walls around a student's kernel: bubblewrap, seccomp, limits, and kernels that are forked or launched inside.

The bottom layer: it imports neither `vitedu` nor any other folder of `autograder`.
"""
