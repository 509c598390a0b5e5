"""The exams: for each lab a package, for each exercise a module with its cases, misconceptions and alternatives.

Authors write here. Nothing here knows how an exam is run or recorded.
"""
