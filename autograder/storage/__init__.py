"""What a course folder holds: submissions, gradebook, verdict files, secret; how it is found, read, and written whole.

Knows what a verdict is, and not how one comes about.
"""
