"""Lab 7's capstone: its budget, clock and tiers, and some of its public images."""

from vitedu.training_exams.capstone import BUDGET, TIERS, Clock, warm_up
from vitedu.training_exams.capstone_rehearsal import public_samples

__all__ = ["BUDGET", "TIERS", "Clock", "public_samples", "warm_up"]
