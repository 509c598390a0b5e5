"""Embedded data: deterministic, shaped and labelled as promised, and what the pictures show is what the label says."""

import io
import time

import numpy as np
import pytest
import torch
from PIL import Image

from vitedu.data import drawing, shapes
from vitedu.data.datasets import Dataset, digits, gallery, load
from vitedu.data.errors import DataError

GENERATORS = {"pairs": shapes.pairs, "oddone": shapes.oddone}


def pixels(images: torch.Tensor) -> torch.Tensor:
    return images * drawing.STD + drawing.MEAN


def nearness(images: torch.Tensor, palette) -> torch.Tensor:
    """Pixels whose colour is close to a palette's, per colour: (n, colours, H, W)."""
    colours = torch.tensor(np.asarray(palette), dtype=torch.float32)
    saturation = images.amax(1, keepdim=True) - images.amin(1, keepdim=True)
    distance = (images[:, None] - colours[None, :, :, None, None]).square().sum(2)
    nearest = torch.nn.functional.one_hot(distance.argmin(1), len(colours)).permute(0, 3, 1, 2)
    return nearest * (saturation > 0.3)


@pytest.mark.parametrize("name", GENERATORS)
def test_images_and_labels(name):
    images, labels = GENERATORS[name](240, 3)
    assert images.shape == (240, 3, 32, 32) and images.dtype == torch.float32 and images.is_contiguous()
    assert labels.shape == (240,) and labels.dtype == torch.int64
    assert 0 <= pixels(images).min() and pixels(images).max() <= 1.000001
    assert (torch.bincount(labels, minlength=6) > 15).all()  # all six classes, none rare


@pytest.mark.parametrize("name", GENERATORS)
def test_the_same_seed_gives_the_same_images(name):
    first, again, other = (GENERATORS[name](5, seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_goes_on_from_where_it_stands(name):
    entropy = 2**255 + 19
    rng = np.random.default_rng(entropy)
    first, second = GENERATORS[name](4, rng), GENERATORS[name](4, rng)
    assert torch.equal(first[0], GENERATORS[name](4, np.random.default_rng(entropy))[0])
    assert not torch.equal(first[0], second[0])


def test_the_label_of_pairs_says_which_two_and_which_is_above():
    images, labels = shapes.pairs(400, 7)
    seen = nearness(pixels(images), drawing.PALETTE)
    amount = seen.sum((2, 3)).float()
    middle = (seen * torch.arange(32)[:, None]).sum((2, 3)) / amount.clamp(min=1)  # mean row of each colour
    hits = 0
    for k, label in enumerate(labels.tolist()):
        upper, lower = sorted(amount[k].topk(2).indices.tolist(), key=lambda colour: middle[k, colour])
        hits += shapes.PAIRS[label] == f"{shapes.COLOURS[upper]} over {shapes.COLOURS[lower]}"
    assert hits / len(labels) > 0.97  # noise and overlaps fool this simple eye now and then


def test_the_label_of_oddone_is_the_cell_with_another_colour():
    images, labels = shapes.oddone(400, 7)
    seen = nearness(pixels(images), drawing.PALETTE).float()
    cells = [part.sum((2, 3)) for row in seen.chunk(2, 2) for part in row.tensor_split(3, 3)]
    colour = torch.stack(cells, 1).argmax(2)  # (n, 6): the strongest colour of each cell
    usual = colour.mode(1).values
    assert ((colour != usual[:, None]).sum(1) == 1).float().mean() > 0.97
    assert ((colour != usual[:, None]).long().argmax(1) == labels).float().mean() > 0.97


def test_a_palette_and_an_order_of_classes():
    palette = drawing.random_palette(5)
    distances = torch.cdist(torch.tensor(palette), torch.tensor(palette)) + torch.eye(3)
    assert palette.shape == (3, 3) and distances.min() > 0.3
    images, labels = shapes.pairs(300, 9, palette)
    turned, renamed = shapes.pairs(300, 9, palette, classes=[3, 5, 1, 0, 2, 4])
    assert torch.equal(images, turned)
    assert torch.equal(torch.tensor([3, 5, 1, 0, 2, 4])[labels], renamed)
    assert not torch.equal(images, shapes.pairs(300, 9)[0])
    assert nearness(pixels(images), palette).sum((2, 3)).topk(2).values[:, 1].float().median() > 15


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: shapes.pairs(0, 1), "images from 1, found 0"),
        (lambda: shapes.pairs(4, 1, palette=[(1, 0, 0)]), "palette of 3 RGB colours"),
        (lambda: shapes.pairs(4, 1, palette=[(2, 0, 0)] * 3), "from 0 to 1"),
        (lambda: shapes.oddone(4, 1, palette=[(1, 0, 0)]), "at least 2"),
        (lambda: shapes.oddone(4, 1, classes=[0, 1, 2]), "permutation of 0 to 5"),
        (lambda: load("cifar"), "digits, pairs, oddone, fashion-mnist, cifar10, folder:PATH"),
        (lambda: load("pairs", train=0), "training images from 1 on, found 0"),
        (lambda: load("digits", test=-3), "test images from 1 on, found -3"),
        (lambda: load("digits", train=2000), "at most 1438 training images"),
        (lambda: load("pairs", seed=-1), "seed"),
    ],
)
def test_a_bad_argument_is_one_sentence(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", GENERATORS)
def test_five_thousand_images_take_under_two_seconds(name):
    GENERATORS[name](10, 0)
    started = time.process_time()  # of this process: a busy machine must not turn it red
    GENERATORS[name](5000, 0)
    assert time.process_time() - started < 2


def test_digits_are_the_real_ones():
    images, labels = digits()
    assert images.shape == (1797, 1, 8, 8) and torch.bincount(labels).tolist() == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip
    assert (pixels(images[0, 0, 0]) * 16).round().tolist() == [0, 0, 5, 13, 9, 1, 0, 0]  # the first row of the first


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "classes"),
    [
        ("digits", (1, 8, 8), (1438, 359), 10),
        ("pairs", (3, 32, 32), (3000, 600), 6),
        ("oddone", (3, 32, 32), (4000, 600), 6),
    ],
)
def test_load(name, shape, sizes, classes):
    data = load(name)
    assert isinstance(data, Dataset) and data.shape == shape
    assert (len(data.train), len(data.test)) == sizes
    assert len(data.classes) == classes and len(data.mean) == len(data.std) == shape[0]
    image, label = data.train[0]
    assert image.shape == shape and label.dtype == torch.int64
    train, test = ({row.numpy().tobytes() for row in part.tensors[0]} for part in (data.train, data.test))
    assert not train & test  # no image is on both sides


@pytest.mark.parametrize("name", ["digits", "pairs", "oddone"])
def test_a_seed_decides_what_is_loaded(name):
    first, again, other = (load(name, train=50, test=20, seed=seed) for seed in (4, 4, 5))
    assert len(first.train) == 50 and len(first.test) == 20
    assert torch.equal(first.train.tensors[0], again.train.tensors[0])
    assert not torch.equal(first.train.tensors[0], other.train.tensors[0])


def test_more_training_images_leave_the_test_images_alone():
    few, many = load("pairs", train=10, test=30), load("pairs", train=300, test=30)
    assert torch.equal(few.test.tensors[0], many.test.tensors[0])


@pytest.mark.parametrize("name", ["digits", "pairs", "oddone"])
def test_a_gallery_shows_nine_named_images(name):
    data = load(name, train=20, test=5)
    picture = data.gallery()
    assert np.asarray(Image.open(io.BytesIO(picture.png)).convert("L")).std() > 5
    names = [data.classes[label] for label in data.train.tensors[1][:9]]
    assert picture.alt == f"9 images: {', '.join(names)}."


def test_a_gallery_of_any_images():
    picture = gallery(torch.rand(4, 3, 16, 16), [0, 1, 1, 0], ("cat", "dog"), columns=2)
    assert picture.alt == "4 images: cat, dog, dog, cat."


def test_data_error_is_a_value_error():
    assert issubclass(DataError, ValueError)
