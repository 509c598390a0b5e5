"""The exam of `unpatchify`."""

from __future__ import annotations

from typing import Any

from autograder.exams.lab2.shared import CODE, TRACKERS, WRITING, sizes
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase, Scoring


def unpatchify_cases(variant: Variant) -> list[FunctionCase]:
    """Wide, tall, and square images, one and three channels, lone images, lone patches, and lone pixels."""

    def case(name: str, batch: int, channels: int, patch: int, h: int, w: int, **options: Any) -> FunctionCase:
        patches = variant.normal(batch, h * w, channels * patch**2)
        return FunctionCase(name, "unpatchify", (patches, patch, (h * patch, w * patch)), **options)

    cases = [
        case("more columns than rows, with gradients", *sizes(variant, "wide"), gradients=True),
        case("more rows than columns", *sizes(variant, "tall")),
        case("one channel", *sizes(variant, "tall", channels=1)),
        case("three channels", *sizes(variant, "wide", channels=3)),
        case("square images", *sizes(variant, "square")),
    ]
    _, *alone = sizes(variant, "wide")
    cases.append(case("one image alone", 1, *alone))
    batch, channels, patch, h, w = sizes(variant, "tall")
    few = Scoring(share=0.25, paired=True)  # there is little to put into another order
    cases.append(case("one patch an image", batch, channels, patch, 1, 1, scoring=few))
    return [*cases, case("patches of one pixel", batch, channels, 1, h, w, scoring=few)]


U = CODE["unpatchify"]
OPEN = "patches.unflatten(1, (H // P, W // P)).unflatten(3, (-1, P, P))"
BACK = "x.permute(0, 3, 1, 4, 2, 5)"
CLOSE = ".flatten(4).flatten(2, 3)"
IMAGES = f"return {BACK}{CLOSE}"
AS_IMAGES = ".reshape(len(x), -1, H, W)"
UNPATCHIFY_WRONG = (
    Misconception(
        "stripes",
        "the numbers are only read out in another shape (reshape(B, C, H, W)), so that each patch becomes a stripe of "
        "an image row",
        "Cut an image with your patchify and put it together again: what should you see, and what do you see?",
        changed(U, (IMAGES, "return patches.reshape(len(x), -1, H, W)")),
        (37,), TRACKERS,
    ),
    Misconception(
        "rows-of-patches-not-interleaved",
        "the dimensions stand as (B, C, h, w, P, P) when they are read out, so that all rows of one patch follow each "
        "other before the next patch begins",
        "Walk along the topmost row of pixels of an image: through which patches do you come? Which dimension must "
        "follow h, then?",
        changed(U, (IMAGES, f"return x.permute(0, 3, 1, 2, 4, 5){AS_IMAGES}")),
        (38,), TRACKERS,
    ),
    Misconception(
        "every-hth-pixel",
        "the sides are put together as (P, h) instead of (h, P), so that the pixels of one patch are spread all over "
        "the image",
        "Row 1 of an image with P = 4: is it the second row of the first patch, or the first row of the second patch? "
        "Which of the two factors of H must then run faster?",
        changed(U, (BACK, "x.permute(0, 3, 4, 1, 5, 2)")),
        (41,), "einops issue 384",
    ),
    Misconception(
        "columns-first",
        "the patches are laid down the columns of the grid instead of along its rows",
        "Patch 0 is in the top left corner. Where does patch 1 belong, and where do you put it?",
        changed(U, (OPEN, OPEN.replace("H // P, W // P", "W // P, H // P")), (BACK, "x.permute(0, 3, 2, 4, 1, 5)")),
        (42,), TRACKERS,
    ),
    Misconception(
        "height-and-width-exchanged",
        "image_size is read as (W, H), so that wide images come out tall",
        "Which side comes first in image_size, and which one in the shape of an image tensor?",
        changed(U, ("H, W = image_size", "W, H = image_size")),
        (42,), TRACKERS,
    ),
    Misconception(
        "grid-sides-exchanged",
        "the patches are laid out in w rows of h instead of h rows of w before the image is put together",
        "How many patches stand side by side in an image of H x W pixels?",
        changed(U, (OPEN, OPEN.replace("H // P, W // P", "W // P, H // P")), (CLOSE, AS_IMAGES)),
        (42,), TRACKERS,
    ),
    Misconception(
        "pixels-transposed",
        "the pixels of a patch are laid down its columns instead of along its rows: each patch is transposed",
        "In (channel, row, column) order: where does the second number of a patch belong, right of the first or below?",
        changed(U, (BACK, "x.permute(0, 3, 1, 5, 2, 4)")),
        (43,), TRACKERS,
    ),
    Misconception(
        "channels-last-in-a-patch",
        "the pixels of a patch are taken to be in (row, column, channel) order: a good convention elsewhere, but not "
        "the (channel, row, column) of this course's patchify",
        "In which order does the docstring of patchify lay down the pixels of a patch?",
        changed(U, ("unflatten(3, (-1, P, P))", "unflatten(3, (P, P, -1))"), (BACK, "x.permute(0, 5, 1, 3, 2, 4)")),
        (43,), "lucidrains/vit-pytorch, facebookresearch/mae",
    ),
    Misconception(
        "square-grid",
        "the grid is taken to be the square root of N on both sides, which fails on images that are not square",
        "Which argument tells how many patches stand side by side?",
        changed(U, (OPEN, "patches.reshape(len(patches), int(patches.shape[1] ** 0.5), int(patches.shape[1] ** 0.5), "
                          "-1, P, P)")),
        (45,), TRACKERS,
    ),
    Misconception(
        "three-channels-assumed",
        "the number of channels is written into the code as 3",
        "How does the number of channels follow from the length of a patch and P?",
        changed(U, ("unflatten(3, (-1, P, P))", "unflatten(3, (3, P, P))")),
        (46,), TRACKERS,
    ),
    Misconception(
        "fold-without-transpose",
        "F.fold gets (B, N, C*P*P), and takes the patches for features",
        "In which order does F.fold expect features and patches?",
        changed(U, (IMAGES, "return F.fold(patches, image_size, P, stride=P)")),
        (39,), TRACKERS,
    ),
    Misconception(
        "fold-of-a-reshape",
        "the patches are reshaped to F.fold's (B, C*P*P, N), which keeps the order in memory and scrambles patches "
        "and pixels",
        "What is the difference between a reshape and a transpose of a 2 x 3 matrix to 3 x 2?",
        changed(U, (IMAGES, "return F.fold(patches.reshape(len(x), -1, patches.shape[1]), image_size, P, stride=P)")),
        (39,), TRACKERS,
    ),
    Misconception(
        "fold-without-stride",
        "F.fold is called without its stride, and expects patches that overlap",
        "How far apart are the corners of two neighbouring patches, and what is F.fold's default?",
        changed(U, (IMAGES, "return F.fold(patches.mT, image_size, P)")),
        (44,), TRACKERS,
    ),
    Misconception(
        "channels-last-images",
        "the images come out as (B, H, W, C), as matplotlib wants them, instead of (B, C, H, W)",
        "What does unpatchify(patchify(images)) have to equal?",
        changed(U, (IMAGES, f"{IMAGES}.permute(0, 2, 3, 1)")),
        (), WRITING,
    ),
    Misconception(
        "patches-in-one-column",
        "all patches are stacked on top of each other in one tall column, as though the grid were one patch wide",
        "Which shape has your image, and which one does image_size ask for?",
        changed(U, (IMAGES, "return x.permute(0, 3, 1, 2, 4, 5).flatten(2, 4)")),
        (), WRITING,
    ),
    Misconception(
        "cut-from-the-graph",
        "the numbers are right, but the result is cut off from the patches (detach, data, no_grad, NumPy, or a new "
        "tensor), so that nothing can be learned through it",
        "What is the result's grad_fn when the patches require a gradient?",
        changed(U, (CLOSE, CLOSE + ".detach()")),
        (), WRITING,
    ),
)  # fmt: skip
UNPATCHIFY_OTHER = (
    Alternative("in the style of vit-pytorch: einops' rearrange", '''
from einops import rearrange

def unpatchify(patches, patch_size, image_size):
    return rearrange(patches, "b (h w) (c p q) -> b c (h p) (w q)",
                     h=image_size[0] // patch_size, p=patch_size, q=patch_size)
'''),
    Alternative("in the style of FuseFormer: nn.Fold of the transposed patches", '''
def unpatchify(patches, patch_size, image_size):
    fold = nn.Fold(output_size=image_size, kernel_size=patch_size, stride=patch_size)
    return fold(patches.permute(0, 2, 1))
'''),
    Alternative("pixel_shuffle of a grid of features", '''
def unpatchify(patches, patch_size, image_size):
    H, W = image_size
    grid = patches.permute(0, 2, 1).unflatten(2, (H // patch_size, W // patch_size))
    return F.pixel_shuffle(grid, patch_size)
'''),
    Alternative("painted patch by patch onto an empty canvas", '''
def unpatchify(patches, patch_size, image_size):
    B, N, features = patches.shape
    H, W = image_size
    P, C = patch_size, features // patch_size**2
    images = torch.zeros(B, C, H, W, dtype=patches.dtype, device=patches.device)
    n = 0
    for top in range(0, H, P):
        for left in range(0, W, P):
            images[:, :, top : top + P, left : left + P] = patches[:, n].reshape(B, C, P, P)
            n += 1
    return images
'''),
    Alternative("patches glued to rows, rows glued to images", '''
def unpatchify(patches, patch_size, image_size):
    w = image_size[1] // patch_size
    tiles = [p.reshape(p.shape[0], -1, patch_size, patch_size) for p in patches.unbind(dim=1)]
    rows = [torch.cat(tiles[i : i + w], dim=3) for i in range(0, len(tiles), w)]
    return torch.cat(rows, dim=2)
'''),
    Alternative("a transposed convolution whose kernels each set one pixel", '''
def unpatchify(patches, patch_size, image_size):
    features = patches.shape[2]
    put = torch.eye(features, dtype=patches.dtype, device=patches.device).view(features, -1, patch_size, patch_size)
    grid = patches.mT.reshape(len(patches), features, image_size[0] // patch_size, -1)
    return F.conv_transpose2d(grid, put, stride=patch_size)
'''),
    Alternative("the pixels' places found by patchify itself", '''
def unpatchify(patches, patch_size, image_size):
    H, W = image_size
    C = patches.shape[2] // patch_size**2
    places = torch.arange(C * H * W, dtype=torch.float64).view(1, C, H, W)
    order = patchify(places, patch_size).flatten().long().argsort().to(patches.device)
    return patches.flatten(1).index_select(1, order).view(-1, C, H, W)
'''),
    Alternative("two transposes instead of one permute", '''
def unpatchify(patches, patch_size, image_size):
    B, h, w = patches.size(0), image_size[0] // patch_size, image_size[1] // patch_size
    C = patches.size(2) // (patch_size * patch_size)
    x = patches.view(B, h, w, C, patch_size, patch_size)
    x = x.transpose(3, 2).transpose(2, 1).transpose(3, 4)
    return x.contiguous().view(B, C, h * patch_size, w * patch_size)
'''),
)  # fmt: skip

EXERCISE = Exercise(
    "unpatchify", unpatchify_cases, UNPATCHIFY_WRONG, UNPATCHIFY_OTHER, ("fold", "Fold", "pixel_shuffle")
)
