"""What runs inside the sandbox before the student's code: the fork server, and what becomes the kernel.

It lies there as /guest, the only part of `autograder` that is to be seen, so it imports nothing else of it.
"""
