"""A submission before anything of it runs: looked at, unpacked, parsed, its cells matched with the release, rebuilt.

Nothing here runs a student's code or writes a file.
"""
