"""The instant checks of a notebook: compare with stored fingerprints, name the mistake, show both matrices.

Knows no solution and no hidden case; how a question is asked is `vitedu.probe`.
"""
