"""Lab 7's exams: the small convolutional network, and the capstone, which has no cases but a training.

Sizes inside a case are pairwise distinct, and every parameter and running statistic is random: ones and zeros let
wrong code through.
"""
