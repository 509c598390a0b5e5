"""Lab 4's accuracy exam: its recipe, its tiers, and how many images it trains on.

`scenarios` holds the problems on which the lab's exercises are tried.
"""

from vitedu.training_exams.recipe import RECIPE, TIERS, TRAIN

__all__ = ["RECIPE", "TIERS", "TRAIN"]
