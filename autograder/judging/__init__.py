"""From answers to points: compare with the model answer, name misconceptions, decide about a trained model.

Runs in the grader's process and gets plain values from the kernel. Starts no process, and knows neither nbgrader nor
course folders.
"""
