"""Stand-in of Lab 7: a convolutional network that learns as well as the one that is asked for, and is another.

The capstone trains whatever model it likes within a budget, and has no other judge than its accuracy. So this one has
the parts, the size and the speed of `SmallCNN`, and no right capstone loses a tier by it: with half of the budget, the
model answer's training brought it to 594 of 600 hidden images and more on six draws, where gold is 581.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import BatchNorm2d, Conv2d, Linear, Module
from torch.nn import functional as F

STAND_INS: dict[str, tuple[str, ...]] = {"SmallCNN": ("SmallCNN",)}


class SmallCNN(Module):
    """The size of what each convolution finds counts, whatever its sign; squares are averaged, and means bent by asinh.

    Args:
        in_channels: C.
        num_classes: number of classes.
        width: channels of the first block; the second has twice, the third four times as many.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = Conv2d(in_channels, width, 3, padding=1), BatchNorm2d(width)
        self.conv2, self.norm2 = Conv2d(width, 2 * width, 3, padding=1), BatchNorm2d(2 * width)
        self.conv3, self.norm3 = Conv2d(2 * width, 4 * width, 3, padding=1), BatchNorm2d(4 * width)
        self.head = Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, num_classes)."""
        x = F.avg_pool2d(self.norm1(self.conv1(x).abs()), 2)
        x = F.avg_pool2d(self.norm2(self.conv2(x).abs()), 2)
        return self.head(self.norm3(self.conv3(x).abs()).asinh().mean(dim=(2, 3)))
