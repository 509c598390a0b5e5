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
# # Lab 1 - Attention
#
# A Vision Transformer looks at an image by letting its patches ask each other questions. In this lab you write the
# part that does the asking. It starts with two lines of tensor algebra and ends with the multi-head attention layer
# that every later lab builds on.
#
# | | what you write | difficulty | importance | minutes | points |
# |---|---|:---:|:---:|:---:|:---:|
# | 1 | `attention_weights`: who looks at whom | 2 | 5 | 20 | 2 |
# | 2 | `scaled_dot_product_attention`: what each of them takes away, with masks | 2 | 5 | 25 | 3 |
# | 3 | `AttentionHead`: a layer in which tokens look at each other | 2 | 4 | 15 | 1.5 |
# | 4 | `MultiHeadAttention`: several such layers side by side, in one | 4 | 5 | 40 | 4 |
# | 5 | `multi_head_attention_einsum`: the same again, as formulas | 3 | 3 | 25 | 2.5 |
# | | two questions to answer in words | 2 | 4 | 20 | 2 |
#
# Difficulty and importance go from 1 to 5; the minutes are a guess for the middle of the class and add up to 145. No
# GPU and no download is needed. You should know what a matrix product is and have used PyTorch tensors and `nn.Linear`
# before.

# %% [markdown] grade_id="how-it-works"
# ## How this notebook works
#
# **Cells to fill** hold a `raise NotImplementedError("TODO")`. Replace that line by your code; leave the name and the
# arguments of the function or class as they are. All other cells are locked, but for the playground at the end, and
# you may add cells of your own anywhere.
#
# **Checks.** Below each cell to fill stands a line such as `check("lab1/attention_weights", attention_weights)`. Run
# it as often as you like: it tells at once which cases are right, and where your answer is a well-known wrong idea it
# says which one. Pictures that need your code appear as soon as it is written. Hints are folded away under each
# exercise, in three steps; open one step at a time.
#
# **Grading.** The check uses a few public cases. The exam, which you do not see, calls your code with other numbers
# and other sizes and compares the tensors that come back.
#
# - Each exercise has several cases, and each right case earns its part of the points.
# - A mistake costs points once: if exercise 4 is wrong only because exercise 2 is, exercise 4 keeps its points.
# - Only values count. How you computed them, how long your code is, and whether it prints something does not.
# - The answers in words are read and marked by a person.
#
# Before you hand in: *Kernel > Restart Kernel and Run All Cells*, look at the checks, save.

# %% [markdown] grade_id="conventions"
# ## One alphabet
#
# Shapes are written with the same letters throughout the course:
#
# | letter | meaning |
# |:---:|---|
# | `B` | batch: independent sentences or images; always the first axis |
# | `T` | tokens (words, patches); `Tq` of them ask and `Tk` are asked |
# | `D` | features of a token, called `dim` in code; `Dv` features of a value |
# | `H` | heads |
# | `K` | features of a query or key of one head, called `head_dim` in code |
# | `...` | any number of leading axes, also none: `(Tq, K)`, `(B, Tq, K)` and `(B, H, Tq, K)` are all `(..., Tq, K)` |
#
# Three rules hold for every function that you write here. It keeps the dtype and device of its inputs (float64 in,
# float64 out). It leaves its arguments unchanged. And gradients flow through it, which they do if you stay with tensor
# operations.

# %% grade_id="install" role="display" shared="install"
prepare()
del prepare

# %% grade_id="imports" role="setup"
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitedu import check, examine, when_ready
from vitedu.labs.lab1 import diagrams, photo, pictures

# %% [markdown] grade_id="background-attention"
# ## 1 Looking things up, softly
#
# Translation models of 2014 squeezed a whole sentence into one vector and unrolled the translation from it; long
# sentences did not fit. Bahdanau, Cho and Bengio (2014) let the model go back instead: for each word to be written it
# computes how well every word of the source fits, and reads a weighted mean of them. Vaswani et al. (2017) threw away
# everything but this lookup, and called the result the transformer.
#
# The lookup works like a dictionary, except that nothing matches exactly and everything matches a little:
#
# - a **query** $q_i$ says what token $i$ is looking for,
# - a **key** $k_j$ says what token $j$ has on offer,
# - a **value** $v_j$ is what token $j$ hands over when it is chosen.
#
# The fit of query and key is their dot product, the *score*. A softmax turns the scores of one query into weights that
# are positive and sum to 1:
#
# $$
# A_{ij} = \frac{\exp(s_{ij})}{\sum_{j'=1}^{T_k} \exp(s_{ij'})},
# \qquad
# s_{ij} = \frac{q_i \cdot k_j}{\sqrt{K}}
# $$
#
# Row $i$ of $A$ belongs to one query; it is how that query divides its attention among all keys. The division by
# $\sqrt{K}$ is the "scaled" in *scaled dot-product attention*; what it is good for, you will see below. (The paper
# writes $d_k$ for our $K$.)

# %% [markdown] grade_id="sentence"
# ### A sentence to look at
#
# In a trained model queries and keys are learned. Here they are made by hand, so that you can tell whether the weights
# make sense. Each of the four features stands for a kind of word: person, animal, action, link. A key says what a word
# *is*, a query what it *looks for*: "it" looks for an animal, "her" for a person, "fed" for both, "and" for nothing.

# %% grade_id="sentence-data" role="setup"
words = ["Anna", "fed", "her", "cat", "and", "it", "purred"]

# features: person, animal, action, link
word_keys = torch.tensor([
    [3.0, 0.0, 0.0, 0.0],  # Anna is a person
    [0.0, 0.0, 3.0, 0.0],  # fed is an action
    [1.0, 0.0, 0.0, 0.0],  # her is a person, less clearly
    [0.0, 3.0, 0.0, 0.0],  # cat is an animal
    [0.0, 0.0, 0.0, 3.0],  # and is a link
    [0.0, 1.0, 0.0, 0.0],  # it is an animal, less clearly
    [0.0, 0.0, 3.0, 0.0],  # purred is an action
])
word_queries = torch.tensor([
    [0.0, 0.0, 2.0, 0.0],  # Anna looks for what she does
    [2.0, 2.0, 0.0, 0.0],  # fed: who, and whom?
    [2.0, 0.0, 0.0, 0.0],  # her: whose?
    [0.0, 0.0, 2.0, 0.0],  # cat looks for what it does
    [0.0, 0.0, 0.0, 0.0],  # and looks for nothing
    [0.0, 2.0, 0.0, 0.0],  # it: which animal?
    [0.0, 2.0, 0.0, 0.0],  # purred: which animal?
])

# %% [markdown] grade_id="exercise-attention_weights"
# ## Exercise 1: who looks at whom
#
# **Difficulty** 2 of 5 | **Importance** 5 of 5 | **Time** 20 minutes | **Points** 2
#
# Write the formula above for all queries and keys at once, and for any number of leading axes:
#
# $$ A = \mathrm{softmax}\!\left(\frac{q\,k^\top}{\sqrt{K}}\right) $$
#
# `q` is (..., Tq, K), `k` is (..., Tk, K), and the result is (..., Tq, Tk). The number of queries and the number of
# keys may differ. Scores can be in the hundreds: the result must still be finite (torch's own softmax sees to that).

# %% [markdown] grade_id="hints-attention_weights"
# <details><summary><b>Hint 1: a question</b></summary>
#
# One query and one key give one number. Which product of a (Tq, K) and a (Tk, K) matrix gives all Tq x Tk of these
# numbers? And along which axis of the result must the numbers sum to 1?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# A matrix product needs K as the last axis on the left and as the last but one on the right. Swap the last two axes of
# `k` and only those: a plain `.T` reverses *all* axes. Each query shares out its own attention, so the softmax runs
# over the keys.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# scores  = q  times  (k with its axes ____ and ____ swapped),  divided by ____
# weights = softmax of scores over the axis of the ____
# ```
#
# </details>

# %% grade_id="attention_weights" role="solution"
def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """How much each query attends to each key.

    Vaswani et al. (2017), equation 1, without the values.

    Args:
        q: queries (..., Tq, K).
        k: keys (..., Tk, K).

    Returns:
        Weights (..., Tq, Tk); each query's weights over the keys sum to 1.
    """
    ### BEGIN SOLUTION
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (..., Tq, Tk)
    return scores.softmax(dim=-1)
    ### END SOLUTION

# %% grade_id="exam-attention_weights" role="exam" exercise="attention_weights" points=2
check("lab1/attention_weights", attention_weights)

# %% [markdown] grade_id="see-sentence"
# ### What you have built: attention over a sentence
#
# Each row of the picture is one query and sums to 1.

# %% grade_id="picture-sentence" role="display"
when_ready(
    lambda: pictures.attention_matrices({"attention weights": attention_weights(word_queries, word_keys)}, words)
)()

# %% [markdown] grade_id="read-sentence"
# Read it row by row. "her" gives most of its attention to "Anna", "it" and "purred" give theirs to "cat", and "fed"
# divides it between the one who feeds and the one who is fed. "and" looks for nothing: all its scores are 0, so all
# seven keys get one seventh. Read by columns the numbers sum to nothing in particular: many words may look at "cat",
# and none has to look at "her".

# %% [markdown] grade_id="see-photo"
# ### The same function on an image
#
# Nothing in your function knows about words. Cut a photo into 13 x 20 patches of 32 x 32 pixels, and let each patch be
# a token. Here queries and keys come from the image itself, from a patch's mean colour and its place, and are made
# such that the score is the larger, the more alike and the closer two patches are. Three patches look around; the
# bluer a patch, the more of their attention it gets.

# %% grade_id="picture-photo" role="display"
when_ready(photo.photo_attention)(attention_weights)

# %% [markdown] grade_id="read-photo"
# Patch A in the sky looks at the bright sky around it and stops where the trees begin. Patch B on the roof finds the
# rest of the roof, and further down the other parts of the pagoda that have its warm brown. Patch C at the edge of the
# trees finds the treetops to its right, and also dark parts of the pagoda: to the mean colour they look the same. A
# trained Vision Transformer learns better questions than "are you like me?", but it asks them with this very function.

# %% [markdown] grade_id="see-scale"
# ### What the scale does
#
# How widely does a query spread its attention? The *entropy* of a row of weights measures it: $-\sum_j A_{ij} \log
# A_{ij}$ is 0 when one key gets everything, and $\log T_k$ when all keys get the same. The picture takes random
# queries and keys whose entries have mean 0 and variance 1, lets $K$ grow from 1 to 1024, and draws the mean entropy
# over 64 keys: once with your function, and once with the division by $\sqrt{K}$ undone (the queries are multiplied by
# $\sqrt{K}$ first).

# %% grade_id="picture-scale" role="display"
when_ready(pictures.scale_entropy)(attention_weights)

# %% [markdown] grade_id="read-scale"
# With the scale the curve stays nearly level, whatever the size of the queries. Without it the entropy falls towards
# 0: at $K = 64$, a usual size of a head, it is about 0.6, as if fewer than two of the 64 keys were left. Nothing was
# learned here; the queries and keys are random.

# %% [markdown] grade_id="question-scale"
# ## Question 1: why divide by the square root of K?
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 10 minutes | **Points** 1
#
# In three to six sentences: why is it $\sqrt{K}$, and not $K$ or some constant? And what goes wrong in *training* when
# the division is left out? The picture shows that the weights change; say why they do, and why that is bad. Write your
# answer into the next cell (double-click it).

# %% [markdown] grade_id="written-scale" role="written" points=1
# Take queries and keys whose entries are independent with mean 0 and variance 1. Their dot product is a sum of $K$
# terms, each with mean 0 and variance 1, so it has variance $K$ and standard deviation $\sqrt{K}$. Divided by
# $\sqrt{K}$, scores have variance 1 whatever the size of a head is; divided by $K$ they would shrink towards 0 as $K$
# grows, and every query would just average all keys.
#
# Without the division scores grow like $\sqrt{K}$, and the softmax saturates: one weight is close to 1, all others
# close to 0. From the first step on each query then looks at one key that was chosen by chance. The derivative of the
# softmax, $A_j(\delta_{jl} - A_l)$, is close to 0 there, so almost no gradient reaches the queries and keys, and
# learning is slow or does not start.
#
# ### BEGIN MARK SCHEME
# - 0.5 points: the variance (or standard deviation) of the dot product grows with K, and sqrt(K) brings it back to a
#   fixed size. 0.25 for "scores grow with K" without the square root explained.
# - 0.25 points: without it the softmax saturates (weights close to one-hot, low entropy).
# - 0.25 points: a saturated softmax has vanishing gradients, so training is slow or stalls. "Training is unstable"
#   alone is not enough.
# - "It makes the numbers smaller" or "it normalises the weights" alone: 0. The softmax normalises with or without the
#   scale.
# ### END MARK SCHEME

# %% [markdown] grade_id="background-masks"
# ## 2 Taking something away, and masks
#
# The weights say where a query looks. What it takes away is the mean of the values, weighted by its row of $A$
# (Vaswani et al. 2017, equation 1):
#
# $$ \mathrm{Attention}(q, k, v) = \mathrm{softmax}\!\left(\frac{q\,k^\top}{\sqrt{K}}\right) v $$
#
# The result has one row for each query and as many features as a value has. Weights are positive and sum to 1, so
# every result lies between the values: attention mixes, it does not add up.
#
# **Masks.** Sometimes a query must not see some keys. Short sentences in a batch are padded, and nobody should listen
# to the padding. And a model that writes a text word by word must not, while it learns, look at the words that it is
# to guess: token $i$ may see token $j$ only if $j \le i$. That is the *causal* mask, a lower triangle:
#
# $$
# \begin{pmatrix} 1 & 0 & 0 \\ 1 & 1 & 0 \\ 1 & 1 & 1 \end{pmatrix}
# $$
#
# A forbidden key gets a weight of exactly 0, and the weights of the others still sum to 1. The others share the
# attention as if the forbidden key were not there.

# %% [markdown] grade_id="exercise-scaled_dot_product_attention"
# ## Exercise 2: scaled dot-product attention
#
# **Difficulty** 2 of 5 | **Importance** 5 of 5 | **Time** 25 minutes | **Points** 3
#
# Write the formula with an optional mask. The mask is boolean and **True means: may attend** (as in
# `torch.nn.functional.scaled_dot_product_attention`; other parts of torch mean the opposite). It stretches to the
# shape (..., Tq, Tk) of the weights by torch's usual broadcasting. Four shapes occur:
#
# | shape of the mask | says | fits queries of shape |
# |---|---|---|
# | `(Tk,)` | which keys anybody may see | all |
# | `(Tq, Tk)` | which keys each query may see, such as the causal mask | all |
# | `(B, 1, Tk)` | for each sample its own keys, such as padding | `(B, Tq, K)` |
# | `(B, 1, 1, Tk)` | the same, for several heads | `(B, H, Tq, K)` |
#
# `q`, `k` and `v` have the same leading axes: none, one or two. A query that may see no key at all is not graded.

# %% [markdown] grade_id="hints-scaled_dot_product_attention"
# <details><summary><b>Hint 1: a question</b></summary>
#
# Suppose you set forbidden weights to 0 *after* the softmax. What do the others then sum to? At which step must the
# mask come in, so that they sum to 1 by themselves? (This is why `attention_weights` cannot be called as it is when
# there is a mask.)
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# The softmax takes exponentials. A score of 0 has the exponential 1, which is a good deal of attention. Which score
# has the exponential 0? `Tensor.masked_fill(where, value)` returns a new tensor and leaves the old one alone; mind
# that it fills where its mask is True, while ours says True where nothing is to be filled.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# scores = as in exercise 1
# if there is a mask:
#     scores = scores, with ____ wherever the mask is ____
# return (softmax of scores over the ____)  times  ____
# ```
#
# </details>

# %% grade_id="scaled_dot_product_attention" role="solution"
def scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mix the values by the attention weights, leaving out what the mask forbids.

    Vaswani et al. (2017), equation 1.

    Args:
        q: queries (..., Tq, K).
        k: keys (..., Tk, K).
        v: values (..., Tk, Dv).
        mask: boolean, True = may attend; broadcasts to (..., Tq, Tk). None: attend everywhere.

    Returns:
        One mixture of values for each query (..., Tq, Dv).
    """
    ### BEGIN SOLUTION
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (..., Tq, Tk)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1) @ v
    ### END SOLUTION

# %% grade_id="exam-scaled_dot_product_attention" role="exam" exercise="scaled_dot_product_attention" points=3
check("lab1/scaled_dot_product_attention", scaled_dot_product_attention)

# %% [markdown] grade_id="see-torch"
# ### You and torch
#
# torch brings this function along, in C++ and for the GPU. The next cell calls both with two samples, three heads and
# a mask for padding, and prints the largest difference between any two numbers of the results.

# %% grade_id="compare-torch" role="setup"
def compare_with_torch(attention):
    """Print how far an attention function is from torch's own."""
    random = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, tokens, 8, generator=random, dtype=torch.float64) for tokens in (4, 6, 6))
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2]).reshape(2, 1, 1, 6)  # the second sample has 4 tokens
    mine, theirs = attention(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    print(f"shapes {tuple(mine.shape)} and {tuple(theirs.shape)}")
    print(f"largest difference: {(mine - theirs).abs().max():.12f}")

# %% grade_id="show-torch" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(compare_with_torch)(scaled_dot_product_attention)

# %% [markdown] grade_id="see-causal"
# ### The sentence with a causal mask
#
# A small trick shows the weights inside your function: take the identity matrix for the values. Then $A v = A$, and
# the mixtures *are* the weights. On the left every word sees every word, on the right only itself and the words before
# it.

# %% grade_id="causal-mask" role="setup"
causal = torch.ones(len(words), len(words), dtype=torch.bool).tril()  # (T, T): row i is True up to column i
identity = torch.eye(len(words))

# %% grade_id="picture-causal" role="display"
when_ready(
    lambda: pictures.attention_matrices(
        {
            "no mask": scaled_dot_product_attention(word_queries, word_keys, identity),
            "causal mask": scaled_dot_product_attention(word_queries, word_keys, identity, causal),
        },
        words,
    )
)()

# %% [markdown] grade_id="read-causal"
# The upper right triangle is exactly 0, and each row still sums to 1. "Anna" looks for an action but may see only
# herself, so she keeps everything: a softmax always hands out all it has, even if nothing fits. "cat" had divided its
# attention between "fed" and "purred"; now "purred" is in the future, and "fed" gets both halves. "purred", the last
# word, sees what it saw before.

# %% [markdown] grade_id="see-causal-photo"
# On the photo "before" means: in an earlier row, or further left in the same row. Models that draw images patch by
# patch or pixel by pixel use this order (Chen et al. 2020). Patch D lies on the far shore of the lake.

# %% grade_id="picture-causal-photo" role="display"
when_ready(photo.photo_causal)(scaled_dot_product_attention)

# %% [markdown] grade_id="read-causal-photo"
# Without a mask D finds the shore on both sides. With the mask everything to its right in the same row and everything
# below is gone, and the left half of the shore gets its share. For recognising an image this would be a pointless
# handicap: the whole image is there from the start. So a Vision Transformer uses no mask.

# %% [markdown] grade_id="background-transformer"
# ## 3 Where attention stands in a transformer
#
# The transformer of 2017 translates: an **encoder** reads the source sentence, a **decoder** writes the translation,
# one token after the other. Both are stacks of $L$ equal layers, and attention occurs in three places:
#
# | | queries from | keys and values from | mask |
# |---|---|---|---|
# | encoder self-attention | source | source | padding only |
# | decoder self-attention | target so far | target so far | causal |
# | cross-attention | target so far | output of the encoder | padding of the source |

# %% grade_id="picture-transformer" role="display"
diagrams.encoder_decoder()

# %% [markdown] grade_id="read-transformer"
# All three are the function that you have just written; they differ in where `q`, `k` and `v` come from, and in the
# mask. What the picture leaves out: each box has a shortcut around it (its output is *added* to its input) and a
# LayerNorm; the feed-forward box is a small network that is applied to every token by itself, so attention is the only
# place where tokens meet. Lab 3 builds these parts.
#
# During training the whole translation is known, and thanks to the causal mask the decoder learns to guess all its
# words in one go. When it translates, it has to write one word after the other.
#
# Later models use parts of it. Language models such as GPT are the decoder without cross-attention. BERT is the
# encoder alone, and so is the **Vision Transformer** (Dosovitskiy et al. 2020): its source tokens are patches, there
# is no target and no mask, and a class is read off at the top. From here on we need self-attention without a mask.

# %% [markdown] grade_id="exercise-AttentionHead"
# ## Exercise 3: one head of self-attention
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 15 minutes | **Points** 1.5
#
# In *self*-attention queries, keys and values come from the same tokens $x$ (B, T, D), by three linear maps that are
# learned:
#
# $$ q = x W_q + b_q, \qquad k = x W_k + b_k, \qquad v = x W_v + b_v $$
#
# Without these maps most tokens would look at themselves, because nothing is more like them. With them, what a token
# looks for, what it offers and what it hands over can be three different things.
#
# Write it as a module. Its three layers must be called `to_q`, `to_k` and `to_v`, each an `nn.Linear` from `dim` to
# `head_dim` features *with* bias: check and exam put their own weights in by these names, so that nothing depends on
# chance. Anything else that has parameters is too much, and so is a buffer without `persistent=False`.

# %% [markdown] grade_id="hints-AttentionHead"
# <details><summary><b>Hint 1: a question</b></summary>
#
# What is made once, when the layer is built, and what happens anew for each input? Which of the axes of (B, T, D) does
# `nn.Linear` change?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# `nn.Linear` acts on the last axis and treats all others as a batch, so it maps every token by itself, and (B, T, D)
# can go in as it is. Three layers in `__init__`, and in `forward` one call of exercise 2 with what they give.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# __init__:  self.to_q = Linear(from ____ to ____ features), and likewise to_k, ____
# forward:   return scaled_dot_product_attention(____ of x, ____ of x, ____ of x)
# ```
#
# </details>

# %% grade_id="AttentionHead" role="solution"
class AttentionHead(nn.Module):
    """One head of self-attention: every token asks, is asked, and answers.

    Its layers are to_q, to_k and to_v, each an nn.Linear(dim, head_dim) with bias.

    Args:
        dim: D, features of a token.
        head_dim: K, features of its query, key, and value.
    """

    def __init__(self, dim: int, head_dim: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.to_q = nn.Linear(dim, head_dim)
        self.to_k = nn.Linear(dim, head_dim)
        self.to_v = nn.Linear(dim, head_dim)
        ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, dim) -> (B, T, head_dim)."""
        ### BEGIN SOLUTION
        return scaled_dot_product_attention(self.to_q(x), self.to_k(x), self.to_v(x))
        ### END SOLUTION

# %% grade_id="exam-AttentionHead" role="exam" exercise="AttentionHead" points=1.5
check("lab1/AttentionHead", AttentionHead)

# %% [markdown] grade_id="see-order"
# ### What a head does not know
#
# Take five tokens, run your head on them, then shuffle the tokens and run it again. What happens to the result? Guess
# before you run the cell.

# %% grade_id="shuffle" role="setup"
def shuffle_tokens(layer_class):
    """Print what shuffling the tokens does to the result of a head with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head, x = layer_class(6, 4).double(), torch.randn(1, 5, 6, dtype=torch.float64)
    order = [3, 0, 4, 1, 2]
    before, after = head(x), head(x[:, order])
    print("the same numbers in the same places:", torch.allclose(before, after))
    print("the same numbers, shuffled alike:   ", torch.allclose(before[:, order], after))

# %% grade_id="show-order" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(shuffle_tokens)(AttentionHead)

# %% [markdown] grade_id="read-order"
# Each token takes the same thing away, wherever it stands: self-attention does not know the order of its tokens. "Anna
# fed her cat" and "cat fed her Anna" are one to it, and so are a photo and the same photo with its patches shuffled.
# Lab 2 adds the places to the tokens.

# %% [markdown] grade_id="background-heads"
# ## 4 Several heads
#
# One head has one row of weights for each token, so it can follow one kind of question at a time. Here are two
# questions: the one about meaning that you know, and another about place, "which word stands right before me?". Each
# has queries and keys with 4 features. They can be two heads of 4 features each, or one head with all 8.

# %% grade_id="place-data" role="setup"
def on_circle(stop: Tensor) -> Tensor:
    """Places as points on a circle with eight stops: cosine and sine of one turn and of two."""
    angle = stop * 2 * math.pi / 8
    return 2 * torch.stack([angle.cos(), angle.sin(), (2 * angle).cos(), (2 * angle).sin()], dim=-1)


stops = torch.arange(len(words))
place_keys = on_circle(stops)  # (T, 4): where a word stands
place_queries = on_circle(stops - 1)  # (T, 4): one stop before it
both_queries = torch.cat([word_queries, place_queries], dim=-1)  # (T, 8)
both_keys = torch.cat([word_keys, place_keys], dim=-1)

# %% grade_id="picture-heads" role="display"
when_ready(
    lambda: pictures.attention_matrices(
        {
            "a head for meaning": attention_weights(word_queries, word_keys),
            "a head for place": attention_weights(place_queries, place_keys),
            "one head for both": attention_weights(both_queries, both_keys),
        },
        words,
    )
)()

# %% [markdown] grade_id="read-heads"
# The head for place has its large weights just below the diagonal: each word looks at the one before it (the first has
# none, and turns to its neighbours on the circle). The single head on the right *adds* the two scores before it
# divides its attention. "it" looks at "cat" and at "and" at once, and neither answer can be told from the other in
# what it takes away. Two heads keep them apart.
#
# **Multi-head attention** (Vaswani et al. 2017, section 3.2.2) runs $H$ heads with weights of their own, puts their
# results side by side, and mixes them with one more linear layer:
#
# $$
# \mathrm{MultiHead}(x) = \mathrm{concat}(\mathrm{head}_1, \dots, \mathrm{head}_H)\, W_o + b_o,
# \qquad \mathrm{head}_h = \mathrm{Attention}(x W_q^h, x W_k^h, x W_v^h)
# $$
#
# (the biases of the three maps are left out here). Usually $K = D / H$. In code one does not loop over the heads: one
# wide layer makes the queries of all heads at once, and its features are then *split* into heads.

# %% grade_id="picture-split" role="display"
diagrams.heads_split()

# %% [markdown] grade_id="read-split"
# The picture shows one token with 3 heads of 4 features: neighbours stay together. In the notation of einops that is
# `"b t (h k) -> b h t k"`: in the long axis the head counts slowly and the feature fast. The other order, `(k h)`,
# would deal the features out like cards. A model could learn with either; but weights are only worth something to
# those who read them in the same order, so the order is fixed here, as in nearly every library.

# %% [markdown] grade_id="exercise-MultiHeadAttention"
# ## Exercise 4: multi-head attention
#
# **Difficulty** 4 of 5 | **Importance** 5 of 5 | **Time** 40 minutes | **Points** 4
#
# The layer that every block of a Vision Transformer holds. What is fixed:
#
# - `to_q`, `to_k`, `to_v`: `nn.Linear` from `dim` to `num_heads * head_dim` features, with a bias if `qkv_bias` says
#   so. Their features are split as `(h k)`.
# - `to_out`: `nn.Linear` from `num_heads * head_dim` back to `dim`, always with a bias.
# - `head_dim=None` means `dim / num_heads`. If that is no whole number, the constructor raises a `ValueError` whose
#   message names both `dim` and `num_heads`. If `head_dim` is given, any number is fine, and `num_heads * head_dim`
#   need not be `dim`.
# - Scores are divided by the square root of *one head's* size. No mask, and no dropout.
#
# There is no other parameter. You may use your `scaled_dot_product_attention`: it takes two leading axes.

# %% [markdown] grade_id="hints-MultiHeadAttention"
# <details><summary><b>Hint 1: a question</b></summary>
#
# `to_q(x)` is (B, T, H * K). Your attention function mixes along the last axis but one, and treats everything in front
# of it as a batch. In which shape must the queries come, so that tokens are mixed and heads are not?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Two steps: cut the last axis in two, then bring the axis of the heads in front of that of the tokens. A single
# `view(B, H, T, K)` gives the right shape and the wrong numbers; why? (Write the numbers 0 to 23 into a (1, 2, 12)
# tensor and look.) On the way back undo both steps, in reverse order. `Tensor.unflatten`, `transpose`, `flatten` help,
# or `einops.rearrange`.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# __init__:
#     if head_dim is None:
#         if dim does not split into num_heads: raise ValueError(a sentence with ____ and ____)
#         head_dim = ____
#     three layers dim -> ____, and one layer ____ -> dim
# forward:
#     q, k, v:  (B, T, ____)  ->  (B, T, ____, ____)  ->  (B, ____, ____, K)
#     heads = scaled_dot_product_attention(q, k, v)         # which shape?
#     (B, H, T, K)  ->  (B, ____, ____, K)  ->  (B, T, ____)
#     return ____ of that
# ```
#
# </details>

# %% grade_id="MultiHeadAttention" role="solution"
class MultiHeadAttention(nn.Module):
    """Several heads side by side, and one linear layer that mixes what they found.

    Its layers are to_q, to_k and to_v, each an nn.Linear(dim, num_heads * head_dim) whose features
    are split into heads as (h k), and to_out, an nn.Linear(num_heads * head_dim, dim) with bias.

    Args:
        dim: D, features of a token.
        num_heads: H.
        head_dim: K, features of a head; None: dim / num_heads, which must be a whole number.
        qkv_bias: whether the layers that make queries, keys, and values have a bias.

    Raises:
        ValueError: head_dim is None and num_heads does not divide dim; the message names both.
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int | None = None, qkv_bias: bool = True) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        if head_dim is None:
            if dim % num_heads:
                raise ValueError(f"dim {dim} does not split into {num_heads} heads; give head_dim")
            head_dim = dim // num_heads
        self.num_heads = num_heads
        inner = num_heads * head_dim
        self.to_q = nn.Linear(dim, inner, bias=qkv_bias)
        self.to_k = nn.Linear(dim, inner, bias=qkv_bias)
        self.to_v = nn.Linear(dim, inner, bias=qkv_bias)
        self.to_out = nn.Linear(inner, dim)
        ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, dim) -> (B, T, dim)."""
        ### BEGIN SOLUTION
        q, k, v = (
            to(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, T, K)
            for to in (self.to_q, self.to_k, self.to_v)
        )
        heads = scaled_dot_product_attention(q, k, v)  # (B, H, T, K)
        return self.to_out(heads.transpose(1, 2).flatten(2))
        ### END SOLUTION

# %% grade_id="exam-MultiHeadAttention" role="exam" exercise="MultiHeadAttention" points=4
check("lab1/MultiHeadAttention", MultiHeadAttention)

# %% [markdown] grade_id="see-torch-layer"
# ### Your layer and torch's
#
# torch has this layer too. `nn.MultiheadAttention` keeps the weights of the three maps in one matrix, queries first,
# then keys, then values. The next cell copies yours over and prints the largest difference of the results.

# %% grade_id="compare-torch-layer" role="setup"
def compare_with_torch_layer(layer_class):
    """Print how far a multi-head layer is from torch's own with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mine, x = layer_class(12, 3).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    maps = (mine.to_q, mine.to_k, mine.to_v)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([linear.weight for linear in maps]))
        theirs.in_proj_bias.copy_(torch.cat([linear.bias for linear in maps]))
        theirs.out_proj.load_state_dict(mine.to_out.state_dict())
        difference = mine(x) - theirs(x, x, x, need_weights=False)[0]
    print(f"largest difference: {difference.abs().max():.12f}")

# %% grade_id="show-torch-layer" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(compare_with_torch_layer)(MultiHeadAttention)

# %% [markdown] grade_id="question-heads"
# ## Question 2: what do more heads change?
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 10 minutes | **Points** 1
#
# Take `dim=64` and go from 1 head to 8, with `head_dim=None`. In three to six sentences: what stays the same, what can
# the layer do with 8 heads that it could not do with 1, and what does it pay for that? You may try things out first,
# in a cell of your own: count the parameters of both layers, or look once more at the three matrices above.

# %% [markdown] grade_id="written-heads" role="written" points=1
# The number of parameters stays the same: the maps to queries, keys and values go from 64 to $8 \cdot 8 = 64$ features
# as before, and `to_out` back from 64 to 64. The arithmetic is nearly the same too: each of the 8 score matrices costs
# an eighth of the one.
#
# What changes is that each token has 8 rows of weights in place of one. It can attend to several places at a time for
# different reasons, and take away different features from each, which `to_out` then mixes; a single head has to put
# all its preferences into one score, and mixes all values by the same weights.
#
# The price: each head compares queries and keys of 8 features only, so its matrix of scores has rank 8 at most (the
# biases included), and one head can tell fewer things apart; with very many heads $K$ becomes too small. And $H$
# matrices of weights (B, H, T, T) have to be computed and kept, which costs memory.
#
# ### BEGIN MARK SCHEME
# - 0.25 points: the number of parameters (or the arithmetic of the linear maps) stays the same.
# - 0.5 points: several patterns of attention at once: each head has its own weights over the tokens. 0.25 if it only
#   says "more heads see more" or "heads specialise" without saying that each has its own distribution.
# - 0.25 points: one price named: a smaller K per head (lower rank, coarser comparison), or H weight matrices in
#   memory.
# - "More heads make the model bigger": no points for the first part.
# ### END MARK SCHEME

# %% [markdown] grade_id="background-einsum"
# ## 5 The same as formulas: einsum
#
# Reshaping and transposing hides what is computed. `torch.einsum` writes it down as one would on paper: a letter for
# each axis, and
#
# - a letter that occurs in several inputs and in the output runs along in all of them: a batch,
# - a letter that is missing in the output is summed over,
# - the order of the output's letters is the order of its axes.
#
# | formula | einsum | what it is |
# |---|---|---|
# | $c_{ij} = \sum_k a_{ik} b_{kj}$ | `"ik,kj->ij"` | matrix product |
# | $c_i = \sum_j a_{ij}$ | `"ij->i"` | sum of each row |
# | $c_{bi} = \sum_k a_{bik} w_k$ | `"bik,k->bi"` | one dot product per sample and token |
# | $c_{ij} = x_i y_j$ | `"i,j->ij"` | every product: nothing is shared, nothing is summed |
#
# The next cell uses it on the sentence: $s_{ij} = \sum_k q_{ik} k_{jk}$. Queries and keys need different letters for
# their tokens (`i` and `j`), and the same letter `k` for the features that are compared.

# %% grade_id="show-einsum" role="display"
# NBVAL_CHECK_OUTPUT
print(torch.einsum("ik,jk->ij", word_queries, word_keys).int())

# %% [markdown] grade_id="read-einsum"
# These are the scores of the first picture before the division by $\sqrt{4}$: a 6 where a word finds what it looks
# for, a 2 where it finds the pronoun, and 0 elsewhere. The row of "and" is empty.

# %% [markdown] grade_id="exercise-multi_head_attention_einsum"
# ## Exercise 5: multi-head attention in einsum
#
# **Difficulty** 3 of 5 | **Importance** 3 of 5 | **Time** 25 minutes | **Points** 2.5
#
# Write multi-head self-attention once more, as a function of tokens and weights, with `torch.einsum` for every
# product. Now each head has its own slice of the weights, so nothing needs to be split or put together:
#
# $$
# q^h = x W_q^h, \quad k^h = x W_k^h, \quad v^h = x W_v^h, \qquad
# y = \sum_{h=1}^{H} \mathrm{softmax}\!\left(\frac{q^h (k^h)^\top}{\sqrt{K}}\right) v^h \; W_{out}^h
# $$
#
# `w_q`, `w_k`, `w_v` are (H, D, K), `w_out` is (H, K, D), and $K$ is `w_q.shape[-1]`. There are no biases. The sum
# over heads is the same thing as putting the heads side by side and multiplying by one large matrix: that matrix is
# the $W_{out}^h$ on top of each other.

# %% [markdown] grade_id="hints-multi_head_attention_einsum"
# <details><summary><b>Hint 1: a question</b></summary>
#
# Which letters does each tensor have? Say `b` for the batch, `h` for the head, `d` for the features of a token, `k`
# for those of a head. How many different letters do you need for tokens, once queries meet keys? For each step: which
# letter is summed over, and so missing on the right?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Go one product at a time and write the shapes down first: tokens times weights to (B, H, T, K), three times; queries
# times keys to (B, H, T, T); the softmax over the keys, which is not an einsum; weights times values; and at last
# everything back to (B, T, D), where two letters vanish at once.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# q       = einsum("b t d, h d k -> ____")          and likewise k, v
# scores  = einsum("b h i k, b h j k -> ____"), divided by ____
# weights = softmax of scores over the axis with the letter ____
# heads   = einsum("b h i j, ____ -> b h i k")
# return    einsum("____, h k d -> ____")
# ```
#
# (torch allows blanks inside the formula.)
#
# </details>

# %% grade_id="multi_head_attention_einsum" role="solution"
def multi_head_attention_einsum(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_out: Tensor) -> Tensor:
    """Multi-head self-attention as a handful of einsum lines, without biases.

    Args:
        x: tokens (B, T, D).
        w_q, w_k, w_v: one projection a head (H, D, K).
        w_out: from each head back to the token (H, K, D); the heads' contributions are summed.

    Returns:
        Tokens (B, T, D).
    """
    ### BEGIN SOLUTION
    q = torch.einsum("btd,hdk->bhtk", x, w_q)
    k = torch.einsum("btd,hdk->bhtk", x, w_k)
    v = torch.einsum("btd,hdk->bhtk", x, w_v)
    scores = torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(w_q.shape[-1])
    heads = torch.einsum("bhij,bhjk->bhik", scores.softmax(dim=-1), v)
    return torch.einsum("bhtk,hkd->btd", heads, w_out)
    ### END SOLUTION

# %% grade_id="exam-multi_head_attention_einsum" role="exam" exercise="multi_head_attention_einsum" points=2.5
check("lab1/multi_head_attention_einsum", multi_head_attention_einsum)

# %% [markdown] grade_id="playground-prose"
# ## Playground
#
# The next cell is yours; nothing in it is graded. Some things to try:
#
# - Let other patches of the photo look: each place is a (row, column), up to (12, 19). Where does a patch of the lake
#   look?
# - Change a query of the sentence, and guess the picture before you draw it.
# - Make the `w_q` of exercise 5 from the `to_q.weight` of exercise 4, and show that both give the same result. (The
#   weight of an `nn.Linear` is (features out, features in).)

# %% grade_id="playground" role="playground"
places = [(7, 12), (5, 4), (12, 19)]  # (row, column) of up to three patches
when_ready(photo.photo_attention)(attention_weights, places)

# %% [markdown] grade_id="closing"
# ## What you have built, and what comes next
#
# You have written attention three times: as two lines of algebra, as a layer with heads, and as formulas. You know
#
# - that a row of weights belongs to a query, sums to 1, and can be masked by setting scores to minus infinity;
# - why scores are scaled;
# - that heads keep several questions apart, and in which order their features lie;
# - that self-attention does not know the order of its tokens.
#
# **Lab 2** makes the tokens: it cuts images into patches, turns each into a vector, and tells each where it stands.
# **Lab 3** puts your attention layer into blocks and the blocks into a Vision Transformer.
#
# ### To read on
#
# - D. Bahdanau, K. Cho, Y. Bengio: *Neural machine translation by jointly learning to align and translate*, 2014,
#   [arXiv:1409.0473](https://arxiv.org/abs/1409.0473). Where attention comes from; look at figure 3.
# - A. Vaswani et al.: *Attention is all you need*, 2017, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762).
#   Equation 1 is exercise 2; section 3.2.2 is exercise 4; footnote 4 is a short answer to question 1.
# - A. Dosovitskiy et al.: *An image is worth 16x16 words*, 2020, [arXiv:2010.11929](https://arxiv.org/abs/2010.11929).
#   The Vision Transformer; appendix A writes multi-head self-attention down as we do.
# - P. Michel, O. Levy, G. Neubig: *Are sixteen heads really better than one?*, 2019,
#   [arXiv:1905.10650](https://arxiv.org/abs/1905.10650). What happens when heads are removed from a trained model.
# - M. Chen et al.: *Generative pretraining from pixels*, 2020 (ICML). Images under a causal mask.
# - M. Phuong, M. Hutter: *Formal algorithms for transformers*, 2022,
#   [arXiv:2207.09238](https://arxiv.org/abs/2207.09238). Every kind of transformer in exact pseudocode.
