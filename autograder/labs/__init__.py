"""What a lab is: its cells, its exercises, and how an exam's cases are drawn from a secret.

Reads the author's sources in `solutions/` and finds the exams by the lab's name.
"""
