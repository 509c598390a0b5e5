"""Lab 2's exams: the cases, the wrong ideas, and the other right ways of its four exercises and two extras.

The sizes inside a case are pairwise distinct, images are taller or wider than square except where a
case says so, and every weight is random: on square images of one channel most ways to cut patches
are alike. Pixels are random numbers, so that each one that lands in a wrong place is seen.
"""

from __future__ import annotations

from vitedu.probe import Case

from ..exam import Alternative, Draw, Exercise, Misconception, changed
from ..lab import solution_cells

CODE = solution_cells("lab2_tokens")

REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public Vision Transformer code and of courses"
WRITING = "thought of while writing this exam"


def sizes(draw: Draw, grid: str, channels: int = 0) -> tuple[int, int, int, int, int]:
    """B, C, P and a grid h, w that is "wide", "tall", or "square"; pairwise distinct but for a square's sides."""
    channels = channels or draw.sizes(1, 2, 6, without=(3,))[0]  # three are what code with a fixed number expects
    (patch,) = draw.sizes(1, 2, 4, without=(channels,))
    batch, *sides = draw.sizes(3, 2, 6, without=(channels, patch))
    few, many = sorted(sides)
    h, w = {"wide": (few, many), "tall": (many, few), "square": (many, many)}[grid]
    return batch, channels, patch, h, w


# --- patchify ------------------------------------------------------------------------------------


def patchify_cases(draw: Draw) -> list[Case]:
    """Wide, tall, and square images, one and three channels, both layouts in memory, and misfits to refuse."""

    def case(name: str, batch: int, channels: int, patch: int, h: int, w: int, **options: object) -> Case:
        images = draw.normal(batch, channels, h * patch, w * patch)
        return Case(name, "patchify", (images, patch), **options)

    def refused(name: str, height: int, width: int, patch: int, side: int) -> Case:
        batch, channels = draw.sizes(2, 2, 5, without=(patch,))
        images = draw.normal(batch, channels, height, width)
        return Case(name, "patchify", (images, patch), raises=(patch, side), share=0.5)

    cases = [
        case("more columns than rows, with gradients", *sizes(draw, "wide"), gradients=True),
        case("more rows than columns", *sizes(draw, "tall")),
        case("one channel", *sizes(draw, "wide", channels=1)),
        case("three channels, cut out of larger images", *sizes(draw, "tall", channels=3), layout="cropped"),
        case("stored with the channels last", *sizes(draw, "wide"), layout="channels_last"),
        case("square images", *sizes(draw, "square")),
    ]

    # One side too long by one pixel; the other one is P * P, so that the area does split into P * P.
    for name in ("a height that does not split is refused", "a width that does not split is refused"):
        patch, patches = draw.sizes(2, 3, 5)
        odd, even = patch * patches + 1, patch * patch
        sides = (odd, even) if "height" in name else (even, odd)
        cases.append(refused(name, *sides, patch, odd))
    patch, patches = draw.sizes(2, 3, 5)
    side = patch * patches + 1
    return [*cases, refused("square images that do not split are refused", side, side, patch, side)]


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

# --- unpatchify ----------------------------------------------------------------------------------


def unpatchify_cases(draw: Draw) -> list[Case]:
    """Wide, tall, and square images, one and three channels, and a lone image."""

    def case(name: str, batch: int, channels: int, patch: int, h: int, w: int, **options: object) -> Case:
        patches = draw.normal(batch, h * w, channels * patch**2)
        return Case(name, "unpatchify", (patches, patch, (h * patch, w * patch)), **options)

    cases = [
        case("more columns than rows, with gradients", *sizes(draw, "wide"), gradients=True),
        case("more rows than columns", *sizes(draw, "tall")),
        case("one channel", *sizes(draw, "tall", channels=1)),
        case("three channels", *sizes(draw, "wide", channels=3)),
        case("square images", *sizes(draw, "square")),
    ]
    _, *alone = sizes(draw, "wide")
    return [*cases, case("one image alone", 1, *alone)]


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

# --- patch_embeddings ----------------------------------------------------------------------------


def embedding_cases(draw: Draw) -> list[Case]:
    """The same four questions to each class: wide, tall, gray, and non-contiguous images."""

    def case(thing: str, what: str, grid: str, channels: int = 0, **options: object) -> Case:
        batch, channels, patch, h, w = sizes(draw, grid, channels)
        (dim,) = draw.sizes(1, 7, 11, without=(h * w, channels * patch**2))
        weight = (dim, channels * patch**2) if thing.startswith("Linear") else (dim, channels, patch, patch)
        return Case(
            f"{thing}: {what}", thing, (draw.normal(batch, channels, h * patch, w * patch),),
            init=(patch, channels, dim), weights=draw.weights({"proj.weight": weight, "proj.bias": (dim,)}), **options,
        )  # fmt: skip

    cases = []
    for thing, layout in (("LinearPatchEmbedding", "cropped"), ("ConvPatchEmbedding", "channels_last")):
        how = {"cropped": "cut out of larger ones", "channels_last": "stored with the channels last"}[layout]
        cases += [
            case(thing, "more columns than rows, with gradients", "wide", gradients=True),
            case(thing, "more rows than columns, one channel", "tall", 1),
            case(thing, "more rows than columns, three channels", "tall", 3),
            case(thing, f"images {how}", "wide", layout=layout),
        ]
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
)  # fmt: skip

# --- TokenEmbedding ------------------------------------------------------------------------------


def tokens_cases(draw: Draw) -> list[Case]:
    """image_size as a pair and as a number, one and three channels, and batches of every size, down to one."""

    def case(name: str, batch: int, channels: int, patch: int, h: int, w: int, **options: object) -> Case:
        (dim,) = draw.sizes(1, 7, 11, without=(h * w, h * w + 1))
        shapes = {
            "patches.proj.weight": (dim, channels, patch, patch), "patches.proj.bias": (dim,),
            "cls_token": (1, 1, dim), "position": (1, h * w + 1, dim),
        }  # fmt: skip
        height, width = h * patch, w * patch
        return Case(
            name, "TokenEmbedding", (draw.normal(batch, channels, height, width),),
            init=(height if h == w else (height, width), patch, channels, dim), weights=draw.weights(shapes),
            loose=("position",), **options,
        )  # fmt: skip

    _, *alone = sizes(draw, "wide")
    return [
        case("wide images, with gradients", *sizes(draw, "wide"), gradients=True),
        case("tall images of one channel", *sizes(draw, "tall", channels=1)),
        case("image_size is one number", *sizes(draw, "square")),
        case("three channels, cut out of larger images", *sizes(draw, "tall", channels=3), layout="cropped"),
        case("one image alone", 1, *alone),
    ]


T = CODE["TokenEmbedding"]
SIDES = "H, W = (image_size, image_size) if isinstance(image_size, int) else image_size"
EMBED = "ConvPatchEmbedding(patch_size, in_channels, dim)"
CLASS = "self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))"
ROWS = "(H // patch_size) * (W // patch_size) + 1"
PLACES = f"self.position = nn.Parameter(torch.randn(1, {ROWS}, dim) * 0.02)"
FIRST = "cls = self.cls_token.expand(len(images), -1, -1)"
JOINED = "torch.cat([cls, self.patches(images)], dim=1)"
ADDED = f"return {JOINED} + self.position"

TOKENS_WRONG = (
    Misconception(
        "class-token-last",
        "the class token is appended after the patches instead of put before them",
        "Which token will the head read in Lab 3, and where does yours stand?",
        changed(T, (JOINED, "torch.cat([self.patches(images), cls], dim=1)")),
        (48,), TRACKERS,
    ),
    Misconception(
        "class-token-of-zeros",
        "the class token is a tensor of zeros and no nn.Parameter, so that it is neither saved nor trained",
        "Which names does named_parameters() list, and which one is missing?",
        changed(T, (CLASS, "self.cls_token = torch.zeros(1, 1, dim)")),
        (49,), TRACKERS,
    ),
    Misconception(
        "class-token-drawn-anew",
        "the class token is drawn anew in each forward pass, so that there is nothing to train",
        "Call the module twice with the same images: why do the results differ?",
        changed(T, (f"        {CLASS}\n", ""),
                (FIRST, "cls = torch.randn(len(images), 1, self.position.shape[-1], dtype=images.dtype)")),
        (49,), TRACKERS,
    ),
    Misconception(
        "class-token-not-registered",
        "the class token is no nn.Parameter when it is assigned: something was done with the Parameter first "
        "(times 0.02, detach(), or .to(device) with another device), and its result is a plain tensor",
        "What is type(module.cls_token), and does named_parameters() list it?",
        changed(T, (CLASS, "self.cls_token = nn.Parameter(torch.randn(1, 1, dim)) * 0.02")),
        (49,), TRACKERS,
    ),
    Misconception(
        "neither-registered",
        "class token and positions are no nn.Parameter when they are assigned: something was done with the Parameters "
        "first (times 0.02, detach(), or .to(device) with another device, as in a report whose model so trained "
        "neither on its GPU), and its result is a plain tensor",
        "What is type(module.position), and what does named_parameters() list?",
        changed(T, (CLASS, "self.cls_token = nn.Parameter(torch.randn(1, 1, dim)) * 0.02"),
                (PLACES, f"self.position = nn.Parameter(torch.randn(1, {ROWS}, dim)) * 0.02")),
        (49, 55), REPORTS,
    ),
    Misconception(
        "class-token-frozen",
        "the class token has its value but gets no gradient: a buffer, requires_grad=False, or a detach() in forward",
        "After a backward pass, what is cls_token.grad?",
        changed(T, (CLASS, CLASS.replace("dim))", "dim), requires_grad=False)"))),
        (49,), TRACKERS,
    ),
    Misconception(
        "class-token-with-a-batch-dimension",
        "the parameter holds one class token for each sample of a batch of a size fixed in the code",
        "How many class tokens has a model, and what happens when the last batch is smaller?",
        changed(T, (CLASS, "self.cls_token = nn.Parameter(torch.zeros(32, 1, dim))")),
        (50,), "an issue in one of ahmadchalhoub's repositories",
    ),
    Misconception(
        "class-token-not-expanded",
        "there is one class token for the whole batch where each image needs its own, which works only for an image "
        "that comes alone",
        "How many class tokens does a batch of three images need, and do they need three parameters?",
        changed(T, (FIRST, "cls = self.cls_token")),
        (50,), WRITING,
    ),
    # Any sizes that do not fit give the same words of torch.cat, so this one comes after the narrower idea above.
    Misconception(
        "class-token-repeated-to-a-fixed-batch",
        "class token and patches do not fit where they are concatenated: the class token is repeated to a batch size "
        "fixed in the code (which fails for any other batch, such as the last one of an epoch), or they are joined "
        "along another dimension than the tokens'",
        "Print both shapes before torch.cat: which sizes must agree, and where can this batch's size be read from?",
        changed(T, (FIRST, "cls = self.cls_token.repeat(32, 1, 1)")),
        (50,), REPORTS,
    ),
    Misconception(
        "no-class-token",
        "there is no class token: N tokens come out, with N positions",
        "How many tokens does the docstring promise for N patches?",
        changed(T, (f"        {CLASS}\n", ""), (PLACES, PLACES.replace(" + 1", "")),
                (FIRST, "x = self.patches(images)"), (ADDED, "return x + self.position")),
        (), WRITING,
    ),
    Misconception(
        "a-position-for-each-patch-only",
        "there are N positions, none for the class token",
        "How many tokens are there when the positions are added?",
        changed(T, (PLACES, PLACES.replace(" + 1", "")),
                (ADDED, "return torch.cat([cls, self.patches(images) + self.position], dim=1)")),
        (51, 54), "labml issue 221",
    ),
    Misconception(
        "class-token-without-position",
        "the positions are added to the patches only, and the row of the class token is left unused",
        "Which row of position gets no gradient?",
        changed(T, (ADDED, "return torch.cat([cls, self.patches(images) + self.position[:, 1:]], dim=1)")),
        (51,), TRACKERS,
    ),
    Misconception(
        "no-positions",
        "there is no parameter position, so that the tokens of a shuffled image are the same set",
        "How would attention know which of two equal patches was on the left?",
        changed(T, (f"        {PLACES}\n", ""), (ADDED, f"return {JOINED}")),
        (52,), TRACKERS,
    ),
    Misconception(
        "positions-never-added",
        "the parameter position is there but is never used",
        "After a backward pass, what is position.grad?",
        changed(T, (ADDED, f"return {JOINED}")),
        (52,), TRACKERS,
    ),
    Misconception(
        "positions-shifted",
        "the positions are shifted by one: the first patch gets row 0, and the class token the last row",
        "Which token is the first of the sequence, and which row of position belongs to it?",
        changed(T, ("+ self.position", "+ self.position.roll(1, dims=1)")),
        (53,), TRACKERS,
    ),
    Misconception(
        "one-position-for-all",
        "the first row of position is added to every token",
        "Exchange two patches of an image: what else must change than the order of the tokens?",
        changed(T, ("+ self.position", "+ self.position[:, :1]")),
        (53,), TRACKERS,
    ),
    Misconception(
        "positions-multiplied",
        "the tokens are multiplied by the positions instead of added to them",
        "What is the operation between tokens and positions in equation 1?",
        changed(T, ("+ self.position", "* self.position")),
        (53,), TRACKERS,
    ),
    Misconception(
        "positions-subtracted",
        "the positions are subtracted from the tokens",
        "What is the operation between tokens and positions in equation 1?",
        changed(T, ("+ self.position", "- self.position")),
        (53,), TRACKERS,
    ),
    Misconception(
        "positions-added-twice",
        "the patches get their positions twice, once before the class token joins them and once after",
        "How often does position stand in equation 1?",
        changed(T, (JOINED, "torch.cat([cls, self.patches(images) + self.position[:, 1:]], dim=1)")),
        (53,), TRACKERS,
    ),
    Misconception(
        "positions-concatenated",
        "the positions are laid beside the tokens' features, which makes tokens of 2 * D, instead of added to them",
        "How many features should a token have when it leaves this module?",
        changed(T, (ADDED, f"return torch.cat([{JOINED}, self.position.expand(len(images), -1, -1)], dim=-1)")),
        (54,), TRACKERS,
    ),
    Misconception(
        "positions-as-further-tokens",
        "the positions are appended as further tokens instead of added to those that are there",
        "How many tokens should come out for N patches?",
        changed(T, (ADDED, f"return torch.cat([{JOINED}, self.position.expand(len(images), -1, -1)], dim=1)")),
        (54,), WRITING,
    ),
    Misconception(
        "positions-not-registered",
        "position is no nn.Parameter when it is assigned: a plain tensor, or a Parameter with which something was done "
        "first (times 0.02, detach(), or .to(device) with another device)",
        "What is type(module.position), and does named_parameters() list it?",
        changed(T, (PLACES, f"self.position = nn.Parameter(torch.randn(1, {ROWS}, dim)) * 0.02")),
        (55,), TRACKERS,
    ),
    Misconception(
        "positions-frozen",
        "the positions have their values but get no gradient: a buffer, requires_grad=False, or a detach() in forward",
        "After a backward pass, what is position.grad?",
        changed(T, (PLACES, PLACES.replace("0.02)", "0.02, requires_grad=False)"))),
        (55,), TRACKERS,
    ),
    Misconception(
        "writes-into-what-was-expanded",
        "the patches are written in place into a tensor made by expand, whose samples all share one piece of memory: "
        "the parameter itself",
        "How much memory does expand allocate for a batch of 32, and who else uses it?",
        changed(T, (FIRST, "tokens = self.position.expand(len(images), -1, -1)"),
                (ADDED, "tokens[:, :1] += self.cls_token\n        tokens[:, 1:] += self.patches(images)\n"
                        "        return tokens")),
        (56,), TRACKERS,
    ),
    Misconception(
        "square-images-only",
        "image_size must be a number; a pair (H, W) fails",
        "What may image_size be, by the docstring?",
        changed(T, (f"        {SIDES}\n", ""), (ROWS, "(image_size // patch_size) ** 2 + 1")),
        (45,), TRACKERS,
    ),
    Misconception(
        "pairs-only",
        "image_size must be a pair (H, W); a number fails",
        "What may image_size be, by the docstring?",
        changed(T, (SIDES, "H, W = image_size")),
        (45,), WRITING,
    ),
    Misconception(
        "square-grid",
        "the number of patches down is squared for the whole grid, which fits square images only",
        "How many patches stand side by side in an image of H x W pixels?",
        changed(T, (ROWS, "(H // patch_size) ** 2 + 1")),
        (45,), TRACKERS,
    ),
    Misconception(
        "length-from-the-patch-size",
        "there are patch_size + 1 positions, which is right only where P happens to be the number of patches (images "
        "of 64 pixels in patches of 16: 4 * 4 patches)",
        "How many patches has an image of H x W pixels, and does your number change with the image?",
        changed(T, (ROWS, "patch_size + 1")),
        (), REPORTS,
    ),
    Misconception(
        "length-from-the-patch-size-squared",
        "there are P * P + 1 positions, one for each pixel of a patch instead of one for each patch",
        "How many patches has an image of H x W pixels, and does your number change with the image?",
        changed(T, (ROWS, "patch_size**2 + 1")),
        (47,), WRITING,
    ),
    Misconception(
        "area-divided-by-the-side",
        "the number of patches is taken to be H * W / P instead of H * W / (P * P)",
        "How many pixels has one patch?",
        changed(T, (ROWS, "H * W // patch_size + 1")),
        (47,), WRITING,
    ),
    Misconception(
        "linear-instead-of-convolution",
        "patches is a LinearPatchEmbedding, whose weight has another shape than the convolution's",
        "Which of the two embeddings does the docstring name?",
        changed(T, (EMBED, EMBED.replace("Conv", "Linear"))),
        (), WRITING,
    ),
    Misconception(
        "patches-scaled-by-root",
        "the patches are multiplied by sqrt(D), as the first Transformer did with its words, but equation 1 does not",
        "Which factors stand in equation 1?",
        changed(T, (JOINED, JOINED.replace("(images)", "(images) * math.sqrt(cls.shape[-1])"))),
        (), WRITING,
    ),
    Misconception(
        "dropout-that-never-stops",
        "features are dropped at random when the module is evaluated, too",
        "When must dropout be off, and who tells F.dropout?",
        changed(T, (ADDED, f"return F.dropout({JOINED} + self.position, 0.5)")),
        (16,), TRACKERS,
    ),
)  # fmt: skip


def tokens(forward: str, init: str = "", before: str = "") -> str:
    """The class with another forward, indented by eight spaces, and what is special in its constructor."""
    usual = f"""
        {SIDES}
        self.patches = {EMBED}
        {CLASS}
        {PLACES}
"""
    return f"""{before}
class TokenEmbedding(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        {(init or usual).strip()}

    def forward(self, images):
        {forward.strip()}
"""


TOKENS_OTHER = (
    Alternative("in the style of timm: expand, cat, dropout after the positions", tokens(init=f"""
        img_size = image_size if isinstance(image_size, tuple) else (image_size, image_size)
        self.patches = {EMBED}
        num_patches = (img_size[0] // patch_size) * (img_size[1] // patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, num_patches + 1, dim) * .02)
        self.pos_drop = nn.Dropout(p=0.1)
""", forward="""
        x = self.patches(images)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.pos_drop(x + self.position)
""")),
    Alternative("in the style of vit-pytorch: einops' repeat, positions added in place", tokens(
        before="from einops import repeat", forward="""
        found = self.patches(images)
        first = repeat(self.cls_token, "1 1 d -> b 1 d", b=found.shape[0])
        sequence = torch.cat((first, found), dim=1)
        sequence += self.position[:, : sequence.shape[1]]
        return sequence
""")),
    Alternative("in the style of torchvision: position without a batch dimension", tokens(init="""
        if isinstance(image_size, int):
            image_size = [image_size, image_size]
        self.patches = nn.Module()
        self.patches.proj = nn.Conv2d(in_channels, dim, patch_size, patch_size)
        seq_length = (image_size[0] // patch_size) * (image_size[1] // patch_size) + 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.empty(seq_length, dim).normal_(std=0.02))
""", forward="""
        n = images.shape[0]
        x = self.patches.proj(images)
        x = x.reshape(n, x.shape[1], -1).permute(0, 2, 1)
        batch_class_token = self.cls_token.expand(n, -1, -1)
        x = torch.cat([batch_class_token, x], dim=1)
        return x + self.position.unsqueeze(0)
""")),
    Alternative("positions added to class token and patches one by one", tokens(forward="""
        x = self.patches(images) + self.position[:, 1:]
        cls = self.cls_token + self.position[:, :1]
        return torch.cat([cls.repeat(x.size(0), 1, 1), x], dim=1)
""")),
    Alternative("filled into an empty sequence", tokens(forward="""
        x = self.patches(images)
        out = x.new_empty(x.shape[0], x.shape[1] + 1, x.shape[2])
        out[:, 0] = self.cls_token[0, 0]
        out[:, 1:] = x
        return torch.add(out, self.position)
""")),
    Alternative("a row of zeros for the class token by padding", tokens(forward="""
        x = F.pad(self.patches(images), (0, 0, 1, 0))
        first = F.one_hot(torch.zeros(1, dtype=torch.long), x.shape[1]).to(x)
        return x + first.unsqueeze(-1) * self.cls_token + self.position
""")),
    Alternative("image by image, stacked", tokens(forward="""
        place = self.position.squeeze(0)
        return torch.stack([torch.vstack([self.cls_token[0], self.patches(i[None])[0]]) + place for i in images])
""")),
    Alternative("rows of position looked up by number, a product as convolution", tokens(init="""
        height, width = image_size if isinstance(image_size, tuple) else (image_size,) * 2
        self.patches = nn.ModuleDict({"proj": nn.Conv2d(in_channels, dim, patch_size, patch_size)})
        count = height // patch_size * (width // patch_size) + 1
        self.register_buffer("places", torch.arange(count), persistent=False)
        self.register_parameter("cls_token", nn.Parameter(torch.randn(1, 1, dim)))
        self.register_parameter("position", nn.Parameter(torch.randn(count, dim)))
""", forward="""
        proj = self.patches["proj"]
        x = patchify(images, proj.kernel_size[0])
        x = F.linear(x, proj.weight.flatten(1), proj.bias)
        x = torch.cat([torch.broadcast_to(self.cls_token, (len(x), 1, x.shape[2])), x], 1)
        return x + F.embedding(self.places, self.position)
""")),
)  # fmt: skip

# --- conv_as_linear ------------------------------------------------------------------------------


def conv_as_linear_cases(draw: Draw) -> list[Case]:
    """Few and many features, one and three channels; the sizes of a kernel are pairwise distinct."""

    def case(name: str, channels: int, dim: int, patch: int) -> Case:
        weights = draw.weights({"conv.weight": (dim, channels, patch, patch), "conv.bias": (dim,)})
        model = (("conv", "Conv2d", (channels, dim, patch, patch)),)
        return Case(name, "conv_as_linear", model=model, weights=weights)

    channels, patch = draw.sizes(2, 2, 5)
    (dim,) = draw.sizes(1, 6, 9)
    cases = [case("more features than channels", channels, dim, patch)]
    dim, patch = draw.sizes(2, 2, 5)
    (channels,) = draw.sizes(1, 6, 8)
    cases.append(case("fewer features than channels", channels, dim, patch))
    dim, patch = draw.sizes(2, 2, 6)
    cases.append(case("one channel", 1, dim, patch))
    dim, patch = draw.sizes(2, 2, 7, without=(3,))
    return [*cases, case("three channels", 3, dim, patch)]


L = CODE["conv_as_linear"]
FLAT = "conv.weight.flatten(1)"

CONV_AS_LINEAR_WRONG = (
    Misconception(
        "kernels-not-flattened",
        "the weight keeps the shape of the kernels, (D, C, P, P)",
        "How many dimensions has the weight of an nn.Linear?",
        changed(L, (FLAT, "conv.weight")),
        (), WRITING,
    ),
    Misconception(
        "weight-transposed",
        "the weight is (C*P*P, D), inputs before outputs",
        "What does nn.Linear(5, 2).weight.shape say about the order of inputs and outputs?",
        changed(L, (FLAT, f"{FLAT}.T")),
        (), WRITING,
    ),
    Misconception(
        "reshaped-instead-of-transposed",
        "the kernels are read out as (C*P*P, D) and then transposed, which mixes the numbers of different kernels",
        "Which numbers are neighbours in memory: one pixel of all kernels, or all pixels of one kernel?",
        changed(L, (FLAT, "conv.weight.reshape(-1, conv.out_channels).T")),
        (40,), WRITING,
    ),
    Misconception(
        "channels-last",
        "the kernels are flattened in (row, column, channel) order, which patches in (channel, row, column) order do "
        "not fit",
        "In which order does patchify lay down the pixels of a patch?",
        changed(L, (FLAT, "conv.weight.permute(0, 2, 3, 1).flatten(1)")),
        (43,), "conversions of weights from JAX, whose kernels are (row, column, channel, feature)",
    ),
    Misconception(
        "kernels-transposed",
        "the kernels are flattened down their columns instead of along their rows",
        "In which order does patchify lay down the pixels of a patch?",
        changed(L, (FLAT, "conv.weight.mT.flatten(1)")),
        (43,), WRITING,
    ),
    Misconception(
        "kernels-turned-round",
        "the kernels are turned by 180 degrees, as in the convolution of mathematics; torch's Conv2d turns nothing",
        "What does a Conv2d with a kernel of a single 1 in its top left corner pick from a patch?",
        changed(L, (FLAT, "conv.weight.flip(-1, -2).flatten(1)")),
        (), WRITING,
    ),
    Misconception(
        "channels-summed",
        "the kernels of the channels are added up: (D, P*P)",
        "How many numbers has a patch of an image with C channels?",
        changed(L, (FLAT, "conv.weight.sum(1).flatten(1)")),
        (46,), WRITING,
    ),
    Misconception(
        "channels-kept-apart",
        "only rows and columns are flattened: (D, C, P*P)",
        "How many dimensions has the weight of an nn.Linear?",
        changed(L, (FLAT, "conv.weight.flatten(2)")),
        (), WRITING,
    ),
    Misconception(
        "flattened-completely",
        "all kernels are flattened into one vector",
        "How many dimensions has the weight of an nn.Linear?",
        changed(L, (FLAT, "conv.weight.flatten()")),
        (), WRITING,
    ),
    Misconception(
        "bias-forgotten",
        "the bias is zero, and the convolution's own is not used",
        "What does the convolution give for a black patch?",
        changed(L, (", conv.bias", ", torch.zeros_like(conv.bias)")),
        (), WRITING,
    ),
    Misconception(
        "bias-before-weight",
        "bias and weight are returned in the other order",
        "Which of the two does the docstring name first?",
        changed(L, (f"return {FLAT}, conv.bias", f"return conv.bias, {FLAT}")),
        (), WRITING,
    ),
    Misconception(
        "a-layer-instead-of-its-weights",
        "a linear layer is returned instead of its weight and its bias",
        "Which two tensors does the docstring ask for?",
        changed(L, (f"return {FLAT}, conv.bias", "return nn.Linear(conv.weight[0].numel(), conv.out_channels)")),
        (), WRITING,
    ),
)  # fmt: skip

CONV_AS_LINEAR_OTHER = (
    Alternative("in the style of MAE's initialisation: a view of w.data", '''
def conv_as_linear(conv):
    w = conv.weight.data
    return w.view([w.shape[0], -1]), conv.bias.data
'''),
    Alternative("in the style of vit-pytorch: einops, on a copy", '''
from einops import rearrange

def conv_as_linear(conv):
    state = {name: value.clone() for name, value in conv.state_dict().items()}
    return rearrange(state["weight"], "d c p q -> d (c p q)"), state["bias"]
'''),
    Alternative("each kernel flattened, stacked", '''
def conv_as_linear(conv):
    return torch.stack([kernel.flatten() for kernel in conv.weight]), conv.bias
'''),
    Alternative("asked: what does the convolution answer to each single pixel?", '''
def conv_as_linear(conv):
    features = conv.weight[0].numel()
    pixels = torch.eye(features, dtype=conv.weight.dtype).view(features, *conv.weight.shape[1:])
    answers = conv(pixels).flatten(1)
    return (answers - conv.bias).T, conv.bias
'''),
    Alternative("the Jacobian of the convolution", '''
def conv_as_linear(conv):
    patch = torch.zeros(conv.weight.shape[1:], dtype=conv.weight.dtype)
    slope = torch.autograd.functional.jacobian(lambda x: conv(x[None]).flatten(), patch)
    return slope.reshape(conv.out_channels, -1), conv(patch[None]).flatten()
'''),
    Alternative("the kernels cut as images of one patch", '''
def conv_as_linear(conv):
    patches = F.unfold(conv.weight, conv.kernel_size)
    return patches[..., 0], conv.bias
'''),
    Alternative("number by number", '''
def conv_as_linear(conv):
    D, C, P, Q = conv.weight.shape
    weight = torch.zeros(D, C * P * Q, dtype=conv.weight.dtype, device=conv.weight.device)
    with torch.no_grad():
        for c in range(C):
            for i in range(P):
                for j in range(Q):
                    weight[:, (c * P + i) * Q + j] = conv.weight[:, c, i, j]
    return weight, conv.bias
'''),
    Alternative("a product with the identity, loaded into a linear layer", '''
def conv_as_linear(conv):
    D = conv.out_channels
    linear = nn.Linear(conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1], D).to(conv.weight)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(D, dtype=conv.weight.dtype) @ conv.weight.reshape(D, -1))
        linear.bias.copy_(conv.bias)
    return linear.weight, linear.bias
'''),
)  # fmt: skip

# --- sincos_position_2d --------------------------------------------------------------------------


def sincos_cases(draw: Draw) -> list[Case]:
    """Wide, tall, and square grids, and the smallest dim, in which there is one frequency only."""
    (few, many), (quarter,) = sorted(draw.sizes(2, 2, 7)), draw.sizes(1, 2, 4)
    cases = [Case("more columns than rows", "sincos_position_2d", (few, many, 4 * quarter))]
    (few, many), (quarter,) = sorted(draw.sizes(2, 2, 7)), draw.sizes(1, 3, 5)
    cases.append(Case("more rows than columns", "sincos_position_2d", (many, few, 4 * quarter)))
    side, quarter = draw.sizes(2, 2, 6)
    cases.append(Case("a square grid", "sincos_position_2d", (side, side, 4 * quarter)))
    few, many = sorted(draw.sizes(2, 2, 7))
    return [*cases, Case("one frequency", "sincos_position_2d", (few, many, 4))]


P = CODE["sincos_position_2d"]
EXPONENT = "(-torch.arange(dim // 4) / (dim / 4))"
GRID = 'torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")'
WAVES = "torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1)"

SINCOS_WRONG = (
    Misconception(
        "row-before-column",
        "the features of the row stand before those of the column: x and y are exchanged",
        "Take row 0, column 1: which features must differ from those of row 0, column 0?",
        changed(P, (WAVES, "torch.cat([y.sin(), y.cos(), x.sin(), x.cos()], dim=1)")),
        (), WRITING,
    ),
    Misconception(
        "columns-first",
        "the places run down the columns of the grid instead of along its rows",
        "Which place does row 1 of your result belong to: the one right of the first, or the one below?",
        changed(P, ('indexing="ij"', 'indexing="xy"')),
        (42,), "facebookresearch/moco-v3, whose grids are square",
    ),
    Misconception(
        "cosine-before-sine",
        "the cosines stand before the sines",
        "What are the first features of row 0, column 0: zeros or ones?",
        changed(P, (WAVES, "torch.cat([x.cos(), x.sin(), y.cos(), y.sin()], dim=1)")),
        (), WRITING,
    ),
    Misconception(
        "sine-and-cosine-in-turn",
        "sines and cosines take turns, feature by feature, as in the first Transformer, instead of standing in blocks",
        "How many sines stand before the first cosine, by the docstring?",
        changed(P, (WAVES, "torch.cat([torch.stack([z.sin(), z.cos()], dim=2).flatten(1) for z in (x, y)], dim=1)")),
        (), WRITING,
    ),
    Misconception(
        "all-four-in-turn",
        "the four waves take turns, feature by feature, instead of standing in blocks",
        "How many sines stand before the first cosine, by the docstring?",
        changed(P, (WAVES, "torch.stack([x.sin(), x.cos(), y.sin(), y.cos()], dim=2).flatten(1)")),
        (), WRITING,
    ),
    Misconception(
        "last-frequency-included",
        "the frequencies run from 1 down to 1/10000 itself, because i is divided by D/4 - 1; with a single frequency "
        "that is a division by zero",
        "What is f_i for the largest i, by the docstring?",
        changed(P, (EXPONENT, "(-torch.arange(dim // 4) / (dim // 4 - 1))")),
        (), "lucidrains/vit-pytorch's simple_vit, where it is the convention",
    ),
    Misconception(
        "frequencies-of-half-the-width",
        "the exponents go up in steps of 1 / (D/2), so that the frequencies fall only half as fast as they should",
        "How many frequencies are there, and which exponent does the last one have?",
        changed(P, (EXPONENT, "(-torch.arange(dim // 4) / (dim / 2))")),
        (), WRITING,
    ),
    Misconception(
        "frequencies-of-the-whole-width",
        "the exponents go up in steps of 1 / D, so that all frequencies lie close to 1",
        "How many frequencies are there, and which exponent does the last one have?",
        changed(P, (EXPONENT, "(-torch.arange(dim // 4) / dim)")),
        (), WRITING,
    ),
    Misconception(
        "frequencies-grow",
        "the frequencies grow up to nearly 10000 instead of falling: the minus in the exponent is missing",
        "By how much does the slowest wave change from one place to the next?",
        changed(P, (EXPONENT, "(torch.arange(dim // 4) / (dim / 4))")),
        (), WRITING,
    ),
    Misconception(
        "places-numbered-in-one-row",
        "column and row both count the places of the whole grid from 0 to h * w - 1, as in a sentence",
        "Which features should two places in the same column share?",
        changed(P, ("return", "x = y = torch.arange(height * width)[:, None] * f\n    return")),
        (), TRACKERS,
    ),
    Misconception(
        "added-instead-of-concatenated",
        "the row's and the column's waves, each D wide, are added up instead of laid side by side",
        "How many of the D features tell the column, by the docstring?",
        changed(P, (EXPONENT, "(-torch.arange(dim // 2) / (dim / 2))"),
                (WAVES, "torch.cat([x.sin() + y.sin(), x.cos() + y.cos()], dim=1)")),
        (), WRITING,
    ),
    Misconception(
        "counted-from-one",
        "rows and columns are counted from 1",
        "What is sin(x f) in the first column?",
        changed(P, (GRID, GRID.replace("(height)", "(1, height + 1)").replace("(width)", "(1, width + 1)"))),
        (), WRITING,
    ),
    Misconception(
        "places-scaled-to-one",
        "rows and columns are divided by the height and the width before the waves are taken",
        "What is x in the docstring's formula: a column's number, or its share of the width?",
        changed(P, (GRID, GRID.replace("(height)", "(height) / height").replace("(width)", "(width) / width"))),
        (), WRITING,
    ),
    Misconception(
        "height-and-width-exchanged",
        "height and width have changed places, so that the grid is wide where it should be tall",
        "How many columns has your grid?",
        changed(P, (GRID, GRID.replace("height", "side").replace("width", "height").replace("side", "width"))),
        (42,), WRITING,
    ),
    Misconception(
        "grid-kept",
        "the result keeps the grid: (h, w, D) instead of (h * w, D)",
        "How many dimensions has a sequence of positions?",
        changed(P, (WAVES, f"{WAVES}.view(height, width, dim)")),
        (), WRITING,
    ),
    Misconception(
        "a-batch-dimension",
        "the result has a batch dimension of size 1 in front",
        "Which shape does the docstring ask for?",
        changed(P, (WAVES, f"{WAVES}[None]")),
        (), "facebookresearch/moco-v3",
    ),
    Misconception(
        "a-row-for-the-class-token",
        "a row of zeros for the class token stands in front",
        "How many places has the grid?",
        changed(P, (WAVES, f"F.pad({WAVES}, (0, 0, 1, 0))")),
        (), "facebookresearch/mae's option cls_token",
    ),
)  # fmt: skip

SINCOS_OTHER = (
    Alternative("in the style of MAE: NumPy, one function for an axis", '''
import numpy as np

def one_axis(places, width):
    angles = np.outer(places.ravel(), 1 / 10000 ** (np.arange(width // 2) / (width / 2)))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

def sincos_position_2d(height, width, dim):
    assert dim % 4 == 0
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return torch.from_numpy(np.hstack([one_axis(columns, dim // 2), one_axis(rows, dim // 2)])).float()
'''),
    Alternative("in the style of vit-pytorch: two grids from meshgrid, further arguments with defaults", '''
def sincos_position_2d(height, width, dim, temperature=10000, dtype=torch.float32):
    assert dim % 4 == 0, "dim must be a multiple of 4"
    rates = temperature ** -(torch.arange(dim // 4) / (dim // 4))
    grids = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = (grid.reshape(-1, 1) * rates[None, :] for grid in grids)
    return torch.cat((x.sin(), x.cos(), y.sin(), y.cos()), dim=1).type(dtype)
'''),
    Alternative("one product an axis, repeated over the grid", '''
def sincos_position_2d(height, width, dim):
    bands = torch.exp(torch.arange(dim // 4, dtype=torch.float64) * (-math.log(10000.0) / (dim // 4)))
    columns = torch.outer(torch.arange(width).double(), bands).repeat(height, 1)
    rows = torch.outer(torch.arange(height).double(), bands).repeat_interleave(width, dim=0)
    return torch.hstack([columns.sin(), columns.cos(), rows.sin(), rows.cos()])
'''),
    Alternative("number by number, in Python", '''
def sincos_position_2d(height, width, dim):
    rows = []
    for y in range(height):
        for x in range(width):
            f = [10000 ** (-i / (dim / 4)) for i in range(dim // 4)]
            rows.append([wave(z * g) for z in (x, y) for wave in (math.sin, math.cos) for g in f])
    return torch.tensor(rows)
'''),
    Alternative("complex exponentials", '''
def sincos_position_2d(height, width, dim):
    f = torch.pow(10000.0, -4 * torch.arange(dim // 4, dtype=torch.float64) / dim)
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width)).flip(1).to(f)
    turned = torch.polar(torch.ones(()).double(), places[:, :, None] * f)
    return torch.view_as_real(turned).flip(3).transpose(2, 3).flatten(1)
'''),
    Alternative("filled into an empty grid by broadcasting", '''
def sincos_position_2d(height, width, dim):
    quarter = dim // 4
    f = torch.logspace(0, -4 + 4 / quarter, quarter)
    grid = torch.empty(height, width, 4, quarter)
    x, y = torch.arange(width)[:, None] * f, (torch.arange(height)[:, None] * f)[:, None]
    grid[:, :, 0], grid[:, :, 1] = torch.sin(x), torch.cos(x)
    grid[:, :, 2], grid[:, :, 3] = torch.sin(y), torch.cos(y)
    return grid.reshape(height * width, dim)
'''),
    Alternative("a cosine as a shifted sine, row numbers by division", '''
def sincos_position_2d(height, width, dim):
    n = torch.arange(height * width)
    f = torch.tensor(1e-4, dtype=torch.float64).pow(torch.arange(dim // 4) / (dim / 4))
    angles = torch.stack([n % width, n % width, n // width, n // width], 1)[..., None] * f
    angles += torch.tensor([0.0, math.pi / 2] * 2, dtype=torch.float64)[:, None]
    return torch.sin(angles).flatten(1)
'''),
)  # fmt: skip

EXERCISES = (
    Exercise("patchify", patchify_cases, PATCHIFY_WRONG, PATCHIFY_OTHER, ("unfold", "Unfold", "pixel_unshuffle")),
    Exercise("unpatchify", unpatchify_cases, UNPATCHIFY_WRONG, UNPATCHIFY_OTHER, ("fold", "Fold", "pixel_shuffle")),
    Exercise("patch_embeddings", embedding_cases, EMBEDDINGS_WRONG, EMBEDDINGS_OTHER),
    Exercise("conv_as_linear", conv_as_linear_cases, CONV_AS_LINEAR_WRONG, CONV_AS_LINEAR_OTHER),
    Exercise("TokenEmbedding", tokens_cases, TOKENS_WRONG, TOKENS_OTHER),
    Exercise("sincos_position_2d", sincos_cases, SINCOS_WRONG, SINCOS_OTHER),
)
