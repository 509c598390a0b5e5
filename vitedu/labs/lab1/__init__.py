"""Lab 1's figures: attention matrices, what the scale does, attention over a photo, and how heads are split."""

from vitedu.labs.lab1 import diagrams, photo, pictures

__all__ = ["diagrams", "photo", "pictures"]
