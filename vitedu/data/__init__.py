"""Images and labels: scikit-learn's digits, generated images, and what torchvision downloads.

`load(NAME)` gives a whole data set; the functions beside it draw images. Nothing here trains.
"""

from vitedu.data import shapes
from vitedu.data.datasets import Dataset, digits, fit_to, gallery, load
from vitedu.data.errors import DataError
from vitedu.data.glyphs import FORMS, oneform, twoforms
from vitedu.data.image_dataset import as_pictures
from vitedu.data.relative_position import RELATIVE, STATISTICS, relative
from vitedu.data.shapes import ODDONE, PAIRS, oddone, pairs

__all__ = [
    "FORMS", "ODDONE", "PAIRS", "RELATIVE", "STATISTICS", "DataError", "Dataset", "as_pictures", "digits", "fit_to",
    "gallery", "load", "oddone", "oneform", "pairs", "relative", "shapes", "twoforms",
]  # fmt: skip
