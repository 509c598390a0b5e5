"""Submissions that try to cheat, peek, escape or stop the class, and the matrix that shows that none succeeds."""
