"""Mutants: right code with one small change, made by machine, and put to the exams, which must take points off.

`places.py` walks through code, the operators say what may stand in a node's place, `mutants.py` makes the mutants,
`hunt.py` puts them to the exams in kernels, and `report.py` says which of them live.
"""
