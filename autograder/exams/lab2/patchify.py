"""The exam of `patchify`."""

from __future__ import annotations

from typing import Any

from autograder.exams.lab2.shared import CODE, TRACKERS, WRITING, sizes
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase, Scoring


def patchify_cases(variant: Variant) -> list[FunctionCase]:
    """Wide, tall, and square images, one and three channels, both layouts in memory, lone ones, misfits to refuse."""

    def case(name: str, batch: int, channels: int, patch: int, h: int, w: int, **options: Any) -> FunctionCase:
        images = variant.normal(batch, channels, h * patch, w * patch)
        return FunctionCase(name, "patchify", (images, patch), **options)

    def refused(name: str, height: int, width: int, patch: int, side: int) -> FunctionCase:
        batch, channels = variant.sizes(2, 2, 5, without=(patch,))
        images = variant.normal(batch, channels, height, width)
        return FunctionCase(name, "patchify", (images, patch), scoring=Scoring(raises=(patch, side), share=0.5))

    cases = [
        case("more columns than rows, with gradients", *sizes(variant, "wide"), gradients=True),
        case("more rows than columns", *sizes(variant, "tall")),
        case("one channel", *sizes(variant, "wide", channels=1)),
        case("three channels, cut out of larger images", *sizes(variant, "tall", channels=3), layout="cropped"),
        case("stored with the channels last", *sizes(variant, "wide"), layout="channels_last"),
        case("square images", *sizes(variant, "square")),
    ]

    # One side too long by one pixel; the other one is P * P, so that the area does split into P * P.
    for name in ("a height that does not split is refused", "a width that does not split is refused"):
        patch, patches = variant.sizes(2, 3, 5)
        odd, even = patch * patches + 1, patch * patch
        sides = (odd, even) if "height" in name else (even, odd)
        cases.append(refused(name, *sides, patch, odd))
    patch, patches = variant.sizes(2, 3, 5)
    side = patch * patches + 1
    cases.append(refused("square images that do not split are refused", side, side, patch, side))

    _, *alone = sizes(variant, "wide")
    cases.append(case("one image alone", 1, *alone, scoring=Scoring(share=0.5)))
    batch, channels, patch, h, w = sizes(variant, "tall")
    few = Scoring(share=0.25, paired=True)  # there is little to put into another order
    cases.append(case("one patch an image", batch, channels, patch, 1, 1, scoring=few))
    return [*cases, case("patches of one pixel", batch, channels, 1, h, w, scoring=few)]


A = CODE["patchify"]
CUT = "x = images.reshape(B, C, H // P, P, W // P, P)"
ORDER = "x.permute(0, 2, 4, 1, 3, 5)"
JOIN = ".flatten(3).flatten(1, 2)"
WHOLE = f"return {ORDER}{JOIN}"
REFUSE = """    for side in (H, W):
        if side % P:
            raise ValueError(f"an image side of {side} pixels does not split into patches of {P}")
"""
PATCHIFY_WRONG = (
    Misconception(
        "stripes",
        "the pixels are only read out in rows of the right length (reshape(B, N, -1)), so that a patch is a stripe of "
        "an image row",
        "Number the pixels of a 4 x 4 image row by row and cut it into 2 x 2 patches: which four numbers belong to "
        "the first one, and which four does yours hold?",
        changed(A, (WHOLE, "return images.reshape(B, (H // P) * (W // P), C * P * P)")),
        (37,), "TorchCode issue 21",
    ),
    Misconception(
        "channels-before-patches",
        "after the cut the dimensions stand as (B, C, h, w, P, P) and are read out like that, so that a patch holds "
        "several places of one channel instead of one place of all channels",
        "Which dimensions must stand next to each other for the last three to be one patch's C, P, and P?",
        changed(A, (CUT, "x = images.unfold(2, P, P).unfold(3, P, P)  # (B, C, h, w, P, P)"),
                (WHOLE, "return x.reshape(B, -1, C * P * P)")),
        (38,), "a pytorch-vit repository's issue 7",
    ),
    Misconception(
        "features-before-patches",
        "the result is (B, C*P*P, N), as F.unfold gives it, with patches and features exchanged",
        "Which dimension of your result counts the patches, and which one should?",
        changed(A, (WHOLE, "return F.unfold(images, P, stride=P)")),
        (39,), TRACKERS,
    ),
    Misconception(
        "unfold-reshaped",
        "F.unfold's (B, C*P*P, N) is reshaped to (B, N, C*P*P), which keeps the order in memory and scrambles patches "
        "and pixels",
        "What is the difference between a reshape and a transpose of a 2 x 3 matrix to 3 x 2?",
        changed(A, (WHOLE, "return F.unfold(images, P, stride=P).reshape(B, -1, C * P * P)")),
        (39,), TRACKERS,
    ),
    Misconception(
        "every-hth-pixel",
        "the sides are cut as (P, h) instead of (h, P), so that a patch collects pixels from all over the image, each "
        "patch a small copy of the whole",
        "Row 1 of an image with P = 4: is it the second row of the first patch, or the first row of the second patch? "
        "Which of the two factors of H must then run faster?",
        changed(A, (CUT, "x = images.reshape(B, C, P, H // P, P, W // P)"), (ORDER, "x.permute(0, 3, 5, 1, 2, 4)")),
        (41,), "einops issue 384",
    ),
    Misconception(
        "columns-first",
        "the patches are counted down the columns of the grid instead of along its rows",
        "Patch 0 is in the top left corner. Is patch 1 to the right of it or below it, and which one is your patch 1?",
        changed(A, (ORDER, "x.permute(0, 4, 2, 1, 3, 5)")),
        (42,), TRACKERS,
    ),
    Misconception(
        "height-and-width-exchanged",
        "height and width have changed places: the shape is read as (B, C, W, H), which only square images forgive",
        "Which of the last two dimensions of an image tensor counts its rows?",
        changed(A, ("B, C, H, W = images.shape", "B, C, W, H = images.shape")),
        (42,), TRACKERS,
    ),
    Misconception(
        "pixels-transposed",
        "the pixels of a patch are read down its columns instead of along its rows: each patch is transposed",
        "In (channel, row, column) order: which of two neighbours comes next, the one on the right or the one below?",
        changed(A, (ORDER, "x.permute(0, 2, 4, 1, 5, 3)")),
        (43,), TRACKERS,
    ),
    Misconception(
        "channels-last-in-a-patch",
        "the pixels of a patch are in (row, column, channel) order: a good convention elsewhere, but weights of this "
        "course's (channel, row, column) order do not fit it",
        "In which order does a Conv2d keep its weights, and which order does the docstring ask for?",
        changed(A, (ORDER, "x.permute(0, 2, 4, 3, 5, 1)")),
        (43,), "lucidrains/vit-pytorch, facebookresearch/mae",
    ),
    Misconception(
        "overlapping-patches",
        "the window moves on by one pixel instead of by P, so that the patches overlap: (H-P+1) * (W-P+1) of them",
        "How many patches should a side of H pixels give, and how far apart are their corners?",
        changed(A, (WHOLE, "return F.unfold(images, P).mT")),
        (44,), TRACKERS,
    ),
    Misconception(
        "square-grid-reshape",
        "the number of patches down is used for both sides of the grid, which fails on images that are not square",
        "How many patches stand side by side in an image of H x W pixels?",
        changed(A, (CUT, "x = images.reshape(B, C, H // P, P, H // P, P)")),
        (45,), TRACKERS,
    ),
    Misconception(
        "square-grid-loop",
        "the loop over the columns of the grid runs as far as the one over its rows, so that a wide image loses its "
        "right part and a tall one gets empty patches",
        "How many patches stand side by side in an image of H x W pixels?",
        changed(A, (CUT, "rows = range(0, H, P)"),
                (WHOLE, "return torch.stack([images[:, :, i : i + P, j : j + P].flatten(1) for i in rows "
                        "for j in rows], dim=1)")),
        (45,), TRACKERS,
    ),
    Misconception(
        "gray-repeated-to-three",
        "images of one channel are given three equal ones before they are cut",
        "How many numbers does a patch of P x P pixels have in a gray image?",
        changed(A, (CUT, "if C == 1:\n        images, C = images.expand(-1, 3, -1, -1), 3\n    " + CUT)),
        (46,), TRACKERS,
    ),
    Misconception(
        "first-channel-only",
        "only the first channel is cut, and the others are dropped",
        "How many numbers does a patch of P x P pixels have in an image of C channels?",
        changed(A, (CUT, CUT.replace("images", "images[:, :1]").replace("B, C,", "B, 1,"))),
        (46,), TRACKERS,
    ),
    Misconception(
        "three-channels-assumed",
        "the number of channels is written into the code as 3",
        "Where can the number of channels be read from the images?",
        changed(A, (CUT, CUT.replace("B, C,", "B, 3,"))),
        (46,), TRACKERS,
    ),
    Misconception(
        "crops-in-silence",
        "what does not fill a whole patch at the right and at the bottom is cut off without a word",
        "What should happen to an image of 30 x 30 pixels and patches of 8, and what does the docstring say?",
        changed(A, (REFUSE, "    images, H, W = images[:, :, : H // P * P, : W // P * P], H // P * P, W // P * P\n")),
        (46,), TRACKERS,
    ),
    Misconception(
        "pads-in-silence",
        "an image that does not fill its last patches is filled up with zeros without a word",
        "What should happen to an image of 30 x 30 pixels and patches of 8, and what does the docstring say?",
        changed(A, (REFUSE, "    images = F.pad(images, (0, -W % P, 0, -H % P))\n    H, W = images.shape[2:]\n")),
        (46,), WRITING,
    ),
    # A wrong check of the sides fits a more general one on the cases that it gets wrong: the narrow ones come first.
    Misconception(
        "only-the-height-is-checked",
        "the height is checked but not the width",
        "Try an image whose height splits and whose width does not: who complains?",
        changed(A, ("for side in (H, W):", "for side in (H,):")),
        (46,), WRITING,
    ),
    Misconception(
        "only-the-width-is-checked",
        "the width is checked but not the height",
        "Try an image whose width splits and whose height does not: who complains?",
        changed(A, ("for side in (H, W):", "for side in (W,):")),
        (46,), WRITING,
    ),
    Misconception(
        "sides-checked-together",
        "the sides are checked only together (H % P and W % P, or the area H * W), so that an image passes of which "
        "one side splits and the other does not",
        "Try an image with one side that splits and one that does not: who complains?",
        changed(A, (REFUSE, REFUSE.replace("for side in (H, W):", "for side in (H,):")
                                  .replace("if side % P:", "if H % P and W % P:"))),
        (46,), WRITING,
    ),
    Misconception(
        "sides-not-checked",
        "no side is checked, and an image that does not split fails later, in words that name neither P nor a side",
        "What would the caller have to know in order to mend the sizes?",
        changed(A, (REFUSE, "")),
        (46,), WRITING,
    ),
    Misconception(
        "assert-instead-of-an-error",
        "the check is an assert, which raises an AssertionError and vanishes when Python runs with -O",
        "Which exception does the docstring promise?",
        changed(A, (REFUSE, "    assert H % P == 0 and W % P == 0\n")),
        (46,), WRITING,
    ),
    Misconception(
        "error-without-the-numbers",
        "the error does not say which P and which side do not fit",
        "What would the caller have to know in order to mend the sizes?",
        changed(A, ('f"an image side of {side} pixels does not split into patches of {P}"',
                    '"the image does not split into patches"')),
        (46,), WRITING,
    ),
    Misconception(
        "patch-size-is-patches-per-side",
        "patch_size is taken for the number of patches along a side instead of the side of a patch in pixels",
        "How many pixels has one of your patches, and how many should it have?",
        changed(A, (CUT, "x = images.reshape(B, C, P, H // P, P, W // P)")),
        (47,), "omihub's option --patch",
    ),
    Misconception(
        "patches-not-flattened",
        "the pixels of a patch keep their own dimensions: (B, N, C, P, P) instead of (B, N, C*P*P)",
        "How many dimensions has your result, and what does a linear layer want in its last one?",
        changed(A, (JOIN, ".flatten(1, 2)")),
        (), WRITING,
    ),
    Misconception(
        "grid-not-flattened",
        "the patches keep their grid: (B, h, w, C*P*P) instead of (B, N, C*P*P)",
        "How many dimensions has your result, and which two of them count patches?",
        changed(A, (JOIN, ".flatten(3)")),
        (), WRITING,
    ),
    Misconception(
        "batch-flattened-too",
        "the patches of all images stand in one long list: (B*N, C*P*P) instead of (B, N, C*P*P)",
        "How do you tell which image a patch of your result is from?",
        changed(A, (JOIN, ".flatten(3).flatten(0, 2)")),
        (), WRITING,
    ),
    Misconception(
        "patches-before-the-batch",
        "the patches were stacked along a new first dimension: (N, B, C*P*P) instead of (B, N, C*P*P)",
        "What does the first dimension of your result count, and which dim does torch.stack add by default?",
        changed(A, (JOIN, JOIN + ".transpose(0, 1)")),
        (), WRITING,
    ),
    Misconception(
        "memory-taken-for-contiguous",
        "the pixels are fetched by their places in memory, as though each image lay there row after row: right for "
        "contiguous images, wrong for others",
        "What does images.stride() say about images that were cropped or stored with the channels last?",
        changed(A, (CUT, "x = images.as_strided((B, C, H // P, P, W // P, P), "
                         "(C * H * W, H * W, P * W, W, P, 1))")),
        (), WRITING,
    ),
    Misconception(
        "cut-from-the-graph",
        "the numbers are right, but the result is cut off from the images (detach, data, no_grad, NumPy, or a new "
        "tensor), so that nothing can be learned through it",
        "What is the result's grad_fn when the images require a gradient?",
        changed(A, (JOIN, JOIN + ".detach()")),
        (), WRITING,
    ),
)  # fmt: skip
PATCHIFY_OTHER = (
    Alternative("in the style of vit-pytorch: einops' rearrange", '''
from einops import rearrange

def patchify(images, patch_size):
    for name, side in zip(("height", "width"), images.shape[2:]):
        if side % patch_size != 0:
            raise ValueError(f"{name} {side} is not a multiple of the patch size {patch_size}")
    return rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=patch_size, q=patch_size)
'''),
    Alternative("in the style of T2T-ViT: nn.Unfold, transposed", '''
def patchify(images, patch_size):
    height, width = images.size(-2), images.size(-1)
    if height % patch_size > 0 or width % patch_size > 0:
        raise ValueError(f"expected sides that {patch_size} divides, found {height} and {width}")
    soft_split = nn.Unfold(kernel_size=patch_size, stride=patch_size)
    return soft_split(images).transpose(1, 2)
'''),
    Alternative("pixel_unshuffle, whose channels are a patch's features", '''
def patchify(images, patch_size):
    if any(side % patch_size for side in images.shape[-2:]):
        raise ValueError(f"patch_size {patch_size} does not divide {tuple(images.shape[-2:])}")
    return F.pixel_unshuffle(images, patch_size).flatten(start_dim=2).permute(0, 2, 1)
'''),
    Alternative("Tensor.unfold along both sides", '''
def patchify(images, patch_size):
    P = patch_size
    H, W = images.shape[2:]
    if H % P != 0:
        raise ValueError(f"H={H} P={P}")
    if W % P != 0:
        raise ValueError(f"W={W} P={P}")
    x = images.unfold(2, P, P).unfold(3, P, P).permute(0, 2, 3, 1, 4, 5)
    return x.contiguous().view(images.shape[0], -1, images.shape[1] * P * P)
'''),
    Alternative("patch by patch in two loops, stacked", '''
def patchify(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    if H % P != 0 or W % P != 0:
        raise ValueError("Image of size {} x {} cannot be split into patches of size {}".format(H, W, P))
    patches = []
    for i in range(H // P):
        for j in range(W // P):
            patches.append(images[:, :, i * P : (i + 1) * P, j * P : (j + 1) * P].reshape(B, C * P * P))
    return torch.stack(patches, dim=1)
'''),
    Alternative("filled into an empty result", '''
def patchify(images, patch_size):
    B, C, H, W = images.shape
    if H % patch_size or W % patch_size:
        raise ValueError(f"patch size {patch_size}, image size {(H, W)}")
    h, w = H // patch_size, W // patch_size
    out = torch.zeros(B, h * w, C * patch_size**2, dtype=images.dtype, device=images.device)
    for n in range(h * w):
        top, left = n // w * patch_size, n % w * patch_size
        out[:, n] = images[:, :, top : top + patch_size, left : left + patch_size].flatten(1)
    return out
'''),
    Alternative("split into rows of patches, each row into patches", '''
def patchify(images, patch_size):
    if images.size(2) % patch_size or images.size(3) % patch_size:
        raise ValueError(f"{patch_size} divides not both of {images.size(2)}, {images.size(3)}")
    rows = torch.split(images, patch_size, dim=2)
    return torch.cat([p.flatten(1).unsqueeze(1) for row in rows for p in torch.split(row, patch_size, dim=3)], dim=1)
'''),
    Alternative("a convolution whose kernels each pick one pixel", '''
def patchify(images, patch_size):
    C, H, W = images.shape[1:]
    if H % patch_size or W % patch_size:
        raise ValueError(f"sides {H}, {W} and patches of {patch_size}")
    pick = torch.eye(C * patch_size**2, dtype=images.dtype, device=images.device)
    pick = pick.view(-1, C, patch_size, patch_size)
    return F.conv2d(images, pick, stride=patch_size).flatten(2).mT
'''),
    Alternative("pixels gathered by their numbers", '''
def patchify(images, patch_size):
    B, C, H, W = images.shape
    if (H % patch_size) + (W % patch_size):
        raise ValueError(f"{H}, {W}: not multiples of {patch_size}")
    c, y, x = torch.meshgrid(torch.arange(C), torch.arange(H), torch.arange(W), indexing="ij")
    patch = (y // patch_size) * (W // patch_size) + x // patch_size
    pixel = (c * patch_size + y % patch_size) * patch_size + x % patch_size
    order = (patch * C * patch_size**2 + pixel).flatten().argsort().to(images.device)
    return images.reshape(B, -1)[:, order].reshape(B, -1, C * patch_size**2)
'''),
)  # fmt: skip

EXERCISE = Exercise("patchify", patchify_cases, PATCHIFY_WRONG, PATCHIFY_OTHER, ("unfold", "Unfold", "pixel_unshuffle"))
