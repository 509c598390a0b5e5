"""`autograder train`: configurations of published experiments, run by the solutions' own model and loop.

Apart from grading: nothing else imports it but the command line.
"""
