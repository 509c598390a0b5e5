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
# # Lab 4 - Training and testing, on the GPU when there is one
#
# A Vision Transformer that has just been made knows nothing: its weights are dice. In this lab you write what turns
# them into knowledge, and what tells you honestly how much there is of it. It starts with counting right answers and
# ends with an exam in which your own training loop brings a model of your choice to bronze, silver or gold.
#
# | | what you write | difficulty | importance | minutes | points |
# |---|---|:---:|:---:|:---:|:---:|
# | 0 | `build_model`: your own Vision Transformer, or the one that is given | 1 | 3 | 10 | - |
# | 1 | `accuracy` and `confusion_matrix`: what is right, and what is taken for what | 2 | 4 | 15 | 2 |
# | 2 | `train_one_epoch`: once through the data, a step for each batch | 3 | 5 | 30 | 4 |
# | 3 | `evaluate`: look, and leave no trace | 2 | 5 | 15 | 3 |
# | 4 | `fit`: some epochs, and the best of them | 3 | 4 | 25 | 3 |
# | 5 | `save_checkpoint` and `load_checkpoint`: stop today, go on tomorrow | 2 | 4 | 20 | 2 |
# | 6 | `exam_model`: the model that you enter for the accuracy exam | 2 | 4 | 15 | 3 |
# | | three questions to answer in words | 2 | 4 | 20 | 3 |
#
# Difficulty and importance go from 1 to 5; the minutes are a guess for the middle of the class and add up to 150. No
# GPU and no download is needed: with two processor cores all trainings of this notebook together take about a minute
# and a half. You should know what a gradient is.

# %% [markdown] grade_id="how-it-works"
# ## How this notebook works
#
# As in the labs before: fill the cells with a `raise NotImplementedError("TODO")`, run the `check(...)` below each as
# often as you like, open the hints one step at a time. Pictures and trainings start by themselves as soon as what they
# need is written.
#
# **Trainings** show a progress bar with the loss. None takes longer than half a minute on two cores; you can stop one
# with the black square above (*Interrupt the kernel*), nothing breaks.
#
# **Grading.** The check uses a few public cases. The exam, which you do not see, runs your functions on scripted
# problems: small models whose weights are known, a few samples in batches of unequal size. It compares the losses, the
# accuracies and every weight afterwards with the right ones. So what counts is what your loop *does*, and not how well
# some model happens to learn with it: many a wrong loop learns quite well. Only the last exercise looks at an accuracy.
#
# Before you hand in: *Kernel > Restart Kernel and Run All Cells*, look at the checks, save.

# %% [markdown] grade_id="conventions"
# ## What holds in this lab
#
# The letters are those of the other labs: `B` images in a batch, `C` channels, `H` and `W` height and width. Some words
# are used strictly:
#
# | word | meaning |
# |---|---|
# | sample | one image with its label |
# | batch | some samples that go through the model together |
# | iteration, step | one batch, and one change of the weights |
# | epoch | once through all samples |
# | loss | cross-entropy, the mean over the samples |
# | accuracy | the share of samples that are classified rightly, from 0 to 1 (not percent) |
#
# Rules for everything that you write here:
#
# - A **loader** is anything that one can loop over, and loop over again, and that gives `(images, labels)`. It need not
#   have a length, and it need not have a `.dataset`: a plain list of batches is a loader too.
# - **Means are over samples.** The last batch is often smaller than the others, so the mean of the batches' means is
#   something else.
# - Losses and accuracies that you return are plain Python numbers.
# - **The device is an argument.** Images and labels come from the loader wherever they are, and your code moves them to
#   `device`. The model is there already. No `.cuda()`: the notebook has to run where there is none.

# %% grade_id="install" role="display" shared="install"
prepare()
del prepare

# %% grade_id="imports" role="setup"
import copy
import math
import os
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from vitedu import check, examine, rehearse, when_ready
from vitedu.data import load
from vitedu.devices import best_device, describe, timed
from vitedu.labs.lab4 import RECIPE, TIERS, TRAIN
from vitedu.plots import curves
from vitedu.progress import Record, progress, watch

# %% [markdown] grade_id="device-prose"
# ## Where it runs
#
# One line decides: `best_device()` is an NVIDIA GPU (`cuda`) if there is one, else Apple's (`mps`), else the processor
# (`cpu`). Everything below takes the device from here. To choose another, set the environment variable
# `VITEDU_DEVICE` before you start Jupyter, for example to `cpu`.

# %% grade_id="device" role="setup"
device = best_device()
if device.type == "cpu":
    torch.set_num_threads(1)  # models as small as these leave a second thread waiting

# %% grade_id="show-device" role="display"
print(describe(device))

# %% [markdown] grade_id="read-device"
# A GPU pays off when there is much to do at once. The models of this lab are so small that the processor is busy for
# some milliseconds with each batch, and a GPU spends most of its time waiting for the next order. With images of
# 224 x 224 pixels it is the other way round, by a factor of 50 and more.

# %% [markdown] grade_id="earlier-prose"
# ## The model
#
# The locked cell holds what Labs 1 to 3 built: attention, patches and tokens, and the Vision Transformer. You need not
# read it again.

# %% grade_id="earlier-parts" role="setup" carried="lab3: earlier-parts FeedForward EncoderBlock VisionTransformer"

# %% [markdown] grade_id="exercise-build_model"
# ## To begin with: whose model?
#
# **Difficulty** 1 of 5 | **Importance** 3 of 5 | **Time** 10 minutes | no points, but everything below is built on it
#
# `build_model` returns a fresh Vision Transformer with the sizes that it is asked for. You have the choice:
#
# - return the given one, `VisionTransformer`, with all sizes handed on; or
# - use **your own**: paste your classes from Lab 3 (and what they need from Labs 1 and 2) into the cell, above the
#   function. They may have the same names as those above.
#
# The check loads weights into the model by their names (`embedding.patches.proj.weight`,
# `blocks.0.attention.to_q.weight` and so on, as in Lab 3) and compares its logits with the right ones, before any
# training: a model with a mistake in it often trains quite well, only not as well as it could, and then one searches in
# the wrong place.

# %% [markdown] grade_id="hints-build_model"
# <details><summary><b>Hint 1: a question</b></summary>
#
# Which arguments does `VisionTransformer` in the locked cell take, and in which order? Which of them does `build_model`
# not have?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# It is one call. `head_dim`, `qkv_bias` and `pool` keep their defaults, so what comes after `mlp_dim` has to be given
# by name.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# return a VisionTransformer of (image_size, ____, ____, num_classes, ____, depth, ____, ____), and its dropout = ____
# ```
#
# </details>

# %% grade_id="build_model" role="solution"
def build_model(
    image_size: int = 32, patch_size: int = 8, in_channels: int = 3, num_classes: int = 6,
    dim: int = 64, depth: int = 2, num_heads: int = 4, mlp_dim: int = 128, dropout: float = 0.0,
) -> nn.Module:
    """A fresh Vision Transformer with these sizes: your own from Lab 3, or the one that is given above.

    To use your own, paste its classes into this cell, above the function, and return yours.
    """
    ### BEGIN SOLUTION
    return VisionTransformer(
        image_size, patch_size, in_channels, num_classes, dim, depth, num_heads, mlp_dim, dropout=dropout
    )
    ### END SOLUTION

# %% grade_id="check-build_model" role="check" exercise="build_model"
check("lab4/build_model", build_model)

# %% [markdown] grade_id="background-data"
# ## The data
#
# **Digits**: 1,797 handwritten digits of 8 x 8 pixels, grey, ten classes. They come with scikit-learn and were scanned
# from real forms. They are split in three, once and for all:
#
# - the **training set**: what the weights are fitted to;
# - the **validation set**: what you look at while you make decisions (how many epochs? which learning rate? which
#   model?);
# - the **test set**: what you look at once, at the end. A number by which you have decided something is no honest
#   estimate any more: you have chosen what looked good on these very images.
#
# **Pairs**: generated images of 32 x 32 pixels, in colour, six classes. Each holds two of three coloured shapes, and
# the class says which two, and which of them is above. The accuracy exam has images of this kind.
#
# `load` gives both, normalised and with a training and a test set; a part of the training digits becomes the validation
# set here. A **DataLoader** makes batches of them, in a new order each epoch if it is asked to shuffle.

# %% grade_id="data" role="setup"
digits = load("digits")
images, labels = digits.train.tensors  # (1438, 1, 8, 8) and (1438,), mixed already
train_set, val_set = TensorDataset(images[:-500], labels[:-500]), TensorDataset(images[-500:], labels[-500:])
test_set = digits.test

pairs = load("pairs", train=48, test=1)  # a single batch; the exam trains on 3,000


def batches(dataset, batch_size, shuffle=False, first=None):
    """A loader over a dataset, or over its first samples; with `shuffle` in a new order each epoch."""
    order = torch.Generator().manual_seed(0)
    some = TensorDataset(*dataset[:first])
    return DataLoader(some, batch_size, shuffle, generator=order, pin_memory=device.type == "cuda")

# %% grade_id="picture-samples" role="display"
curves.samples(*train_set[:9], digits.classes, columns=9)

# %% grade_id="picture-pairs" role="display"
curves.samples(*pairs.train[:10], pairs.classes, columns=5)

# %% [markdown] grade_id="read-samples"
# Some of the digits are hard for you, too; nobody will reach 100 percent. The pairs are easy for you, and not for a
# machine that only collects what is there: it also has to know *where* things are. A model without position embeddings
# sees which two colours there are and has to guess which of them is above. We measured 58 percent for it; that is the
# baseline of about 60 percent that question 3 asks about. (The gray shapes say nothing. They are there to be ignored.)

# %% [markdown] grade_id="exercise-metrics"
# ## Exercise 1: what is right, and what is taken for what
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 15 minutes | **Points** 2
#
# `accuracy(logits, labels)`: the model gives one number a class for each sample, the *logits*; the class with the
# largest is its answer. The accuracy is the share of right answers, a plain number from 0 to 1. It needs no softmax: a
# softmax does not change which number is the largest.
#
# `confusion_matrix(predictions, labels, num_classes)`: a table of counts. **The row is the true class, the column the
# prediction**, as in scikit-learn. On the diagonal stands what is right. It always has `num_classes` rows and columns,
# also when a class does not occur. Any integer or floating dtype is fine.
#
# $$ M_{ij} = \#\{\, n : \text{label}_n = i \text{ and } \text{prediction}_n = j \,\} $$

# %% [markdown] grade_id="hints-metrics"
# <details><summary><b>Hint 1: a question</b></summary>
#
# `logits` is (B, classes). Over which of the two axes do you look for the largest? What is the mean of a list of True
# and False? And for the table: what does `table[labels, predictions] += 1` do when the same pair occurs twice? Try it.
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# `argmax` gives the place of the largest number. `True` counts as 1 once the tensor is floating, and `Tensor.item()`
# makes a Python number of it. For the table either go through the pairs in a loop and add 1 each time, or give each
# pair (label, prediction) a number of its own, like the squares of a chessboard row by row, and let `torch.bincount`
# count how often each number occurs.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# accuracy:   (place of the largest along the axis of the ____  equals  labels), as floats, mean, as a number
#
# confusion:  square = ____ * num_classes + ____            # one number for each pair
#             counts = how often each of the ____ squares occurs
#             return counts as a table of ____ by ____
# ```
#
# </details>

# %% grade_id="metrics" role="solution"
def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of samples whose largest logit is the one of their class.

    Args:
        logits: (B, classes).
        labels: class indices (B,).

    Returns:
        A number from 0 to 1.
    """
    ### BEGIN SOLUTION
    return (logits.argmax(dim=1) == labels).sum().item() / len(labels)
    ### END SOLUTION


def confusion_matrix(predictions: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """How often samples of each class were taken for each class.

    Args:
        predictions, labels: class indices (N,).
        num_classes: also classes that do not occur have a row and a column.

    Returns:
        Counts (num_classes, num_classes): the row is the true class, the column the prediction.
    """
    ### BEGIN SOLUTION
    pairs = labels * num_classes + predictions
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    ### END SOLUTION

# %% grade_id="exam-metrics" role="exam" exercise="metrics" points=2
check("lab4/metrics", accuracy, confusion_matrix)

# %% [markdown] grade_id="see-metrics"
# ### A classifier without any training
#
# Before one trains a network, one should know what is to be had for nothing. The next cell takes the mean image of each
# digit in the training set, and gives every validation image the class of the mean that is nearest to it. Your two
# functions say how well that works.

# %% grade_id="nearest-mean" role="setup"
def nearest_mean():
    """Classify the validation digits by the nearest mean image, and draw the confusion matrix."""
    images, labels = train_set.tensors
    images = images.flatten(1)  # (n, 64)
    means = torch.stack([images[labels == digit].mean(0) for digit in range(10)])  # (10, 64)
    new_images, new_labels = val_set.tensors
    logits = -torch.cdist(new_images.flatten(1), means)  # the nearer, the larger
    print(f"accuracy: {accuracy(logits, new_labels):.3f}")
    matrix = confusion_matrix(logits.argmax(1), new_labels, 10)
    return curves.confusions({"nearest mean image": matrix}, digits.classes)

# %% grade_id="picture-metrics" role="display"
when_ready(nearest_mean)()

# %% [markdown] grade_id="read-metrics"
# Nine of ten without any training: the digits are well aligned, and a mean image is a fair description of most. What is
# wrong is not wrong by chance. Read the row of the 1, the narrow stroke in the middle that many other digits have, too:
# it is often taken for an 8 or a 9. The 0, with its hole in the middle, is hardly ever mistaken. A single number hides
# that; two classifiers with the same accuracy can fail on different classes, and Lab 7 will show you two that do.
#
# Keep the 90 percent in mind. If a network with a hundred thousand weights stays below, it is not the network that is
# impressive.

# %% [markdown] grade_id="background-step"
# ## 2 One step
#
# **The loss.** Accuracy cannot be learned directly: change a weight a little, and almost always no answer changes, so
# its derivative is 0. Cross-entropy can. For a sample with the label $y$ and the logits $z$ it is
#
# $$ \ell(z, y) = -\log \frac{\exp(z_y)}{\sum_j \exp(z_j)} $$
#
# the negative logarithm of the probability that the softmax gives to the right class: 0 if that is 1, and $\log 10 =
# 2.30$ for ten classes of which the model knows nothing. `F.cross_entropy` takes **logits**: the softmax is inside. Who
# puts another softmax in front squeezes all logits into 0 to 1, and the loss can then never fall below 1.46 (with ten
# classes).
#
# **The step.** All weights $\theta$ move a little against the gradient of the batch's mean loss; the learning rate
# $\eta$ says how far:
#
# $$ \theta \leftarrow \theta - \eta \, \nabla_\theta \frac{1}{B} \sum_{b=1}^{B} \ell(z_b, y_b) $$
#
# In torch that takes three calls, and who leaves one out gets no error message:
#
# - `backward` on the loss computes the gradients and **adds** them to what stands in each parameter's `.grad`;
# - `step` of the optimizer changes the weights by what stands in `.grad`. (AdamW, which we use, divides by the usual
#   size of each gradient and takes some momentum along; Kingma and Ba 2015, Loshchilov and Hutter 2019);
# - `zero_grad` of the optimizer empties `.grad`, because of the word "adds" above.
#
# A **scheduler** changes the learning rate as training goes on; its `step` comes after the optimizer's. Ours does so
# once a batch.
#
# **Two modes.** Some layers behave differently in training: dropout throws features away, batch normalisation uses the
# batch's own statistics. `train()` and `eval()` of the model switch all its layers; nothing switches them back by
# itself.

# %% [markdown] grade_id="exercise-train_one_epoch"
# ## Exercise 2: one epoch
#
# **Difficulty** 3 of 5 | **Importance** 5 of 5 | **Time** 30 minutes | **Points** 4
#
# Go once through the loader, and take one step for each batch. Return `{"loss": ..., "accuracy": ...}`, both as means
# over all samples, as plain numbers. What is fixed:
#
# - The model is in training mode for every batch, in whatever mode it came in.
# - Loss and accuracy come from the forward pass of the step itself, before the weights move; no second forward pass.
# - Images and labels are moved to `device`.
# - If there is a scheduler, it steps once a batch, after the optimizer.
# - The loss is plain cross-entropy, and gradients are not clipped: the exam compares the weights afterwards.

# %% [markdown] grade_id="hints-train_one_epoch"
# <details><summary><b>Hint 1: a question</b></summary>
#
# Two batches, one of 3 samples with a mean loss of 2, one of 1 sample with a loss of 6. What is the mean over the four
# samples? (It is not 4.) What do you have to remember from each batch, so that you can say it at the end, without
# asking the loader how long it is?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Three running sums: of losses, of right answers, of samples. The mean loss of a batch times its number of samples is
# the sum of its losses. Add *numbers* (`.item()`), not tensors: a tensor holds on to the whole graph of its
# computation, and the sum of an epoch holds on to all of them. For the three calls: they may stand in two orders; when
# must `.grad` be empty?
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# put the model into ____ mode
# three sums, all 0
# for each batch of the loader:
#     move ____ and ____ to the device
#     empty the ____
#     logits from the images, and the loss from ____ and labels
#     ____ of the loss
#     ____ of the optimizer
#     if there is a scheduler: its ____
#     add to the sums: loss as a number times ____, how many are right, how many there are
# return the first two sums, each divided by ____
# ```
#
# The `return` stands outside the loop; further in, an epoch ends with the first batch.
#
# </details>

# %% grade_id="train_one_epoch" role="solution"
def train_one_epoch(model, loader, optimizer, device, scheduler=None) -> dict[str, float]:
    """Go once through the data and take one step of gradient descent a batch.

    Args:
        model: on the device already; put into training mode here.
        loader: any iterable of (images, labels); neither its length nor a dataset is promised.
        optimizer: holds the model's parameters.
        device: where images and labels are moved to.
        scheduler: steps once a batch, after the optimizer, when there is one.

    Returns:
        {"loss", "accuracy"}: means over the samples, from the forward pass of each step; the loss is
        cross-entropy.
    """
    ### BEGIN SOLUTION
    model.train()
    total_loss, right, count = 0.0, 0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        total_loss += loss.item() * len(labels)
        right += (logits.argmax(dim=1) == labels).sum().item()
        count += len(labels)
    return {"loss": total_loss / count, "accuracy": right / count}
    ### END SOLUTION

# %% grade_id="exam-train_one_epoch" role="exam" exercise="train_one_epoch" points=4
check("lab4/train_one_epoch", train_one_epoch)

# %% [markdown] grade_id="see-rates"
# ### Your loop at four learning rates
#
# Your function does not know what kind of model it trains. Here it is the simplest one, a single linear layer from 64
# pixels to 10 classes, with plain gradient descent, for one epoch. Each curve is one learning rate $\eta$. (To get the
# loss of each iteration, the cell calls your function with one batch at a time: an epoch of one batch is a step.)

# %% grade_id="rates" role="setup"
def learning_rates(rates=(0.001, 0.1, 1.0, 10.0)):
    """The loss of each iteration in the first epoch of a linear model, for some learning rates."""
    losses = {}
    for rate in rates:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).to(device)
        descent = torch.optim.SGD(model.parameters(), lr=rate)
        bar = progress(batches(train_set, 20), f"learning rate {rate:g}")
        losses[f"{rate:g}"] = []
        for batch in bar:
            losses[f"{rate:g}"].append(train_one_epoch(model, [batch], descent, device)["loss"])
            bar.set_postfix(loss=losses[f"{rate:g}"][-1])
    return curves.lines(losses, "iteration", "loss of the batch", top=6, legend="learning rate")

# %% grade_id="picture-rates" role="display"
when_ready(learning_rates)()

# %% [markdown] grade_id="read-rates"
# At 0.001 the loss hardly moves: every step goes the right way, and none gets anywhere. At 0.1 it falls by itself. At 1
# the first steps jump far over the goal, and it takes half of the epoch to find back. At 10 the curve is off the page
# nearly all the time, at losses of 10 to 200. Note what does *not* happen: no error, no NaN. A learning rate that is
# ten times too large looks like a model that is no good.
#
# The curves are ragged because each point is the loss of another batch of 20; some batches are harder than others. That
# is why one looks at means over an epoch as well, and why two curves can be compared only if both show the same thing.

# %% [markdown] grade_id="background-testing"
# ## 3 Looking without touching
#
# Testing is not training with a few lines left out. What must be different:
#
# - **The mode.** With dropout on, a model gives another answer each time, and worse ones; with batch normalisation in
#   training mode, the answer for one image depends on the others in its batch, and the test data creep into the running
#   statistics. So: evaluation mode, for all of it.
# - **No gradients.** Nothing is to be learned, so nobody needs the graph. Without it the same pass takes less memory
#   and less time.
# - **No traces.** Whoever calls `evaluate` in the middle of a training must find everything as it was: weights, running
#   statistics, gradients, and the mode. Who comes with a model in training mode and gets it back in evaluation mode
#   trains without dropout from the second epoch on, and no error says so.

# %% [markdown] grade_id="exercise-evaluate"
# ## Exercise 3: look, and leave no trace
#
# **Difficulty** 2 of 5 | **Importance** 5 of 5 | **Time** 15 minutes | **Points** 3
#
# Return `{"loss": ..., "accuracy": ...}` over a loader's samples, as plain numbers, as in exercise 2. What is fixed:
#
# - Every forward pass happens in evaluation mode and without gradients.
# - Afterwards the model is in the mode in which it came, training *or* evaluation.
# - Nothing else changes: parameters, buffers, gradients and which parameters want some (`requires_grad`), whether torch
#   records gradients in general, and the state of torch's random numbers.

# %% [markdown] grade_id="hints-evaluate"
# <details><summary><b>Hint 1: a question</b></summary>
#
# Which attribute of a module tells in which mode it is? Which lines of `train_one_epoch` have no business here?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Write the mode down first, and put it back at the end: `model.train(mode)` takes True or False. A block `with
# torch.no_grad():` holds only for what is inside it, and then everything is as before. Gradients
# that are switched off by a line of its own stay off for ever after.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# remember whether the model is in ____
# put it into ____ mode
# three sums, all 0
# with no gradients:
#     for each batch: move it, logits, add to the three sums
# put the model back into ____
# return the two means over ____
# ```
#
# </details>

# %% grade_id="evaluate" role="solution"
def evaluate(model, loader, device) -> dict[str, float]:
    """Mean loss and accuracy over a loader's samples; leaves the model exactly as it was.

    Args:
        model: on the device already; its mode is the same afterwards.
        loader: any iterable of (images, labels).
        device: where images and labels are moved to.

    Returns:
        {"loss", "accuracy"}: means over the samples.
    """
    ### BEGIN SOLUTION
    was_training = model.training
    model.eval()
    total_loss, right, count = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            logits = model(images)
            total_loss += F.cross_entropy(logits, labels, reduction="sum").item()
            right += (logits.argmax(dim=1) == labels).sum().item()
            count += len(labels)
    model.train(was_training)
    return {"loss": total_loss / count, "accuracy": right / count}
    ### END SOLUTION

# %% grade_id="exam-evaluate" role="exam" exercise="evaluate" points=3
check("lab4/evaluate", evaluate)

# %% [markdown] grade_id="see-modes"
# ### What dropout does when it is not switched off
#
# A fresh model with much dropout, in training mode. Your `evaluate` looks at it twice; then the next cell asks the
# model itself twice, as it stands. Which of the two pairs of numbers are equal? Guess first.

# %% grade_id="modes" role="setup"
def two_looks(evaluate):
    """Print the loss of a model with dropout: twice by `evaluate`, then twice in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(8, 2, 1, 10, dropout=0.5).double().train()
        images, labels = val_set[:50]
        images = images.double()
        seen = [evaluate(model, [(images, labels)], "cpu")["loss"] for _ in range(2)]
        raw = [F.cross_entropy(model(images), labels).item() for _ in range(2)]
    print("by evaluate the same loss twice:       ", seen[0] == seen[1])
    print("by the model itself the same loss twice:", raw[0] == raw[1])
    print("still in training mode:                ", model.training)

# %% grade_id="show-modes" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(two_looks)(evaluate)

# %% [markdown] grade_id="read-modes"
# `evaluate` sees the model as it is, the model in training mode a different half of itself each time. If your last line
# says `False`, the mode was not put back.

# %% [markdown] grade_id="question-stages"
# ## Question 1: training and testing
#
# **Difficulty** 2 of 5 | **Importance** 5 of 5 | **Time** 5 minutes | **Points** 1
#
# In four to eight sentences or a list: what differs between the training stage and the testing stage? Think of the
# data, of what happens to the weights, of the model's mode, of gradients. For two of the differences say what goes
# wrong if one forgets them.

# %% [markdown] grade_id="written-stages" role="written" points=1
# **Data.** Training goes through the training set many times, in a new order each epoch, perhaps with augmentation.
# Testing goes once through images that were used for nothing before, in any order, without augmentation. Tested on
# training images, the accuracy says how well the model remembers and not how well it does on new ones.
#
# **Weights.** Training computes loss, gradients and a step of the optimizer for each batch. Testing computes the
# forward pass and the metrics and changes nothing.
#
# **Mode.** In training mode dropout is active and batch normalisation uses and updates the batch's statistics; in
# evaluation mode dropout does nothing and the stored statistics are used. If the model is tested in training mode, the
# result is random, too low, and depends on the other images in the batch; if the mode is not set back, the rest of the
# training runs without dropout.
#
# **Gradients.** Training needs the graph for `backward`. Testing runs under `no_grad`; otherwise the result is the
# same, but memory and time are wasted, and a sum of losses that are still tensors keeps every batch's graph alive.
#
# ### BEGIN MARK SCHEME
# - 0.25 points: the weights change in training (backward, step) and not in testing.
# - 0.25 points: train mode and eval mode, with what at least one layer does differently (dropout or batch norm).
# - 0.25 points: different data (unseen in testing; no augmentation or shuffling needed), or no gradients recorded.
# - 0.25 points: two consequences of forgetting one that are right. One: 0.12.
# - "In testing the model does not learn" alone: 0.25.
# - "eval() switches gradients off" is wrong: no points for mode or gradients where that is the explanation.
# ### END MARK SCHEME

# %% [markdown] grade_id="background-fit"
# ## 4 Many epochs, and which one to keep
#
# One epoch is seldom enough. After each one looks at the validation set, for two reasons: to see whether it still gets
# better, and to know *which* epoch was best. Late in a training the model often begins to learn its training images by
# heart, and the last epoch need not be the best one.
#
# "Best" means: the highest validation accuracy, and of equals the first. Not the lowest training loss, which nearly
# always falls until the end. And not the accuracy on the test set, which nobody looks at here.
#
# To keep a state one has to **copy** it. `model.state_dict()` gives you the weights themselves and not a copy of them:
# while training goes on they change, also in the dictionary that you have put aside.

# %% [markdown] grade_id="exercise-fit"
# ## Exercise 4: some epochs, and the best of them
#
# **Difficulty** 3 of 5 | **Importance** 4 of 5 | **Time** 25 minutes | **Points** 3
#
# In each epoch: train, evaluate on the validation loader, write four numbers down, and then call `on_epoch` with the
# number of the epoch and the history, if there is an `on_epoch`. What is fixed:
#
# - The history is a dictionary with the keys `train_loss`, `train_accuracy`, `val_loss`, `val_accuracy`; each is a list
#   with one number an epoch.
# - The epochs that `on_epoch` is told count from 0. When it is called, the lists have one entry more than this number,
#   and the model holds the weights of that epoch.
# - At the end the model holds the weights (and buffers) of the best epoch by validation accuracy, the first of equals.
#   If the accuracy was 0 throughout, that is the first epoch.
# - `epochs` is at least 1. The scheduler, if there is one, steps once a *batch*.
#
# You may call your `train_one_epoch` and `evaluate`. If one of them is wrong, that costs no points here.

# %% [markdown] grade_id="hints-fit"
# <details><summary><b>Hint 1: a question</b></summary>
#
# After epoch 3 you find that epoch 2 was the best so far. Where are its weights now? What would you have had to do, and
# when?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Whenever an epoch is better than all before, put a deep copy of the model's state aside (`copy.deepcopy`), and
# remember its accuracy. Start with an "accuracy so far" that any epoch beats. Only when all epochs are over, load the
# copy: `on_epoch` is to see each epoch's own weights, and the next epoch is to go on from them.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# history = four empty lists;  best state = none yet;  best accuracy = less than ____
# repeat epochs times:
#     training numbers   = ____ on the ____ loader, with the scheduler
#     validation numbers = ____ on the ____ loader
#     append the four numbers
#     if the validation accuracy is ____ than the best so far:
#         remember it, and a ____ of the model's state
#     if there is an on_epoch: call it with ____ and ____
# load the ____ into the model
# return history
# ```
#
# </details>

# %% grade_id="fit" role="solution"
def fit(
    model, train_loader, val_loader, optimizer, epochs, device, scheduler=None, on_epoch=None
) -> dict[str, list[float]]:
    """Train for some epochs, look at the validation data after each, and keep the best model.

    Args:
        model, optimizer, device, scheduler: as for train_one_epoch.
        train_loader, val_loader: iterables of (images, labels) that can be gone through again.
        epochs: at least 1.
        on_epoch: called with the epoch, counted from 0, and the history after each epoch; the model then
            still holds the weights of that epoch.

    Returns:
        {"train_loss", "train_accuracy", "val_loss", "val_accuracy"}: lists with one number an epoch.
        The model ends with the weights of the best epoch by validation accuracy, the first of equals.
    """
    ### BEGIN SOLUTION
    history = {"train_loss": [], "train_accuracy": [], "val_loss": [], "val_accuracy": []}
    best, best_accuracy = None, -1.0
    for epoch in range(epochs):
        train = train_one_epoch(model, train_loader, optimizer, device, scheduler)
        val = evaluate(model, val_loader, device)
        for name, value in (("train", train), ("val", val)):
            history[f"{name}_loss"].append(value["loss"])
            history[f"{name}_accuracy"].append(value["accuracy"])
        if val["accuracy"] > best_accuracy:
            best, best_accuracy = copy.deepcopy(model.state_dict()), val["accuracy"]
        if on_epoch is not None:
            on_epoch(epoch, history)
    model.load_state_dict(best)
    return history
    ### END SOLUTION

# %% grade_id="exam-fit" role="exam" exercise="fit" points=3
check("lab4/fit", fit)

# %% [markdown] grade_id="see-first-run"
# ### Your first training
#
# Everything is there: a Vision Transformer, data, and a loop. The next cell holds the **recipe** that all trainings
# below use, and that transformers usually ask for: AdamW; a learning rate that rises over the first tenth of the steps
# (*warm-up*: the first gradients of a fresh model are wild, and AdamW does not know their size yet), and then falls
# along a half cosine to 0, so that the last steps are small. Batches are small too, because these data are few.

# %% grade_id="recipe" role="setup"
def ready_to_train(steps: int, lr: float = 3e-3, seed: int = 0, **sizes):
    """A fresh model for the digits on the device, its optimizer, and a schedule over so many steps."""
    torch.manual_seed(seed)
    model = build_model(**({"image_size": 8, "patch_size": 2, "in_channels": 1, "num_classes": 10} | sizes)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    warmup = max(1, steps // 10)

    def factor(step: int) -> float:  # of the learning rate
        return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))

    return model, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def first_run(epochs: int = 12):
    """Train on all training digits, and draw the curves."""
    train_loader, val_loader = batches(train_set, 40, shuffle=True), batches(val_set, 250)
    model, optimizer, schedule = ready_to_train(epochs * len(train_loader))
    started = time.perf_counter()
    history = fit(model, train_loader, val_loader, optimizer, epochs, device, schedule, watch(epochs, "first run"))
    seconds = time.perf_counter() - started
    print(f"{epochs} epochs in {seconds:.1f} s; best validation accuracy {max(history['val_accuracy']):.3f}")
    return curves.by_epoch({f"a ViT on {len(train_set)} digits": history})

# %% grade_id="picture-first-run" role="display"
when_ready(first_run)()

# %% [markdown] grade_id="read-first-run"
# Read the two curves of the loss together. As long as both fall, the model learns something that also holds for images
# it has never seen. From about the fourth epoch on a gap opens: what it still learns holds more and more for its own
# training images only. The dot with the circle is the best epoch, and it is this one's weights that `model` holds now.
#
# In the first epochs the validation can look *better* than the training. That is no mistake: the training numbers are
# means over an epoch during which the model was still improving, those of the validation come from its end.
#
# And the mean images reached 90 percent. A Vision Transformer has to find out first that neighbouring pixels belong
# together, that a shape remains the same shape a pixel further left; nobody tells it, and 938 images are few. On small
# data it has no advantage. Lab 7 returns to that.

# %% [markdown] grade_id="background-checkpoints"
# ## 5 Stop today, go on tomorrow
#
# Trainings take days, and machines stop. A *checkpoint* is a file from which one can go on as if nothing had happened.
# That needs more than the weights: AdamW remembers a running mean of each gradient and of its square, and a fresh AdamW
# takes other steps. It also needs the number of the epoch and the history, or the curves begin anew.
#
# Save **weights, not objects**. `torch.save(model, path)` writes the whole object down as instructions for Python: the
# file can be read only where the same class exists under the same name, and loading it *runs* what is inside, also when
# somebody else has put it there. So `torch.load` by default (`weights_only=True`) takes nothing but tensors, numbers,
# texts, lists and dictionaries. A `state_dict` is that.
#
# A tensor remembers on which device it was saved. `map_location` says where it is to go; without it a checkpoint from a
# GPU cannot be read on a laptop.

# %% [markdown] grade_id="exercise-checkpoints"
# ## Exercise 5: checkpoints
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 20 minutes | **Points** 2
#
# Write the two functions. What is fixed:
#
# - After loading, model and optimizer are in the saved state: two epochs, save, load into a *fresh* model and a fresh
#   optimizer, two more epochs give the same weights as four. (With a fixed order of the batches and without dropout:
#   scheduler and random numbers are not saved here.)
# - The file can be read with `torch.load(path, weights_only=True)`.
# - `load_checkpoint` returns `(epoch, history)` as they were saved; the epoch is not counted on.
# - It raises when the keys of the file and of the model differ (`load_state_dict` does that by itself), and puts
#   tensors from any device onto `device`.
# - With `optimizer=None` only the model is loaded.

# %% [markdown] grade_id="hints-checkpoints"
# <details><summary><b>Hint 1: a question</b></summary>
#
# What do `model.state_dict()` and the optimizer's have in common? And what would happen to a training that goes on if
# only the first were saved: which of AdamW's numbers would start at 0 again?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# One dictionary with four entries goes into the file. On the way back each part goes where it belongs;
# `load_state_dict` changes the model *in place* and returns something that you do not need.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# save:  write {"model": state of ____, "optimizer": ____, "epoch": ____, "history": ____} to path
#
# load:  saved = what stands in path, with its tensors on ____
#        put saved[____] into the model
#        if there is an optimizer: put saved[____] into it
#        return saved[____], saved[____]
# ```
#
# </details>

# %% grade_id="checkpoints" role="solution"
def save_checkpoint(path, model, optimizer, epoch, history) -> None:
    """Write everything that is needed to go on training into one file, as weights, not as code.

    Args:
        path: the file; its folder exists.
        model, optimizer: whose state is saved.
        epoch: a number, given back as it is.
        history: the history so far.
    """
    ### BEGIN SOLUTION
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "history": history}, path
    )
    ### END SOLUTION


def load_checkpoint(path, model, optimizer=None, device="cpu") -> tuple[int, dict[str, list[float]]]:
    """Put a saved state back into a model, and into an optimizer if there is one.

    Args:
        path: a file that save_checkpoint wrote, perhaps on another device.
        model: gets the weights; raises when its keys are not the saved ones.
        optimizer: gets its state.
        device: where the tensors go.

    Returns:
        epoch and history, as they were saved.
    """
    ### BEGIN SOLUTION
    saved = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(saved["model"])
    if optimizer is not None:
        optimizer.load_state_dict(saved["optimizer"])
    return saved["epoch"], saved["history"]
    ### END SOLUTION

# %% grade_id="exam-checkpoints" role="exam" exercise="checkpoints" points=2
check("lab4/checkpoints", save_checkpoint, load_checkpoint)

# %% [markdown] grade_id="see-resume"
# ### 2 + 2 = 4
#
# Four epochs in one go; and two epochs, a checkpoint, a fresh model and a fresh optimizer that know nothing, and two
# more epochs. The cell prints by how much any two weights differ at the end, and does it once more without giving the
# optimizer its state back.

# %% grade_id="resume" role="setup"
def two_plus_two(save_checkpoint, load_checkpoint):
    """Print how far a training with a checkpoint in the middle ends from one without."""
    loader = list(batches(train_set, 20, first=100))  # a list of five batches, always the same

    def fresh(seed):
        torch.manual_seed(seed)
        model = build_model(8, 2, 1, 10, dim=16, mlp_dim=32)
        return model, torch.optim.AdamW(model.parameters(), lr=3e-3)

    def train(model, optimizer, epochs):
        for _ in range(epochs):
            train_one_epoch(model, loader, optimizer, "cpu")

    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        straight, optimizer = fresh(0)
        train(straight, optimizer, 4)
        first, optimizer = fresh(0)
        train(first, optimizer, 2)
        save_checkpoint(Path(folder) / "two.pt", first, optimizer, 2, {"train_loss": [2.5, 2.4]})
        for title in ("optimizer restored", "optimizer fresh"):
            second, optimizer = fresh(1)
            load_checkpoint(Path(folder) / "two.pt", second, optimizer if title == "optimizer restored" else None)
            train(second, optimizer, 2)
            both = zip(straight.parameters(), second.parameters(), strict=True)
            print(f"{title + ':':<20}{max((a - b).abs().max().item() for a, b in both):.4f}")

# %% grade_id="show-resume" role="display"
when_ready(two_plus_two)(save_checkpoint, load_checkpoint)

# %% [markdown] grade_id="read-resume"
# The first number is 0: a training with a checkpoint in the middle is the same training. The second is not. A fresh
# AdamW has no idea how large the gradients usually are, so after each stop the training makes a jump. It does not show
# in any error message, only as a small bump in the loss curve.

# %% [markdown] grade_id="background-overfit"
# ## 6 First one batch, then the exam
#
# Before a long training comes a cheap experiment: can the model learn **a single batch by heart**? It has some hundred
# thousand weights for a few images, so it must reach an accuracy of 1.00 within seconds. If it does not, something is
# broken, and more data, more epochs or a GPU will not mend it: the labels do not belong to the images, the loss gets
# something else than logits, a step is missing, parts of the model are not in the optimizer. If it does, the path from
# the pixels to the gradient is whole. (It does not say that the model is *right*: a model without positions learns a
# batch by heart, too.)
#
# The cell trains `build_model()` on one batch of 48 *pairs* with your `train_one_epoch`, step after step.

# %% grade_id="one-batch" role="setup"
def learn_one_batch(steps: int = 60):
    """Train on one batch again and again, and draw loss and accuracy of each step."""
    torch.manual_seed(0)
    model = build_model().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batch = pairs.train.tensors
    history = {"train_loss": [], "train_accuracy": []}
    bar = progress(range(steps), "one batch")
    for _ in bar:
        found = train_one_epoch(model, [batch], optimizer, device)
        for name, value in found.items():
            history[f"train_{name}"].append(value)
        bar.set_postfix(found)
    right = next((step for step, value in enumerate(history["train_accuracy"], 1) if value == 1), None)
    print(f"accuracy 1.00 after {right} steps" if right else "accuracy 1.00 was not reached: look at the checks above")
    return curves.by_epoch({"one batch of 48 pairs": history}, unit="step")

# %% grade_id="picture-one-batch" role="display"
when_ready(learn_one_batch)()

# %% [markdown] grade_id="read-one-batch"
# The loss starts near $\log 6 = 1.79$, where a model stands that knows nothing about six classes, and falls towards 0;
# the accuracy is 1.00 after a dozen steps or two. If yours stays near 1.79, the gradient does not reach the weights. If
# it falls, but the accuracy does not become 1, the gradients of old batches may still be in `.grad`. If the accuracy
# becomes 1 and the loss hangs at 1.04, there is a softmax too many.
#
# Would you have noticed a wrong learning rate, or a broken position embedding? Hardly. This experiment finds what is
# broken, and not what is bad.

# %% [markdown] grade_id="exercise-exam_model"
# ## Exercise 6: the accuracy exam
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 15 minutes | **Points** 3
#
# Now your loop and your model together. The exam fixes everything else, so that neither time nor luck decides: the
# optimizer, the schedule, the epochs, the order of the batches, one core. The cell below prints the recipe and the
# thresholds: **bronze** 1 point, **silver** 2, **gold** 3. The images are of the kind of *pairs*, laid out a little
# more strictly, so that nothing but the order of the two colours tells the class; the labels of the 600 test images
# never reach your notebook.
#
# `exam_model()` returns the model that you enter, fresh: for images of 32 x 32 pixels with 3 channels and six classes.
# Which sizes, is up to you; a Vision Transformer it must be, with the parameter names of Lab 3. The exam allows a
# limited time; `rehearse` says how much of it your model would take.
#
# `rehearse` runs the same training on public images and says what it would have been worth. The exam draws new ones:
# other colours, another order of classes. A result just above a threshold may fall below it on other images; leave some
# distance.

# %% grade_id="show-recipe" role="display"
print(f"{TRAIN:,} training images, {RECIPE.label}")
print(", ".join(f"{name} from {least:.1%}" for name, least in TIERS.items()))

# %% [markdown] grade_id="hints-exam_model"
# <details><summary><b>Hint 1: a question</b></summary>
#
# Is the one-batch experiment above at 1.00, and are the checks of `build_model` and `train_one_epoch` right? If not,
# begin there. If they are: what does a plain `build_model()` reach?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# The patch size decides how many tokens there are and how much of an object is in each; `dim` how much a token can
# hold; `depth` how often tokens look at each other. With so few images and steps, larger is not always better. Change
# one thing at a time.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# return build_model with patch_size = ____, dim = ____, depth = ____, num_heads = ____, mlp_dim = twice ____
# ```
#
# </details>

# %% grade_id="exam_model" role="solution"
def exam_model() -> nn.Module:
    """The model that you enter for the accuracy exam: 32x32 RGB images, six classes, sizes of your choice."""
    ### BEGIN SOLUTION
    return build_model(patch_size=8, dim=64, depth=2, num_heads=4, mlp_dim=128)
    ### END SOLUTION

# %% grade_id="exam-exam_model" role="exam" exercise="exam_model" points=3
rehearse(exam_model, train_one_epoch)

# %% [markdown] grade_id="read-exam_model"
# Between the 58 percent of a model without positions and gold lie very small things. Compare what *cannot* be seen
# here: an attention without its scale, a mean over batches where it should be over samples, dropout that is never
# switched off: none of these lowered the accuracy by more than a few points when we tried them on such images. That is
# why this exam gives 3 points of 20, and the others look at values.
#
# The picture shows the test images that the model got wrong first. Look for what they have in common: how far apart are
# the heights of the two coloured shapes, and what do the gray ones hide?

# %% [markdown] grade_id="background-longer"
# ## 7 Reading curves
#
# Nothing from here on is graded but the two questions at the end. How long should one train? The classical experiment:
# the same model with the same settings for **10, 30 and 50 epochs**. To make it interesting the training set is small
# on purpose: 400 of the digits, in batches of 20. The validation set has 500.
#
# The cell trains three models with your `fit`. A `Record` sits between the loader and your loop and notes the loss of
# every single iteration; it changes nothing.

# %% grade_id="runs" role="setup"
runs = {}  # what the cell below finds


def train_runs(lengths=(10, 30, 50), images=400, batch_size=20):
    """Train a model for each length, keep the models and all numbers in `runs`, and draw them by epoch."""
    runs.clear()
    for epochs in lengths:
        title = f"{epochs} epochs"
        loader = batches(train_set, batch_size, shuffle=True, first=images)
        model, optimizer, schedule = ready_to_train(epochs * len(loader))
        record = Record(loader, model, {"loss": F.cross_entropy, "accuracy": accuracy})
        started = time.perf_counter()
        history = fit(model, record, batches(val_set, 250), optimizer, epochs, device, schedule, watch(epochs, title))
        best = max(history["val_accuracy"])
        print(
            f"{title}: {time.perf_counter() - started:4.1f} s, best validation accuracy {best:.3f} "
            f"in epoch {history['val_accuracy'].index(best) + 1}"
        )
        runs[title] = {"model": model, "history": history, "iterations": record.values, "best": best}
    return curves.by_epoch({title: run["history"] for title, run in runs.items()})


def later(found, draw):
    """Call `draw` once a cell above has found something."""
    if found:
        return when_ready(draw)()
    print("This appears when the training above has been done.")

# %% grade_id="picture-runs" role="display"
when_ready(train_runs)()

# %% [markdown] grade_id="read-runs"
# Read it column by column. After **10 epochs** all curves are still on their way: the model has not even learned its
# training images. That is *underfitting*, and more epochs would help. After **30** the training accuracy is at 1.00 and
# the validation accuracy has stopped rising. The last 20 of the **50** epochs bring next to nothing: the training loss
# is practically 0, so there is hardly a gradient left, and the schedule has made the steps tiny, too.
#
# The 50 epochs are not the 30 and then 20 more. The schedule is stretched over the length of the run, so that the first
# ten epochs of the three are different trainings, at different learning rates. That is how one should compare: every
# length gets its full cosine. Who stops a long training in the middle and calls that "the short one" compares with a
# model that never took its small steps.
#
# Are 50 epochs better than 30? In our run the two differ by half a percent, which is 3 of 500 images. Another seed
# turns that round.
#
# The same three runs, iteration by iteration. The pale line is the loss of each single batch, the dark one the mean
# over each epoch:

# %% grade_id="picture-iterations" role="display"
later(
    runs,
    lambda: curves.by_iteration({title: run["iterations"]["loss"] for title, run in runs.items()}, steps=20),
)

# %% grade_id="picture-iterations-accuracy" role="display"
later(
    runs,
    lambda: curves.by_iteration(
        {title: run["iterations"]["accuracy"] for title, run in runs.items()}, steps=20, ylabel="accuracy of a batch"
    ),
)

# %% [markdown] grade_id="read-iterations"
# Per iteration one sees what an epoch's mean hides: how much batches differ, that the noise becomes smaller as the loss
# does, and single batches that go badly long after everything seemed learned. Per epoch one sees where it is going.
# The accuracy of a batch of 20 can only be a multiple of 0.05, hence the comb.
#
# Write on the axis which of the two you show. A mean over a hundred iterations under the label "iteration" looks calmer
# than the training was.

# %% [markdown] grade_id="background-overfitting"
# ### Loss up, accuracy level
#
# Take even fewer images, 100, keep the learning rate constant, and go on for 60 epochs. `fit` calls `on_epoch` after
# each, and the cell uses that for a measurement of its own: how sure is the model of itself on the validation set? That
# is the probability of the class that it names, once averaged over the images that it gets right, and once over those
# that it gets wrong.

# %% grade_id="overfitting" role="setup"
sureness = {}  # what the cell below finds


def train_on_few(images=100, epochs=60, shown=300):
    """Train on few images at a constant learning rate; draw the curves, and keep how sure the model is."""
    sureness.clear()
    loader = batches(train_set, 20, shuffle=True, first=images)
    model, optimizer, _ = ready_to_train(1, lr=2e-3)
    bar, (some, labels) = watch(epochs, f"{images} images"), val_set[:shown]

    def look(epoch, history):
        bar(epoch, history)
        sure, classes = probabilities(model, some).max(dim=1)
        for name, chosen in (("right answers", classes == labels), ("wrong answers", classes != labels)):
            sureness.setdefault(name, []).append(sure[chosen].mean().item())

    val_loader = batches(val_set, shown, first=shown)
    history = fit(model, loader, val_loader, optimizer, epochs, device, None, look)
    lowest = history["val_loss"].index(min(history["val_loss"])) + 1
    for epoch in (lowest, epochs):
        loss, share = history["val_loss"][epoch - 1], history["val_accuracy"][epoch - 1]
        print(f"epoch {epoch}: validation loss {loss:.2f}, accuracy {share:.3f}")
    return curves.by_epoch({f"{images} training images": history})


@torch.inference_mode()
def probabilities(model, images):
    """What a model in evaluation mode gives to each class, on the CPU (B, classes)."""
    model.eval()
    return model(images.to(device)).softmax(dim=1).cpu()

# %% grade_id="picture-overfitting" role="display"
when_ready(train_on_few)()

# %% grade_id="picture-sureness" role="display"
later(sureness, lambda: curves.lines(sureness, "epoch", "mean probability of the named class", top=1))

# %% [markdown] grade_id="read-overfitting"
# After about 17 epochs the model knows its hundred images by heart. From there on the two pictures on the validation
# set seem to contradict each other: the loss **rises** by a third, and the accuracy **stays** where it is. Both are
# right. The accuracy asks only which class comes first. The loss asks how much probability the right class got, and the
# lower picture shows what happens to that: the model becomes ever surer of itself, and of its wrong answers nearly as
# much as of its right ones. An image that is wrong with a probability of 0.4 for the wrong class costs little, one that
# is wrong with 0.99 a lot; both count as one mistake.
#
# So a rising validation loss at level accuracy means *overconfidence* (Guo et al. 2017 measured it for large networks).
# Whether it matters depends on what the probabilities are used for. Remedies are those against overfitting in general:
# more data, augmentation, dropout, weight decay, fewer epochs, and softer labels (`label_smoothing` in
# `F.cross_entropy`).

# %% [markdown] grade_id="see-best"
# ### The best of the three, on the test set
#
# Three models, one decision, made on the validation set. Now the test set is looked at, for the first and only time.

# %% grade_id="best" role="setup"
def best_on_test():
    """The best model's title, what it says to the test images, and these images with their labels."""
    title = max(runs, key=lambda title: runs[title]["best"])
    images, labels = test_set.tensors
    return title, probabilities(runs[title]["model"], images).argmax(dim=1), images, labels


def test_confusion():
    """The confusion matrix of the best model."""
    title, predictions, _, labels = best_on_test()
    print(f"{title}: accuracy {runs[title]['best']:.3f} on the validation set, ", end="")
    print(f"{(predictions == labels).double().mean():.3f} on the {len(labels)} images of the test set")
    return curves.confusions({f"best model: {title}": confusion_matrix(predictions, labels, 10)}, digits.classes)


def test_mistakes(columns=9, rows=2):
    """Test images that the best model gets wrong."""
    _, predictions, images, labels = best_on_test()
    wrong = (predictions != labels).nonzero().flatten()[: rows * columns]
    return curves.samples(images[wrong], labels[wrong], digits.classes, predictions[wrong], columns)

# %% grade_id="picture-confusion" role="display"
later(runs, test_confusion)

# %% grade_id="picture-mistakes" role="display"
later(runs, test_mistakes)

# %% [markdown] grade_id="read-best"
# Above each image stands what it is, and what the model said. With many you will forgive it. In the matrix look for
# cells that are dark although they lie off the diagonal, and for rows that share out their mistakes to many columns:
# the 1 here, as with the mean images, but this time for other reasons.
#
# The two accuracies differ, though it is the same model. One reason is the choice: the epoch and the model were picked
# because they looked good on the validation set, which makes that number a little too good. The other is chance: with
# 359 images at 88 percent the standard error is $\sqrt{0.88 \cdot 0.12 / 359}$, or 1.7 points. In our run chance won:
# the test set turned out easier. Digits after the first of a percentage mean nothing here.

# %% [markdown] grade_id="question-hyper"
# ## Question 2: hyper-parameters
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 8 minutes | **Points** 1
#
# Which hyper-parameters did you change, and what did each do? Name at least three, with the values that you tried and
# what you saw: numbers, or the shape of a curve. Sizes of the model count (patch size, dim, depth, heads, dropout), and
# so do those of the training (learning rate, epochs, batch size, size of the training set); the playground below is a
# place to try the latter. If something made no difference, say so: that is a result, too.

# %% [markdown] grade_id="written-hyper" role="written" points=1
# (An example; one thing changed at a time.) **Learning rate**, digits, 400 images, 15 epochs, three seeds, best
# validation accuracy: 0.0003 gave 57 to 60 percent, 0.001 gave 66, 0.003 gave 68 to 76, 0.01 gave 67 to 77, 0.03 gave
# 38 to 51. With the small ones the training loss was still falling when the run ended (1.0 and 0.5); with 0.03 it never
# got below 1.5. Between 0.003 and 0.01 I see no difference that is larger than that between seeds.
#
# **Epochs**, digits: 10, 30 and 50 gave 69, 82 and 83 percent. After 10 the model had not learned its training images
# yet; from 30 to 50 nothing happened.
#
# **Depth** of the exam's model (rehearsal recipe, public test images, two seeds): 2 gave 99.2 and 99.0, 1 gave 97.8 and
# 99.2; a second block makes it steadier, not better on every seed. **Patch size** 16 instead of 8: 97.3 twice. With
# 4 large patches a token often holds pieces of several shapes; 4 gave 99.2 and 99.5 and took longer. **Dropout** 0.1:
# 99.2 and 98.8, no difference that two seeds could show. I decided on the images on which these numbers were
# measured, so on new ones they may come out a little lower.
#
# ### BEGIN MARK SCHEME
# - 0.25 points for each hyper-parameter (up to three) with values tried and an effect observed that fits: a number, or
#   the course of a curve. Named without values or without an effect: 0.12 at most in all.
# - 0.25 points: it says on which data the decision was made (validation or rehearsal images, not the test set), or that
#   one thing was changed at a time, or that differences of a point or two are within chance.
# - An effect that cannot be (for example "a larger patch size gives more tokens") earns nothing for that one.
# - A null result ("8 heads did the same as 4: 98.5 and 98.3 percent") counts in full.
# ### END MARK SCHEME

# %% [markdown] grade_id="question-accuracy"
# ## Question 3: your accuracy
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 7 minutes | **Points** 1
#
# Which accuracy did your model reach in the rehearsal? What does the baseline of about 60 percent mean, which a model
# without positions reaches, and how did you get from there to your number? Name what in your model or loop makes the
# difference, and say how sure you can be of the last digit, with 600 test images.

# %% [markdown] grade_id="written-accuracy" role="written" points=1
# In the rehearsal my model (patch size 8, dim 64, depth 2, 4 heads) reached 99.2 percent of the 600 public test images,
# which is gold.
#
# The baseline of about 60 percent is what a model without position embeddings reaches. It recognises which two colours
# are there, and has to guess which one is above. Guessing alone would give 50 percent; a little more is possible,
# presumably because a patch that holds a piece of both shapes betrays their order.
#
# From there to 99 percent: position embeddings tell the tokens where they stand, so that attention can compare two
# places. My first loop stayed near 15 percent, no better than guessing: `zero_grad` was missing. The one-batch
# experiment showed it, too, with an accuracy of 0.58 after 60 steps in place of 1.00. After that the default sizes were
# enough; warm-up and cosine come with the recipe.
#
# One image of 600 is 0.17 points, and the standard error at 99.2 percent is $\sqrt{0.992 \cdot 0.008 / 600}$, or 0.4
# points. So 99.2 and 99.0, which another seed gave, are the same result.
#
# ### BEGIN MARK SCHEME
# - 0.25 points: the own accuracy as a number, and on which images it was measured.
# - 0.25 points: what the baseline means: the objects are recognised, their order is guessed (half of the samples, a
#   little more); or that it is what a model without positions reaches.
# - 0.25 points: how it got above: position embeddings (needed), and one thing about loop or training that mattered
#   (zero_grad, scheduler, learning rate, enough epochs, the one-batch experiment, a bug that was found).
# - 0.25 points: the uncertainty: one image is 0.17 points; the standard error is about half a point at 99 percent; or
#   several seeds were tried and the spread is given.
# - An accuracy below bronze costs nothing here if the text is honest about it.
# ### END MARK SCHEME

# %% [markdown] grade_id="background-speed"
# ## 8 Faster
#
# Three switches that every training script has. None changes *what* is computed (the first one changes it a little),
# and none helps everywhere. So measure, on your machine, with your model.
#
# - **autocast** computes matrix products in bfloat16: numbers of 16 bits with the range of float32 but only 8 bits of
#   precision. The weights, and what needs the precision (the loss, sums), stay in float32. It pays where there are
#   units for bfloat16: in NVIDIA's GPUs from Ampere (2020) on, and in server processors with AMX or AVX512-BF16. Others
#   emulate it and may get slower.
# - **torch.compile** translates the model into fused kernels. That saves trips to memory, and the time that Python
#   needs to hand out work, which is most of the time when a GPU runs a small model. It costs the better part of a
#   minute before the first step, and something again when a shape changes.
# - **Pinned memory** and `non_blocking=True`: a GPU can fetch a batch by itself while it computes, if the batch lies in
#   memory that the system must not move away. That is for CUDA. On a CPU there is nothing to copy, and Apple's GPU
#   shares its memory with the processor.
#
# The cell measures in turns, a, b, a, b, and takes the median (`vitedu.devices.timed`): who measures all of a and then
# all of b measures what else the machine was doing. And it waits for the GPU before it reads the clock: calls on a GPU
# return at once, long before the result is there.

# %% grade_id="speed" role="setup"
class InBfloat16(nn.Module):
    """A model whose forward pass runs under autocast; its logits are float32 again."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            found = self.model(images)
        return found.float()


def measure_steps(repeats=5):
    """Print how long a training step of a larger model takes in several ways, measured in turns."""
    size = 256 if device.type == "cuda" else 16
    batch = torch.randn(size, 3, 32, 32).to(device), torch.randint(6, (size,)).to(device)

    def step(wrap):
        model = build_model(patch_size=4, dim=192, depth=4, num_heads=3, mlp_dim=384).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        wrapped = wrap(model)
        return lambda: train_one_epoch(wrapped, [batch], optimizer, device)

    ways = {"float32": step(lambda model: model), "bfloat16": step(InBfloat16)}
    if device.type == "cuda" or os.environ.get("VITEDU_FULL") == "1":
        ways["compiled"] = step(torch.compile)
        ways["bfloat16, compiled"] = step(lambda model: torch.compile(InBfloat16(model)))
    else:
        print("torch.compile is left out here: its first step takes most of a minute. VITEDU_FULL=1 measures it.")
    print(f"one training step, {size} images of 32 x 32, {describe(device)}")
    print_times(timed(ways, device, repeats))


def measure_copies(repeats=20):
    """Print how long a batch takes from the processor's memory to the device's."""
    if device.type != "cuda":
        print(f"Nothing is copied to the device {device}, so there is no copy to measure: this is for CUDA.")
        return
    images = torch.randn(256, 3, 224, 224)
    pinned = images.pin_memory()
    print("256 images of 224 x 224 to the GPU")
    print_times(
        timed({
            "ordinary memory": lambda: images.to(device),
            "pinned memory": lambda: pinned.to(device),
            "pinned, non_blocking": lambda: pinned.to(device, non_blocking=True),
        }, device, repeats)
    )


def print_times(seconds):
    """A line for each way: the median, and how many times faster than the first."""
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"{name:<22}{value * 1000:8.1f} ms   {first / value:4.2f}x")

# %% grade_id="show-steps" role="display"
when_ready(measure_steps)()

# %% grade_id="show-copies" role="display"
measure_copies()

# %% [markdown] grade_id="read-speed"
# In the solution notebook these lines were measured on two cores of a server processor (its name stands above the
# table), with the model in the middle between toy and real: 192 features, four blocks. There bfloat16 takes about two
# thirds of the time, because the processor has units for it. On a laptop's processor without them expect no gain or a
# loss. On a GPU with such units the gain is the larger the more the GPU has to do, and for this lab's small models,
# where it waits for Python, there is none. torch.compile was no gain on such a processor: 45 seconds to the first step,
# and then 0.76 times the speed, measured on a model of six blocks. On a GPU it is worth trying for any training of more
# than a few minutes. We have not measured a GPU for this text; on one, the cell above shows all four lines and the
# copies.
#
# So all trainings above run without any of the three: on small models, they cost more thought than they save time.

# %% [markdown] grade_id="step-up"
# ### A step up
#
# The same function loads larger data, and everything that you have written works on it unchanged. The first call
# downloads (FashionMNIST 30 MB, CIFAR-10 170 MB, with a progress bar) into a cache folder, later ones find it there;
# the environment variable `VITEDU_DATA` moves the folder. Without a network you get an error that says so, and the
# digits stay.
#
# <details><summary><b>FashionMNIST and CIFAR-10, as code for a cell of your own</b></summary>
#
# ```python
# fashion = load("fashion-mnist")  # 60,000 and 10,000 images, (1, 28, 28), ten classes
# images, labels = fashion.train.tensors
# part, held_out = TensorDataset(images[:-5000], labels[:-5000]), TensorDataset(images[-5000:], labels[-5000:])
#
# epochs, loader = 3, batches(part, 100, shuffle=True)
# model, optimizer, schedule = ready_to_train(
#     epochs * len(loader), lr=2e-3, image_size=28, patch_size=7, in_channels=1, num_classes=10
# )
# history = fit(
#     model, loader, batches(held_out, 500), optimizer, epochs, device, schedule, watch(epochs, "FashionMNIST")
# )
# print(evaluate(model, batches(fashion.test, 500), device))
# ```
#
# On two cores, one epoch takes 15 to 20 seconds; 1, 3 and 10 epochs gave us 83, 87 and 89 percent on the test set.
#
# For **CIFAR-10** write `load("cifar10")`, `image_size=32, patch_size=4, in_channels=3`, and a larger model, such as
# `dim=192, depth=6, num_heads=3, mlp_dim=384`. On a processor that is a matter of hours (about 100 images a second); on
# a GPU of minutes. Do not expect what papers report for Vision Transformers: without pretraining, 50,000 images are
# few, as 938 digits were. For **images of your own** put them into a folder for each class and write
# `load("folder:photos", size=64)`.
#
# </details>

# %% [markdown] grade_id="playground-prose"
# ## Playground
#
# The next cell is yours; nothing in it is graded. Some things to try:
#
# - Another learning rate: 0.0003, 0.01, 0.1. Where does it get worse, on which side faster, and what do the curves look
#   like?
# - Dropout: `ready_to_train(steps, dropout=0.2)`. Does the gap between the two loss curves close?
# - Twice the batch size and half the steps: is it the same? And with twice the learning rate?
# - Without warm-up, or with a constant learning rate: give `fit` no scheduler.
# - The order of the batches: leave `shuffle` out.
# - Seeds: five of them, same settings. How far apart are the results? Which of the differences that you have seen in
#   this notebook are larger than that?

# %% grade_id="playground" role="playground"
def try_out(lr=3e-3, epochs=15, batch_size=20, images=400, seed=0, **sizes):
    train_loader = batches(train_set, batch_size, shuffle=True, first=images)
    model, optimizer, schedule = ready_to_train(epochs * len(train_loader), lr, seed, **sizes)
    val_loader = batches(val_set, 250)
    return fit(model, train_loader, val_loader, optimizer, epochs, device, schedule, watch(epochs, f"lr {lr:g}"))


# For example: curves.by_epoch({"lr 0.003": try_out(), "lr 0.0003": try_out(lr=3e-4)})

# %% [markdown] grade_id="closing"
# ## What you have built, and what comes next
#
# You have written a training loop that does what a research group's does: it steps, it looks, it keeps the best, and it
# can be stopped. You know
#
# - what each of the calls in a step is for, and what happens without it;
# - why means are taken over samples;
# - how to look at a model without changing it;
# - that the accuracy hides what the loss shows, and the other way round;
# - what to try first when nothing works: one batch.
#
# **Lab 5** builds the same model from the libraries' parts and trains it with this very loop. **Lab 6** begins with
# weights that somebody else has trained and changes only one block of them.
#
# ### To read on
#
# - D. P. Kingma, J. Ba: *Adam: a method for stochastic optimization*, 2015,
#   [arXiv:1412.6980](https://arxiv.org/abs/1412.6980). The optimizer; algorithm 1 is the whole of it.
# - I. Loshchilov, F. Hutter: *Decoupled weight decay regularization*, 2019,
#   [arXiv:1711.05101](https://arxiv.org/abs/1711.05101). What the W in AdamW is. The cosine schedule is theirs, too:
#   *SGDR*, 2017, [arXiv:1608.03983](https://arxiv.org/abs/1608.03983).
# - C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger: *On calibration of modern neural networks*, 2017,
#   [arXiv:1706.04599](https://arxiv.org/abs/1706.04599). Why the validation loss rises while the accuracy does not
#   fall; look at figure 3.
# - A. Steiner et al.: *How to train your ViT?*, 2021, [arXiv:2106.10270](https://arxiv.org/abs/2106.10270). Data,
#   augmentation and regularisation for Vision Transformers, in 50,000 trainings.
# - A. Karpathy: *A recipe for training neural networks*, 2019,
#   [karpathy.github.io](https://karpathy.github.io/2019/04/25/recipe/). "Overfit one batch" and many more habits.
# - P. Micikevicius et al.: *Mixed precision training*, 2018, [arXiv:1710.03740](https://arxiv.org/abs/1710.03740).
#   Where autocast comes from.
# - N. Srivastava et al.: *Dropout: a simple way to prevent neural networks from overfitting*, 2014, Journal of Machine
#   Learning Research 15. Two modes, and why.
