"""Lab 1's exams: the cases, the wrong ideas, and the other right ways of its five exercises.

The sizes inside a case are pairwise distinct and every weight is random, because equal sizes,
ones, and single heads let wrong code through. A batch has at least two samples, except where a
case says so: a lone sample is how part of a batch mistake can still earn its points.
"""
