"""Exams in which the student's code trains a model: the recipe, the clock, the requests, and the rehearsals.

Hidden images and labels never come here before the model is trained.
"""
