"""A submission before anything of it runs: found, unpacked, parsed, its cells matched with the release, rebuilt.

Text only. Nothing here runs a student's code or writes into a course folder.
"""
