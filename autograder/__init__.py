"""The autograder that instructors trust: from handed-in notebooks to points, feedback and reports.

Its folders are layers, see docs/architecture.md. Students import `vitedu`, which knows nothing of this package.
"""
