"""The exam of `sincos_position_2d`."""

from __future__ import annotations

from autograder.exams.lab2.shared import CODE, TRACKERS, WRITING
from autograder.labs.exam import Alternative, Convention, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase, Scoring


def sincos_cases(variant: Variant) -> list[FunctionCase]:
    """Wide, tall, and square grids, lone rows and columns, and two frequencies.

    With one, for which dim is 4, the convention below divides by zero: it is not asked.
    """
    (few, many), (quarter,) = sorted(variant.sizes(2, 2, 7)), variant.sizes(1, 2, 4)
    cases = [FunctionCase("more columns than rows", "sincos_position_2d", (few, many, 4 * quarter))]
    (few, many), (quarter,) = sorted(variant.sizes(2, 2, 7)), variant.sizes(1, 3, 5)
    cases.append(FunctionCase("more rows than columns", "sincos_position_2d", (many, few, 4 * quarter)))
    side, quarter = variant.sizes(2, 2, 6)
    cases.append(FunctionCase("a square grid", "sincos_position_2d", (side, side, 4 * quarter)))
    few, many = sorted(variant.sizes(2, 2, 7))
    cases.append(FunctionCase("two frequencies", "sincos_position_2d", (few, many, 8)))
    half, (rows, quarter) = Scoring(share=0.5), variant.sizes(2, 2, 6)
    cases.append(FunctionCase("a single column", "sincos_position_2d", (rows, 1, 4 * quarter), scoring=half))
    columns, quarter = variant.sizes(2, 2, 6)
    cases.append(FunctionCase("a single row", "sincos_position_2d", (1, columns, 4 * quarter), scoring=half))
    origin = Scoring(share=0.25, paired=True)  # zeros and ones
    return [*cases, FunctionCase("a single place", "sincos_position_2d", (1, 1, 4 * quarter), scoring=origin)]


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
    Alternative("the other published frequencies, from 1 down to 1/10000 itself", '''
def sincos_position_2d(height, width, dim):
    f = 10000.0 ** -torch.linspace(0, 1, dim // 4, dtype=torch.float64)
    n = torch.arange(height * width)
    angles = torch.stack([n % width, n // width], dim=1)[..., None] * f
    return torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1)
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

# Once a wrong idea, which kept its name.
LAST_INCLUDED = (EXPONENT, "(-torch.arange(dim // 4) / (dim // 4 - 1))")
SINCOS_CONVENTIONS = (
    Convention(
        "last-frequency-included", "frequencies from 1 down to 1/10000 itself", (LAST_INCLUDED,),
        "Your frequencies run from 1 down to 1/10000 itself, because i is divided by D/4 - 1: that is vit-pytorch's "
        "convention, not the docstring's D/4. It costs no points; with D = 4 it divides by zero.",
    ),
)  # fmt: skip

EXERCISE = Exercise("sincos_position_2d", sincos_cases, SINCOS_WRONG, SINCOS_OTHER, conventions=SINCOS_CONVENTIONS)
