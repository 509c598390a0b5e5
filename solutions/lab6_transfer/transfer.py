# ---
# jupyter:
#   accelerator: GPU
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] grade_id="title"
# # Lab 6 - Transfer learning: one trainable block
#
# Somebody has trained a large model for weeks on a million images. You have a few hundred of another kind, and a
# laptop. In this lab you take such a model, freeze nearly all of it, and train what is left: a new head and a single
# block. It follows D. Malpure, O. Litake and R. Ingle, *Investigating Transfer Learning Capabilities of Vision
# Transformers and CNNs by Fine-Tuning a Single Trainable Block* (2021,
# [arXiv:2110.05270](https://arxiv.org/abs/2110.05270)), and a homework report that tried to repeat it.
#
# | | what you write | difficulty | importance | minutes | points |
# |---|---|:---:|:---:|:---:|:---:|
# | 1 | `make_transforms`, `make_loaders`: images as the model knows them, split in two | 3 | 4 | 30 | 2 |
# | 2 | `freeze_all_but`: what learns, and what stays as it is to the last bit | 3 | 5 | 30 | 3 |
# | 3 | `trainable_parameters`: the numbers that say what was really trained | 1 | 4 | 10 | 2 |
# | | *extra*: `dense_block_count` and `vit_block_count`: the paper's own numbers, taken apart | 3 | 2 | 15 | - |
# | 4 | `replace_head`, `two_head_loss`, `head_accuracy`: new classes, and models with two heads | 2 | 4 | 20 | 2 |
# | 5 | `fine_tune`: all of it together, with a clock | 3 | 5 | 25 | 3 |
# | | three questions to answer in words | 2 | 4 | 20 | 2 |
#
# Difficulty and importance go from 1 to 5; the minutes without the extra add up to 135. No GPU and no download is
# needed. You should have trained a model with a loop of your own (Lab 4).

# %% [markdown] grade_id="how-it-works"
# ## How this notebook works
#
# As in the labs before: fill the cells with a `raise NotImplementedError("TODO")`, run the `check(...)` below each as
# often as you like, open the hints one step at a time. Tables, pictures and trainings start by themselves as soon as
# what they need is written.
#
# **Grading.** The exam runs your functions on small models whose layers have the names of the real ones:
# `features.denseblock2.denselayer12` and `classifier` as in torchvision's DenseNet, `blocks.11`, `head` and `head_dist`
# as in timm's DeiT. It looks at what learns, at what has moved and what has not, to the last bit. How you got there is
# not graded.
#
# Before you hand in: *Kernel > Restart Kernel and Run All Cells*, look at the checks, save.

# %% [markdown] grade_id="conventions"
# ## What holds in this lab
#
# - A **data set** gives pairs of a Pillow image in RGB and a label (an int), has a length, and an attribute `transform`
#   that is None here: torchvision's data sets are like that. What you are given you leave as it is.
# - A **loader** is anything that one can loop over again and again and that gives `(images, labels)`.
# - A **module name** is what `model.named_modules()` calls it, whole: `blocks.1` is not `blocks.11`.
# - A model has **one head or two**. With two it gives a tuple of two logits in training mode, and the mean of both in
#   evaluation mode, as timm's distilled DeiT does.
# - Losses, accuracies and seconds that you return are plain numbers; means are over samples.

# %% grade_id="install" role="display" shared="install"
prepare("timm")
del prepare

# %% grade_id="imports" role="setup"
import copy
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.models import DenseNet
from torchvision.transforms import v2

from vitedu import check, examine, when_ready
from vitedu.data import RELATIVE, STATISTICS, as_pictures, load, relative
from vitedu.devices import best_device, describe
from vitedu.labs.lab6 import transfer
from vitedu.plots import Picture, curves
from vitedu.progress import progress

# %% grade_id="device" role="setup"
device = best_device()
if device.type == "cpu":
    torch.set_num_threads(1)  # models as small as these leave a second thread waiting

# %% grade_id="show-device" role="display"
print(describe(device))

# %% [markdown] grade_id="earlier-prose"
# ## The model
#
# The locked cell holds the Vision Transformer of Labs 1 to 3. You need not read it again.

# %% grade_id="earlier-parts" role="setup" carried="lab4: earlier-parts"

# %% [markdown] grade_id="background-transfer"
# ## What is transferred
#
# The first layers of a trained network answer questions that many tasks have in common: where is an edge, which colour
# is here, which patches belong together? Only the last ones answer the question that it was trained for. So one keeps
# the first ones and trains the last ones anew. How many of them? The paper's answer is as strict as can be: **one
# block**, and the head.
#
# Here the model is pretrained on *pairs*, Lab 4's task: two coloured objects, and the class says which two and which of
# them is above. The **new task** has 300 training images: a red and a blue object, and the class says where the red one
# stands, seen from the blue one: above, below, left or right. The objects are old acquaintances. Left and right are
# new, and 300 images are few.

# %% grade_id="data" role="setup"
STUDY = as_pictures(*relative(600, 6), RELATIVE)  # half of them to train on, half to validate with

# %% grade_id="picture-relative" role="display"
curves.samples(*relative(10, 6), RELATIVE, columns=5)

# %% [markdown] grade_id="read-relative"
# Look for the red and the blue object; the gray ones say nothing. Often the two are apart in both directions, and the
# longer way decides. Now mirror one of the images in your mind, left to right. Is its label still right?

# %% [markdown] grade_id="exercise-loading"
# ## Exercise 1: images as the model knows them
#
# **Difficulty** 3 of 5 | **Importance** 4 of 5 | **Time** 30 minutes | **Points** 2
#
# A pretrained model expects images of the size, and with the mean and deviation, that it was trained with.
#
# `make_transforms(size, mean, std, train)` returns a function (or any object that can be called) that takes a Pillow
# image and gives a floating tensor (3, size, size):
#
# - channels in the order red, green, blue, first; values from 0 to 1; then $(x - \text{mean}) / \text{std}$ for each
#   channel;
# - with `train=False` the **whole** image is resized to size x size, whatever its shape, and every call gives the same;
# - with `train=True` a piece is cut out first, another one at each call, that keeps at least three quarters of the
#   image's area. It stays upright, **nothing is mirrored** (in this lab left and right are classes), nothing is filled
#   in at the edges, and colours stay as they are.
#
# `make_loaders(dataset, train_transform, val_transform, batch_size, val_fraction, seed)` returns two loaders, (train,
# val):
#
# - `val_fraction` of the samples are for validation, the others for training, each in one of the two;
# - the seed alone decides which: the same seed gives the same split, another seed another one;
# - training images go through `train_transform`, validation images through `val_transform`, and each keeps its label;
# - training batches come in a new order each epoch, validation batches always in the same; no sample is left out.

# %% [markdown] grade_id="hints-loading"
# <details><summary><b>Hint 1: a question</b></summary>
#
# What is the largest value of a white image after your division by 255, and how often does somebody divide? And: the
# two halves of `random_split` know the same data set. If you give that data set a transform, who sees it?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# torchvision's `transforms.v2` has all the pieces, and `Compose` puts them in a row: one that resizes (a pair of
# numbers forces both sides, one number only the shorter), or one that cuts out a random piece and resizes it (look at
# its `scale`), one that makes a tensor, one that makes floats from 0 to 1 of it, one that normalises.
#
# For the loaders: draw a random order of the indices with a `torch.Generator` of its own. Two *shallow copies* of the
# data set share the images, and each can have a transform of its own; `Subset` picks the indices.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# transforms: first = a random piece of ____ to 1 of the area, if train, else both sides to ____
#             return first, to a tensor, to floats with the scale ____, normalise with ____ and ____, in a row
#
# loaders:    order = random order of all indices, from a generator with the ____
#             the first ____ of them are for validation
#             for each part: a copy of the ____, with its own ____; the part's indices of it; a DataLoader
#             only the ____ loader shuffles
# ```
#
# </details>

# %% grade_id="loading" role="solution"
def make_transforms(size: int, mean: tuple[float, ...], std: tuple[float, ...], train: bool):
    """What turns a Pillow image into a tensor for a pretrained model.

    Args:
        size: height and width of the result.
        mean, std: one number a channel, for pixels from 0 to 1.
        train: cut out another piece, of at least 3/4 of the area, at each call; else the whole image.

    Returns:
        A function of a Pillow image (RGB) that gives a floating tensor (3, size, size).
    """
    ### BEGIN SOLUTION
    first = v2.RandomResizedCrop(size, scale=(0.75, 1.0)) if train else v2.Resize((size, size))
    return v2.Compose([first, v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    ### END SOLUTION


def make_loaders(dataset, train_transform, val_transform, batch_size: int, val_fraction: float, seed: int):
    """Split a data set in two, and make a loader for each part.

    Args:
        dataset: gives (Pillow image, label); has a length, and a `transform` that is None. It stays as it is.
        train_transform, val_transform: functions of an image.
        val_fraction: share of the samples that are for validation.
        seed: decides which.

    Returns:
        (train, val): the first in a new order each epoch, the second always in the same.
    """
    ### BEGIN SOLUTION
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = round(val_fraction * len(dataset))

    def loader(indices, transform, shuffle):
        seen = copy.copy(dataset)  # the same images, seen through a transform of its own
        seen.transform = transform
        return DataLoader(Subset(seen, indices), batch_size, shuffle=shuffle)

    return loader(order[held_out:], train_transform, True), loader(order[:held_out], val_transform, False)
    ### END SOLUTION

# %% grade_id="exam-loading" role="exam" exercise="loading" points=2
check("lab6/loading", make_transforms, make_loaders)

# %% [markdown] grade_id="see-transforms"
# ### Through both transforms
#
# One image, five times through your training transform, and at the right once through the validation transform.

# %% grade_id="transforms" role="setup"
def eyes(make_transforms) -> Picture:
    """An image through the training transform five times, and through the other one once."""
    image, label = STUDY[1]
    both = [make_transforms(32, **STATISTICS, train=train) for train in (True, False)]
    seen = torch.stack([both[0](image).float() for _ in range(5)] + [both[1](image).float()])
    return curves.samples(seen, [label] * 6, RELATIVE, columns=6)

# %% grade_id="picture-transforms" role="display"
when_ready(eyes)(make_transforms)

# %% [markdown] grade_id="read-transforms"
# The five pieces differ a little in place and size, and the label is right for each. In a photo data set one would also
# mirror the images, because a dog seen from the other side is a dog. Here that would turn *left* into *right* and keep
# the label: half of these images would teach the wrong answer. The same goes for digits and for text. Which
# augmentation is harmless is a question about the task, not about images.

# %% [markdown] grade_id="background-freezing"
# ## 2 Frozen means: to the last bit
#
# A parameter with `requires_grad=False` gets no gradient. That is not all there is to being frozen:
#
# - An optimizer that *holds* a frozen parameter may move it all the same. AdamW's weight decay shrinks every weight
#   that has a gradient, also one of zeros, and momentum goes on for a while after the last real one.
# - **BatchNorm** has running statistics. They are buffers, not parameters: they move with every forward pass in
#   training mode, with or without gradients.
# - **Dropout** in a frozen layer throws away features that nobody can learn to do without.
#
# And `model.train()`, which every training loop calls at every epoch, switches *all* modules to training mode, the
# frozen ones too. Something has to hold them back.

# %% [markdown] grade_id="exercise-freeze_all_but"
# ## Exercise 2: what learns, and what does not
#
# **Difficulty** 3 of 5 | **Importance** 5 of 5 | **Time** 30 minutes | **Points** 3
#
# `freeze_all_but` gets a model and a list of `module_names`. It changes the model, so that
#
# - exactly the parameters inside the named modules learn (with all that is inside these: their norms and biases, too);
#   all others are frozen, also those that belong to no named module, such as `cls_token`;
# - names are exact; several modules may be named; a name that no module has is a `ValueError` whose message holds it;
# - BatchNorm and Dropout outside the named modules stay in evaluation mode, also when somebody calls `model.train()`
#   later. Those inside the named modules go along with the mode as usual.

# %% [markdown] grade_id="hints-freeze_all_but"
# <details><summary><b>Hint 1: a question</b></summary>
#
# What happens when you set the attribute `requires_grad` of a whole model, without an underscore and brackets? Python
# lets you set any attribute of any object. And which blocks have a name that begins with `blocks.1`?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# `dict(model.named_modules())` finds modules by their whole name. First freeze everything (a module has
# `requires_grad_`, with an underscore, for all its parameters), then thaw the named ones.
#
# For the modes: `model.train()` calls `train` of each child in turn. You can put another function in the place of a
# single module's `train`, one that leaves it as it is. Or let a *forward pre-hook* switch it to evaluation mode right
# before it is used.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# modules = all modules by ____
# missing = those of module_names that ____; if there are any: raise a ____ that names them
# freeze ____
# for each named module: thaw it, and remember all modules inside it
# for each module of the model:
#     if it is a ____ or a ____, and not among those remembered:
#         put it into ____ mode, and see to it that train() does not ____
# ```
#
# </details>

# %% grade_id="freeze_all_but" role="solution"
def freeze_all_but(model: nn.Module, module_names: list[str]) -> None:
    """Freeze a model but for some of its modules.

    Args:
        model: changed in place.
        module_names: exact names, as in model.named_modules(); what is inside these modules learns.

    Raises:
        ValueError: a name that no module has; the message holds it.
    """
    ### BEGIN SOLUTION
    modules = dict(model.named_modules())
    missing = [name for name in module_names if name not in modules]
    if missing:
        raise ValueError(f"the model has no module {', '.join(missing)}")
    model.requires_grad_(False)
    learning = set()
    for name in module_names:
        modules[name].requires_grad_(True)
        learning.update(modules[name].modules())
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    for module in modules.values():
        if isinstance(module, kinds) and module not in learning:
            module.eval()
            module.train = lambda mode=True, module=module: module  # model.train() calls this one
    ### END SOLUTION

# %% grade_id="exam-freeze_all_but" role="exam" exercise="freeze_all_but" points=3
check("lab6/freeze_all_but", freeze_all_but)

# %% [markdown] grade_id="exercise-trainable_parameters"
# ## Exercise 3: how many numbers learn?
#
# **Difficulty** 1 of 5 | **Importance** 4 of 5 | **Time** 10 minutes | **Points** 2
#
# `trainable_parameters(model)`: the number of numbers that learn. Frozen ones do not count, buffers do not count, and
# what two layers share counts once. Two lines; they are worth their points because of what they find out below.

# %% [markdown] grade_id="hints-trainable_parameters"
# <details><summary><b>Hint 1: a question</b></summary>
#
# A Linear layer from 5 to 3 features has two parameter tensors. How many numbers?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# `model.parameters()` gives each parameter once, also a shared one; `numel()` counts its entries.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# the sum of ____ over all parameters with ____
# ```
#
# </details>

# %% grade_id="trainable_parameters" role="solution"
def trainable_parameters(model: nn.Module) -> int:
    """The number of numbers in a model that learn; shared ones count once."""
    ### BEGIN SOLUTION
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
    ### END SOLUTION

# %% grade_id="exam-trainable_parameters" role="exam" exercise="trainable_parameters" points=2
check("lab6/trainable_parameters", trainable_parameters)

# %% [markdown] grade_id="background-counts"
# ### What was really trained?
#
# The paper and the report name the same three models and the same idea, "the last block". Their tables give the number
# of trainable parameters, and these do not agree:
#
# | model | the report | the paper |
# |---|---:|---:|
# | DenseNet-201 | 235,210 | 6,982,400 |
# | DeiT-B distilled | 7,103,252 | 7,488,276 |
# | CaiT-S24 | 1,775,376 | 1,877,130 |
#
# A number of parameters is a fingerprint: it says which layers learned, whatever the text says. Below, your functions
# count them in the real architectures. They are made on torch's device `meta`, where a tensor has a shape and no
# numbers, so that nothing is downloaded, and 86 million parameters take no memory. (The two transformers come from the
# library timm. It is the extra `libraries` of this course; without it the cell says so.)

# %% grade_id="counts" role="setup"
CLASSES, INNER = 10, 256  # of CIFAR-10; features of the hidden layer in the paper's heads

COUNTS = {  # (model, hidden layer in its heads?, what learns): whose number that is
    ("DenseNet-201", False, ("features.denseblock4.denselayer16", "classifier")): "report",
    ("DenseNet-201", False, ("features.denseblock4", "features.norm5")): "paper",
    ("DeiT-B distilled", False, ("blocks.11", "head", "head_dist")): "report",
    ("DeiT-B distilled", True, ("blocks.11", "norm", "head", "head_dist")): "paper",
    ("CaiT-S24", False, ("blocks.23",)): "report",
    ("CaiT-S24", True, ("blocks_token_only.1", "norm", "head")): "paper",
}


def real_model(name: str, hidden: bool) -> nn.Module:
    """One of the three models for ten classes, on the device meta; with a hidden layer in its heads, if asked."""
    if not hidden:
        return transfer.report_skeleton(name, CLASSES)
    model = transfer.report_skeleton(name, INNER)
    for head in [child for child, _ in model.named_children() if child in ("head", "head_dist")]:
        behind = nn.Linear(INNER, CLASSES, device="meta")
        model.set_submodule(head, nn.Sequential(model.get_submodule(head), behind))
    return model


def count_real_models(freeze_all_but, trainable_parameters):
    """Print what each choice of layers makes learn in the real architectures."""
    try:
        for (name, hidden, modules), whose in COUNTS.items():
            model = real_model(name, hidden)
            freeze_all_but(model, list(modules))
            print(f"{name:<17}{trainable_parameters(model):>10,}  {whose}: {' + '.join(modules)}")
    except ImportError as error:
        print(error)

# %% grade_id="show-counts" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(count_real_models)(freeze_all_but, trainable_parameters)

# %% [markdown] grade_id="read-counts"
# All six numbers come out to the last digit, so this is what was trained:
#
# - **DenseNet-201.** The report thawed `denselayer16` and took it for the last one. The fourth block has 32 layers: it
#   is one in the *middle*, with everything behind it frozen. The paper thawed the whole block with its 32 layers, and
#   the norm behind it; its number leaves out the classifier, which must have learned as well.
# - **DeiT.** The same block, but the paper also thawed the last LayerNorm (1,536 parameters) and has two heads with a
#   hidden layer of 256 features; the report has two linear ones.
# - **CaiT.** Not the same block at all. After its 24 blocks CaiT has two more in which only the class token looks at
#   the image (`blocks_token_only`). The paper trained the last of these; the report the last of the first kind, and its
#   number leaves out the head.
#
# If you had read only the text, you would have called both "the last block", and explained different accuracies by
# anything else: fewer epochs, another learning rate.

# %% [markdown] grade_id="exercise-paper_counts"
# ## Extra: the paper's numbers by hand
#
# **Difficulty** 3 of 5 | **Importance** 2 of 5 | **Time** 15 minutes | no points
#
# Two closed formulas, checked on small sizes and on the paper's.
#
# `dense_block_count(layers, in_channels, growth, bottleneck)`: a dense block and the BatchNorm behind it. Layer $i$
# (from 0) sees $c_i = \text{in\_channels} + i \cdot \text{growth}$ channels: a BatchNorm over $c_i$, a 1x1 convolution
# to `bottleneck` channels, a BatchNorm over these, a 3x3 convolution to `growth` channels. The convolutions have no
# bias. The BatchNorm behind the block is over what comes out of it, all inputs and all layers.
#
# `vit_block_count(dim, mlp_dim, hidden, num_classes, heads, layer_scale)`: one transformer block (attention with four
# Linear(dim, dim), a feed-forward network of dim, mlp_dim, dim, two LayerNorms; all with biases), two vectors of `dim`
# more if it has layer scale, the LayerNorm behind the last block, and `heads` heads with a hidden layer, Linear(dim,
# hidden) and Linear(hidden, num_classes).

# %% [markdown] grade_id="hints-paper_counts"
# <details><summary><b>Hint 1: a question</b></summary>
#
# A BatchNorm over c channels: how many parameters, and how many buffers? What is c for layer 31 of DenseNet-201's last
# block (in_channels 896, growth 32)?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Write down each layer's number and add. DenseNet-201: `dense_block_count(32, 896, 32, 128)` is 6,982,400. DeiT-B:
# `vit_block_count(768, 3072, 256, 10, 2, False)` is 7,488,276. CaiT-S24: `vit_block_count(384, 1536, 256, 10, 1, True)`
# is 1,877,130.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# dense: for each layer with c channels: 2c + ____ + 2 * bottleneck + 9 * ____;  at the end 2 * ____
# vit:   attention = 4 * (____ + dim);  feed-forward = 2 * ____ + mlp_dim + dim;  norms = 2 * 2 * dim
#        final norm = ____;  each head = ____
# ```
#
# </details>

# %% grade_id="paper_counts" role="solution"
def dense_block_count(layers: int, in_channels: int, growth: int, bottleneck: int) -> int:
    """Parameters of a dense block (Huang et al. 2017, DenseNet-BC) and of the BatchNorm behind it."""
    ### BEGIN SOLUTION
    total = 0
    for i in range(layers):
        c = in_channels + i * growth
        total += 2 * c + c * bottleneck + 2 * bottleneck + 9 * bottleneck * growth
    return total + 2 * (in_channels + layers * growth)
    ### END SOLUTION


def vit_block_count(
    dim: int, mlp_dim: int, hidden: int, num_classes: int, heads: int, layer_scale: bool = False
) -> int:
    """Parameters of one transformer block, of the LayerNorm behind the last one, and of heads with a hidden layer."""
    ### BEGIN SOLUTION
    attention = 4 * (dim * dim + dim)
    feed_forward = 2 * dim * mlp_dim + mlp_dim + dim
    block = attention + feed_forward + 4 * dim + (2 * dim if layer_scale else 0)
    head = dim * hidden + hidden + hidden * num_classes + num_classes
    return block + 2 * dim + heads * head
    ### END SOLUTION

# %% grade_id="check-paper_counts" role="check" exercise="paper_counts"
check("lab6/paper_counts", dense_block_count, vit_block_count)

# %% [markdown] grade_id="background-heads"
# ## 4 New classes, and two heads
#
# ImageNet has 1,000 classes, the new task has others. The last layer has to go, and a fresh one takes its place. Its
# name depends on who wrote the model: `classifier` in torchvision's DenseNet, `fc` in its ResNet, `head` in timm.
#
# **Distilled** models (Touvron et al. 2021, *DeiT*) have two. Beside the class token there is a distillation token. Its
# head, `head_dist`, learned from the answers of another network, a teacher. While it trains, the model gives both
# logits as a tuple, because each head has a loss of its own; when it is used, it gives the mean of both logits. If
# there is no teacher any more, as in fine-tuning, both heads learn from the labels:
#
# $$ \ell = \tfrac{1}{2} \, \text{CE}(z_\text{head}, y) + \tfrac{1}{2} \, \text{CE}(z_\text{dist}, y) $$

# %% [markdown] grade_id="exercise-heads"
# ## Exercise 4: heads
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 20 minutes | **Points** 2
#
# `replace_head(model, num_classes)` puts a fresh `nn.Linear` with `num_classes` outputs in the place of each of the
# attributes `head`, `head_dist`, `classifier` and `fc` that the model has, **both** where there are two, and returns
# the model. A new head has as many inputs as the old one, keeps its name, learns (even if the model is frozen), and is
# on the old one's device and of its dtype. Everything else stays.
#
# `two_head_loss(outputs, labels)`: with a tuple of two logits the mean of both cross-entropies, with plain logits the
# cross-entropy.
#
# `head_accuracy(outputs, labels, heads="both")`: a plain number from 0 to 1. With a tuple, `"both"` judges the mean of
# the two logits, which is what the model says when it is used; `"first"` and `"second"` judge one head alone. With
# plain logits it makes no difference.

# %% [markdown] grade_id="hints-heads"
# <details><summary><b>Hint 1: a question</b></summary>
#
# What does `model.head.out_features = 10` change: the number that is printed, or the weight? And if one head is right
# and the other is wrong: is the model right?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# `hasattr`, `getattr` and `setattr` work with names that are strings. A Linear layer knows its `in_features`, and its
# weight knows where it lies and of which dtype it is; `nn.Linear` takes both as arguments. For loss and accuracy ask
# first whether `outputs` is a tuple.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# replace:  for each of the four names: if the model has it:
#               put there a Linear from ____ to num_classes, device = ____, dtype = ____
# loss:     a tuple: half of ____ plus half of ____; else the cross-entropy
# accuracy: a tuple: choose the first, the second, or ____; then the share of rows whose largest is ____
# ```
#
# </details>

# %% grade_id="heads" role="solution"
def replace_head(model: nn.Module, num_classes: int) -> nn.Module:
    """Give a model fresh linear heads: those of head, head_dist, classifier and fc that it has.

    Args:
        model: changed in place, and returned.
        num_classes: outputs of each new head.
    """
    ### BEGIN SOLUTION
    for name in ("head", "head_dist", "classifier", "fc"):
        if hasattr(model, name):
            old = getattr(model, name)
            place = {"device": old.weight.device, "dtype": old.weight.dtype}
            setattr(model, name, nn.Linear(old.in_features, num_classes, **place))
    return model
    ### END SOLUTION


def two_head_loss(outputs: Tensor | tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy; the mean of both heads' where there are two.

    Args:
        outputs: logits (B, C), or a tuple of two.
        labels: class indices (B,).
    """
    ### BEGIN SOLUTION
    if isinstance(outputs, tuple):
        return sum(F.cross_entropy(logits, labels) for logits in outputs) / len(outputs)
    return F.cross_entropy(outputs, labels)
    ### END SOLUTION


def head_accuracy(outputs: Tensor | tuple[Tensor, Tensor], labels: Tensor, heads: str = "both") -> float:
    """The share of samples that are classified rightly.

    Args:
        outputs: logits (B, C), or a tuple of two.
        labels: class indices (B,).
        heads: of two: "both" for the mean of their logits, "first" or "second" for one alone.
    """
    ### BEGIN SOLUTION
    if isinstance(outputs, tuple):
        first, second = outputs
        outputs = {"first": first, "second": second, "both": (first + second) / 2}[heads]
    return (outputs.argmax(dim=1) == labels).sum().item() / len(labels)
    ### END SOLUTION

# %% grade_id="exam-heads" role="exam" exercise="heads" points=2
check("lab6/heads", replace_head, two_head_loss, head_accuracy)

# %% [markdown] grade_id="exercise-fine_tune"
# ## Exercise 5: fine-tuning, with a clock
#
# **Difficulty** 3 of 5 | **Importance** 5 of 5 | **Time** 25 minutes | **Points** 3
#
# `fine_tune(model, train_loader, val_loader, module_names, epochs, lr, device)`: freeze all but the named modules, then
# train and validate `epochs` times. What is fixed:
#
# - The optimizer is `torch.optim.AdamW` with the learning rate `lr`, everything else as torch has it (so with weight
#   decay), and holds the parameters that learn, **no others**. Whatever stands in `.grad` when your function is called
#   counts for nothing.
# - What is frozen (parameters and buffers) is the same afterwards, to the last bit, and is still frozen.
# - Loss and accuracy are those of exercise 4, over samples; in training from the forward pass of the step, in training
#   mode; in validation in evaluation mode and without gradients. The model has one head or two.
# - Images and labels are moved to `device`; the model is there already.
# - The history has six lists with one number an epoch: `train_loss`, `train_accuracy`, `train_seconds`, `val_loss`,
#   `val_accuracy`, `val_seconds`. The seconds are those of that epoch's training, and of its validation, loading of the
#   batches included.
# - The model ends as the last epoch left it.
#
# You may call your functions from above. If one of them is wrong, that costs no points here.

# %% [markdown] grade_id="hints-fine_tune"
# <details><summary><b>Hint 1: a question</b></summary>
#
# When do you make the optimizer, before or after freezing? Which parameters do you hand to it? And where in the loop do
# you look at the clock: how often an epoch?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# It is Lab 4's loop with other ingredients. Training and validation differ in three things: the mode, whether
# gradients are recorded (`torch.set_grad_enabled` takes True or False), and the three calls of a step. So one loop over
# the two parts is enough. `time.perf_counter()` before and after; the difference is in seconds.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# freeze; then AdamW over the parameters with ____
# repeat epochs times, and each time for the two parts, train and val:
#     look at the ____
#     mode ____; sums = 0
#     with gradients only in ____:
#         for each batch: move it; outputs; loss
#             in training: ____, ____, ____
#             add to the sums: loss times ____, accuracy times ____, samples
#     append the two means, and the seconds since ____
# ```
#
# </details>

# %% grade_id="fine_tune" role="solution"
def fine_tune(
    model: nn.Module, train_loader, val_loader, module_names: list[str], epochs: int, lr: float, device
) -> dict[str, list[float]]:
    """Train some modules of a model, and leave the rest as it is.

    Args:
        model: with one head or two, on the device already.
        train_loader, val_loader: iterables of (images, labels) that can be gone through again.
        module_names: what learns, see freeze_all_but.
        epochs: at least 1.
        lr: AdamW's learning rate.

    Returns:
        train_loss, train_accuracy, train_seconds, val_loss, val_accuracy, val_seconds: one number an epoch.
    """
    ### BEGIN SOLUTION
    freeze_all_but(model, module_names)
    adamw = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    history = {f"{part}_{what}": [] for part in ("train", "val") for what in ("loss", "accuracy", "seconds")}
    for _ in range(epochs):
        for part, loader in (("train", train_loader), ("val", val_loader)):
            learn, started = part == "train", time.perf_counter()
            model.train(learn)
            summed, hits, n = 0.0, 0.0, 0
            with torch.set_grad_enabled(learn):
                for x, y in loader:
                    x, y = x.to(device), y.to(device)
                    outputs = model(x)
                    loss = two_head_loss(outputs, y)
                    if learn:
                        adamw.zero_grad()
                        loss.backward()
                        adamw.step()
                    summed += loss.item() * len(y)
                    hits += head_accuracy(outputs, y) * len(y)
                    n += len(y)
            history[f"{part}_loss"].append(summed / n)
            history[f"{part}_accuracy"].append(hits / n)
            history[f"{part}_seconds"].append(time.perf_counter() - started)
    return history
    ### END SOLUTION

# %% grade_id="exam-fine_tune" role="exam" exercise="fine_tune" points=3
check("lab6/fine_tune", fine_tune)

# %% [markdown] grade_id="background-study"
# ## 6 The study
#
# Nothing from here on is graded but the three questions at the end. First two small models are pretrained on 3,000
# *pairs*: a Vision Transformer with three blocks, and a small DenseNet (torchvision's own, with three dense blocks of
# three layers). That takes most of the time that this notebook needs.

# %% grade_id="pretraining" role="setup"
pretrained = {}  # name -> a model that knows pairs


def small_vit() -> nn.Module:
    """A Vision Transformer for 32x32 images with three blocks."""
    return VisionTransformer(32, 8, 3, 6, dim=64, depth=3, num_heads=4, mlp_dim=128)


def small_densenet() -> nn.Module:
    """torchvision's DenseNet with three blocks of three layers."""
    return DenseNet(8, (3, 3, 3), num_init_features=16, bn_size=2, num_classes=6)


def pretrain(batch_size=50):
    """Train both small models on pairs, with AdamW, a warm-up, and a cosine."""
    data = load("pairs")
    images, labels = (t.to(device) for t in data.train.tensors)
    new_images, new_labels = (t.to(device) for t in data.test.tensors)
    for name, make, top, epochs in (("small ViT", small_vit, 2e-3, 7), ("small DenseNet", small_densenet, 3e-3, 4)):
        torch.manual_seed(0)
        net, started = make().to(device), time.perf_counter()
        descent = torch.optim.AdamW(net.parameters(), weight_decay=0.05, fused=device.type != "mps")
        steps = [part for _ in range(epochs) for part in torch.randperm(len(labels)).split(batch_size)]
        for i, part in enumerate(progress(steps, f"pretraining the {name}")):
            rate = top * min(1, 10 * (i + 1) / len(steps)) * (1 + math.cos(math.pi * i / len(steps))) / 2
            for group in descent.param_groups:
                group["lr"] = rate
            F.cross_entropy(net(images[part.to(device)]), labels[part.to(device)]).backward()
            descent.step()
            descent.zero_grad(set_to_none=True)
        net.eval()
        with torch.inference_mode():
            share = (net(new_images).argmax(1) == new_labels).sum().item() / len(new_labels)
        print(f"{name:<16}{time.perf_counter() - started:5.1f} s, accuracy on new pairs {share:.3f}")
        pretrained[name] = net

# %% grade_id="show-pretraining" role="display"
when_ready(pretrain)()

# %% [markdown] grade_id="read-pretraining"
# Both know *pairs* nearly perfectly. Now the new task: **head only**, **one block** (the last block or dense layer, the
# norm behind it, and the head), **everything** (pretrained, nothing frozen), and **from scratch** (a fresh model,
# everything learns), with the same 300 images, cut out anew each time, and the same 12 epochs. The ViT from scratch
# also learns from **whole images**: the same 300, to the last pixel, in every epoch. All of it goes through your
# functions.

# %% grade_id="study" role="setup"
LAST = {  # what "one block" is
    "small ViT": ("blocks.2", "norm", "head"),
    "small DenseNet": ("features.denseblock3.denselayer3", "features.norm5", "classifier"),
}
PARTS = {  # name: (pretrained?, what learns; empty: everything)
    "small ViT, head only": (True, ("head",)),
    "small ViT, one block": (True, LAST["small ViT"]),
    "small ViT, everything": (True, ()),
    "small ViT, from scratch": (False, ()),
    "small ViT, from scratch, whole images": (False, ()),
    "small DenseNet, one block": (True, LAST["small DenseNet"]),
    "small DenseNet, from scratch": (False, ()),
}
found = []  # what the cell below finds


def own_functions():
    """The five functions of this notebook, by name."""
    return {name: globals()[name] for name in transfer.FUNCTIONS}


def small_candidates():
    """The two small models, each in some ways."""
    for name, (knows, modules) in PARTS.items():
        base = name.split(",")[0]
        make = {"small ViT": small_vit, "small DenseNet": small_densenet}[base]
        kind = "ViT" if "ViT" in base else "CNN"
        start = (lambda base=base: copy.deepcopy(pretrained[base]).cpu()) if knows else make
        yield transfer.Candidate(name, kind, start, modules, 32, **STATISTICS, crops="whole" not in name)


def small_study(functions, epochs=12):
    """Fine-tune all candidates on the new task, and print the report's table."""
    found[:] = transfer.study(
        list(small_candidates()), functions, STUDY, len(RELATIVE),
        epochs=epochs, batch_size=25, val_fraction=0.5, device=device,
    )
    print(transfer.table(found))


def study_curves(model, *runs):
    """The curves of some runs of a model, once the study is done."""
    histories = {row.name: row.history for row in found}
    if found:
        return curves.by_epoch({run: histories[f"{model}, {run}"] for run in runs})
    print("This appears when the study above is done.")

# %% grade_id="show-study" role="display"
when_ready(small_study)(own_functions())

# %% [markdown] grade_id="read-study"
# Every row of the **ViT** that begins with pretrained weights is far above the two that do not. A new head alone, 260
# numbers, gets well over half of the new images right; from scratch 114,308 numbers stay close to guessing, which is
# one in four. What brings more than the head? With 300 validation images the standard error is 2.7 points, so that
# differences below five points say little: one block and the head alone can hardly be told apart here, and everything
# is ahead of both by little more than that. (The accuracies are those of the best validation epoch.)
#
# Then the **DenseNet**. It does well from scratch: its convolutions know from the start that a red disc is a red disc
# wherever it stands, and 300 images are enough for the rest. Pretraining helps it little, simply because it needs no
# help, and a single trainable layer, 2,148 numbers, rather holds it back. That is what the paper's title asks about. A
# Vision Transformer has to *learn* what is near and what is the same elsewhere, from data, once; after that it can be
# transferred. (It is a small task with simple shapes. Do not conclude that CNNs are better; Lab 7 shows one on which
# this CNN has no chance.)
#
# The **seconds** of an epoch differ less than the numbers of trainable parameters. The forward pass is the same
# whatever is frozen; only the way back is shorter. And with models as small as these a good part of the time goes into
# the images: opening, cutting, resizing.

# %% grade_id="picture-study" role="display"
study_curves("small ViT", "head only", "one block", "everything")

# %% [markdown] grade_id="read-curves"
# The three pretrained ViTs, from the fewest trainable numbers to the most; a ring marks the best epoch. Look at the gap
# between training and validation: the head alone has none, with everything it opens, in the loss and in the accuracy.
# The more a model can change, the more it can learn by heart.

# %% grade_id="picture-study-scratch" role="display"
study_curves("small ViT", "from scratch, whole images", "from scratch")

# %% [markdown] grade_id="read-scratch"
# The ViT from scratch. Where it sees the **whole images** again and again it learns nearly all 300 by heart: the
# training loss goes towards 0. The validation loss turns round early and rises far above that of guessing (1.39, the
# logarithm of 4), and the validation accuracy does not fall with it. Question 2 asks why. With **crops**, which are
# never the same, there is little to learn by heart, and 300 images are too few for anything else.

# %% grade_id="picture-study-cnn" role="display"
study_curves("small DenseNet", "one block", "from scratch")

# %% [markdown] grade_id="read-cnn"
# The DenseNet with one layer trained, and from scratch: training and validation run side by side in both. What it
# learns from 300 images it knows of all others, too.

# %% [markdown] grade_id="full-prose"
# ### The report's own study
#
# The same function with the three real models, with weights from ImageNet, on CIFAR-10 brought to 224 x 224 pixels. It
# needs a GPU with some 10 GB and a network (about 700 MB of weights and 170 MB of images), and runs where the
# environment variable `VITEDU_FULL` is `1`. Two epochs on 45,000 images are enough to see the order of the models.

# %% grade_id="full" role="setup"
def full_study(functions, epochs=2):
    """The three real models, where there are a GPU and a network, and somebody wants it."""
    reason = transfer.why_not_full(device)
    if reason:
        print(reason)
        return
    print(transfer.table(transfer.full_study(functions, device, epochs=epochs)))

# %% grade_id="show-full" role="display"
when_ready(full_study)(own_functions())

# %% [markdown] grade_id="question-parts"
# ## Question 1: a Vision Transformer and its weak spot
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 7 minutes | **Points** 0.5
#
# What are the parts of a Vision Transformer, and what does each do? Where is it weaker than a CNN, and what has
# pretraining to do with that? Use a number from the table above.

# %% [markdown] grade_id="written-parts" role="written" points=0.5
# The image is cut into **patches**, and a linear layer (a convolution with the patch size as its stride) makes a vector
# of each: a token. **Position embeddings** are added, because nothing after them knows where a token stands. A **class
# token** is put in front and collects what the head needs. Then come **encoder blocks**: attention, in which each token
# takes from the others what it needs, and a feed-forward network for each token by itself, both on a residual branch
# behind a LayerNorm. A last LayerNorm and a linear **head** turn the class token into logits.
#
# The weak spot: nothing in it says that neighbouring pixels belong together or that a shape is the same shape somewhere
# else. A CNN has that built in. A ViT has to learn it, and that takes many images. In my table the ViT from scratch
# stays near one third (guessing gives a quarter), while the DenseNet from scratch, with the same 300 images, gets most
# of them right. Pretraining brings what the 300 images cannot teach: with one block trained the ViT doubles its
# accuracy, to about two thirds.
#
# ### BEGIN MARK SCHEME
# - 0.25 points: patches and their embedding, positions, class token, encoder blocks (attention and feed-forward
#   network, norms and residuals), head; at least four of them, each with what it does. Two or three: 0.12.
# - 0.25 points: it has no built-in locality or translation invariance, so it needs much data or pretraining; with a
#   number from the own table (for example from scratch against one block). Without a number: 0.12.
# - "It is slow" alone is no weakness that the table shows: no points.
# ### END MARK SCHEME

# %% [markdown] grade_id="question-loss"
# ## Question 2: the loss rises, the accuracy does not fall
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 6 minutes | **Points** 0.5
#
# In the report the validation loss rose from some epoch on while the validation accuracy held. Is that a contradiction?
# Say what each of the two measures, and find a run in the curves above in which you see it.

# %% [markdown] grade_id="written-loss" role="written" points=0.5
# No contradiction. The accuracy asks only which logit is the largest; the loss asks how much probability the right
# class got. When the model has learned its training images by heart, it goes on making its logits larger, because
# that still lowers the training loss. On validation images it becomes surer of everything, of its mistakes as well: an
# image that was wrong with a probability of 0.5 and is now wrong with 0.99 is one mistake as before, but costs 4.6
# instead of 0.7. The loss rises, the number of mistakes stays.
#
# In my curves the ViT from scratch on whole images shows it: its training accuracy goes towards 1, its validation loss
# has its lowest value in the first epochs and rises from there to more than 2, while the validation accuracy stays near
# a third. With the head alone nothing of the kind is seen: the frozen rest leaves no room for learning by heart.
#
# ### BEGIN MARK SCHEME
# - 0.25 points: accuracy counts the largest logit only, the loss its probability; growing confidence in wrong answers
#   (overfitting, overconfidence) raises the loss.
# - 0.25 points: a run from the own curves that shows it, or an honest "none of mine does" with the numbers of one.
# - "The loss was computed wrongly" or "by chance": no points.
# ### END MARK SCHEME

# %% [markdown] grade_id="question-differences"
# ## Question 3: why are the report's numbers not the paper's?
#
# **Difficulty** 3 of 5 | **Importance** 5 of 5 | **Time** 7 minutes | **Points** 1
#
# The report explained the differences between its accuracies and the paper's by the smaller number of epochs. What did
# it overlook? Go through the three models, with the numbers of trainable parameters.

# %% [markdown] grade_id="written-differences" role="written" points=1
# Fewer epochs may be a part of it, but the two did not train the same layers, and the numbers of trainable parameters
# say so. **DenseNet-201**: the report thawed `denselayer16` and the classifier, 235,210 parameters. The last dense
# block has 32 layers, so that is one in the middle; the paper thawed the whole block and the norm behind it, 6,982,400,
# thirty times as many. **DeiT**: the same last block, but the paper's 7,488,276 hold the final LayerNorm and two heads
# with a hidden layer of 256, the report's 7,103,252 two linear heads and no norm. **CaiT**: two different blocks. The
# report thawed `blocks.23`, 1,775,376, and did not count the head; the paper the last class-attention block, the norm
# and a head with a hidden layer, 1,877,130.
#
# To say that the epochs are the reason one would have to thaw the same layers, train for as long, and see whether the
# difference goes away.
#
# ### BEGIN MARK SCHEME
# - 0.25 points for each model (0.75 in all) with what was really unfrozen in the report and in the paper, or with the
#   two numbers and what the difference consists of. Only "other layers" without saying which: 0.12 each.
# - 0.25 points: the epochs alone cannot be made responsible while something else differs; or how one would test it.
# - "Fewer epochs" as the only reason: no points.
# ### END MARK SCHEME

# %% [markdown] grade_id="playground-prose"
# ## Playground
#
# The next cell is yours; nothing in it is graded. Some things to try:
#
# - Another block than the last: `blocks.0`, `blocks.1`. Where does the new task need the change?
# - The norms alone: every LayerNorm of the model and the head. How many parameters is that?
# - 50 training images, or 2,000 (`relative` makes as many as you like). At which number does *everything* overtake *one
#   block* clearly, and at which does *from scratch* catch up?
# - Mirror the training images all the same. By how much does the accuracy fall?
# - Images of your own: `torchvision.datasets.ImageFolder("photos")` is a data set as `make_loaders` takes it.

# %% grade_id="playground" role="playground"
def try_out(modules=("blocks.2", "norm", "head"), images=600, epochs=12):
    candidate = transfer.Candidate(
        " + ".join(modules), "ViT", lambda: copy.deepcopy(pretrained["small ViT"]).cpu(), modules, 32, **STATISTICS
    )
    pictures = as_pictures(*relative(images, 7), RELATIVE)
    rows = transfer.study(
        [candidate], own_functions(), pictures, 4, epochs=epochs, batch_size=25, val_fraction=0.5, device=device
    )
    print(transfer.table(rows))


# For example: try_out(("blocks.0", "head"))

# %% [markdown] grade_id="closing"
# ## What you have built, and what comes next
#
# You can take a model that somebody else has trained, give it the images that it expects, choose exactly what learns,
# prove that nothing else moved, and say with a number what you did. You know
#
# - that a transform can change the class, and that two halves of a data set can share one by accident;
# - that `requires_grad` is not all there is to freezing;
# - that the number of trainable parameters tells which layers were trained, whatever the text says.
#
# **Lab 7** puts Vision Transformer and CNN side by side, and asks which of them you would take, and when.
#
# ### To read on
#
# - H. Touvron et al.: *Training data-efficient image transformers & distillation through attention*, 2021,
#   [arXiv:2012.12877](https://arxiv.org/abs/2012.12877). DeiT, and why it has a second head.
# - H. Touvron et al.: *Going deeper with image transformers*, 2021,
#   [arXiv:2103.17239](https://arxiv.org/abs/2103.17239). CaiT: class attention and layer scale.
# - G. Huang, Z. Liu, L. van der Maaten, K. Weinberger: *Densely connected convolutional networks*, 2017,
#   [arXiv:1608.06993](https://arxiv.org/abs/1608.06993).
# - J. Yosinski et al.: *How transferable are features in deep neural networks?*, 2014,
#   [arXiv:1411.1792](https://arxiv.org/abs/1411.1792). The same question for CNNs, layer by layer.
# - A. Kumar et al.: *Fine-tuning can distort pretrained features and underperform out-of-distribution*, 2022,
#   [arXiv:2202.10054](https://arxiv.org/abs/2202.10054). When training everything is too much.
