"""Lab 2's figures: an image as patches, patches as tokens, and how alike positions are."""

from vitedu.labs.lab2 import patch_pictures, token_pictures

__all__ = ["patch_pictures", "token_pictures"]
