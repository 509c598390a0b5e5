"""What a course folder keeps: gradebook, verdict files, secret, and how they are written so that nothing is lost.

Knows what a verdict is, and not how one comes about.
"""
