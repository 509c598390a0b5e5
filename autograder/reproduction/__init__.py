"""`autograder train`: published experiments and the course's own, run by the solutions' own model and loop.

Apart from grading: nothing else imports it but the command line.
"""
