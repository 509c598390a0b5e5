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
# # Lab 3 - The Vision Transformer
#
# You have attention from Lab 1 and tokens from Lab 2. In this lab you write what is missing between an image and its
# class: the feed-forward network, the block that holds it together with attention, and the model that stacks blocks.
# Then you count its parameters, and hold your count against numbers that others have published.
#
# | | what you write | difficulty | importance | minutes | points |
# |---|---|:---:|:---:|:---:|:---:|
# | 1 | `FeedForward`: two linear layers for each token by itself | 1 | 4 | 15 | 3 |
# | 2 | `EncoderBlock`: attention and feed-forward network on a residual stream | 3 | 5 | 30 | 4 |
# | 3 | `VisionTransformer`: from images to logits | 3 | 5 | 35 | 5 |
# | 4 | `count_parameters`, `vit_parameters`: what the model weighs, counted and by a formula | 3 | 3 | 35 | 4 |
# | | four questions to answer in words: from pixels to class | 2 | 4 | 30 | 4 |
# | 5 | *extra*: `attention_maps`: what the class token looks at | 3 | 3 | 25 | - |
# | 6 | *extra*: two models from homework reports, taken apart (to read) | 1 | 3 | 15 | - |
#
# Difficulty and importance go from 1 to 5; the minutes are a guess for the middle of the class and add up to 145
# without the extras, which bring no points. No GPU and no download is needed.

# %% [markdown] grade_id="how-it-works"
# ## How this notebook works
#
# It works like the labs before. **Cells to fill** hold a `raise NotImplementedError("TODO")`; replace that line and
# leave names and arguments as they are. All other cells are locked, but for the playground at the end, and you may add
# cells of your own anywhere. Run the **check** below a cell as often as you like. Hints are folded away in three steps.
# In the exam each right case earns its part of the points, a mistake costs points once, and only values count. Before
# you hand in: *Kernel > Restart Kernel and Run All Cells*, look at the checks, save.
#
# New in this lab: check and exam put their own weights into your modules, so the **names of their layers** matter. They
# are the names in `state_dict()`, such as `blocks.0.mlp.fc1.weight`, and each exercise says which are asked. A layer
# with parameters that nobody asked for is too much. Anything *without* parameters (`nn.GELU`, `nn.Dropout`,
# `nn.Identity`, ...) you may add under any name, and a buffer of your own if you register it with `persistent=False`.

# %% [markdown] grade_id="conventions"
# ## One alphabet
#
# | letter | meaning |
# |:---:|---|
# | `B` | batch: independent images; always the first axis |
# | `C`, `H`, `W` | channels, height and width of an image |
# | `P` | side of a patch in pixels |
# | `N` | patches of an image, $(H / P) \cdot (W / P)$ of them |
# | `T` | tokens in general; in the whole model `N + 1`, with the class token in front |
# | `D` | features of a token, called `dim` in code |
# | `L` | blocks, called `depth` in code |
#
# (`H` is also the number of heads, as in Lab 1; which one is meant is plain from where it stands.) Where two customs
# exist, both are right here: GELU exact or with tanh, and LayerNorm with an eps of 1e-5 (torch's) or 1e-6 (the
# paper's code). As always, modules keep the dtype of their input, leave it unchanged, and let gradients through.

# %% grade_id="install" role="display" shared="install"
prepare()
del prepare

# %% grade_id="imports" role="setup"
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitedu import check, examine, when_ready
from vitedu.data import shapes
from vitedu.labs.lab3 import homework, rollout, vit_diagrams
from vitedu.plots import anatomy

# %% [markdown] grade_id="given"
# ### What is given
#
# The parts from Labs 1 and 2 that this lab builds on are in the next cell, so that an open end there does not matter
# here. Read the signatures; you will call two of the three classes.

# %% grade_id="earlier-parts" role="setup"
class MultiHeadAttention(nn.Module):
    """Lab 1's layer: several heads side by side, and one linear layer that mixes what they found.

    Tokens (B, T, dim) -> (B, T, dim); features are split into heads as (h k).
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int | None = None, qkv_bias: bool = True) -> None:
        super().__init__()
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

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, dim) -> (B, T, dim)."""
        q, k, v = (
            to(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, T, K)
            for to in (self.to_q, self.to_k, self.to_v)
        )
        heads = F.scaled_dot_product_attention(q, k, v)  # (B, H, T, K)
        return self.to_out(heads.transpose(1, 2).flatten(2))


class ConvPatchEmbedding(nn.Module):
    """Lab 2's patches as vectors: images (B, C, H, W) -> tokens (B, N, D)."""

    def __init__(self, patch_size: int, in_channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> tokens (B, N, D)."""
        return self.proj(images).flatten(2).transpose(1, 2)


class TokenEmbedding(nn.Module):
    """Lab 2's tokens: class token first, then the patches, positions added; (B, C, H, W) -> (B, N+1, D)."""

    def __init__(self, image_size: int | tuple[int, int], patch_size: int, in_channels: int, dim: int) -> None:
        super().__init__()
        H, W = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.patches = ConvPatchEmbedding(patch_size, in_channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, (H // patch_size) * (W // patch_size) + 1, dim) * 0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> tokens (B, N+1, D)."""
        cls = self.cls_token.expand(len(images), -1, -1)  # (B, 1, D)
        return torch.cat([cls, self.patches(images)], dim=1) + self.position

# %% [markdown] grade_id="background-model"
# ## 1 The model on one page
#
# Dosovitskiy et al. (2020) asked how much of what we know about images has to be built into a network. Their answer: to
# cut them into patches. Everything behind that is the encoder of the transformer of 2017, which was made for text.

# %% grade_id="picture-model" role="display"
vit_diagrams.vision_transformer()

# %% [markdown] grade_id="read-model"
# Read it from left to right. The *embedding* (Lab 2) turns an image into $N$ patch tokens, puts a learned **class
# token** in front, and adds to each token where it stands. Then $L$ *blocks* follow, all built alike, each with weights
# of its own. A block takes tokens (B, N+1, D) and gives tokens of the same shape, so there can be any number of blocks.
# At the end stands a *norm*, and a linear *head* that reads one vector per image and gives one number for each class.
# Nothing on the way makes an image smaller step by step, as a CNN does.

# %% [markdown] grade_id="background-feed-forward"
# ## 2 The feed-forward network
#
# Attention moves information between tokens, but what it moves is a weighted *mean* of values, and the values are a
# linear map of the tokens. What a token makes of the news is the task of the second half of a block, a small network
# with one hidden layer:
#
# $$ \mathrm{FFN}(x) = \mathrm{GELU}(x W_1 + b_1)\, W_2 + b_2 $$
#
# It is applied to each token by itself, with the same weights for all of them. The hidden layer is wider than the
# token, usually four times. About two thirds of the parameters of a usual Vision Transformer lie here; the paper calls
# this part the *MLP*.
#
# Without a function between them two linear layers would be just one. **GELU** (Hendrycks and Gimpel 2016) multiplies
# $x$ by the probability that a standard normal number lies below $x$:
#
# $$ \mathrm{GELU}(x) = x\,\Phi(x) \;\approx\; \frac{x}{2}\left(1 + \tanh\!\left(\sqrt{2 / \pi}\,(x + 0.044715\,x^3)
# \right)\right) $$

# %% grade_id="picture-gelu" role="display"
vit_diagrams.gelu_and_relu()

# %% [markdown] grade_id="read-gelu"
# ReLU asks whether $x$ is positive; GELU asks by how much, and blends the two cases around 0. It is smooth, it dips a
# little below 0 on the left, and its derivative is not exactly 0 there: a feature that is slightly negative still
# learns. Far from 0 the two are the same. (The formula with tanh differs from the exact one by less than 0.0005
# everywhere, so nobody will see which of them you took.)

# %% [markdown] grade_id="exercise-FeedForward"
# ## Exercise 1: the feed-forward network
#
# **Difficulty** 1 of 5 | **Importance** 4 of 5 | **Time** 15 minutes | **Points** 3
#
# Write it as a module. What is fixed:
#
# - `fc1`: `nn.Linear` from `dim` to `hidden_dim`; `fc2`: `nn.Linear` from `hidden_dim` back to `dim`; both with bias.
# - Between them a GELU, exact or with tanh.
# - **Dropout**: with probability `dropout` a feature is set to 0 while the module is in training mode, and the others
#   are scaled up to make up for it. Here it stands after the GELU, after `fc2`, or (as in the paper's code) at both
#   places, but at least at one of them. In evaluation mode it does nothing. `nn.Dropout` does all of that, including
#   the mode; `dropout=0.0` is allowed and means none.

# %% [markdown] grade_id="hints-FeedForward"
# <details><summary><b>Hint 1: a question</b></summary>
#
# `nn.Linear` changes the last axis only. Do you need to do anything at all about the axes of the batch and the tokens?
# How does a module know whether it is in training or in evaluation mode?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# All layers are made in `__init__` and stored on `self`; that is how `train()` and `eval()` reach the dropout. A bare
# `F.dropout(x, p)` in `forward` does not know the mode, because its argument `training` is True unless you say
# otherwise.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# __init__:  fc1 = Linear(____ -> ____),  fc2 = Linear(____ -> ____),  a GELU,  a Dropout with probability ____
# forward:   hidden = ____ of fc1 of x, with dropout
#            return fc2 of hidden, with dropout
# ```
#
# </details>

# %% grade_id="FeedForward" role="solution"
class FeedForward(nn.Module):
    """Two linear layers, fc1 and fc2, with a GELU between them, for each token by itself.

    Dosovitskiy et al. (2020), section 3.1: "MLP". Hendrycks and Gimpel (2016) for GELU.

    Args:
        dim: D, features of a token.
        hidden_dim: features between the two layers.
        dropout: probability with which dropout zeroes a feature, after the GELU and after fc2.
    """

    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D) -> (B, T, D)."""
        ### BEGIN SOLUTION
        hidden = self.dropout(self.activation(self.fc1(x)))
        return self.dropout(self.fc2(hidden))
        ### END SOLUTION

# %% grade_id="exam-FeedForward" role="exam" exercise="FeedForward" points=3
check("lab3/FeedForward", FeedForward)

# %% [markdown] grade_id="see-hearing"
# ### Who hears of whom
#
# The next cell changes the middle one of five tokens and looks which tokens come out differently: first with your
# network, then with attention. Guess before you run it.

# %% grade_id="hearing" role="setup"
def who_hears(name: str, layer: nn.Module, dim: int = 12) -> None:
    """Print at which of five places a layer's result changes when the token at place 2 does."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, 5, dim, generator=random)
    other = x.clone()
    other[:, 2] += 1
    with torch.no_grad():
        changed = (layer.eval()(x) - layer(other)).abs().amax(dim=-1)[0] > 1e-6
    print(f"{name:<20} token 2 changes, and so do the results {changed.nonzero().flatten().tolist()}")

# %% grade_id="show-hearing" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(lambda: who_hears("feed-forward network", FeedForward(12, 24)))()
who_hears("attention", MultiHeadAttention(12, 3))

# %% [markdown] grade_id="read-hearing"
# The network works on each token alone. So attention is the only place in the whole model, between the embedding and
# the head, where tokens hear of each other. Keep that in mind for exercise 6, where a homework got it wrong.

# %% [markdown] grade_id="background-block"
# ## 3 The block
#
# **The residual stream.** A block does not replace its tokens: it *adds* to them. Whatever attention and the network
# find out is added to what was there (He et al. 2015 did this first, for CNNs). So there is a straight line from the
# embedding to the head, the residual stream, on which nothing happens but additions. Each part reads from the stream
# and writes back to it. On the way back the gradient takes the same line: an addition hands it on unchanged, so it
# reaches the first block however many blocks there are.
#
# **LayerNorm** (Ba, Kiros and Hinton 2016). What a part reads should have a steady size, whatever the others have added
# before. LayerNorm takes each token $x$ by itself, subtracts the mean of its $D$ features and divides by their standard
# deviation; then each feature gets a learned scale $\gamma$ and shift $\beta$:
#
# $$
# \mathrm{LN}(x)_d = \gamma_d\,\frac{x_d - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta_d,
# \qquad
# \mu = \frac{1}{D} \sum_{d=1}^{D} x_d,
# \qquad
# \sigma^2 = \frac{1}{D} \sum_{d=1}^{D} (x_d - \mu)^2
# $$
#
# Unlike BatchNorm it looks neither at other images nor at other tokens, so it does the same in training and testing.
#
# **Where the norm stands.** In 2017 it stood on the stream, after each addition: *post-norm*. The Vision Transformer
# puts it at the start of each branch: *pre-norm* (Dosovitskiy et al. 2020, equations 2 and 3):
#
# $$
# \begin{aligned}
# y &= x + \mathrm{Attention}(\mathrm{LN}_1(x)) \\
# z &= y + \mathrm{FFN}(\mathrm{LN}_2(y))
# \end{aligned}
# $$

# %% grade_id="picture-block" role="display"
vit_diagrams.encoder_block()

# %% [markdown] grade_id="read-block"
# Follow the thick line from the bottom to the top. On the left it meets two additions and nothing else. On the right it
# goes through two norms in each block: everything that was written to the stream is rescaled again and again, and so is
# the gradient on its way back. Deep post-norm models need a careful warm-up of the learning rate, and often fail
# without one; pre-norm models are easier to train (Xiong et al. 2020). In a model of two or three blocks you would see
# hardly any difference. The price of pre-norm: the stream may grow from block to block, so a last norm has to stand in
# front of the head.

# %% [markdown] grade_id="exercise-EncoderBlock"
# ## Exercise 2: the encoder block
#
# **Difficulty** 3 of 5 | **Importance** 5 of 5 | **Time** 30 minutes | **Points** 4
#
# Write the two lines above as a module. What is fixed:
#
# - `norm1` and `norm2`: two different `nn.LayerNorm(dim)`, eps 1e-5 or 1e-6.
# - `attention`: the `MultiHeadAttention` given above, with this block's `num_heads`, `head_dim` and `qkv_bias`.
# - `mlp`: your `FeedForward` with `mlp_dim` hidden features and this block's `dropout`.
# - Dropout stands on the branches, that is, on what is added, and never on the sum. The one inside your `FeedForward`
#   is enough; another one on the attention branch is customary.

# %% [markdown] grade_id="hints-EncoderBlock"
# <details><summary><b>Hint 1: a question</b></summary>
#
# Suppose all weights of attention and network were 0. What should the block give for $x$? Does yours? And what does the
# second branch read: what came into the block, or what the first branch has made of it?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Two assignments to `x`, one for each branch, each of the form "what is there, plus a part of the norm of what is
# there". What is added to is never normed. Write `x = x + ...` and not `x += ...`: the latter writes into the tensor of
# whoever called you.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# __init__:  norm1, norm2 = two LayerNorms of ____ features
#            attention = MultiHeadAttention(____, ____, ____, ____)
#            mlp = FeedForward(____, ____, ____)
# forward:   x = ____ + attention(____ of x)
#            x = ____ + mlp(____ of ____)
#            return x
# ```
#
# </details>

# %% grade_id="EncoderBlock" role="solution"
class EncoderBlock(nn.Module):
    """One layer of the transformer: attention, then the feed-forward network, each on a branch of its own.

    Pre-norm, as in Dosovitskiy et al. (2020), equations 2 and 3. Its parts are norm1, attention (a
    MultiHeadAttention), norm2 and mlp (a FeedForward).

    Args:
        dim: D, features of a token.
        num_heads: H.
        mlp_dim: features between the two layers of the feed-forward network.
        head_dim: K, features of a head; None: dim / num_heads.
        dropout: probability of dropout, on the branches only.
        qkv_bias: whether the layers that make queries, keys, and values have a bias.
    """

    def __init__(
        self, dim: int, num_heads: int, mlp_dim: int,
        head_dim: int | None = None, dropout: float = 0.0, qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.norm1 = nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, num_heads, head_dim, qkv_bias)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, mlp_dim, dropout)
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D) -> (B, T, D)."""
        ### BEGIN SOLUTION
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.mlp(self.norm2(x))
        ### END SOLUTION

# %% grade_id="exam-EncoderBlock" role="exam" exercise="EncoderBlock" points=4
check("lab3/EncoderBlock", EncoderBlock)

# %% [markdown] grade_id="see-torch-block"
# ### Your block and torch's
#
# torch has this block too: `nn.TransformerEncoderLayer`, which is post-norm with ReLU unless one says otherwise. The
# next cell builds the pre-norm one with GELU, copies your weights over and prints the largest difference.

# %% grade_id="compare-torch-block" role="setup"
def compare_with_torch_block(block_class):
    """Print how far an encoder block is from torch's own with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mine, x = block_class(12, 3, 20).double().eval(), torch.randn(2, 5, 12, dtype=torch.float64)
    theirs = nn.TransformerEncoderLayer(12, 3, 20, 0.0, "gelu", batch_first=True, norm_first=True).double().eval()
    maps = (mine.attention.to_q, mine.attention.to_k, mine.attention.to_v)
    pairs = {
        theirs.self_attn.out_proj: mine.attention.to_out, theirs.linear1: mine.mlp.fc1, theirs.linear2: mine.mlp.fc2,
        theirs.norm1: mine.norm1, theirs.norm2: mine.norm2,
    }
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(torch.cat([linear.weight for linear in maps]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([linear.bias for linear in maps]))
        for layer, own in pairs.items():
            layer.load_state_dict(own.state_dict())
        print(f"largest difference: {(mine(x) - theirs(x)).abs().max():.6f}")

# %% grade_id="show-torch-block" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(compare_with_torch_block)(EncoderBlock)

# %% [markdown] grade_id="read-torch-block"
# (With a tanh in your GELU or another eps the difference is not 0, but still below 0.001.)
#
# ### What the shortcuts are good for
#
# Take 16 of your blocks, new and untrained, and send random tokens through them. After each block, how alike are two
# tokens of the same image? The picture shows the mean cosine of the angle between them: once for your blocks as they
# are, and once for their branches alone, `block(x) - x`.

# %% grade_id="picture-alike" role="display"
when_ready(vit_diagrams.tokens_alike)(EncoderBlock)

# %% [markdown] grade_id="read-alike"
# Random tokens point in all directions and start at 0. Without the shortcut every token is made from a mean over all
# tokens, and means over the same things are alike: after four blocks all 17 tokens are the same, and no later block can
# tell the patches apart any more. (Dong, Cordonnier and Loukas 2021 prove for attention alone that this goes faster
# than exponentially.) With the shortcut each token keeps what it was and only gains something; the similarity rises
# slowly.

# %% [markdown] grade_id="background-head"
# ## 4 From tokens to a class
#
# After the last block there are $N + 1$ vectors and one class is wanted.
#
# **The class token** (Devlin et al. 2018, for text) is the paper's way. It belongs to no patch and starts as the same
# learned vector for every image. In each block it can ask all patches and keep what it gets, and at the end the head
# reads it alone. So it is the place where the model collects what matters for the class, and what matters is decided
# by its queries. The head sees none of the patch tokens; they reach the class only through attention.
#
# **Mean pooling** is the other way: the head reads the mean of the $N$ patch tokens, all with the same weight, and the
# class token just goes along. Both work about equally well when each is tuned for itself (Dosovitskiy et al. 2020,
# appendix D.3).
#
# Either way the last norm comes *before* the reading, on every token: the norm of a mean is not the mean of the norms.
# And the head gives **logits**, plain numbers of any size and sign. There is no softmax in the model: the loss of Lab 4
# applies it itself, in a form that does not overflow, and the largest logit is the largest probability anyway.

# %% [markdown] grade_id="exercise-VisionTransformer"
# ## Exercise 3: the Vision Transformer
#
# **Difficulty** 3 of 5 | **Importance** 5 of 5 | **Time** 35 minutes | **Points** 5
#
# Put the model of the first picture together. What is fixed:
#
# - `embedding`: the `TokenEmbedding` given above.
# - `blocks`: an `nn.ModuleList` (or `nn.Sequential`) of `depth` different `EncoderBlock`s, so that their weights are
#   called `blocks.0...`, `blocks.1...`, and so on.
# - `norm`: an `nn.LayerNorm(dim)` on the tokens behind the last block.
# - `head`: `nn.Linear` from `dim` to `num_classes`, with bias. It reads the class token for `pool="cls"` and the mean
#   of the patch tokens, without the class token, for `pool="mean"`.
# - `dropout` goes to every block; another one behind the embedding is customary.
#
# `image_size` is a number or (H, W), which `TokenEmbedding` knows how to take. The batch may have any size.

# %% [markdown] grade_id="hints-VisionTransformer"
# <details><summary><b>Hint 1: a question</b></summary>
#
# Which axis of (B, N+1, D) do you have to index to get the class token of *every* image? What happens to parameters
# that lie in a plain Python list? And what would `[block] * depth` mean?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# `__init__` makes four parts, and `forward` calls them in order; only the reading needs an `if`. torch finds the
# parameters of a list only if the list is an `nn.ModuleList` or an `nn.Sequential`. A list comprehension makes a new
# block in each round; `[block] * depth` holds one block many times.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# __init__:  embedding = TokenEmbedding(____)
#            blocks = ModuleList of [an EncoderBlock(____) for each of ____]
#            norm = LayerNorm(____),  head = Linear(____ -> ____),  and remember ____
# forward:   x = embedding of the images            # (B, N+1, D)
#            for each block:  x = ____
#            x = norm of x
#            x = x[____] if pool is "cls", else the mean of x[____] over the axis of the ____     # (B, D)
#            return head of x
# ```
#
# </details>

# %% grade_id="VisionTransformer" role="solution"
class VisionTransformer(nn.Module):
    """A Vision Transformer: tokens, blocks, a last LayerNorm, and a linear head.

    Dosovitskiy et al. (2020), equations 1 to 4. Its parts are embedding (a TokenEmbedding), blocks (an
    nn.ModuleList of EncoderBlock), norm, and head.

    Args:
        image_size: the side of a square image, or (H, W).
        patch_size: P.
        in_channels: C.
        num_classes: number of classes.
        dim: D, features of a token.
        depth: number of blocks.
        num_heads: H.
        mlp_dim: features between the two layers of each feed-forward network.
        head_dim: K, features of a head; None: dim / num_heads.
        dropout: probability of dropout.
        qkv_bias: whether the layers that make queries, keys, and values have a bias.
        pool: what the head reads: "cls", the class token, or "mean", the mean of the patch tokens.
    """

    def __init__(
        self, image_size: int | tuple[int, int], patch_size: int, in_channels: int, num_classes: int,
        dim: int, depth: int, num_heads: int, mlp_dim: int,
        head_dim: int | None = None, dropout: float = 0.0, qkv_bias: bool = True, pool: str = "cls",
    ) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.pool = pool
        self.embedding = TokenEmbedding(image_size, patch_size, in_channels, dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            [EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout, qkv_bias) for _ in range(depth)]
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        ### END SOLUTION

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, num_classes)."""
        ### BEGIN SOLUTION
        x = self.dropout(self.embedding(images))  # (B, N+1, D)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        x = x[:, 0] if self.pool == "cls" else x[:, 1:].mean(dim=1)  # (B, D)
        return self.head(x)
        ### END SOLUTION

# %% grade_id="exam-VisionTransformer" role="exam" exercise="VisionTransformer" points=5
check("lab3/VisionTransformer", VisionTransformer)

# %% [markdown] grade_id="see-trained"
# ### Your model, trained
#
# Your model cannot do anything yet: its weights are chance, and training is the subject of Lab 4. But somebody has
# trained a small one before (three blocks, three heads, 48 features), and its weights lie ready. They fit into any
# model whose layers have the right names and do the right thing. Yours does.
#
# The task is called *pairs*. Two of three colours, red, green and blue, occur in each image, one higher up than the
# other, and the class says which colour is above which: six classes. Gray shapes are there to distract. To know which
# two colours occur is not enough: a model must also know where they are.

# %% grade_id="trained" role="setup"
test_images, test_labels = shapes.pairs(6, rng=22)  # normalised (6, 3, 32, 32); (6,), whole numbers from 0 to 5


def what_it_says(model_class):
    """Six images that the trained model has not seen, each with the class that the model gives it."""
    with torch.no_grad():
        said = rollout.trained(model_class)(test_images).argmax(dim=-1).tolist()
    right = test_labels.tolist()
    titles = [shapes.PAIRS[s] + ("" if s == r else " (wrong)") for s, r in zip(said, right, strict=True)]
    return rollout.show_images(test_images, titles)

# %% grade_id="picture-trained" role="display"
when_ready(what_it_says)(VisionTransformer)

# %% [markdown] grade_id="read-trained"
# All six are right, and so are 99.8 % of 2,000 other images that the model was not trained on. Nothing of this was in
# your code: it gave the weights a place to be.
#
# `load_state_dict` is content when names and shapes fit. So what if a layer had the right name and did the wrong thing?
# We have tried it with these weights. Without the first addition of the blocks 34 % are right, and with a head that
# reads the last token 68 %. But with ReLU in place of GELU, with `norm1` and `norm2` exchanged, or without the last
# norm, it is still 99.8 %. An accuracy does not see everything. That is why check and exam compare numbers, and why
# they use weights that are made to show such things.

# %% [markdown] grade_id="background-count"
# ## 5 What does it weigh?
#
# The number of parameters says how much memory a model takes, how long a step of its training lasts, and, roughly, how
# many images it takes to fill it. It is also the quickest test there is of whether a model is what it claims to be:
# when your count equals a published one to the last digit, little can be wrong with the layers, and when it does not,
# the difference often tells what is missing. A difference of $D$ is a forgotten bias or class token, one of $2 D$ a
# LayerNorm.
#
# Linear layers from $n$ to $m$ features have $n m$ weights and, with a bias, $m$ more. A LayerNorm has $2 D$. For
# everything else go through the model from left to right: the convolution of the patches, the class token, a position
# for each token, then block by block, the last norm and the head.

# %% [markdown] grade_id="exercise-parameter_counts"
# ## Exercise 4: count
#
# **Difficulty** 3 of 5 | **Importance** 3 of 5 | **Time** 35 minutes | **Points** 4
#
# Two functions in one cell.
#
# - `count_parameters(model, trainable_only=False)` counts the numbers in a model's parameters, for any model. A tensor
#   that is used in two places counts once. Buffers, such as BatchNorm's running mean, are no parameters. With
#   `trainable_only=True` it leaves out what is frozen (`requires_grad=False`).
# - `vit_parameters(...)` computes the number for your `VisionTransformer` from its sizes, by a formula, without
#   building one. `image_size` is a number or (H, W), and `head_dim=None` means `dim / num_heads`, as before.

# %% [markdown] grade_id="hints-parameter_counts"
# <details><summary><b>Hint 1: a question</b></summary>
#
# What does `model.parameters()` give, and how many numbers are in one of those? For the formula: what are the numbers
# of one block that do not depend on the image, and which numbers depend on it?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# `parameters()` runs over tensors and gives a shared one only once; `len(list(...))` would count tensors, and
# `state_dict()` holds buffers as well. For the formula write one line for each part (embedding, attention, network,
# norms, head), and check each against `count_parameters` of that part of a small model. Choose sizes that are all
# different, and a `head_dim` that is not `dim / num_heads`.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# count_parameters:  sum of ____ over all p in model.parameters(), skipping p if ____ and ____
# vit_parameters:
#     inner     = num_heads * (head_dim, or ____)
#     embedding = weights and bias of the convolution  +  class token ____  +  positions (____ + 1) * ____
#     attention = 3 * (____ [+ a bias if ____]) * inner  +  (____ + 1) * dim
#     mlp       = (dim + 1) * ____  +  (____ + 1) * ____
#     norms     = ____ for each block
#     return embedding + depth * (all of a block) + last norm ____ + head ____
# ```
#
# </details>

# %% grade_id="parameter_counts" role="solution"
def count_parameters(model: nn.Module, trainable_only: bool = False) -> int:
    """Count the numbers in a model's parameters; a parameter that is used twice counts once, buffers do not.

    Args:
        model: any module.
        trainable_only: leave out the parameters with requires_grad=False.
    """
    ### BEGIN SOLUTION
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)
    ### END SOLUTION


def vit_parameters(
    image_size: int | tuple[int, int], patch_size: int, in_channels: int, num_classes: int,
    dim: int, depth: int, num_heads: int, mlp_dim: int, head_dim: int | None = None, qkv_bias: bool = True,
) -> int:
    """The number of parameters of a VisionTransformer by a formula, without building one.

    Args:
        As for VisionTransformer.
    """
    ### BEGIN SOLUTION
    H, W = (image_size, image_size) if isinstance(image_size, int) else image_size
    tokens = (H // patch_size) * (W // patch_size) + 1
    inner = num_heads * (head_dim or dim // num_heads)
    embedding = (in_channels * patch_size**2 + 1) * dim + dim + tokens * dim
    attention = 3 * (dim + qkv_bias) * inner + (inner + 1) * dim
    mlp = (dim + 1) * mlp_dim + (mlp_dim + 1) * dim
    return embedding + depth * (attention + mlp + 4 * dim) + 2 * dim + (dim + 1) * num_classes
    ### END SOLUTION

# %% grade_id="exam-parameter_counts" role="exam" exercise="parameter_counts" points=4
check("lab3/parameter_counts", count_parameters, vit_parameters)

# %% [markdown] grade_id="see-published"
# ### You and the published numbers
#
# A lab report prints the layers of its model for gray images of 28 x 28 pixels; torchvision gives the number for
# ViT-B/16 (Dosovitskiy et al. 2020) with 1000 classes; and DeiT-B (Touvron et al. 2020) has blocks of the same size.
# The models are built on torch's `meta` device, where tensors have a shape and no numbers, so that none of the 86
# million takes any memory.

# %% grade_id="published" role="setup"
REPORT = {
    "image_size": 28, "patch_size": 4, "in_channels": 1, "num_classes": 6, "dim": 192, "depth": 10, "num_heads": 8,
    "mlp_dim": 384, "head_dim": 64, "qkv_bias": False,
}
BASE = {
    "image_size": 224, "patch_size": 16, "in_channels": 3, "num_classes": 1000, "dim": 768, "depth": 12,
    "num_heads": 12, "mlp_dim": 3072,
}


def compare_with_published(model_class, count, formula):
    """Your counts, those of your formula, and the published ones, side by side."""
    with torch.device("meta"):
        report, base = model_class(**REPORT), model_class(**BASE)
    block = report.blocks[0]
    one_more = formula(**{**BASE, "depth": 13}) - formula(**BASE)
    found = [
        ("report: patch projection", count(report.embedding.patches), None, 3_264),
        ("report: attention of a block", count(block.attention), None, 393_408),
        ("report: feed-forward network", count(block.mlp), None, 148_032),
        ("report: a LayerNorm", count(block.norm1), None, 384),
        ("report: the whole model", count(report), formula(**REPORT), None),
        ("a block of DeiT-B", count(base.blocks[0]), one_more, 7_087_872),
        ("ViT-B/16", count(base), formula(**BASE), 86_567_656),
    ]
    rows = [[name, *("" if number is None else f"{number:,}" for number in numbers)] for name, *numbers in found]
    return anatomy.Table(("", "your model", "your formula", "published"), rows)

# %% grade_id="show-published" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(compare_with_published)(VisionTransformer, count_parameters, vit_parameters)

# %% [markdown] grade_id="read-published"
# Each line must agree to the last digit. A formula gives the block of DeiT-B as the difference between a model with 13
# blocks and one with 12.
#
# ### Layer by layer
#
# The report's own table was made by the package torchinfo, which sends an image through a model and notes what goes
# into each layer and what comes out. Here is such a table of *your* model with the report's sizes. Parameters are
# counted by your function; where the report prints a number, it stands in the last column.

# %% grade_id="take-apart" role="setup"
PUBLISHED = {"Conv2d": 3_264, "MultiHeadAttention": 393_408, "FeedForward": 148_032, "LayerNorm": 384}


def take_apart(model_class, count):
    """The table of the report's model: shapes, parameters and multiply-adds of each layer."""
    return anatomy.anatomy(model_class(**REPORT), torch.zeros(1, 1, 28, 28), count, PUBLISHED)

# %% grade_id="show-anatomy" role="display"
when_ready(take_apart)(VisionTransformer, count_parameters)

# %% [markdown] grade_id="read-anatomy"
# Read the shapes first: from the first block to the last they are 1 x 50 x 192, 49 patches and the class token. Only
# *inside* a block a token gets wider, 512 features for 8 heads of 64 in attention and 384 in the network. (This network
# is narrower than usual, and attention, whose heads are wider than $D / H$, holds most of the parameters.)
#
# **Multiply-adds** are what an image costs in time. A linear layer of 192 x 512 weights needs 98,304 of them for *each*
# of the 50 tokens, 4,915,200 together. Beware of torchinfo here: its version 1.8.0 multiplies the weights of a linear
# layer by the size of the batch only, and prints 98,304; the numbers of the report are too small for this reason. What
# neither table shows are the products that have no weights: $q k^\top$ and the weighted sum of the values need
# $2 \cdot 50^2 \cdot 512 = 2{,}560{,}000$ in each block, about a tenth of the layers'. That part grows with the square
# of the number of tokens: with patches of 2 pixels, 197 tokens, it would be more than a third.

# %% [markdown] grade_id="questions"
# ## From pixels to class
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 30 minutes | **Points** 4, one for each question
#
# Tell the way of an image through *your own* `VisionTransformer`, in four short answers of three to six sentences each.
# Name the parts as they are called in your code, and give the shape at each step, in the letters of the alphabet above
# or for an example of your choice. Write into the cells below (double-click them).

# %% [markdown] grade_id="question-patches"
# ### Question 1: patch embedding
#
# How does an image (B, C, H, W) become a sequence of vectors? What does the convolution in `embedding.patches` do, why
# are its kernel size and its stride equal, and which linear map is it the same as?

# %% [markdown] grade_id="written-patches" role="written" points=1
# `embedding.patches.proj` is a convolution with kernel size and stride $P$, so its kernel stands on each patch exactly
# once, without overlap or gap: each patch of $C \cdot P \cdot P$ numbers gives one vector of $D$ features. (B, C, H, W)
# becomes (B, D, H/P, W/P); flattened and transposed that is (B, N, D) with $N = (H/P)(W/P)$, in row-major order. It is
# the same as cutting out the patches, flattening each to $C P^2$ numbers and applying one `nn.Linear(C * P * P, D)`,
# with the same weights for all patches. For 32 x 32 RGB images with $P = 8$: (B, 3, 32, 32), 16 patches of 192 numbers,
# (B, 16, D).
#
# ### BEGIN MARK SCHEME
# - 0.5 points: one vector of D features per patch, and why: kernel = stride = P means that every patch is seen exactly
#   once (no overlap). 0.25 if kernel and stride are only named.
# - 0.25 points: it equals one linear map of the flattened patch (C * P * P -> D), shared by all patches.
# - 0.25 points: right shapes, (B, C, H, W) to (B, N, D) with N = (H/P)(W/P), or a right example.
# - "The CNN extracts features" without the linear map or the patches: 0.
# ### END MARK SCHEME

# %% [markdown] grade_id="question-positions"
# ### Question 2: positions
#
# What is `embedding.position`, what is its shape and why, and how does it get into the tokens? What could your model
# not do without it, and which part of the model is to blame for that?

# %% [markdown] grade_id="written-positions" role="written" points=1
# `embedding.position` is a parameter (1, N+1, D): one learned vector for each place in the sequence, the class token's
# place included, the same for every image of the batch. It is added to the tokens, so that what a token says and where
# it stands lie in the same $D$ features. Without it the model could not tell an image from the same image with its
# patches shuffled: attention gives the same results whatever the order of keys and values, network and norms work on
# each token alone, and class token and mean pooling do not care about the order either. In the pairs data it would know
# which two colours are there, but not which one is above.
#
# ### BEGIN MARK SCHEME
# - 0.25 points: learned vectors, one for each of the N + 1 places, (1, N+1, D), shared by all images.
# - 0.25 points: added to the tokens (not appended).
# - 0.5 points: without it the order of the patches does not change the result, because self-attention (and everything
#   else that comes after) treats tokens as a set. 0.25 for "it would not know where the patches are" without a reason.
# ### END MARK SCHEME

# %% [markdown] grade_id="question-block"
# ### Question 3: inside a block
#
# Follow the tokens through one `EncoderBlock`. What does `attention` do that `mlp` cannot do, and the other way round?
# What are the norms and the two additions for?

# %% [markdown] grade_id="written-block" role="written" points=1
# Tokens (B, N+1, D) are normed by `norm1`, token by token, so that attention reads numbers of a steady size.
# `attention` lets each token look at all others, in several heads, and take away a weighted mean of their values: it is
# the only part that moves information between tokens, but what it moves is linear in the values. The result is added to
# the tokens. Then `norm2` and `mlp`: the network changes each token by itself, through a wider hidden layer with a
# GELU, so it can compute what a mean cannot, but it sees no other token. Its result is added as well. The additions
# make a stream that keeps what was there and lets gradients through unchanged, so that deep stacks can be trained and
# tokens stay different; the shape is (B, N+1, D) all the way.
#
# ### BEGIN MARK SCHEME
# - 0.25 points: attention exchanges information between tokens (and is the only part that does).
# - 0.25 points: the network works on each token by itself, and is non-linear.
# - 0.25 points: the additions: keep the input, let gradients through, allow depth (one of these).
# - 0.25 points: the norms: steady size of what each part reads, per token; at the start of the branch (pre-norm).
# - Parts named in the right order without any purpose: 0.25 altogether.
# ### END MARK SCHEME

# %% [markdown] grade_id="question-head"
# ### Question 4: class token and head
#
# How does information from the patches reach the class token, and how does one vector become a class? Give the shapes
# behind the last block. What would change with `pool="mean"`? Why is there no softmax at the end?

# %% [markdown] grade_id="written-head" role="written" points=1
# The class token stands at place 0 and starts as the same learned vector for each image. In every block its query is
# compared with the keys of all patches, and the weighted mean of their values is added to it, so block by block it
# collects what matters for the class. Behind the last block and `norm` the tokens are (B, N+1, D); `x[:, 0]` is (B, D),
# and `head`, a linear layer, makes (B, classes) of it: one logit for each class. The class is the one with the largest
# logit. With `pool="mean"` the head reads the mean of the $N$ patch tokens instead, each with the same weight, and the
# model cannot choose by attention in the last step. A softmax would not change which logit is the largest, and the
# loss, cross entropy, contains one already.
#
# ### BEGIN MARK SCHEME
# - 0.5 points: the class token is the same at the start for all images and collects from the patches through attention,
#   as a query, block by block. 0.25 if it only says that it "represents the image".
# - 0.25 points: shapes (B, N+1, D) -> (B, D) -> (B, classes), by taking token 0 and a linear layer.
# - 0.25 points: either what the mean changes (all patch tokens, same weight) or why no softmax (the loss has it, or the
#   order stays the same).
# ### END MARK SCHEME

# %% [markdown] grade_id="background-maps"
# ## 6 What does it look at?
#
# A Vision Transformer can be asked where it looks: the weights of attention are numbers over the patches. The row of
# the class token is the most interesting, because nothing else reaches the head. Each block has such a row for each
# head, so an image has $L \cdot H$ maps of $N$ weights.

# %% [markdown] grade_id="exercise-attention_maps"
# ## Exercise 5 (extra): attention maps
#
# **Difficulty** 3 of 5 | **Importance** 3 of 5 | **Time** 25 minutes | **Points** none; the check works as always
#
# Write `attention_maps(model, images)` for your `VisionTransformer` with `pool="cls"`: the weights with which the class
# token attends to the $N$ patches, in each block and head, (B, depth, H, N). The class token's weight on itself is left
# out, so a row sums to less than 1. The layers of a block that you need are `norm1`, `attention.to_q` and
# `attention.to_k`; `attention.num_heads` is the number of heads.

# %% [markdown] grade_id="hints-attention_maps"
# <details><summary><b>Hint 1: a question</b></summary>
#
# `F.scaled_dot_product_attention` does not give its weights away. From which tensors can you compute them yourself?
# What exactly goes into the attention of block 0, and what into that of block 1?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Walk through the model as its `forward` does. Before you call a block on the tokens, compute queries and keys as it
# will: from the tokens after its first norm. Split them into heads as in Lab 1, take the softmax of the scaled scores,
# and keep row 0 without column 0.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# x = embedding of the images
# for each block:
#     tokens = ____ of x
#     q, k   = to_q and to_k of tokens, (B, T, H K) -> (B, ____, ____, K)
#     weights = softmax over the ____ of q times ____, divided by ____
#     keep weights[ all images, all heads, row ____, columns from ____ ]
#     x = ____
# stack what you kept, as axis ____
# ```
#
# </details>

# %% grade_id="attention_maps" role="solution"
def attention_maps(model: nn.Module, images: Tensor) -> Tensor:
    """What the class token looks at, in every block and head.

    Args:
        model: a VisionTransformer with pool="cls", in eval mode.
        images: (B, C, H, W).

    Returns:
        (B, depth, H, N): the weights of the class token's query over the N patches (its weight on
        itself is left out, so a row sums to less than 1).
    """
    ### BEGIN SOLUTION
    x, maps = model.embedding(images), []
    for block in model.blocks:
        attention, tokens = block.attention, block.norm1(x)
        q, k = (to(tokens).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
                for to in (attention.to_q, attention.to_k))  # (B, H, T, K)
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)  # (B, H, T, T)
        maps.append(weights[:, :, 0, 1:])
        x = block(x)
    return torch.stack(maps, dim=1)
    ### END SOLUTION

# %% grade_id="check-attention_maps" role="check" exercise="attention_maps"
check("lab3/attention_maps", attention_maps, VisionTransformer)

# %% [markdown] grade_id="see-maps"
# ### Maps of the trained model
#
# One image, three blocks, three heads. The brighter a patch, the more of the class token's attention it gets in that
# head; the brightest of each map shows the image as it is. Below the first image stands a second one, for comparison.

# %% grade_id="maps" role="setup"
def look(maps, model_class, number=0):
    """The attention maps of one image, by the trained model."""
    image = test_images[number : number + 1]
    with torch.no_grad():
        return rollout.show_maps(image[0], maps(rollout.trained(model_class), image)[0])

# %% grade_id="picture-maps" role="display"
when_ready(look)(attention_maps, VisionTransformer)

# %% grade_id="picture-maps-second" role="display"
when_ready(look)(attention_maps, VisionTransformer, 1)

# %% [markdown] grade_id="read-maps"
# Nobody told the heads what to look for, and they have divided the work by colour. In block 0 head 0 looks for green:
# in the first image it finds the square, in the second there is nothing green and its attention is scattered. Heads 1
# and 2 do the same for red, the other way round. Blue is left to block 1, where head 0 finds it in both images. Then
# the colours that were found are visited again, and the gray shapes get hardly anything. (The maps say where a head
# looks, not what it takes away: that is in the values.)

# %% [markdown] grade_id="background-rollout"
# ### Rollout
#
# A map shows one block and one head. But after the first block a token is not its patch any more: it has taken
# something from others. **Attention rollout** (Abnar and Zuidema 2020) follows the mixing through all blocks. For each
# block $l$ take the mean $A_l$ of the heads' matrices over *all* tokens, (N+1, N+1), and let the shortcut count as much
# as the attention. Then multiply:
#
# $$ \hat A_l = \tfrac{1}{2} (A_l + I), \qquad R = \hat A_L \cdots \hat A_2 \hat A_1 $$
#
# Row 0 of $R$ says how much of each patch has reached the class token by all ways together.
#
# This takes the rows of all tokens, and your function gives only the one that stands first. The next cell helps itself
# with a trick: attention does not know the order of its tokens (Lab 1), so it lets each token change places with the
# class token once, *after* the positions were added, and asks your function again.

# %% grade_id="rollouts" role="setup"
def look_through(maps, model_class):
    """The rollout over the test images, by the trained model."""
    model = rollout.trained(model_class)
    with torch.no_grad():
        shares = rollout.rollout(rollout.full_attention(maps, model, test_images))
    return rollout.show_rollout(test_images, shares, [shapes.PAIRS[label] for label in test_labels.tolist()])

# %% grade_id="picture-rollout" role="display"
when_ready(look_through)(attention_maps, VisionTransformer)

# %% [markdown] grade_id="read-rollout"
# The rollout finds the coloured objects, however many ways lead from them to the class token, and passes by the gray
# ones. Red is often paler than the other two, though the model knows it just as well. You have seen why: it is looked
# up in the first block, and each later block halves what was there before. So read a rollout as a map of where
# something came from, and not as a measure of how much it mattered.
#
# Whether the map is right can be tested. Cover the two patches with the largest shares by the mean colour of the image
# and ask the model again; then the two with the smallest.

# %% grade_id="covered" role="setup"
def cover_and_ask(maps, model_class, count=100):
    """Print how often the class changes when the two patches with the most, or the least, rollout are covered."""
    images, model = shapes.pairs(count, rng=8)[0], rollout.trained(model_class)
    with torch.no_grad():
        order = rollout.rollout(rollout.full_attention(maps, model, images)).argsort(dim=-1)
        before = model(images).argmax(dim=-1)
        for name, patches in (("most", order[:, -2:]), ("least", order[:, :2])):
            changed = model(rollout.cover(images, patches)).argmax(dim=-1) != before
            print(f"two patches with the {name} rollout covered: {changed.sum()} of {count} images change their class")

# %% grade_id="show-covered" role="display"
when_ready(cover_and_ask)(attention_maps, VisionTransformer)

# %% [markdown] grade_id="read-covered"
# Without the patches that the rollout points at, the class changes in about every fifth image; without those that it
# leaves dark, in none. It is not every image, because an object often lies on several patches, and what is left of it
# is enough.

# %% [markdown] grade_id="see-positions"
# ### What it has learned about places
#
# Last, the positions of the trained model. Each small map belongs to one of the 4 x 4 patches, in its place, and shows
# how similar its position vector is to those of all patches.

# %% grade_id="picture-positions" role="display"
when_ready(lambda: rollout.show_positions(rollout.trained(VisionTransformer).embedding.position))()

# %% [markdown] grade_id="read-positions"
# Look at the rows. All patches of one row have nearly the same position vector, whatever their column, and the first
# row has the opposite of the last. The task asks which object is *above* the other, and left or right is of no use: the
# model has learned to know the height of a patch, and to forget its side. A model that is trained on photographs knows
# both (Dosovitskiy et al. 2020, figure 7).

# %% [markdown] grade_id="background-homework"
# ## Exercise 6 (extra): two models from homework reports
#
# **Difficulty** 1 of 5 | **Importance** 3 of 5 | **Time** 15 minutes | nothing to write
#
# Here are two models that were handed in elsewhere as Vision Transformers, for images of 64 x 64 pixels and five
# classes. Both ran, and both learned something. `lab3/homework.py` holds them as far as the reports' numbers tell; it
# says what is known and what was filled in. You find out what is the matter by three simple questions, which are good
# questions for any model: how many parameters has it, what happens when the tokens are shuffled, and what happens when
# there are more of them.
#
# ### The first: 52 million parameters
#
# Its tokens have 128 features, its blocks two heads. Beside it stands your own block of that width.

# %% grade_id="weigh" role="setup"
def weigh(block_class, count):
    """Parameters of the homework's first model, and of a block of yours, part by part."""
    with torch.device("meta"):  # shapes are enough to count
        theirs, mine = homework.FlattenedViT(), block_class(128, 2, 512)
    block = theirs.layers[0]
    found = {
        "the homework's model": theirs,
        "  one block": block,
        "    query, key and value of one head": block.heads[0],
        "    feed-forward network": nn.ModuleList([block.widen, block.narrow]),
        "your block": mine,
        "    attention": mine.attention,
        "    feed-forward network of yours": mine.mlp,
    }
    rows = [[name, f"{len(list(part.parameters()))}", f"{count(part):,}"] for name, part in found.items()]
    return anatomy.Table(("", "tensors", "parameters"), rows)

# %% grade_id="show-weigh" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(weigh)(EncoderBlock, count_parameters)

# %% [markdown] grade_id="read-weigh"
# A block of theirs is 131 times as heavy as one of yours. Where do 26,055,936 parameters come from? Each head takes its
# 64 features of *all* 17 tokens, writes them in a row, 1088 numbers, and maps that row to queries, keys and values by
# `nn.Linear(1088, 1088)`. The feed-forward network does the same with all 17 x 128 features. `nn.Linear` was made for
# the last axis, and here the last axis is the whole image.

# %% grade_id="try-tokens" role="setup"
def try_tokens(name, block, tokens=17, dim=128):
    """Print what a block does with shuffled tokens, and with more of them."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        x, more, order = torch.randn(1, tokens, dim), torch.randn(1, tokens + 13, dim), torch.randperm(tokens)
        alike = torch.allclose(block.eval()(x)[:, order], block(x[:, order]), atol=1e-4)
        try:
            result = f"{tokens + 13} tokens are fine"
            block(more)
        except RuntimeError:
            result = f"{tokens + 13} tokens are an error"
    print(f"{name:<28} shuffled in, shuffled alike out: {alike!s:<6} {result}")

# %% grade_id="show-tokens" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(lambda: try_tokens("your block", EncoderBlock(128, 2, 512)))()
try_tokens("the homework's first block", homework.FlattenedBlock())
try_tokens("the second's attention", homework.OneTensorAttention(), dim=64)

# %% [markdown] grade_id="read-tokens"
# Your block treats tokens as a set: it has one map for queries, and each token goes through it by itself. What is
# learned about a patch in one corner is known in all others, and the block takes images of any size. The homework's
# layers have weights of their own for each *pair of places*. So tokens are mixed before attention compares them, there
# is nothing left to compare, and the number of tokens is built in for good. It is a fully connected network with a
# softmax inside. That can learn small images by heart, at 131 times the price.
#
# ### The second: one tensor
#
# The second report wanted all queries, keys and values at once: one tensor of weights with six axes and a single
# `torch.einsum("bshq,hksqSQ->kbhSQ", x, weight)`. The letters tell the same story: `s` (the token that goes in) and `S`
# (the token that comes out) are different letters, both on the weight. For 17 tokens with four heads of 16 features
# that makes 887,808 numbers. It puts the class token last, and its head reads all tokens in a row, by a network of
# 140,037 parameters; so the class token has nothing to do that any other could not do.
#
# What it paid for was something else. Its parameters were made by `nn.Parameter(...).to(device)`. On the CPU that does
# no harm. Below the model is built twice: on the CPU, and on torch's `meta` device, which stands for any device that is
# not the CPU, such as a GPU.

# %% grade_id="registered" role="setup"
def registered(count):
    """Print which parameters of the homework's second model torch knows of, by device."""
    here, elsewhere = homework.OneTensorViT("cpu"), homework.OneTensorViT("meta")
    total, left, known = count(here), count(elsewhere), dict(elsewhere.named_parameters())
    for name, parameter in here.named_parameters():
        print(f"{name:<18} {parameter.numel():>9,}   on a GPU: {'registered' if name in known else 'lost'}")
    print(f"{'together':<18} {total:>9,}   on a GPU: {left:,}")

# %% grade_id="show-registered" role="display"
# NBVAL_CHECK_OUTPUT
when_ready(registered)(count_parameters)

# %% [markdown] grade_id="read-registered"
# `.to(device)` gives the same object back when there is nothing to do. Otherwise it gives a *new* tensor, and that is
# no `nn.Parameter`: it is the result of a computation. Stored on `self` it is just an attribute. `parameters()` does
# not find it, so the optimizer never changes it and `state_dict()` does not save it. Nothing complains. Class token,
# positions and the whole attention stay as chance made them, 82 % of the model, and only the ends learn. The report
# found an accuracy of 46.76 % and blamed a missing bias; this is the likelier reason. The rule: make parameters without
# a device, and move the finished model, `model.to(device)`. And count: a number that changes with the device tells at
# once.

# %% [markdown] grade_id="playground-prose"
# ## Playground
#
# The next cell is yours; nothing in it is graded. Some things to try:
#
# - Shuffle the patches of a test image before the trained model sees it. Does it still find the two colours? And which
#   one is above?
# - Draw the maps of other images: `look(attention_maps, VisionTransformer, 3)`. Which head looks for which colour?
# - Load the trained weights into a model with `pool="mean"`:
#   `rollout.trained(lambda **sizes: VisionTransformer(**sizes, pool="mean"))`. How many of its answers are still right,
#   and why any at all?
# - How many parameters has ViT-L/16 (24 blocks, 1024 features, 16 heads, 4096 hidden)? torchvision says 304,326,632.

# %% grade_id="playground" role="playground"
when_ready(vit_parameters)(224, 16, 3, 1000, dim=1024, depth=24, num_heads=16, mlp_dim=4096)

# %% [markdown] grade_id="closing"
# ## What you have built, and what comes next
#
# You have a Vision Transformer, layer by layer your own. You know
#
# - that attention is the only part in which tokens meet, and that everything else works on each token alone;
# - what the residual stream is good for, and where norms and dropout stand on it;
# - how a class is read off, by a class token or a mean;
# - how many parameters there are and where, and what a count can tell about a model.
#
# **Lab 4** trains it, tests it, and looks at how it learns. **Lab 5** carries your weights over into the models of
# libraries.
#
# ### To read on
#
# - A. Dosovitskiy et al.: *An image is worth 16x16 words*, 2020, [arXiv:2010.11929](https://arxiv.org/abs/2010.11929).
#   Section 3.1 is this lab; appendix D.3 compares class token and mean.
# - K. He et al.: *Deep residual learning for image recognition*, 2015,
#   [arXiv:1512.03385](https://arxiv.org/abs/1512.03385). Where the shortcut comes from.
# - J. Ba, J. Kiros, G. Hinton: *Layer normalization*, 2016, [arXiv:1607.06450](https://arxiv.org/abs/1607.06450).
# - D. Hendrycks, K. Gimpel: *Gaussian error linear units*, 2016, [arXiv:1606.08415](https://arxiv.org/abs/1606.08415).
# - R. Xiong et al.: *On layer normalization in the transformer architecture*, 2020,
#   [arXiv:2002.04745](https://arxiv.org/abs/2002.04745). Why pre-norm.
# - Y. Dong, J.-B. Cordonnier, A. Loukas: *Attention is not all you need*, 2021,
#   [arXiv:2103.03404](https://arxiv.org/abs/2103.03404). The picture with the shortcuts, as a theorem.
# - S. Abnar, W. Zuidema: *Quantifying attention flow in transformers*, 2020,
#   [arXiv:2005.00928](https://arxiv.org/abs/2005.00928). Rollout.
# - H. Touvron et al.: *Training data-efficient image transformers*, 2020,
#   [arXiv:2012.12877](https://arxiv.org/abs/2012.12877). DeiT: the same model, trained on ImageNet alone.
# - N. Elhage et al.: *A mathematical framework for transformer circuits*, 2021, transformer-circuits.pub. The residual
#   stream as the thing that everything reads and writes.
