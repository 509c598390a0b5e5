"""Models and trainings by name: those of the reports that this course grew out of, and the course's own.

Each function below gives one configuration, and its docstring the command that runs it, how long that takes, and
what comes out. What a report does not print is ours and is called so: above all the training of every report
(optimizer, learning rate, betas, batch size), of which only the numbers of epochs are known here. The Vision
Transformers are not in this package, because they are exercises of Labs 3 and 5: `build` is given their classes.

Measured is one run each, with seed 0 and the stand-in data unless said, on one core of an AMD EPYC; the time is the
core's, with the start of Python, and varies by half with the machine and what else it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from vitedu.probe import encoders


@dataclass(frozen=True)
class Sizes:
    """The arguments of Lab 3's VisionTransformer, and what Lab 5's EncoderViT and its encoder are made with."""

    image_size: int
    patch_size: int
    in_channels: int
    num_classes: int
    dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    head_dim: int | None = None
    qkv_bias: bool = True


@dataclass(frozen=True)
class Training:
    """How a model is trained: with cross-entropy, by one of torch's optimizers.

    Attributes:
        optimizer: "Adam" or "AdamW".
        schedule: "constant", or "cosine": down to zero after a rise over the first `warmup` of the steps.
        epochs: one number a training; several make several trainings from the start, compared side by side.
    """

    epochs: tuple[int, ...]
    optimizer: str = "AdamW"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.05
    batch_size: int = 64
    schedule: str = "cosine"
    warmup: float = 0.1


@dataclass(frozen=True)
class Config:
    """A model, its training, and its data.

    Attributes:
        model: "VisionTransformer" (Lab 3), "EncoderViT" (Lab 5), or a class of vitedu.labs.lab3.homework.
        image: (C, H, W) of the images that the model takes.
        classes: how many it tells apart.
        parameters: how many it has.
        published: whether a report prints that number; ours is counted.
        data: what it was made for, as a name for vitedu.data.load; "" where only the report's authors have it.
        stand_in: embedded data that take their place where they are not there.
        training: see Training.
        sizes: of a VisionTransformer or an EncoderViT.
        ours: what no report says, and we chose.
    """

    name: str
    model: str
    image: tuple[int, int, int]
    classes: int
    parameters: int
    published: bool
    data: str
    stand_in: str
    training: Training
    sizes: Sizes | None = None
    ours: tuple[str, ...] = field(default=())

    @property
    def lab(self) -> str:
        """The lab whose solution has what the model and its training need."""
        return "lab5" if self.model == "EncoderViT" else "lab4"

    def build(self, notebook: Mapping[str, Any]) -> nn.Module:
        """A fresh model.

        Args:
            notebook: the names of a solution notebook, with the model's class; one of the homework needs none.
        """
        if self.model == "EncoderViT":
            s, tokens = self.sizes, (self.sizes.image_size // self.sizes.patch_size) ** 2 + 1
            encoder = encoders.bert(s.dim, s.depth, s.num_heads, s.mlp_dim, tokens, initializer_range=0.1)
            return notebook["EncoderViT"](s.patch_size, s.in_channels, s.num_classes, encoder)
        if self.sizes is not None:
            return notebook["VisionTransformer"](**asdict(self.sizes))
        from vitedu.labs.lab3 import homework

        return getattr(homework, self.model)()


TRAINING = ("optimizer", "learning rate", "betas", "weight decay", "batch size", "schedule")
BASELINE = 0.6  # the accuracy that the lab report had to beat


def _vit(
    name: str, sizes: Sizes, parameters: int, training: Training, data: str, stand_in: str, ours: tuple[str, ...],
    model: str = "VisionTransformer",
) -> Config:  # fmt: skip
    image = (sizes.in_channels, sizes.image_size, sizes.image_size)
    return Config(name, model, image, sizes.num_classes, parameters, False, data, stand_in, training, sizes, ours)


def homework_vit() -> Config:
    """The homework's ViT of 52,213,253 parameters: 64x64 photos of five COCO classes.

        autograder train homework-vit --data folder:PHOTOS

    Without the photos `pairs` stand in, enlarged, with five of their classes. The report prints the model's tensors
    and its number of parameters; its training is ours. See vitedu.labs.lab3.homework for what was reconstructed.

    Measured: one epoch of the three 40 s, test accuracy 95.8 %.
    """
    training = Training(epochs=(3,), lr=1e-4)
    ours = (*TRAINING, "epochs", "stand-in data")
    return Config("homework-vit", "FlattenedViT", (3, 64, 64), 5, 52_213_253, True, "", "pairs", training, None, ours)


def homework_einsum() -> Config:
    """The homework's variant with one weight tensor of 887,808 numbers and a head of 140,037 parameters.

        autograder train homework-einsum --data folder:PHOTOS

    Data and training as for homework-vit. The report prints these two numbers; the patches, the class token and the
    positions around them are reconstructed, and with them the sum of all.

    Measured: 16 s, test accuracy 96.0 % (of the first epoch, which is the best by validation).
    """
    training = Training(epochs=(10,), lr=1e-3)
    ours = (*TRAINING, "epochs", "stand-in data", "patch embedding")
    return Config(
        "homework-einsum", "OneTensorViT", (3, 64, 64), 5, 1_078_213, False, "", "pairs", training, None, ours
    )


def lab_report_28() -> Config:
    """The lab report's model for 28x28 gray images of six classes; 60 % was the accuracy to beat.

        autograder train lab-report-28 --data fashion-mnist

    Model sizes and the layers' parameters are the report's (attention 393,408, feed-forward 148,032, a LayerNorm
    384, the patches 3,264), and their sum is counted. The report's images are not public: the first six classes of
    Fashion-MNIST are the nearest, the first six digits stand in, enlarged. Meant for a GPU.

    Measured: one epoch of the ten 30 s. It says nothing about the accuracy: 14.0 %, chance, still in the warm-up.
    """
    sizes = Sizes(28, 4, 1, 6, dim=192, depth=10, num_heads=8, mlp_dim=384, head_dim=64, qkv_bias=False)
    training = Training(epochs=(10,), lr=3e-4)
    ours = (*TRAINING, "epochs", "data")
    return _vit("lab-report-28", sizes, 5_436_678, training, "fashion-mnist", "digits", ours)


def lab_sheet() -> Config:
    """The lab sheet's comparison of 10, 30 and 50 epochs, on the lab report's kind of images.

        autograder train lab-sheet --data fashion-mnist

    As the sheet has it, the model is built around an encoder of Hugging Face that gets `inputs_embeds`: Lab 5's
    EncoderViT, with a BERT. Its sizes are ours and small, so that the three trainings take minutes, and so is the
    standard deviation of its fresh weights, 0.1 (with the library's 0.02 it starts slowly: see Lab 5); the numbers of
    epochs are the sheet's. It needs transformers (the extra `libraries`).

    Measured: 67 s for all three, test accuracy 97.6 %, 97.1 % and 97.1 % for 10, 30 and 50 epochs.
    """
    sizes = Sizes(28, 4, 1, 6, dim=64, depth=2, num_heads=4, mlp_dim=128)
    training = Training(epochs=(10, 30, 50), schedule="constant")
    ours = (*TRAINING, "model sizes", "data")
    return _vit("lab-sheet", sizes, 76_166, training, "fashion-mnist", "digits", ours, "EncoderViT")


def pairs() -> Config:
    """The course's own: which two of three coloured objects, and which one is above.

        autograder train pairs

    Measured: 19 s, test accuracy 97.3 %.
    """
    sizes = Sizes(32, 8, 3, 6, dim=64, depth=2, num_heads=4, mlp_dim=128)
    return _vit("pairs", sizes, 80_966, Training(epochs=(12,)), "pairs", "pairs", ("all",))


def digits() -> Config:
    """The course's own on real images: scikit-learn's handwritten digits, 8x8.

        autograder train digits

    Measured: 16 s, test accuracy 92.8 %.
    """
    sizes = Sizes(8, 2, 1, 10, dim=64, depth=2, num_heads=4, mlp_dim=128)
    return _vit("digits", sizes, 69_194, Training(epochs=(20,), lr=3e-3), "digits", "digits", ("all",))


CONFIGS: dict[str, Callable[[], Config]] = {
    make().name: make for make in (homework_vit, homework_einsum, lab_report_28, lab_sheet, pairs, digits)
}
