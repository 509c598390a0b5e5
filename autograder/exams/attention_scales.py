"""By what attention scores are divided, rightly or wrongly: sizes are drawn so that all of these differ.

Where two coincide, as K and the square root of 4 heads do for K = 2, one wrong idea looks like another.
"""

from __future__ import annotations

import math
from itertools import pairwise

APART = 1.01  # how many times as large as the next smaller one a scale is at least


def scales_differ(width: int, *others: int) -> bool:
    """Whether 1, K, sqrt(K) and the square roots of other sizes are all more than 1 % apart.

    Args:
        width: K, the features of a head.
        others: tokens, the width of a token, heads, all heads' features, and what else a root is taken of.
    """
    scales = sorted([1.0, float(width), math.sqrt(width), *(math.sqrt(size) for size in others)])
    return all(larger > APART * smaller for smaller, larger in pairwise(scales))
