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
# # Lab 7 - ViT or CNN?
#
# Six labs long you have built, trained and changed Vision Transformers. Is that what one should use? In this lab you
# build the opponent, a small convolutional network, and let the two compete: with the same images and the same
# computing time, on tasks on which one of them wins and on tasks on which the other does. Then it is your turn: as much
# accuracy as you can get out of twenty seconds of one processor core.
#
# | | what you write | difficulty | importance | minutes | points |
# |---|---|:---:|:---:|:---:|:---:|
# | 1 | `SmallCNN`: three convolutions, and a mean | 2 | 4 | 25 | 2 |
# | 2 | `capstone`: the best accuracy within a budget | 4 | 4 | 60 | 4 |
# | | one question to answer in words | 3 | 5 | 25 | 2 |
#
# Difficulty and importance go from 1 to 5; the minutes are a guess for the middle of the class and add up to 110, and
# some more for the experiments in between, which run by themselves. No GPU and no download is needed. You should have
# done Labs 1 to 4; Lab 6 helps.

# %% [markdown] grade_id="how-it-works"
# ## How this notebook works
#
# As in the labs before: fill the cells with a `raise NotImplementedError("TODO")`, run the `check(...)` below each as
# often as you like, open the hints one step at a time. Experiments start by themselves as soon as what they need is
# written; all of them together take less than two minutes on two cores. A training shows a progress bar; *Interrupt
# the kernel* stops it, and nothing breaks.
#
# **Grading.** `SmallCNN` is examined with weights and images that you do not see. The capstone is trained by the
# grader, on images of your own draw, and the grader measures how long that takes.
#
# Before you hand in: *Kernel > Restart Kernel and Run All Cells*, look at the checks, save.

# %% [markdown] grade_id="conventions"
# ## What holds in this lab
#
# The letters are those of the other labs: `B` images in a batch, `C` channels, `H` and `W` height and width, `N`
# patches, `D` features of a token, `P` the side of a patch.
#
# **Time is processor time.** A second here is a second in which a core works for this notebook. If something else runs
# on the machine, the clock on the wall goes on and this one does not, and two threads together use it up twice as fast.
# So two models can be compared fairly on a busy machine. On another machine a second buys more or less, and your
# numbers will differ somewhat from those in the text. That is also why this lab stays on the processor.

# %% grade_id="install" role="display" shared="install"
prepare()
del prepare

# %% grade_id="imports" role="setup"
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitedu import check, examine, rehearse, when_ready
from vitedu.data import FORMS, ODDONE, PAIRS, load, oddone, oneform, pairs
from vitedu.labs.lab7 import BUDGET, TIERS, Clock, public_samples, warm_up
from vitedu.plots import comparisons, curves
from vitedu.progress import progress

torch.set_num_threads(1)  # one core for each model, so that the comparison is fair

# %% [markdown] grade_id="earlier-prose"
# ## One of the two is there
#
# The locked cell holds the Vision Transformer of Labs 1 to 3. You need not read it again.

# %% grade_id="earlier-parts" role="setup" carried="lab4: earlier-parts"
# %% [markdown] grade_id="background-cnn"
# ## 1 The other one
#
# A **convolution** slides one small window of weights over the image. What comes out at a place depends on the pixels
# around that place only, and the weights are the same everywhere. That builds two assumptions in, before anything has
# been learned:
#
# - **locality**: what belongs together stands side by side;
# - **translation**: an object remains the same object a few pixels further left. If the image moves, the features move
#   along.
#
# A Vision Transformer assumes neither. Inside a patch every pixel has its own weight; from the first block on each
# patch can look at every other; and *where* a patch stands is learned, position by position. It *can* learn what a
# convolution knows from the start, but it has to be shown.
#
# The network that you write is the smallest that deserves the name. Each **block** makes features from their
# neighbourhood; a pool halves both sides, so that the next block sees twice as far; and at the end a mean over all
# positions says how much of each feature there is, wherever it is. **BatchNorm** brings each channel to mean 0 and
# variance 1 over batch and positions, and then scales and shifts it by two learned numbers. In training it uses the
# batch's own statistics and keeps running ones aside; in eval mode it uses those that it kept (Ioffe and Szegedy 2015).

# %% [markdown] grade_id="exercise-SmallCNN"
# ## Exercise 1: a small CNN
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 25 minutes | **Points** 2
#
# Three blocks, a mean, a head. For images (B, C, H, W) and a width of $w$:
#
# | block | layers, in this order | channels | positions afterwards |
# |---|---|---|---|
# | 1 | `conv1`, `norm1`, ReLU, max pool | $C \to w$ | $H/2 \times W/2$ |
# | 2 | `conv2`, `norm2`, ReLU, max pool | $w \to 2w$ | $H/4 \times W/4$ |
# | 3 | `conv3`, `norm3`, ReLU | $2w \to 4w$ | $H/4 \times W/4$ |
# | | mean over all positions | $4w$ | one |
# | | `head`, a linear layer | $4w \to$ classes | |
#
# What is fixed: convolutions with kernels of 3 x 3, zeros as padding so that they keep the size, and a bias; BatchNorms
# as `nn.BatchNorm2d` makes them; max pools over squares of 2 x 2 that do not overlap (a last row or column without a
# partner is dropped, as `max_pool2d` does); logits at the end, no softmax. It takes images of any size: nothing in it
# knows H or W.

# %% [markdown] grade_id="hints-SmallCNN"
# <details><summary><b>Hint 1: a question</b></summary>
#
# A kernel of 3 x 3 takes a pixel off each side. How much padding gives it back? And of the four dimensions of the last
# features, which two does the mean run over?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# `nn.Conv2d`, `nn.BatchNorm2d` and `nn.Linear` have weights, so they are made in the constructor under the names of the
# table. ReLU and the pool have none: `F.relu` and `F.max_pool2d` can be called where they are needed. A BatchNorm has
# as many channels as the convolution before it gives.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# make:     conv1: in_channels -> width, kernel 3, padding ____;   norm1 of width channels
#           conv2: ____ -> ____;  norm2 of ____;   conv3: ____ -> ____;  norm3 of ____
#           head: ____ -> num_classes
# forward:  x = pool by 2 of (relu of (norm1 of (____ of x)))
#           x = the same with the second
#           x = relu of (norm3 of (conv3 of x)), without a ____
#           return head of (mean of x over dimensions ____ and ____)
# ```
#
# </details>

# %% grade_id="SmallCNN" role="solution"
class SmallCNN(nn.Module):
    """A small convolutional network: three blocks, a mean over all positions, a linear head.

    Its parts are conv1, norm1, conv2, norm2, conv3, norm3 (nn.Conv2d with kernels of 3 x 3 and
    nn.BatchNorm2d) and head (nn.Linear). ReLU follows each norm, a max pool of 2 x 2 the first two.

    Args:
        in_channels: C.
        num_classes: number of classes.
        width: channels of the first block; the second has twice, the third four times as many.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, padding=1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, kernel_size=3, padding=1)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, kernel_size=3, padding=1)
        self.norm3 = nn.BatchNorm2d(4 * width)
        self.head = nn.Linear(4 * width, num_classes)
        ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, num_classes)."""
        ### BEGIN SOLUTION
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)  # (B, w, H/2, W/2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)  # (B, 2w, H/4, W/4)
        x = F.relu(self.norm3(self.conv3(x)))  # (B, 4w, H/4, W/4)
        return self.head(x.mean(dim=(2, 3)))
        ### END SOLUTION

# %% grade_id="exam-SmallCNN" role="exam" exercise="SmallCNN" points=2
check("lab7/SmallCNN", SmallCNN)

# %% [markdown] grade_id="see-influence"
# ### How far they see
#
# Two networks that have not learned anything. For each, the cell takes one feature in the middle of the image, and asks
# for its gradient with respect to every pixel: the darker a pixel, the more it can change that feature.

# %% grade_id="influence" role="setup"
def who_sees_what():
    """Draw which pixels a feature of each network depends on, by depth."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = torch.randn(1, 3, 32, 32, requires_grad=True)
        cnn, vit = SmallCNN(3, 6, 16), VisionTransformer(32, 8, 3, 6, 64, 2, 4, 128)
    found = {}
    for name, part in (("conv1", cnn.conv1), ("conv2", cnn.conv2), ("conv3", cnn.conv3)):
        feature = comparisons.feature_of(cnn, part, image)  # (1, channels, rows, columns)
        found[f"CNN: {name}"] = feature[0, :, feature.shape[2] // 2, feature.shape[3] // 2].sum()
    for name, part in (("patches", vit.embedding.patches), ("block 1", vit.blocks[0])):
        feature = comparisons.feature_of(vit, part, image)  # (1, tokens, features)
        found[f"ViT: {name}"] = feature[0, 9 if part is vit.embedding.patches else 10].square().sum()  # the same patch
    return comparisons.influence(found, image)

# %% grade_id="picture-influence" role="display"
when_ready(who_sees_what)()

# %% [markdown] grade_id="read-influence"
# The convolutions see 3, 8 and 18 pixels wide: with each block, further, but never the whole image. Only the mean at
# the end brings everything together, and it forgets the places. The transformer's patches see their own square and
# nothing else. After a single block each token still holds mostly its own patch, and already a little of all others: as
# much of the far corner as of the patch next door. (The pale pixels are really there: the colour is the square root of
# the influence, so that small ones can be seen.)

# %% [markdown] grade_id="background-budget"
# ## 2 The same budget
#
# What is a fair comparison? The same number of parameters? The same number of epochs? The same time? They contradict
# each other. A convolution uses each weight at every position of the image, so a CNN with few parameters may compute
# more than a ViT with many. We take what one pays for: **processor time**. Both models get the same images and the same
# seconds, and each makes of it what it can.
#
# `train_within` is the loop of Lab 4 with a clock in place of the epochs: it stops when the clock's budget is spent.
# The learning rate rises over the first tenth of the time and falls along a half cosine to zero, so that the last steps
# are small, whenever the end comes.

# %% grade_id="loop" role="setup"
def train_within(model, images, labels, clock, lr=2e-3, batch_size=50, weight_decay=0.05, augment=None, title=""):
    """Train until the clock's budget is spent; returns how many epochs that were.

    Args:
        images, labels: (n, C, H, W) and (n,), on the processor.
        clock: a vitedu.labs.lab7.Clock; it may have been running already.
        lr: the largest learning rate, reached after a tenth of the time; at the end it is zero.
        augment: changes a batch of images before it is learned from.
        title: of a progress bar; "": none.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    bar = progress(None, title, total=100, unit="%") if title else None
    start, seen = clock.share, 0
    model.train()
    while clock.share < 1:
        for places in torch.randperm(len(images)).split(batch_size):
            done = (clock.share - start) / max(1e-9, 1 - start)
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, 10 * done + 0.01) * 0.5 * (1 + math.cos(math.pi * done))
            batch = images[places] if augment is None else augment(images[places])
            optimizer.zero_grad()
            F.cross_entropy(model(batch), labels[places]).backward()
            optimizer.step()
            seen += len(places)
            if bar is not None:
                bar.update(int(100 * done) - bar.n)
    if bar is not None:
        bar.close()
    return seen / len(images)


@torch.no_grad()
def predict(model, images):
    """The predicted classes (n,), in eval mode."""
    model.eval()
    return torch.cat([model(some).argmax(1) for some in images.split(200)])


def accuracy_on(model, images, labels):
    """The share of images that a model classifies rightly."""
    return (predict(model, images) == labels).double().mean().item()


def confusion(predictions, labels, classes):
    """Counts (classes, classes): the row is the true class, the column the prediction."""
    return torch.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)

# %% [markdown] grade_id="background-tasks"
# ### Three tasks
#
# All images have 32 x 32 pixels, three channels, and six classes; all are generated, so that we know what the class
# depends on.
#
# - **pairs** (from Lab 4): which two of three colours are there, and which one is above;
# - **oneform**: one object, anywhere, in any colour. The class is its form: what it looks like *within a few pixels*;
# - **oddone**: six objects in two rows. The class is the place of the one whose colour differs from the rest. Which
#   colour that is, differs from image to image: the objects have to be *compared with each other*.
#
# Before you go on, write down a guess: who wins where?

# %% grade_id="tasks" role="setup"
TASKS = {  # task -> what draws its images, and the names of its classes
    "pairs": (pairs, [name.replace(" over ", "/") for name in PAIRS]),
    "oneform": (oneform, list(FORMS)),
    "oddone": (oddone, list(ODDONE)),
}


def images_of(task, train=3000, test=600, seed=0):
    """(images, labels) to train on and to test with."""
    images, labels = TASKS[task][0](train + test, seed)
    return (images[:train], labels[:train]), (images[train:], labels[train:])


def samples_of(task):
    """Two images of each class of a task."""
    (images, labels), _ = images_of(task, 60, 1)
    some = [place for k in range(6) for place in (labels == k).nonzero().flatten()[:2].tolist()]
    return curves.samples(images[some], labels[some], TASKS[task][1])

# %% grade_id="picture-oneform" role="display"
samples_of("oneform")

# %% grade_id="picture-oddone" role="display"
samples_of("oddone")

# %% [markdown] grade_id="read-tasks"
# In `oneform` neither place nor colour helps. In `oddone` the forms say nothing, and no single object does either: a
# blue one is the odd one among reds and one of five among blues.

# %% grade_id="duel" role="setup"
duels = {}  # what the next cell finds


def contestants():
    """A fresh one of each."""
    return {"ViT": VisionTransformer(32, 8, 3, 6, 64, 2, 4, 128), "CNN": SmallCNN(3, 6, 8)}


def duel(seconds=5.0):
    """Train both on each task with the same images and the same seconds, and print a table."""
    duels.clear()
    warm_up()  # torch's first step imports something; that is on nobody's clock
    print(f"{'task':<9} {'model':<6}{'parameters':>11}{'epochs':>8}{'seconds':>9}{'accuracy':>10}")
    for task in TASKS:
        (images, labels), test = images_of(task)
        torch.manual_seed(0)
        for name, model in contestants().items():
            clock = Clock(seconds)
            epochs = train_within(model, images, labels, clock, title=f"{task}, {name}")
            spent, predictions = clock.spent, predict(model, test[0])
            right = (predictions == test[1]).double().mean().item()
            duels.setdefault(task, {})[name] = confusion(predictions, test[1], 6)
            parameters = sum(p.numel() for p in model.parameters())
            print(f"{task:<9} {name:<6}{parameters:>11,}{epochs:>8.1f}{spent:>9.1f}{right:>10.3f}")


def confusions_of(task):
    """The two confusion matrices of a task, side by side."""
    if task not in duels:
        return print("This appears when the training above has been done.")
    return curves.confusions(duels[task], TASKS[task][1])

# %% grade_id="show-duel" role="display"
when_ready(duel)()

# %% [markdown] grade_id="read-duel"
# The columns tell the story before the last one does. The CNN has a thirteenth of the ViT's parameters, and yet it gets
# about as many epochs in the same time: it uses each weight up to a thousand times an image. "The smaller model"
# depends on what one counts.
#
# On `oneform` the CNN is far ahead. What a ring looks like, it has to learn once, for all places. The ViT has to learn
# it for each position inside a patch, and for forms that lie across the edges of patches. Three thousand images do not
# show it that: with 20 seconds we measured 90 percent for the CNN and still only 28 for the ViT. On `oddone` it is the
# other way round: the mean over all positions has forgotten where anything was before anything could be compared. On
# `pairs` both do well: parts that look alike everywhere, and a relation between two of them, have something for each.

# %% grade_id="picture-duel-oneform" role="display"
confusions_of("oneform")

# %% grade_id="picture-duel-oddone" role="display"
confusions_of("oddone")

# %% [markdown] grade_id="read-confusions"
# Read them row by row. On `oneform` ask which forms the CNN takes for each other, and what these have in common. The
# ViT's mistakes are spread more widely: it has hardly learned the forms at all. On `oddone` the CNN's rows look alike:
# it says much the same whatever it is shown. What little it knows of places probably comes from the zeros around the
# image, which make its edges unlike its middle. Two models, two kinds of failure: one has not been shown enough, the
# other does not have the information any more when it decides. More images mend the first: with 30,000 of them and a
# minute of time, instead of 3,000 and half a minute, we measured 88 percent for the ViT on `oneform` instead of 33.
# They do not mend the second.

# %% [markdown] grade_id="background-amount"
# ## 3 How many images
#
# What a network does not assume it has to learn, and that takes images. So one expects: the fewer images, the better
# the one with the right assumptions. Here are real images, the handwritten digits of Lab 4, from 60 to 900 of them.
# Each point is trained with three seeds: other images, other first weights, other batches. **An error bar is one
# standard deviation over the seeds.** Two curves whose bars overlap may have changed places with the next seed.

# %% grade_id="amounts" role="setup"
digits = load("digits")
digit_images, digit_labels = digits.train.tensors  # (1438, 1, 8, 8), mixed already
held_images, held_labels = digit_images[-500:], digit_labels[-500:]


def digit_models():
    """A fresh one of each, for 8 x 8 pixels in gray."""
    return {"CNN": SmallCNN(1, 10, 16), "ViT": VisionTransformer(8, 4, 1, 10, 64, 2, 4, 128)}


def some_digits(count, seed):
    """So many training digits, others for each seed."""
    order = torch.randperm(len(digit_images) - 500, generator=torch.Generator().manual_seed(seed))[:count]
    return digit_images[order], digit_labels[order]


def by_amount(counts=(60, 150, 350, 900), seeds=3, seconds=0.6):
    """Accuracy on held-out digits by the number of training images, for both models, over seeds."""
    found = {}
    for count in progress(counts, "training sets"):
        for seed in range(seeds):
            images, labels = some_digits(count, seed)
            torch.manual_seed(seed)
            for name, model in digit_models().items():
                train_within(model, images, labels, Clock(seconds), 3e-3, 20)
                right = accuracy_on(model, held_images, held_labels)
                found.setdefault(name, {}).setdefault(count, []).append(right)
    return comparisons.with_spread(found, "training images", "accuracy on 500 others")

# %% grade_id="picture-amounts" role="display"
when_ready(by_amount)()

# %% [markdown] grade_id="read-amounts"
# Which curve is above, and where are the two furthest apart? The CNN is ahead, most of all where images are few, and
# the ViT comes nearer with each step to the right. What becomes of such a gap further to the right, the paper of 2020
# found at a very different scale: with 1.3 million images (ImageNet) a large ViT was behind a CNN of its size, with 300
# million ahead. An assumption that is built in saves images as long as there are few, and is a limit when there are
# enough to learn something better.
#
# Look at the bars before you compare two points. With the smallest sets the choice of the images alone moves a result
# by some points. A table with one run for each cell would show an order that the next seed may turn round.

# %% [markdown] grade_id="background-gap"
# ### What closes the gap
#
# Two gaps, in opposite directions. First the ViT's on 150 digits. Four things one may try:
#
# - **more time**: three times the seconds;
# - **augmentation**: show it what the CNN assumes. Each image is moved by up to one pixel in each direction, anew in
#   each epoch;
# - **a convolutional stem**: the patches are made by two small convolutions instead of one large one (Xiao et al.
#   2021). Locality, for the first step only;
# - **pretraining**, which was Lab 6.

# %% grade_id="gap" role="setup"
class ConvStem(nn.Module):
    """Patches of 4 x 4 by two convolutions: images (B, C, H, W) -> tokens (B, N, D)."""

    def __init__(self, in_channels, dim):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, dim // 2, 3, stride=2, padding=1), nn.BatchNorm2d(dim // 2), nn.ReLU(),
            nn.Conv2d(dim // 2, dim, 3, stride=2, padding=1), nn.Flatten(2),
        )  # fmt: skip

    def forward(self, images):
        return self.layers(images).transpose(1, 2)


def shifted(images, by=1):
    """Each image moved by up to so many pixels; what comes in from outside repeats the edge."""
    B, _, H, W = images.shape
    padded = F.pad(images, (by, by, by, by), mode="replicate")
    rows, columns = torch.randint(2 * by + 1, (2, B))
    rows, columns = rows[:, None] + torch.arange(H), columns[:, None] + torch.arange(W)  # (B, H), (B, W)
    return padded[torch.arange(B)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def close_the_gap(count=150, seeds=3, seconds=0.6):
    """Accuracy with few digits, for the two models and some remedies, over seeds."""
    found = {}
    for seed in progress(range(seeds), "seeds"):
        images, labels = some_digits(count, seed)

        def tried(name, model, seconds=seconds, augment=None, images=images, labels=labels):
            train_within(model, images, labels, Clock(seconds), 3e-3, 20, augment=augment)
            found.setdefault(name, []).append(accuracy_on(model, held_images, held_labels))

        torch.manual_seed(seed)
        tried("ViT", digit_models()["ViT"])
        tried("ViT, three times the seconds", digit_models()["ViT"], 3 * seconds)
        tried("ViT, shifted images", digit_models()["ViT"], augment=shifted)
        tried("ViT, shifted, three times", digit_models()["ViT"], 3 * seconds, augment=shifted)
        tried("ViT, convolutional stem", with_stem())
        tried("CNN", digit_models()["CNN"])
    return comparisons.bars(found)


def with_stem():
    """A fresh ViT for digits whose patches are made by the stem."""
    model = digit_models()["ViT"]
    model.embedding.patches = ConvStem(1, 64)
    return model

# %% grade_id="picture-gap" role="display"
when_ready(close_the_gap)()

# %% [markdown] grade_id="read-gap"
# Each dot is a seed. Ask of every remedy: is its bar further from the first one than the two spreads together? More
# time alone does little: with few images a model soon knows them by heart. The stem came out best of the remedies in
# all our runs, at the same seconds: what is near is looked at together before attention begins. Is it beyond doubt in
# yours? Augmentation tells the model something about the world that it need not guess from the images, but it makes
# them harder as well, and that takes time: with the same seconds it *costs* accuracy. Where it had eight seconds we
# measured 88 percent with shifted images and 87 without, on three seeds each: too near to call. A remedy that is known
# to help need not help here.
#
# Pretraining is the remedy that is used most. Lab 6 has shown what it does.

# %% grade_id="places" role="setup"
class WithPlaces(nn.Module):
    """A CNN whose head reads every position by itself instead of their mean; for 32 x 32 pixels."""

    def __init__(self, cnn, num_classes):
        super().__init__()
        self.cnn, self.width = cnn, cnn.head.in_features
        self.head = nn.Linear(self.width * 4 * 4, num_classes)
        self._features = None
        cnn.norm3.register_forward_hook(self._keep)

    def _keep(self, module, inputs, out):
        self._features = out

    def forward(self, images):
        self.cnn(images)  # its own logits are not used
        return self.head(F.adaptive_avg_pool2d(F.relu(self._features), 4).flatten(1))  # a grid of 4 x 4 places


def other_gap(seconds=5.0):
    """The CNN on oddone: with a mean over all positions, as above, and with a head that knows them."""
    if "oddone" not in duels:
        return print("This appears when the training above has been done.")
    found = duels["oddone"]["CNN"]
    (images, labels), test = images_of("oddone")
    torch.manual_seed(0)
    model = WithPlaces(SmallCNN(3, 6, 8), 6)
    train_within(model, images, labels, Clock(seconds), title="CNN, oddone")
    print(f"CNN, mean over all positions (from above) {found.trace() / found.sum():.3f}")
    print(f"CNN, a head that knows the places         {accuracy_on(model, *test):.3f}")

# %% grade_id="show-places" role="display"
when_ready(other_gap)()

# %% [markdown] grade_id="read-places"
# The same convolutions, another head, and the gap is gone. So it was not the convolution that failed on `oddone` but
# the mean: it throws the places away. This head has a weight for each place of a grid of 4 x 4. That is also what it
# costs: it fits one size of image only, and it has to learn each place by itself, as the ViT does with its positions.
# "A CNN cannot do that" is almost always a sentence about one particular CNN.

# %% [markdown] grade_id="background-capstone"
# ## 4 Your turn
#
# Two objects in each image: one in colour, which stands in front and tells the class by its form, and a gray one of
# any form, which is there to be ignored. Both may stand anywhere, and one may hide a part of the other. Nothing so far
# was quite like that. You have seen which tasks the two models are made for; now choose, and get out of twenty
# seconds what you can.

# %% grade_id="picture-capstone" role="display"
public_samples()

# %% [markdown] grade_id="exercise-capstone"
# ## Exercise 2, the capstone: the best accuracy within a budget
#
# **Difficulty** 4 of 5 | **Importance** 4 of 5 | **Time** 60 minutes | **Points** 4
#
# `capstone(images, labels, clock)` trains a model on these images and returns it. Everything is your choice: one of the
# two, both together, another head, augmentation, the learning rate, the batch size. What is fixed:
#
# - **The budget**: 20 seconds of processor time on one core, from the call to the return. `clock.left` and
#   `clock.spent` are seconds, `clock.share` goes from 0 to 1; `train_within` stops by itself. The grader measures from
#   outside, and does not ask your clock. It cuts off what takes a quarter longer, and then there is nothing to judge.
# - What your other cells have computed counts as well, beyond 15 seconds: a model trained before does not come for
#   free. (Cells that only display are not run in the exam.)
# - **The model**: an `nn.Module` that turns images (B, 3, 32, 32) into logits (B, 6). It is put into eval mode and
#   shown 600 images without labels.
# - The exam draws 4,000 images for you alone: other colours, another order of classes than here.
#
# **iron** 1 point, **bronze** 2, **silver** 3, **gold** 4. The cell below prints what each asks for. After a near miss
# the grader trains twice more with other seeds, and the best counts.
#
# `rehearse` does the same with public images and takes as long. While you try things out, give it fewer
# seconds: `rehearse(capstone, seconds=5)`.

# %% grade_id="show-tiers" role="display"
print(f"{BUDGET:.0f} s of processor time; ", end="")
print(", ".join(f"{name} from {least:.1%}" for name, least in TIERS.items()))

# %% [markdown] grade_id="hints-capstone"
# <details><summary><b>Hint 1: a question</b></summary>
#
# What does the class of these images depend on: on something within a few pixels, on a place, on a comparison over the
# whole image? Which of the three tasks above is nearest, and who won there?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# A form is a matter of a few pixels, and its place says nothing: take the model that need not learn that. Keep it
# small. Within a budget, what counts is how often it sees the images. Then turn the two knobs of `train_within` that
# you have not touched yet: is its learning rate bold enough for so few seconds, and what may be done to an image
# (`augment`) without changing the form that is in it?
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# model = a ____ for images of 32 x 32 pixels, 3 channels, 6 classes
# train_within(model, ____, ____, the ____, lr = ____, batch_size = ____)
# return ____
# ```
#
# </details>

# %% grade_id="capstone" role="solution"
def capstone(images: Tensor, labels: Tensor, clock: Clock) -> nn.Module:
    """Train the model that you enter, within the clock's budget.

    Args:
        images: normalised, (4000, 3, 32, 32), float32.
        labels: class indices (4000,).
        clock: tells how much of the budget is spent.

    Returns:
        The trained model: images (B, 3, 32, 32) -> logits (B, 6).
    """
    ### BEGIN SOLUTION
    def turned(batch: Tensor) -> Tensor:
        """Flipped in one direction or both, and turned by a quarter, each by chance: no form changes its class."""
        down, across, quarter = (torch.rand(3) < 0.5).tolist()
        batch = batch.flip([dim for dim, chosen in ((2, down), (3, across)) if chosen])
        return batch.transpose(2, 3) if quarter else batch

    model = SmallCNN(3, 6, 8)
    train_within(model, images, labels, clock, lr=6e-3, augment=turned, title="capstone")
    return model
    ### END SOLUTION

# %% grade_id="exam-capstone" role="exam" exercise="capstone" points=4
rehearse(capstone)

# %% [markdown] grade_id="read-capstone"
# Compare what you measured with what you expected from the three tasks. Then look at the picture: it shows the images
# that went wrong first, if there are any. What would help with those: more time, more images, another model? And how
# far apart are two rehearsals of the same capstone with another first weight? With 600 test images and an accuracy of
# 95 percent the standard error is $\sqrt{0.95 \cdot 0.05 / 600}$, or 0.9 points: who is that close above a threshold
# has not yet passed it.

# %% [markdown] grade_id="question-compare"
# ## Question: when would you take which?
#
# **Difficulty** 3 of 5 | **Importance** 5 of 5 | **Time** 25 minutes | **Points** 2
#
# Compare the two models, in half a page. Say what each assumes about images, what that is good for and what it costs;
# use at least two numbers that you measured in this notebook. Then decide for three cases, each with a reason: 800
# X-ray images of a hospital; fifty million photos from the web; a telephone that has to tell ten gestures apart.

# %% [markdown] grade_id="written-compare" role="written" points=2
# (An example; the numbers are those of one run, yours will differ.) A **CNN** assumes that what belongs together lies
# close together, and that a feature means the same everywhere: its kernels are small and shared by all places. A
# **ViT** assumes next to nothing. Inside a patch each pixel has a weight of its own, positions are learned one by one,
# and from the first block on each token can look at each other.
#
# What is built in need not be learned. With the same few seconds the CNN told 47 percent of the single forms apart and
# the ViT 19; with 60 digits it reached 87 percent and the ViT 73. And the other way round: what has been thrown away
# cannot be learned. On `oddone`, where places must be compared, my CNN with its mean over all positions stayed at 23
# percent and the ViT reached 78; when the head of the CNN knew the places, it reached 100. With more images the ViT
# catches up: with 900 digits it was 5 points behind. Attention costs grow with the square of the number of tokens, a
# convolution's in proportion to the pixels.
#
# **800 X-ray images**: too few for a ViT from scratch. A CNN, or better a model of either kind that was pretrained on
# many images, with its last block and head trained. **Fifty million photos**: a ViT. There is enough to learn what a
# CNN assumes, relations over the whole image count, and the matrix products use the hardware well. **Ten gestures on a
# telephone**: a small CNN. Each image costs energy, gestures are local forms, and the images can be made by shifting
# and turning a few.
#
# ### BEGIN MARK SCHEME
# - 0.5 points: what each assumes. CNN: locality, the same weights everywhere (translation). ViT: patches as a set with
#   learned positions; every token sees every other from the first block on. Both named: 0.5; one: 0.25.
# - 0.5 points: what follows. Few images favour the CNN, since the ViT has to learn what the CNN has built in; relations
#   over the whole image favour the ViT; or the cost: attention grows with the square of the tokens. Two of these: 0.5.
# - 0.5 points: two measured numbers that are used as an argument (0.25 each), such as an accuracy at equal time, an
#   accuracy by number of images with its spread, a remedy's effect. Without saying of what: nothing.
# - 0.5 points: three decisions with reasons that fit what was said before. Two: 0.25. X-rays: CNN, or a pretrained
#   model of either kind; web photos: ViT (or a hybrid); telephone: small CNN, for its cost per image. Another decision
#   counts when its reason holds, for example a pretrained ViT for the X-rays.
# - "The ViT is better because it is newer", or one number without a comparison, earns nothing.
# ### END MARK SCHEME

# %% [markdown] grade_id="playground-prose"
# ## Playground
#
# The next cell is yours; nothing in it is graded, but it is run in the exam, and what it computes counts: keep it
# quick. Some things to try:
#
# - Equal *parameters* instead of equal time: `SmallCNN(3, 6, 29)` has about as many as the ViT. How many epochs does it
#   get in five seconds?
# - The ViT with patches of 4 instead of 8 pixels: four times the tokens. What does an epoch cost?
# - A CNN that sees further: a fourth block, or a stride.
# - Rehearse the capstone with 5, 10 and 20 seconds. Is the accuracy still rising?

# %% grade_id="playground" role="playground"
# rehearse(capstone, seconds=5)

# %% [markdown] grade_id="closing"
# ## What you have built, and what comes next
#
# This was the last lab. From four lines of attention you have come to a transformer that sees, a loop that trains it,
# the libraries' versions of it, what to do with somebody else's weights, and an answer to the question whether to use
# it at all: it depends on what the classes depend on, on how many images there are, and on what you can pay.
#
# What is new after 2021 mixes the two: convolutional stems, windows of attention, pyramids of tokens, CNNs with the
# training recipes of transformers. You can read those papers now.
#
# ### To read on
#
# - A. Dosovitskiy et al.: *An image is worth 16x16 words*, 2020, [arXiv:2010.11929](https://arxiv.org/abs/2010.11929).
#   Figure 3: where the transformer overtakes the CNN as the data grow.
# - T. Xiao et al.: *Early convolutions help transformers see better*, 2021,
#   [arXiv:2106.14881](https://arxiv.org/abs/2106.14881). The convolutional stem.
# - Z. Liu et al.: *A ConvNet for the 2020s*, 2022, [arXiv:2201.03545](https://arxiv.org/abs/2201.03545). How much of
#   the transformer's lead was the recipe.
# - M. Raghu et al.: *Do vision transformers see like convolutional neural networks?*, 2021,
#   [arXiv:2108.08810](https://arxiv.org/abs/2108.08810). What each layer looks at.
# - S. Ioffe, C. Szegedy: *Batch normalization*, 2015, [arXiv:1502.03167](https://arxiv.org/abs/1502.03167).
# - S. d'Ascoli et al.: *ConViT*, 2021, [arXiv:2103.10697](https://arxiv.org/abs/2103.10697). A transformer that starts
#   as a convolution and may leave it.
