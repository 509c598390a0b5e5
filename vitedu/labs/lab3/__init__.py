"""Lab 3's figures and models: diagrams of the Vision Transformer, attention rollout, two models of real homework.

`rollout.trained` loads weights that come with this package into the student's own class.
"""

from vitedu.labs.lab3 import homework, rollout, vit_diagrams

__all__ = ["homework", "rollout", "vit_diagrams"]
