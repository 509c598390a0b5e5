"""A question to a student's function or class, and its answer as tensors.

The same code runs in the notebook's checks, in the exam inside the student's kernel, and for the model answer. Knows no
lab: a lab's scenarios are found by name.
"""
