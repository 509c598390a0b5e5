"""Lab 2's exams: the cases, the wrong ideas, and the other right ways of its four exercises and two extras.

The sizes inside a case are pairwise distinct, images are taller or wider than square except where a
case says so, and every weight is random: on square images of one channel most ways to cut patches
are alike. Pixels are random numbers, so that each one that lands in a wrong place is seen.
"""
