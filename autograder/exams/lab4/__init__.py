"""Lab 4's exams: the model to train, the metrics, the training loop, testing, fit, checkpoints, and a training.

The problems that they are run on stand in training_problems.py.
"""
