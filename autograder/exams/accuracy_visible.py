"""The broken variants that a minimum accuracy must catch, fixed before any threshold was chosen.

Bronze stands at least three points above the best run of each of these. A variant may leave this
list only when its median accuracy is within three points of right code's.
"""

VISIBLE = (
    "no-positions",
    "plain-view-patches",
    "class-token-isolated",
    "uniform-attention",
    "no-softmax",
    "heads-scrambled-in-and-out",
    "no-step",
    "no-zero-grad",
    "labels-shuffled",
)
