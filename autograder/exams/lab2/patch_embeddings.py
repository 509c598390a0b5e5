"""The exam of `LinearPatchEmbedding` and `ConvPatchEmbedding`."""

from __future__ import annotations

import dataclasses
from typing import Any

from autograder.exams.lab2.shared import CODE, TRACKERS, WRITING, sizes
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ModuleCase, Scoring


def embedding_cases(variant: Variant) -> list[ModuleCase]:
    """The same questions to each class: wide, tall, gray, and non-contiguous images, a lone one, a second call."""

    def case(target: str, what: str, grid: str, channels: int = 0, alone: bool = False, **options: Any) -> ModuleCase:
        batch, channels, patch, h, w = sizes(variant, grid, channels)
        batch = 1 if alone else batch
        (dim,) = variant.sizes(1, 7, 11, without=(h * w, channels * patch**2))
        weight = (dim, channels * patch**2) if target.startswith("Linear") else (dim, channels, patch, patch)
        return ModuleCase(
            f"{target}: {what}", target, (variant.normal(batch, channels, h * patch, w * patch),),
            init=(patch, channels, dim), weights=variant.weights({"proj.weight": weight, "proj.bias": (dim,)}),
            **options,
        )  # fmt: skip

    cases = []
    for target, layout in (("LinearPatchEmbedding", "cropped"), ("ConvPatchEmbedding", "channels_last")):
        how = {"cropped": "cut out of larger ones", "channels_last": "stored with the channels last"}[layout]
        cases += [
            case(target, "more columns than rows, with gradients", "wide", gradients=True),
            case(target, "more rows than columns, one channel", "tall", 1),
            case(target, "more rows than columns, three channels", "tall", 3),
            case(target, f"images {how}", "wide", layout=layout),
        ]
    half = Scoring(share=0.5)
    for target in ("LinearPatchEmbedding", "ConvPatchEmbedding"):
        cases.append(case(target, "one image alone", "tall", alone=True, scoring=half))
        second = case(target, "a second call, with fewer and smaller images", "wide", scoring=half)
        (images,), (patch, *_) = second.args, second.init
        batch, channels, height, width = images.shape
        before = variant.normal(batch + 2, channels, height + patch, width + 2 * patch)
        cases.append(dataclasses.replace(second, before=(before,)))
    return cases


E = CODE["patch_embeddings"]
LINEAR = "self.proj = nn.Linear(in_channels * patch_size**2, dim)"
CONV = "self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)"
PATCHES = "patchify(images, self.patch_size)"
PROJECTED = f"return self.proj({PATCHES})"
CONVOLVED = "return self.proj(images).flatten(2).transpose(1, 2)"
TOKENS = "self.proj(images).flatten(2).transpose(1, 2)"
CUT_TWICE = "images.unfold(2, self.patch_size, self.patch_size).unfold(3, self.patch_size, self.patch_size)"
ROW_BY_ROW = ".permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)"
EMBEDDINGS_WRONG = (
    Misconception(
        "linear-stripes",
        "the pixels of an image are only read out in rows of the right length before the linear layer, so that a patch "
        "is a stripe of an image row",
        "Which function of this lab cuts patches?",
        changed(E, (PATCHES, "images.reshape(len(images), -1, self.proj.in_features)")),
        (37,), "TorchCode issue 21",
    ),
    Misconception(
        "linear-channels-before-patches",
        "the linear layer gets patches that hold several places of one channel instead of one place of all channels",
        "Which function of this lab cuts patches?",
        changed(E, (PATCHES, f"{CUT_TWICE}.reshape(len(images), -1, self.proj.in_features)")),
        (38,), "a pytorch-vit repository's issue 7",
    ),
    Misconception(
        "linear-unfold-reshaped",
        "F.unfold's (B, C*P*P, N) is reshaped to (B, N, C*P*P) before the linear layer, which scrambles patches and "
        "pixels",
        "What is the difference between a reshape and a transpose of a 2 x 3 matrix to 3 x 2?",
        changed(E, (PATCHES, "F.unfold(images, self.patch_size, stride=self.patch_size)"
                             ".reshape(len(images), -1, self.proj.in_features)")),
        (39,), TRACKERS,
    ),
    Misconception(
        "conv-reshaped",
        "the convolution's (B, D, N) is reshaped to (B, N, D), which keeps the order in memory and scrambles tokens "
        "and features",
        "What is the difference between a reshape and a transpose of a 2 x 3 matrix to 3 x 2?",
        changed(E, (TOKENS, "self.proj(images).flatten(2).reshape(len(images), -1, self.proj.out_channels)")),
        (40,), TRACKERS,
    ),
    Misconception(
        "conv-squeezed",
        "squeeze() removes the batch dimension, too, when there is one image only, in what the convolution gives",
        "What is the shape of your result for a batch of one image?",
        changed(E, (TOKENS, "self.proj(images).flatten(2).squeeze().transpose(-2, -1)")),
        (), WRITING,
    ),
    Misconception(
        "conv-not-transposed",
        "the convolution's features stay where they are: (B, D, N) instead of (B, N, D)",
        "Which dimension of your result counts the tokens, and which one should?",
        changed(E, (TOKENS, "self.proj(images).flatten(2)")),
        (40,), TRACKERS,
    ),
    Misconception(
        "linear-every-hth-pixel",
        "the linear layer gets patches that collect pixels from all over the image, because the sides were cut as "
        "(P, h) instead of (h, P)",
        "Which function of this lab cuts patches?",
        changed(E, (PROJECTED, "B, C, H, W = images.shape\n        P = self.patch_size\n"
                               "        x = images.reshape(B, C, P, H // P, P, W // P).permute(0, 3, 5, 1, 2, 4)\n"
                               "        return self.proj(x.flatten(3).flatten(1, 2))")),
        (41,), "einops issue 384",
    ),
    Misconception(
        "linear-columns-first",
        "the linear layer's tokens run down the columns of the grid instead of along its rows",
        "Is token 1 right of token 0 or below it, and which order does the docstring of patchify ask for?",
        changed(E, (PATCHES, f"{CUT_TWICE}.permute(0, 3, 2, 1, 4, 5).flatten(3).flatten(1, 2)")),
        (42,), TRACKERS,
    ),
    Misconception(
        "conv-columns-first",
        "the convolution's tokens run down the columns of the grid instead of along its rows",
        "Is token 1 right of token 0 or below it? Which of the convolution's last two dimensions must run faster?",
        changed(E, (TOKENS, "self.proj(images).transpose(2, 3).flatten(2).transpose(1, 2)")),
        (42,), TRACKERS,
    ),
    Misconception(
        "linear-pixels-transposed",
        "the linear layer gets each patch transposed: its pixels are read down the columns",
        "Which function of this lab cuts patches, and in which order are their pixels?",
        changed(E, (PATCHES, f"{CUT_TWICE}{ROW_BY_ROW.replace('4, 5', '5, 4')}")),
        (43,), TRACKERS,
    ),
    Misconception(
        "linear-channels-last",
        "the linear layer gets the pixels of a patch in (row, column, channel) order: a good convention elsewhere, but "
        "a convolution's weights do not fit it",
        "In which order does a Conv2d keep its weights, and which order does the docstring of patchify ask for?",
        changed(E, (PATCHES, f"{CUT_TWICE}{ROW_BY_ROW.replace('1, 4, 5', '4, 5, 1')}")),
        (43,), "lucidrains/vit-pytorch",
    ),
    Misconception(
        "conv-without-stride",
        "the convolution moves on by one pixel instead of by P, so that its patches overlap: (H-P+1) * (W-P+1) tokens",
        "How many tokens should an image give, and what is a convolution's default stride?",
        changed(E, (", stride=patch_size", "")),
        (44,), TRACKERS,
    ),
    Misconception(
        "conv-padded",
        "the convolution pads the images, so that its patches lie across the edges of the right ones",
        "Which pixels does the first patch see, and how many of them are in the image?",
        changed(E, (", stride=patch_size", ", stride=patch_size, padding=patch_size // 2")),
        (44,), WRITING,
    ),
    Misconception(
        "linear-forgets-the-channels",
        "the linear layer has room for P * P numbers a patch, which fits images of one channel only",
        "How many numbers are in a patch of an image with C channels?",
        changed(E, (LINEAR, LINEAR.replace("in_channels * ", ""))),
        (46,), TRACKERS,
    ),
    Misconception(
        "three-channels-assumed",
        "both layers have room for 3 channels, whatever in_channels says",
        "Which argument of the constructor do your layers not use?",
        changed(E, (LINEAR, LINEAR.replace("in_channels", "3")), (CONV, CONV.replace("in_channels", "3"))),
        (46,), TRACKERS,
    ),
    Misconception(
        "without-bias",
        "both layers have no bias",
        "Which entries does state_dict() lack, and what are the defaults of nn.Linear and nn.Conv2d?",
        changed(E, (LINEAR, LINEAR.replace("dim)", "dim, bias=False)")),
                (CONV, CONV.replace("size)", "size, bias=False)"))),
        (), WRITING,
    ),
    Misconception(
        "norm-after-the-projection",
        "the tokens go through a LayerNorm of their own, which the docstrings do not have: further parameters",
        "Which parameters does equation 1 have, and which more does your state_dict() hold?",
        changed(E, (LINEAR, LINEAR + "\n        self.norm = nn.LayerNorm(dim)"),
                (CONV, CONV + "\n        self.norm = nn.LayerNorm(dim)"),
                (PROJECTED, f"return self.norm(self.proj({PATCHES}))"), (CONVOLVED, f"return self.norm({TOKENS})")),
        (), "lucidrains/vit-pytorch, whose embedding has such norms",
    ),
    Misconception(
        "activation-after-the-projection",
        "the tokens go through a ReLU, so that no feature of a patch can be negative",
        "Which function stands around the product x E in equation 1?",
        changed(E, (PROJECTED, f"return F.relu(self.proj({PATCHES}))"), (CONVOLVED, f"return F.relu({TOKENS})")),
        (), WRITING,
    ),
    Misconception(
        "conv-grid-kept",
        "the convolution's result is returned as the image that it is, (B, D, h, w), not as tokens",
        "How many dimensions should the tokens of a batch have, and what do they count?",
        changed(E, (TOKENS, "self.proj(images)")),
        (), WRITING,
    ),
    Misconception(
        "conv-grid-of-tokens",
        "the tokens keep their grid: (B, h, w, D) instead of (B, N, D)",
        "How many dimensions should the tokens of a batch have, and what do they count?",
        changed(E, (TOKENS, "self.proj(images).permute(0, 2, 3, 1)")),
        (), WRITING,
    ),
    Misconception(
        "conv-flattened-completely",
        "an image's tokens are flattened into a single vector: (B, D*N) instead of (B, N, D)",
        "From which dimension on should be flattened?",
        changed(E, (TOKENS, "self.proj(images).flatten(1)")),
        (), WRITING,
    ),
    Misconception(
        "tokens-before-the-batch",
        "the tokens stand before the batch: (N, B, D), as torch's layers want them without batch_first",
        "What does the first dimension of your result count?",
        changed(E, (PROJECTED, PROJECTED + ".transpose(0, 1)"), (CONVOLVED, CONVOLVED + ".transpose(0, 1)")),
        (25,), WRITING,
    ),
    Misconception(
        "cut-from-the-graph",
        "the numbers are right, but they are cut off from images and parameters (no_grad, detach, data), so that "
        "nothing can be learned",
        "What is the result's grad_fn?",
        changed(E, (PROJECTED, PROJECTED + ".detach()"), (CONVOLVED, CONVOLVED + ".detach()")),
        (), WRITING,
    ),
)  # fmt: skip


def embeddings(linear: str, conv: str, before: str = "", more: str = "") -> str:
    """Both classes with the usual layers, the two forwards given, indented by eight spaces."""
    parts = [before] if before else []
    for name, layer, forward in (("Linear", LINEAR, linear), ("Conv", CONV, conv)):
        parts.append(f"""
class {name}PatchEmbedding(nn.Module):
    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.patch_size = patch_size
        {layer}{more}

    def forward(self, images):
        {forward.strip()}
""")
    return "\n".join(parts)


EMBEDDINGS_OTHER = (
    Alternative("in the style of vit-pytorch: einops layers", embeddings(
        before="from einops import rearrange\nfrom einops.layers.torch import Rearrange",
        linear="""
        cut = Rearrange("b c (h p) (w q) -> b (h w) (c p q)", p=self.patch_size, q=self.patch_size)
        return nn.Sequential(cut, self.proj, nn.Dropout(0.1).train(self.training))(images)
""",
        conv="""
        return rearrange(self.proj(images), "b d h w -> b (h w) d")
""")),
    Alternative("in the style of timm: F.unfold, flatten and transpose, a norm that is none", embeddings(
        more="\n        self.norm = nn.Identity()",
        linear="""
        x = F.unfold(images, self.patch_size, stride=self.patch_size).transpose(1, 2)
        return self.norm(self.proj(x))
""",
        conv="""
        x = self.proj(images)
        x = x.flatten(2).transpose(1, 2)
        return self.norm(x)
""")),
    Alternative("in the style of torchvision: reshape, then permute", embeddings(
        linear="""
        n, c, h, w = images.shape
        p = self.patch_size
        n_h, n_w = h // p, w // p
        kernels = self.proj.weight.reshape(-1, c, p, p)
        x = F.conv2d(images, kernels, self.proj.bias, stride=p)
        return x.reshape(n, self.proj.out_features, n_h * n_w).permute(0, 2, 1)
""",
        conv="""
        n, c, h, w = images.shape
        p = self.patch_size
        n_h, n_w = h // p, w // p
        x = self.proj(images)
        return x.reshape(n, self.proj.out_channels, n_h * n_w).permute(0, 2, 1)
""")),
    Alternative("pixel_unshuffle, the convolution as a product", embeddings(
        linear="""
        x = F.pixel_unshuffle(images, self.patch_size).permute(0, 2, 3, 1)
        return self.proj(x).flatten(1, 2)
""",
        conv="""
        return patchify(images, self.patch_size) @ self.proj.weight.flatten(1).T + self.proj.bias
""")),
    Alternative("token by token in two loops", embeddings(
        linear="""
        tokens, p = [], self.patch_size
        for i in range(0, images.shape[2], p):
            for j in range(0, images.shape[3], p):
                tokens.append(self.proj(images[:, :, i : i + p, j : j + p].flatten(1)))
        return torch.stack(tokens, dim=1)
""",
        conv="""
        grid = self.proj(images)
        return torch.stack([grid[:, :, i, j] for i in range(grid.shape[2]) for j in range(grid.shape[3])], 1)
""")),
    Alternative("einsum over the pieces of the image", embeddings(
        linear="""
        p, c = self.patch_size, images.shape[1]
        x = images.unflatten(3, (-1, p)).unflatten(2, (-1, p))
        weight = self.proj.weight.unflatten(1, (c, p, p))
        return torch.einsum("bchpwq,dcpq->bhwd", x, weight).flatten(1, 2) + self.proj.bias
""",
        conv="""
        p = self.patch_size
        x = images.unflatten(3, (-1, p)).unflatten(2, (-1, p))
        return torch.einsum("bchpwq,dcpq->bhwd", x, self.proj.weight).flatten(1, 2) + self.proj.bias
""")),
    Alternative("own parameters under the same names, baddbmm", '''
class Projection(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(*shape) * 0.02), nn.Parameter(torch.zeros(shape[0]))

class LinearPatchEmbedding(nn.Module):
    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.patch_size = patch_size
        self.proj = Projection(dim, in_channels * patch_size**2)

    def forward(self, images):
        patches = patchify(images, self.patch_size)
        return torch.baddbmm(self.proj.bias, patches, self.proj.weight.T.expand(len(images), -1, -1))

class ConvPatchEmbedding(nn.Module):
    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.proj = Projection(dim, in_channels, patch_size, patch_size)

    def forward(self, images):
        x = F.conv2d(images, self.proj.weight, self.proj.bias, stride=self.proj.weight.shape[-1])
        return x.movedim(1, -1).flatten(1, 2)
'''),
    Alternative("sample by sample with vmap, permute as on the lab sheet", embeddings(
        linear="""
        return torch.func.vmap(lambda image: self.proj(patchify(image[None], self.patch_size)[0]))(images)
""",
        conv="""
        return self.proj(images).flatten(2).permute(0, 2, 1)
""")),
    Alternative("both through patchify", '''
class LinearPatchEmbedding(nn.Module):
    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Linear(in_channels * patch_size**2, dim)

    def forward(self, images):
        return patchify(images, self.patch_size).matmul(self.proj.weight.mT).add(self.proj.bias)


class ConvPatchEmbedding(nn.Module):
    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, dim, patch_size, stride=patch_size)

    def forward(self, images):
        weight = self.proj.weight.flatten(1)
        return torch.einsum("bnf,df->bnd", patchify(images, self.patch_size), weight) + self.proj.bias
'''),
)  # fmt: skip

EXERCISE = Exercise("patch_embeddings", embedding_cases, EMBEDDINGS_WRONG, EMBEDDINGS_OTHER)
