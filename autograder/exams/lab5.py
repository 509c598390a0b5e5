"""Lab 5's exams: a ViT around an encoder of Hugging Face, and our weights in two libraries' models.

lab5_encoder.py and lab5_libraries.py hold them, lab5_other_ways.py the other right ways of the second.
"""

from __future__ import annotations

from ..exam import Exercise
from .lab5_encoder import ENCODER_OTHER, ENCODER_WRONG, encoder_cases
from .lab5_libraries import LIBRARIES_WRONG, libraries_cases
from .lab5_other_ways import LIBRARIES_OTHER

EXERCISES = (
    Exercise("EncoderViT", encoder_cases, ENCODER_WRONG, ENCODER_OTHER),
    Exercise("libraries", libraries_cases, LIBRARIES_WRONG, LIBRARIES_OTHER),
)
