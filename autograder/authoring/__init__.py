"""What an author of exercises runs: build a lab from its sources, prove its exams, make a sample class, show the demo.

Nothing that grades a class may import it; the command line does.
"""
