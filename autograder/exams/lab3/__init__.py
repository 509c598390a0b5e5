"""Lab 3's exams: the cases, the wrong ideas, and the other right ways of its exercises.

Sizes inside a case are pairwise distinct and every parameter is random, those of the LayerNorms,
the class token, and the positions too: zeros and ones let wrong code through. Dropout may stand at
several places, so training mode is only asked about what holds wherever it stands.
"""
