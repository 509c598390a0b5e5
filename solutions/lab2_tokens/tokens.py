# ---
# jupyter:
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
# # Lab 2 - From image to tokens
#
# Attention works on a set of vectors, and an image is none. In this lab you turn the one into the other: you cut images
# into patches and put them together again, make a vector of each patch, and tell each vector where it stands. At the
# end an image goes in, and what a Vision Transformer reads comes out.
#
# | | what you write | difficulty | importance | minutes | points |
# |---|---|:---:|:---:|:---:|:---:|
# | 1 | `patchify`: cut images into patches | 3 | 5 | 35 | 4 |
# | 2 | `unpatchify`: put patches together again | 3 | 3 | 25 | 3 |
# | 3 | `LinearPatchEmbedding`, `ConvPatchEmbedding`: patches as vectors, in two ways | 2 | 5 | 25 | 3 |
# | | *extra* `conv_as_linear`: the weights of one as those of the other | 2 | 3 | 10 | |
# | 4 | `TokenEmbedding`: class token and positions | 2 | 5 | 25 | 3 |
# | | *extra* `sincos_position_2d`: positions that are computed | 3 | 2 | 25 | |
# | | two questions to answer in words | 2 | 4 | 20 | 2 |
#
# Difficulty and importance go from 1 to 5. The minutes are a guess for the middle of the class and add up to 130
# without the extras. No GPU and no download is needed. Lab 1 explains why all this is wanted, but none of its code is
# needed here. You should know what a convolution is.

# %% [markdown] grade_id="how-it-works"
# ## How this notebook works
#
# As in Lab 1: replace each `raise NotImplementedError("TODO")` by your code, run the check below it as often as you
# like, and open the hints one step at a time. Pictures appear as soon as what they draw with is written. The exam,
# which you do not see, uses other numbers and other sizes than the check; a mistake costs points once; and only the
# values that come out count.
#
# *Extra* exercises give no points and are not in the exam. They are checked at once like the rest.
#
# Before you hand in: *Kernel > Restart Kernel and Run All Cells*, look at the checks, save.

# %% [markdown] grade_id="conventions"
# ## The alphabet of this lab
#
# | letter | meaning |
# |:---:|---|
# | `B` | batch: independent images; always the first axis |
# | `C` | channels of an image, 3 for red, green and blue |
# | `H`, `W` | height and width of an image in pixels (the heads of Lab 1, also `H`, do not occur here) |
# | `P` | patch size: the side of a square patch **in pixels**, not the number of patches |
# | `h`, `w` | height and width of the grid of patches: `h = H / P` and `w = W / P` |
# | `N` | number of patches of an image, `h * w` |
# | `D` | features of a token, called `dim` in code |
#
# Images are (B, C, H, W) and hold floating-point numbers. They need not be square, and they need not lie in one piece
# in memory: a crop of a larger image does not, and `Tensor.view` may refuse it where `Tensor.reshape` works. As in Lab
# 1, what you write keeps dtype and device of its inputs, leaves its arguments unchanged, and lets gradients through.

# %% grade_id="install" role="display" shared="install"
prepare()
del prepare

# %% grade_id="imports" role="setup"
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Under other names, so that a variable of yours may be called "patches".
from vitedu import check, examine, when_ready
from vitedu.labs.lab2 import patch_pictures, token_pictures

# %% [markdown] grade_id="background-patches"
# ## 1 Why patches?
#
# Attention compares every token with every other, so $N$ tokens cost $N^2$ scores. If each pixel were a token, a photo
# of 224 x 224 pixels would be a sentence of 50,176 words, and each head of each layer would need 2.5 billion weights.
# Chen et al. (2020) did take pixels as tokens, and had to shrink their images to 64 x 64 pixels and less.
#
# Dosovitskiy et al. (2020) take **patches**: squares of 16 x 16 pixels, which cover the image without gaps and without
# overlap. The same photo is then a sentence of $14 \cdot 14 = 196$ words, and a head needs 38,416 weights. A patch
# holds $3 \cdot 16 \cdot 16 = 768$ numbers, and nothing is thrown away: they are all still there, in another order.
#
# That order has to be fixed, or else the weights that one person has trained mean nothing to another. The course uses
# the one that most libraries use:
#
# - **patches in row-major order**, as one reads a page: the top row from left to right, then the next row;
# - **the numbers inside a patch in (channel, row, column) order**: first all of its red, row by row, then all of its
#   green, then all of its blue. So does `nn.Conv2d` keep its weights, which will be of use in exercise 3.
#
# As a formula: with $i, j$ for row and column of the patch in the grid, $c$ for the channel, and $r, s$ for row and
# column of the pixel inside the patch, all counted from 0,
#
# $$
# \mathrm{patches}\big[b,\;\; i\,w + j,\;\; c\,P^2 + r\,P + s\big]
# \;=\; \mathrm{images}\big[b,\; c,\; i\,P + r,\; j\,P + s\big]
# $$

# %% [markdown] grade_id="tiny"
# ### An image to do by hand
#
# Here is an image with 2 channels, 4 rows and 6 columns, whose numbers simply count: channel 0 holds 0 to 23, channel 1
# holds 24 to 47. Cut it into patches of 2 x 2 pixels. There are 2 x 3 of them, with 8 numbers each. Patch 0, in the
# upper left corner, is `0 1 6 7 24 25 30 31`. Before you write any code, write down patch 1 and patch 3.

# %% grade_id="tiny-data" role="setup"
tiny = torch.arange(48.0).reshape(1, 2, 4, 6)  # (B, C, H, W)

# %% grade_id="show-image" role="display"
# NBVAL_CHECK_OUTPUT
print(tiny[0].int())

# %% [markdown] grade_id="exercise-patchify"
# ## Exercise 1: cut images into patches
#
# **Difficulty** 3 of 5 | **Importance** 5 of 5 | **Time** 35 minutes | **Points** 4
#
# Write the formula above for a whole batch: (B, C, H, W) -> (B, N, C\*P\*P). The image may have any number of channels,
# and height and width may differ.
#
# If the patch size does not divide the height or the width, part of the image would be lost without anyone noticing.
# Raise a `ValueError` instead, whose message names the patch size and a side that it does not divide, as in "a side of
# 30 pixels does not split into patches of 8".

# %% [markdown] grade_id="hints-patchify"
# <details><summary><b>Hint 1: a question</b></summary>
#
# To find a pixel row from above you can say "row 13", or "row 1 of the patches in row 3 of the grid, where P is 4". The
# second way needs two numbers in place of one. If height and width are both told that way, how many axes does the image
# have? Which of them say *which* patch, and which say *where inside* it?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Three steps: split, reorder, merge. Splitting one axis in two, and merging neighbouring axes into one, moves no number
# in memory: the left of the two axes counts slowly, the right one fast. Only the reordering in the middle moves
# something; without it, a single `reshape` to the right shape cuts out stripes of image rows in place of patches. So:
# split H and W, bring the axes that say *which* patch together and in front of those that say *where inside*, and merge
# each group. `Tensor.reshape`, `permute`, `flatten` help, or `einops.rearrange`, or `F.unfold`.
#
# Follow a single number of the image `tiny` to see whether it arrives.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# if P does not divide ____ or ____: raise ValueError(a sentence with ____ and ____)
# (B, C, H, W)              ->  (B, C, h, ____, w, ____)       # split
# (B, C, h, ____, w, ____)  ->  (B, ____, ____, C, P, P)       # reorder
# (B, ____, ____, C, P, P)  ->  (B, N, ____)                   # merge
# ```
#
# </details>

# %% grade_id="patchify" role="solution"
def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into square patches, without gaps and without overlap.

    Dosovitskiy et al. (2020), section 3.1.

    Args:
        images: (B, C, H, W).
        patch_size: P, the side of a patch in pixels.

    Returns:
        (B, N, C*P*P) with N = (H/P) * (W/P): patches in row-major order, the pixels of a patch in
        (channel, row, column) order.

    Raises:
        ValueError: P does not divide H or W; the message names P and a side that it does not divide.
    """
    ### BEGIN SOLUTION
    B, C, H, W = images.shape
    P = patch_size
    for side in (H, W):
        if side % P:
            raise ValueError(f"an image side of {side} pixels does not split into patches of {P}")
    x = images.reshape(B, C, H // P, P, W // P, P)  # (B, C, h, P, w, P)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, h, w, C, P, P) -> (B, N, C*P*P)
    ### END SOLUTION

# %% grade_id="exam-patchify" role="exam" exercise="patchify" points=4
check("lab2/patchify", patchify)

# %% [markdown] grade_id="see-tiny"
# ### What you have built: patches
#
# First the image that counts, a row for each patch. Are patch 1 and patch 3 as you wrote them down?

# %% grade_id="show-tiny" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(lambda: print(patchify(tiny, 2)[0].int()))()

# %% [markdown] grade_id="read-tiny"
# The left half of each row comes from channel 0, the right half from channel 1, and a number on the right is 24 more
# than its partner on the left: the same pixel, one channel on. Patches 0, 1 and 2 hold the upper two rows of the image,
# patches 3, 4 and 5 the lower two.

# %% [markdown] grade_id="see-cut"
# Now a photo, in patches of 32 x 32 pixels. On the right they are drawn one by one, in the order in which your function
# returns them, five in a row.

# %% grade_id="picture-cut" role="display"
when_ready(patch_pictures.cut_up)(patchify)

# %% [markdown] grade_id="read-cut"
# Each patch is a whole piece of the photo, and because the order is that of reading, writing them down five in a row
# gives the photo back. The sequence itself has no rows: patch 5, at the left edge, comes after patch 4, at the right
# edge, just as patch 6 comes after patch 5. That patch 5 lies *below* patch 0, a transformer will have to learn.
#
# The next picture takes a very small patch, 3 x 3 pixels from the edge of the roof, and shows what has become of its 27
# numbers.

# %% grade_id="picture-numbers" role="display"
when_ready(patch_pictures.patch_numbers)(patchify)

# %% [markdown] grade_id="read-numbers"
# Read each of the three tables row by row, and you read the row of numbers from left to right: 9 of red, 9 of green, 9
# of blue. In this row the three numbers of one pixel lie far apart (its upper left pixel has the places 0, 9 and 18),
# and so do pixels that touch each other from above (places 0 and 3). A linear layer does not mind: it has a weight for
# each place, and no place is a neighbour of any other.

# %% [markdown] grade_id="see-digit"
# ### A whole image as tokens
#
# A handwritten digit from scikit-learn's collection has 8 x 8 pixels and one channel. With $P = 2$ it is a sentence of
# 16 words with 4 numbers each, small enough to see all of it.

# %% grade_id="picture-digit" role="display"
when_ready(patch_pictures.digit_patches)(patchify)

# %% [markdown] grade_id="read-digit"
# The table on the right is what a transformer gets: all of the image, and yet hard to read for us, because our eyes
# used the arrangement on the left. Look at the rows 0, 3, 7, 8, 11, 12 and 15. They come from all over the edge of the
# image and are equal, since none of them holds any ink. Nothing in such a row says which edge it is from. Keep this in
# mind until exercise 4.

# %% [markdown] grade_id="see-cost"
# ### What a patch size costs
#
# Smaller patches show finer detail, and there are more of them. The next picture gives your function an image of 224 x
# 224 pixels and counts its patches (left). On the right is what one layer of ViT-B ($D = 768$) has to multiply for so
# many tokens: in its linear maps, which treat every token by itself ($12 N D^2$ multiplications), and in attention
# proper, where tokens are compared and mixed ($2 N^2 D$).

# %% grade_id="picture-cost" role="display"
when_ready(patch_pictures.token_cost)(patchify)

# %% [markdown] grade_id="read-cost"
# Both axes are logarithmic. Half the patch size means four times the tokens, four times the work in the linear maps,
# and **sixteen** times the work in attention. At the usual $P = 16$ attention is a small part of the whole; the two
# lines cross where $N = 6 D$, between $P = 4$ and $P = 2$, and from there on attention is what one pays for. The names
# of models tell their patch size: ViT-B/16 and ViT-B/32 are the same network on patches of 16 and 32 pixels, and the
# second is about four times as fast and less accurate.

# %% [markdown] grade_id="background-unpatchify"
# ## 2 And back
#
# Nothing was lost, so there is a way back. It is needed wherever a transformer gives out an image: masked autoencoders
# (He et al. 2021) guess the pixels of hidden patches, diffusion transformers (Peebles and Xie 2022) draw images in
# patches, and segmentation gives each pixel a class. And it is the best test of exercise 1: cut, put together, compare.

# %% [markdown] grade_id="exercise-unpatchify"
# ## Exercise 2: put patches together again
#
# **Difficulty** 3 of 5 | **Importance** 3 of 5 | **Time** 25 minutes | **Points** 3
#
# Write the exact inverse of `patchify`: (B, N, C\*P\*P) -> (B, C, H, W). The patches are as `patchify` returns them,
# `image_size` is (H, W), and it need not be square. The number of channels is not given; it follows from the rest. You
# may rely on it that the sizes fit.

# %% [markdown] grade_id="hints-unpatchify"
# <details><summary><b>Hint 1: a question</b></summary>
#
# 12 patches can be a grid of 3 x 4, 4 x 3, 2 x 6, ... Which of the arguments says which? And how many channels has a
# patch of 48 numbers with P = 4?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Take the three steps of exercise 1 in reverse: undo the merging (N into h and w; the last axis into C, P and P), undo
# the reordering, undo the splitting (merge again). Two axes may be merged only when they stand side by side with the
# slow one on the left: each axis of the grid has to stand directly before the pixel axis that belongs to it. The same
# permutation once more is *not* the way back; write the letters of the axes down before and after.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# (B, N, C*P*P)              ->  (B, ____, ____, C, P, P)       # N and the last axis split
# (B, ____, ____, C, P, P)   ->  (B, C, h, ____, w, ____)       # reorder
# (B, C, h, ____, w, ____)   ->  (B, C, ____, ____)             # merge
# ```
#
# </details>

# %% grade_id="unpatchify" role="solution"
def unpatchify(patches: Tensor, patch_size: int, image_size: tuple[int, int]) -> Tensor:
    """Put patches together again: the exact inverse of patchify.

    Args:
        patches: (B, N, C*P*P) as patchify returns them.
        patch_size: P.
        image_size: (H, W) of the images.

    Returns:
        Images (B, C, H, W).
    """
    ### BEGIN SOLUTION
    H, W = image_size
    P = patch_size
    x = patches.unflatten(1, (H // P, W // P)).unflatten(3, (-1, P, P))  # (B, h, w, C, P, P)
    return x.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # (B, C, h, P, w, P) -> (B, C, H, W)
    ### END SOLUTION

# %% grade_id="exam-unpatchify" role="exam" exercise="unpatchify" points=3
check("lab2/unpatchify", unpatchify)

# %% [markdown] grade_id="see-together"
# ### Cut, and put together
#
# Left your `patchify` cuts the photo into 6 x 10 patches, each gets a white margin, and your `unpatchify` puts them
# together with it. Right the same without margins.

# %% grade_id="picture-together" role="display"
when_ready(patch_pictures.put_together)(patchify, unpatchify)

# %% [markdown] grade_id="read-together"
# On the right the seams are gone, and the largest difference to the photo is 0: not small, but nothing at all, because
# no number was computed, each was only carried to another place and back.
#
# Now the same, except that the 60 patches are shuffled before they are put together.

# %% grade_id="picture-shuffled" role="display"
when_ready(patch_pictures.put_together)(patchify, unpatchify, shuffled=True)

# %% [markdown] grade_id="read-shuffled"
# You still see that there is a building with red columns somewhere, trees, and much sky, but no longer what stands
# where. Remember the last thing you saw in Lab 1 about a head: it gives the same results when its tokens are shuffled,
# shuffled alike. To self-attention without positions, this image and the photo are the same image.

# %% [markdown] grade_id="background-embedding"
# ## 3 From patch to vector
#
# A word gets its vector from a table with a row for each word of the language. For patches there can be no such table:
# there are too many different ones. But a patch is numbers already, so one learned matrix will do
# (Dosovitskiy et al. 2020, equation 1):
#
# $$ z = x_p\, E + b, \qquad E \in \mathbb{R}^{(C P^2) \times D} $$
#
# The same $E$ and $b$ serve all patches of all images. Each of the $D$ features of a token is a dot product: it says
# how well the patch agrees with one column of $E$. A column has $C P^2$ numbers, as many as a patch, so it *is* a small
# colour picture, a pattern that is looked for.
#
# Sliding a pattern over an image and taking dot products is what a convolution does. If it moves on by a whole patch at
# a time, it meets each patch once: a `Conv2d` whose kernel and stride both are the patch size computes the same as
# cutting and multiplying by $E$. It gives its results as an image with $D$ channels, (B, D, h, w), which have to be
# brought into the order of tokens. Most libraries write the patch embedding this way.

# %% [markdown] grade_id="exercise-patch_embeddings"
# ## Exercise 3: patch embedding, twice
#
# **Difficulty** 2 of 5 | **Importance** 5 of 5 | **Time** 25 minutes | **Points** 3
#
# Write both ways as modules, (B, C, H, W) -> (B, N, D), patches in the same row-major order as before:
#
# - `LinearPatchEmbedding`: your `patchify`, then an `nn.Linear` named `proj`. The numbers of a patch go in in
#   (channel, row, column) order.
# - `ConvPatchEmbedding`: an `nn.Conv2d` named `proj`, then its result as tokens.
#
# Both layers have a bias. As in Lab 1, check and exam put their own weights in by these names, and anything else that
# has parameters is too much.

# %% [markdown] grade_id="hints-patch_embeddings"
# <details><summary><b>Hint 1: a question</b></summary>
#
# How many numbers has a patch, and so how many features go into the linear layer? The convolution returns (B, D, h, w):
# which of these axes belong together and become N, and where has D to be in the end?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# `nn.Linear` acts on the last axis and treats all others as a batch, so (B, N, C\*P\*P) goes in as it is. For the
# convolution, merge the two axes of the grid, then *swap* the axes of features and tokens. Reshaping (B, D, N) to
# (B, N, D) also gives the right shape, and mixes the features of different patches.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# linear:       __init__:  proj = Linear(from ____ to ____ features), and keep ____
#               forward:   proj of ____(images, ____)
# convolution:  __init__:  proj = Conv2d(from ____ to ____ channels, kernel ____, stride ____)
#               forward:   (B, D, h, w)  ->  (B, D, ____)  ->  (B, ____, ____)
# ```
#
# </details>

# %% grade_id="patch_embeddings" role="solution"
class LinearPatchEmbedding(nn.Module):
    """Patches as vectors: cut out, then one linear layer, `proj`, for all of them.

    Dosovitskiy et al. (2020), equation 1, the matrix E.

    Args:
        patch_size: P.
        in_channels: C.
        dim: D, features of a token.
    """

    def __init__(self, patch_size: int, in_channels: int, dim: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.patch_size = patch_size
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        ### END SOLUTION

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> tokens (B, N, D)."""
        ### BEGIN SOLUTION
        return self.proj(patchify(images, self.patch_size))
        ### END SOLUTION


class ConvPatchEmbedding(nn.Module):
    """The same as one convolution, `proj`, whose kernel and stride are the patch size.

    Args:
        patch_size: P.
        in_channels: C.
        dim: D, features of a token.
    """

    def __init__(self, patch_size: int, in_channels: int, dim: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)
        ### END SOLUTION

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> tokens (B, N, D)."""
        ### BEGIN SOLUTION
        return self.proj(images).flatten(2).transpose(1, 2)  # (B, D, h, w) -> (B, D, N) -> (B, N, D)
        ### END SOLUTION

# %% grade_id="exam-patch_embeddings" role="exam" exercise="patch_embeddings" points=3
check("lab2/patch_embeddings", LinearPatchEmbedding, ConvPatchEmbedding)

# %% [markdown] grade_id="see-features"
# ### What a feature says
#
# In training the patterns are learned. Here are four made by hand, for patches of 4 x 4 pixels: the sum of all numbers;
# blue minus red; the left half minus the right; the upper half minus the lower. Your `ConvPatchEmbedding` gets them as
# its weights and embeds the photo. Each of the four features is drawn as an image with one pixel for each of the 24 x
# 40 tokens, with its pattern in the corner. In the last three blue is above zero and red below.

# %% grade_id="picture-features" role="display"
when_ready(token_pictures.feature_maps)(ConvPatchEmbedding)

# %% [markdown] grade_id="read-features"
# Feature 0 is a small copy of the photo in grey. Feature 1 tells sky and water from wood and paint. Feature 2 finds
# edges that run from top to bottom: blue where it is brighter on the left, as where the sky meets the left side of the
# roof, red where it is brighter on the right. Feature 3 finds edges that run from left to right, such as the eaves.
#
# A token is one pixel of all four images at once: four numbers that say how bright, how blue, and which way the edge
# goes. ViT-B/16 has 768 such features, as many as a patch has numbers, so its embedding need not lose anything. What
# such an embedding learns looks much like these: figure 7 (left) of the paper shows the 28 principal patterns of
# ViT-L/32, and they are colours, edges, and waves of different width.

# %% [markdown] grade_id="exercise-conv_as_linear"
# ## Extra: the weights of one as those of the other
#
# **Difficulty** 2 of 5 | **Importance** 3 of 5 | **Time** 10 minutes | **Extra**, no points, checked at once like the
# rest
#
# Somebody has trained a model with a convolution, and you want to go on with a linear layer. Write a function that
# takes the convolution and returns weight and bias for the linear layer, so that both give the same tokens. Mind that
# `nn.Linear` keeps its weight as (features out, features in). The convolution has a bias.

# %% [markdown] grade_id="hints-conv_as_linear"
# <details><summary><b>Hint 1: a question</b></summary>
#
# What shape has `conv.weight`, and in which order do its axes stand? What is the order of the numbers in a patch?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# The axes of a pattern, (channel, row, column), stand in the order that the numbers of a patch have, and that is no
# accident. So nothing needs to move.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# weight:  (D, ____, ____, ____)  ->  (D, ____)
# bias:    as it is
# ```
#
# </details>

# %% grade_id="conv_as_linear" role="solution"
def conv_as_linear(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """The weights with which a linear patch embedding gives the same tokens as a convolution.

    Args:
        conv: C channels in, D out, kernel and stride P, with bias.

    Returns:
        weight (D, C*P*P) and bias (D,) for an nn.Linear on patchify's patches.
    """
    ### BEGIN SOLUTION
    return conv.weight.flatten(1), conv.bias
    ### END SOLUTION

# %% grade_id="check-conv_as_linear" role="check" exercise="conv_as_linear"
check("lab2/conv_as_linear", conv_as_linear)

# %% [markdown] grade_id="see-same"
# ### Two ways, one result
#
# The next cell makes a convolutional embedding with random weights, hands these to a linear one through your function,
# embeds two images with both, and prints the largest difference between any two numbers of the tokens.

# %% grade_id="compare-embeddings" role="setup"
def compare_embeddings(linear_class, conv_class, as_linear):
    """Print how far the linear and the convolutional embedding are apart when they share their weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        linear, conv = linear_class(4, 3, 5).double(), conv_class(4, 3, 5).double()
        images = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    linear.load_state_dict(dict(zip(("proj.weight", "proj.bias"), as_linear(conv.proj), strict=True)))
    one, other = linear(images), conv(images)
    print(f"shapes {tuple(one.shape)} and {tuple(other.shape)}")
    print(f"largest difference: {(one - other).abs().max():.12f}")

# %% grade_id="show-same" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(compare_embeddings)(LinearPatchEmbedding, ConvPatchEmbedding, conv_as_linear)

# %% [markdown] grade_id="read-same"
# Two images of 8 x 12 pixels, 6 patches each, 5 features a token: the same numbers both ways. So a Vision Transformer
# does contain a convolution, its first layer. It is also the only place where the model is told that pixels close to
# each other belong together.

# %% [markdown] grade_id="question-patches"
# ## Question 1: what does the patch embedding do?
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 10 minutes | **Points** 1
#
# In three to six sentences: what goes into the patch embedding of a Vision Transformer, what comes out, and which part
# of it is learned? Give the shapes for images of 224 x 224 pixels with 3 channels, $P = 16$ and $D = 768$. And why does
# a Vision Transformer take patches for its tokens, and not pixels, or the image as a whole?

# %% [markdown] grade_id="written-patches" role="written" points=1
# An image (3, 224, 224) is cut into $14 \cdot 14 = 196$ squares of 16 x 16 pixels that do not overlap, and each of them
# is written as a row of $3 \cdot 16 \cdot 16 = 768$ numbers. One linear layer, the same for every patch and every
# image, maps each row to a vector of $D = 768$ features; what comes out is (196, 768), one token for each patch. The
# cutting is fixed. Weight and bias of the linear layer are learned; they can as well be written as a convolution with
# kernel and stride 16.
#
# A transformer needs a sequence of vectors of one size, and its attention compares each with each. With pixels as
# tokens there would be 50,176 of them, and attention would cost their square; besides, a single pixel says next to
# nothing. With the whole image as one token there would be nothing to compare. Patches are a middle way: few enough to
# afford, and each with some content of its own.
#
# ### BEGIN MARK SCHEME
# - 0.25 points: the image is cut into N = 196 patches that do not overlap, each flattened to 768 numbers; comes out as
#   (196, 768). Small slips in the arithmetic cost nothing if the way is right.
# - 0.25 points: what is learned is one linear map (or: a convolution with kernel and stride P), shared by all patches.
# - 0.25 points: why not pixels: attention costs the square of the number of tokens (50,176 squared against 196
#   squared). "It would be slower" without saying that it is attention over tokens: 0.
# - 0.25 points: why not the whole image, or what the vectors are for: a transformer relates tokens to each other, so it
#   needs a sequence of several vectors of equal size.
# - "It extracts features from the image" or "it makes the image smaller" alone: 0. With D = 768 nothing is made
#   smaller.
# ### END MARK SCHEME

# %% [markdown] grade_id="background-tokens"
# ## 4 A class token, and positions
#
# Two things are missing before a transformer can read an image.
#
# **Where is the answer to be read off?** There are 196 tokens, and each stands for its patch. BERT (Devlin et al. 2018)
# puts one more token in front, which stands for no word, and the Vision Transformer takes that over: the **class
# token** is a learned vector, the same for all images. It goes through all layers with the others, looks around by
# attention, and at the end the class is read off from it alone.
#
# **Where does a patch come from?** Its content does not say, as you saw in the digit: seven of its patches are equal.
# So each place gets a learned vector of its own, its **position embedding**, which is *added* to whatever token stands
# there. The class token has a place as well, the first. Together (Dosovitskiy et al. 2020, equation 1):
#
# $$
# z_0 = \big[\, x_{\mathrm{class}};\; x_p^1 E;\; x_p^2 E;\; \dots;\; x_p^N E \,\big] + E_{pos},
# \qquad E_{pos} \in \mathbb{R}^{(N+1) \times D}
# $$
#
# Why add, and not write content and position side by side? Side by side, the two would have to share the $D$ features
# in a ratio that somebody fixes. Added, training can find out which directions among the $D$ it wants for which.

# %% [markdown] grade_id="exercise-TokenEmbedding"
# ## Exercise 4: the tokens that a Vision Transformer reads
#
# **Difficulty** 2 of 5 | **Importance** 5 of 5 | **Time** 25 minutes | **Points** 3
#
# Write the equation as a module, (B, C, H, W) -> (B, N+1, D). Its parts, by name:
#
# - `patches`: your `ConvPatchEmbedding`;
# - `cls_token`: a parameter (1, 1, D), which comes first;
# - `position`: a parameter (1, N+1, D), added last, to class token and patches alike.
#
# There is no other parameter. `image_size` is the side of a square image or a pair (H, W), and says how many places
# there are. The module must work for every batch size: the last batch of a data set is often smaller than the others.
# How you initialise the two parameters is up to you (ViT draws the positions from a normal distribution with standard
# deviation 0.02).

# %% [markdown] grade_id="hints-TokenEmbedding"
# <details><summary><b>Hint 1: a question</b></summary>
#
# What makes a tensor of a module appear in `state_dict()`, be trained by an optimizer, and move along with
# `module.to(device)`? The class token is there once, but each image of the batch needs one in front: which call makes B
# out of 1, and from where does it know B?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# `nn.Parameter(tensor)`, as an attribute of the module, is registered. (`nn.Parameter(tensor).to(device)` may not be:
# if `to` has to copy, it returns an ordinary tensor, and that is never trained.) In `forward`, `Tensor.expand` repeats
# the class token for the batch *that came in*, without copying; `torch.cat` joins it with the patches along the axis
# of the tokens. The positions have a batch axis of 1 and broadcast.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# __init__:
#     H, W = image_size as a pair
#     patches   = ConvPatchEmbedding(____)
#     cls_token = Parameter of shape (1, 1, ____)
#     position  = Parameter of shape (1, ____, ____)
# forward:
#     cls = cls_token, once for each ____               # (B, 1, D)
#     return (____ and ____, joined along axis ____)  plus  ____
# ```
#
# </details>

# %% grade_id="TokenEmbedding" role="solution"
class TokenEmbedding(nn.Module):
    """From images to the tokens that a Vision Transformer reads: class token first, positions added.

    Dosovitskiy et al. (2020), equation 1.

    Its parts are patches, a ConvPatchEmbedding, and the parameters cls_token (1, 1, D) and
    position (1, N+1, D).

    Args:
        image_size: the side of a square image, or (H, W).
        patch_size: P.
        in_channels: C.
        dim: D.
    """

    def __init__(self, image_size: int | tuple[int, int], patch_size: int, in_channels: int, dim: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        H, W = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.patches = ConvPatchEmbedding(patch_size, in_channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, (H // patch_size) * (W // patch_size) + 1, dim) * 0.02)
        ### END SOLUTION

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> tokens (B, N+1, D)."""
        ### BEGIN SOLUTION
        cls = self.cls_token.expand(len(images), -1, -1)  # (B, 1, D)
        return torch.cat([cls, self.patches(images)], dim=1) + self.position
        ### END SOLUTION

# %% grade_id="exam-TokenEmbedding" role="exam" exercise="TokenEmbedding" points=3
check("lab2/TokenEmbedding", TokenEmbedding)

# %% [markdown] grade_id="see-stages"
# ### The digit as tokens
#
# The digit from above goes through your `TokenEmbedding`, with $D = 8$ and random weights. Left are its patch
# embeddings, in the middle the positions (drawn as large as the rest, so that one can see them), right what comes out.
# Triangles mark the seven patches without ink.

# %% grade_id="picture-stages" role="display"
when_ready(token_pictures.token_stages)(TokenEmbedding)

# %% [markdown] grade_id="read-stages"
# Left, the marked rows are equal: no ink gives the bias of the embedding and nothing else. On the right no two rows are
# equal any more. Row by row the right table is the left one plus the middle one, and there is a row more: the class
# token with its position. No layer that follows can tell the two summands apart by looking at one token. But it can
# learn to ask, with a query, for tokens whose sum points in a direction that only "upper left" has.

# %% [markdown] grade_id="see-shuffle"
# ### Shuffled once more
#
# The next cell shuffles the patches of an image, as in the picture of the photo, and embeds both images. Does it find
# the same vectors again, in the new order? Guess before you run it, for the patch embeddings and for the tokens.

# %% grade_id="shuffle" role="setup"
def shuffle_patches(token_class):
    """Print what shuffling the patches of an image does to its patch embeddings, and to its tokens."""
    order = [4, 0, 5, 2, 1, 3]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        embedding = token_class((8, 12), 4, 1, 5).double()
        photo = torch.randn(1, 1, 8, 12, dtype=torch.float64)
        nn.init.normal_(embedding.position)
    puzzle = unpatchify(patchify(photo, 4)[:, order], 4, (8, 12))
    for name, embed in {"patch embeddings": embedding.patches, "tokens": lambda x: embedding(x)[:, 1:]}.items():
        same = torch.allclose(embed(photo)[:, order], embed(puzzle))
        print(f"{name}: the same vectors, shuffled alike: {same}")

# %% grade_id="show-shuffle" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(shuffle_patches)(TokenEmbedding)

# %% [markdown] grade_id="read-shuffle"
# With positions a shuffled image is another set of tokens, and a transformer can tell the two apart.
#
# How much does that matter? For some tasks surprisingly little: in the paper (appendix D.4) the features of a ViT-B/16
# without any positions tell 61 % of ImageNet's test images right, and with positions 64 % (a linear classifier that saw
# five images of each class). What objects are made of often gives them away, as in the shuffled photo. Lab 4 has a task
# where it does matter: which of two coloured objects is above the other? There, a small Vision Transformer reached 98 %
# in our trials, and 58 % without positions.
#
# **A price.** The table of positions has $N + 1$ rows, and an image of another size has another $N$. To use a trained
# model on larger images, one stretches its table like an image: the $N$ rows are laid out as an h x w grid and
# interpolated to the new grid, while the row of the class token stays (section 3.2 of the paper).

# %% [markdown] grade_id="question-positions"
# ## Question 2: what do the position embeddings do?
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 10 minutes | **Points** 1
#
# In three to six sentences: why does a Vision Transformer need position embeddings, while a convolutional network does
# without? What exactly are they, and what happens to them in training and when a new image comes in? Somebody objects:
# "The tokens are in row-major order, so the model knows their places anyway." What do you answer?

# %% [markdown] grade_id="written-positions" role="written" points=1
# Self-attention treats its tokens as a set: each query is compared with all keys by content, whatever their order, and
# all other layers act on one token at a time. If the patches are shuffled, the same results come out, shuffled alike,
# and the class token's result does not change at all. The order in which tokens are stored is therefore nothing that
# the model can see, and the objection is wrong. A convolution is different: its weights belong to offsets (the pixel to
# the left, the pixel above), so arrangement is built into it.
#
# A position embedding is a vector of $D$ numbers for each of the $N + 1$ places, which is added to the token that
# stands there. Equal patches at different places become different tokens, and queries and keys can depend on place as
# well as on content. The vectors are parameters: they start at random and are trained with all the rest, and
# afterwards they are the same for every image, because they belong to the place and not to what is seen there.
#
# ### BEGIN MARK SCHEME
# - 0.5 points: self-attention (with layers that act on each token) does not depend on the order of the tokens, so
#   without positions a shuffled image gives the same class; this also answers the objection. 0.25 for "the transformer
#   does not know the order" without a reason.
# - 0.25 points: one learned vector for each place, added to the token, the same for all images.
# - 0.25 points: one consequence or contrast: equal patches at different places become different tokens; or a
#   convolution has arrangement built into its kernel; or the table fixes the number of places.
# - "They say where each patch is" alone: 0.25 in all. "They make sure that the patches stay in the right order": 0;
#   nothing is reordered.
# ### END MARK SCHEME

# %% [markdown] grade_id="background-sincos"
# ## 5 Positions that are computed
#
# The transformer of 2017 did not learn its positions but computed them (Vaswani et al., section 3.5). The idea is that
# of a clock with many hands: each hand turns at a speed of its own, the fast ones tell neighbours apart, the slow ones
# tell the morning from the evening. A hand at angle $a$ is given by two numbers, $\sin a$ and $\cos a$. Then places
# that are close have similar vectors, whichever they are, and nothing has to be learned or stretched.
#
# For images one takes a clock for the column and a clock for the row, with half of the features each. Beyer et al.
# (2022) trained a small ViT on ImageNet this way and found it no worse than with learned positions. With $D$ features
# there are $D/4$ hands a clock, with the speeds
#
# $$ f_i = 10000^{-i / (D/4)}, \qquad i = 0, \dots, D/4 - 1 $$
#
# and the vector of row $y$, column $x$ is, written side by side in this order,
# $\big[\sin(x f),\; \cos(x f),\; \sin(y f),\; \cos(y f)\big]$.

# %% [markdown] grade_id="exercise-sincos_position_2d"
# ## Extra: sines and cosines
#
# **Difficulty** 3 of 5 | **Importance** 2 of 5 | **Time** 25 minutes | **Extra**, no points, checked at once like the
# rest
#
# Compute these positions for a grid: `height` x `width` places in row-major order, as the patches are, each a row of
# `dim` numbers. `dim` is a multiple of 4, and the grid need not be square.
#
# Some published code, vit-pytorch's among it, divides $i$ by $D/4 - 1$, so that the last speed is 1/10000 itself.
# That is accepted, too, with a remark.

# %% [markdown] grade_id="hints-sincos_position_2d"
# <details><summary><b>Hint 1: a question</b></summary>
#
# Which column does place $n$ have, which row? And which shapes must a list of N places and a list of D/4 speeds have,
# so that their product is a table (N, D/4)?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Get a row number and a column number for each of the N places, either by integer division or from `torch.meshgrid`
# (say `indexing="ij"`, then the first result counts rows). A column of N angles times a row of D/4 speeds gives all
# angles at once by broadcasting. Sine and cosine of each of the two tables, four blocks side by side.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# f       = ____ to the power of (minus i divided by ____), for i from 0 to ____   # (D/4,)
# y, x    = row and column of each of the N places                                 # (N,) each
# angles  = x as a ____ times f, and y likewise                                    # (N, D/4) each
# return  sin ____, cos ____, sin ____, cos ____, side by side                     # (N, D)
# ```
#
# </details>

# %% grade_id="sincos_position_2d" role="solution"
def sincos_position_2d(height: int, width: int, dim: int) -> Tensor:
    """Positions that are computed, not learned: sines and cosines of the column and of the row.

    Vaswani et al. (2017), section 3.5, in two dimensions as in Beyer et al. (2022), "Better plain ViT
    baselines for ImageNet-1k".

    Args:
        height, width: of the grid of patches.
        dim: D, a multiple of 4.

    Returns:
        (height * width, D), places in row-major order. With f_i = 10000^(-i / (D/4)) for i from 0 to
        D/4 - 1, the features of row y, column x are, in this order: sin(x f), cos(x f), sin(y f), cos(y f).
    """
    ### BEGIN SOLUTION
    f = 10000 ** (-torch.arange(dim // 4) / (dim / 4))  # (D/4,)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")  # (h, w) each
    x, y = (place.flatten()[:, None] * f for place in (x, y))  # (N, D/4)
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1)
    ### END SOLUTION

# %% grade_id="check-sincos_position_2d" role="check" exercise="sincos_position_2d"
check("lab2/sincos_position_2d", sincos_position_2d)

# %% [markdown] grade_id="see-similarity"
# ### Which places are alike
#
# The picture takes a grid of 7 x 7 places with $D = 64$. For each place there is a small map of the grid, which shows
# how similar the vector of that place is to the vectors of all others (by cosine similarity: 1 means the same
# direction). The map in row 2, column 5 belongs to the place in row 2, column 5. Figure 7 of the paper is drawn in this
# way.

# %% grade_id="picture-similarity" role="display"
when_ready(lambda: token_pictures.position_similarity(sincos_position_2d(7, 7, 64), 7, 7))()

# %% [markdown] grade_id="read-similarity"
# In each map the brightest spot is the place itself, and similarity falls off with distance. It falls off along rows
# and columns separately, so a faint cross remains: places in the same row share half of their features. All
# similarities are high (see the scale), because most of the hands are so slow that they hardly turn within 7 steps.
#
# **Learned positions look alike.** They start at random, when each map would have one bright dot and noise around it.
# Nobody tells them that the image is a grid. After training, figure 7 (centre) of the paper shows for ViT-L/32 nearly
# the picture above: close places have similar vectors, and rows and columns stand out. The model found the two
# dimensions by itself, because in photos close patches tend to show related things. If you train the model of Lab 4,
# draw its table with the cell above (without the row of the class token): with few images and short training expect a
# much fainter pattern.

# %% [markdown] grade_id="playground-prose"
# ## Playground
#
# The next cell is yours; nothing in it is graded. Some things to try:
#
# - Cut the photo into patches of 4, 8 or 32 pixels. From which size on can you no longer say what is in the shuffled
#   image?
# - Look at another digit as a table of tokens: `patch_pictures.digit_patches(patchify, number=0)`.
# - Draw the similarity of the positions for 14 x 14 places, or for a larger $D$, or with speeds that go down to
#   $1/100$ only.
# - Make a `TokenEmbedding` for ViT-B/16 (224, 16, 3, 768). How many of its parameters are positions, how many belong to
#   the convolution?

# %% grade_id="playground" role="playground"
patch_size = 8  # the sides of the photo, 96 and 160 pixels, must be multiples of it
when_ready(patch_pictures.put_together)(patchify, unpatchify, shuffled=True, patch_size=patch_size)

# %% [markdown] grade_id="closing"
# ## What you have built, and what comes next
#
# An image goes in, (B, C, H, W), and tokens come out, (B, N+1, D). You know
#
# - how to split, reorder and merge axes, and how to tell a right shape from right numbers;
# - that a patch embedding is one linear map, and a convolution in other clothes;
# - what a class token is for;
# - that positions must be added, because the tokens of a transformer have no order;
# - what small patches cost.
#
# **Lab 3** stacks encoder blocks on these tokens, made of Lab 1's attention and a small network, and reads a class off
# the class token: the whole Vision Transformer. **Lab 4** trains it.
#
# ### To read on
#
# - A. Dosovitskiy et al.: *An image is worth 16x16 words*, 2020, [arXiv:2010.11929](https://arxiv.org/abs/2010.11929).
#   Section 3.1 and equation 1 are this lab; figure 7 shows learned patterns and positions, appendix D.4 compares kinds
#   of positions.
# - L. Beyer, X. Zhai, A. Kolesnikov: *Better plain ViT baselines for ImageNet-1k*, 2022,
#   [arXiv:2205.01580](https://arxiv.org/abs/2205.01580). A short note; computed positions in practice.
# - L. Beyer et al.: *FlexiViT: one model for all patch sizes*, 2022,
#   [arXiv:2212.08013](https://arxiv.org/abs/2212.08013). One set of weights, stretched to whatever patch size one can
#   afford.
# - T. Xiao et al.: *Early convolutions help transformers see better*, 2021,
#   [arXiv:2106.14881](https://arxiv.org/abs/2106.14881). A few small convolutions in place of the one large one make
#   training easier.
# - D.-K. Nguyen et al.: *An image is worth more than 16x16 patches*, 2024,
#   [arXiv:2406.09415](https://arxiv.org/abs/2406.09415). Pixels as tokens after all: it works, if one can pay for it.
# - K. He et al.: *Masked autoencoders are scalable vision learners*, 2021,
#   [arXiv:2111.06377](https://arxiv.org/abs/2111.06377). Patches hidden, and guessed from the others.
# - W. Peebles, S. Xie: *Scalable diffusion models with transformers*, 2022,
#   [arXiv:2212.09748](https://arxiv.org/abs/2212.09748). Images drawn in patches; their decoder ends in an
#   `unpatchify`.
# - M. Chen et al.: *Generative pretraining from pixels*, 2020 (ICML). What one does when each pixel is a token.
