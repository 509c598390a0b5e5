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
# # Lab 5 - The same model from the libraries
#
# Hardly anybody writes a Vision Transformer by hand for daily use: three libraries have one, and they have the trained
# weights of others, too. In this lab you build a ViT around an encoder that was made for *text*, and train it with the
# loop of Lab 4. Then you move the weights of the model that you know, layer by layer, into the models of two libraries,
# until all three give the same logits to ten digits. After that their code holds no secrets.
#
# | | what you write | difficulty | importance | minutes | points |
# |---|---|:---:|:---:|:---:|:---:|
# | 1 | `EncoderViT`: patches, a class token, and somebody else's encoder | 2 | 4 | 25 | 3 |
# | 2 | `to_torchvision`, `to_timm`: the same weights in two libraries | 4 | 4 | 60 | 4 |
# | | one question to answer in words: how to be sure | 2 | 4 | 15 | 1 |
# | 3 | *extra*: parameters and speed, side by side (to read) | 1 | 3 | 10 | - |
#
# Difficulty and importance go from 1 to 5; the minutes are a guess for the middle of the class and add up to 100
# without the extra. No GPU and no download is needed: every model is made from a configuration, with random weights.

# %% [markdown] grade_id="how-it-works"
# ## How this notebook works
#
# As in the labs before: fill the cells with a `raise NotImplementedError("TODO")`, run the `check(...)` below each as
# often as you like, open the hints one step at a time. Pictures and trainings start by themselves as soon as what they
# need is written; the trainings take about half a minute together, with a progress bar.
#
# The lab needs two libraries that the others do without: **timm** and **transformers**. If they are missing, the first
# code cell installs them, or says in one sentence how you do it.
#
# **Reading is part of this lab.** The libraries' source is the best documentation there is, and in a notebook it is one
# line away: `torchvision_vit.VisionTransformer??` shows a class with its source, and
# `[(name, tuple(p.shape)) for name, p in model.named_parameters()]` lists what a model holds.
#
# Before you hand in: *Kernel > Restart Kernel and Run All Cells*, look at the checks, save.

# %% [markdown] grade_id="conventions"
# ## One alphabet
#
# | letter | meaning |
# |:---:|---|
# | `B` | batch: independent images; always the first axis |
# | `C`, `H`, `W` | channels, height and width of an image |
# | `P`, `N` | side of a patch in pixels; number of patches of an image |
# | `D` | features of a token, called `dim` in our code, `hidden_size`, `hidden_dim` or `embed_dim` in the libraries |
# | `L` | blocks: `depth`, `num_hidden_layers`, `num_layers` |
#
# What you write keeps the dtype of its inputs, changes none of its arguments, and downloads nothing.

# %% grade_id="install" role="display" shared="install"
prepare("timm", "transformers")
del prepare

# %% grade_id="imports" role="setup"
import copy
import math
import os
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitedu import check, examine, when_ready
from vitedu.data import load
from vitedu.devices import best_device, describe
from vitedu.labs.lab5 import contest, library_diagrams, need
from vitedu.plots import Table, curves
from vitedu.progress import progress, watch

need("timm", "transformers")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # transformers is not to look for anything on the network

from timm.models import vision_transformer as timm_vit
from torchvision.models import vision_transformer as torchvision_vit
from transformers import BertConfig, BertModel

from vitedu.labs.lab5 import zoo

# %% grade_id="device" role="setup"
device = best_device()
if device.type == "cpu":
    torch.set_num_threads(1)  # models as small as these leave a second thread waiting

# %% grade_id="show-device" role="display"
print(describe(device))

# %% [markdown] grade_id="given"
# ### What is given
#
# The next cell holds the Vision Transformer of Labs 1 to 3, the one after it the training loop of Lab 4. You know both;
# what matters here are the **names** in the first one, because the weights that you will move are called by them.

# %% grade_id="earlier-parts" role="setup" carried="lab4: earlier-parts"

# %% grade_id="earlier-loop" role="setup" carried="lab4: train_one_epoch evaluate fit"

# %% [markdown] grade_id="background-encoder"
# ## 1 An encoder that was made for text
#
# **transformers**, by Hugging Face, holds some hundred architectures. Each comes as a *configuration*, a plain object
# with all sizes, and a *model* that is made from one: `BertModel(BertConfig(hidden_size=64, ...))` is a fresh BERT with
# random weights. (`from_pretrained` would download trained ones; nothing here does that.)
#
# BERT (Devlin et al. 2018) is the encoder half of the transformer. It takes numbers of words, `input_ids` (B, T), looks
# each up in a table, and gets vectors (B, T, D). From there on it does not care where the vectors came from. Most
# encoders of the library have a door for that: called with `inputs_embeds=`, they skip the table. The vectors need not
# be words.
#
# What comes back is an object with several fields:
#
# | field | what it is |
# |---|---|
# | `last_hidden_state` | (B, T, D): the tokens after the last layer |
# | `pooler_output` | (B, D): token 0 of it after one more linear layer and a tanh; DistilBERT and others have none |
# | `hidden_states` | the tokens after each layer, if one asks for them with `output_hidden_states=True` |
#
# So a Vision Transformer around somebody else's encoder needs three things of its own: something that makes patches
# into vectors, a class token, and a readout. That is how the lab sheet of this course's first edition built it.

# %% grade_id="picture-encoder" role="display"
library_diagrams.around_an_encoder()

# %% [markdown] grade_id="read-encoder"
# Orange is yours, grey is the library's. Look for what is *missing* in the orange part: there is no position embedding.
# The one in the grey box is enough, because **BERT-like encoders add position embeddings of their own**, to whatever
# comes in, `inputs_embeds` included. Who adds a second one has two that do the same.
#
# Is it like that with all encoders? The next cell asks four of them, small and with random weights. It exchanges
# tokens, changes one, and looks what comes out elsewhere.

# %% grade_id="show-zoo" role="display"
# NBVAL_CHECK_OUTPUT
zoo.compared()

# %% [markdown] grade_id="read-zoo"
# Read the third column: all four know the order of their tokens. BERT, DistilBERT and GPT-2 add a learned vector to
# each place; ModernBERT turns queries and keys by an angle that depends on the place. You need not tell them.
#
# And then the last row. GPT-2 is a *decoder*: a token sees only what stands before it (Lab 1's causal mask). It takes
# `inputs_embeds` just as gladly, and gives a `last_hidden_state`, too. But its token 0 has never heard of any patch. A
# class token in front of it would say the same to every image, and no error message would tell you. (With GPT-2 one
# reads the *last* token.) The fields have the same names; what they mean, one has to find out.
#
# In transformers 5.23 the text encoders of the BERT family (Bert, Roberta, Electra, DistilBert, Albert, ModernBert,
# ...) and the decoders (GPT2, Llama, ...) take `inputs_embeds`. (Electra and Albert want vectors of `embedding_size`
# there, which need not be `hidden_size`.) The image models (ViT, DeiT, Dinov2, ...) do not: they want `pixel_values`.

# %% [markdown] grade_id="exercise-EncoderViT"
# ## Exercise 1: a ViT around an encoder
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 25 minutes | **Points** 3
#
# `EncoderViT(patch_size, in_channels, num_classes, encoder)`. The encoder comes in ready-made. What is fixed:
#
# - `patch_embed`: an `nn.Conv2d` with bias that makes each patch a vector; `cls_token`: a parameter (1, 1, D);
#   `encoder`: what came in; `readout`: an `nn.Linear` with bias from D to the classes. Nothing else has parameters.
# - D is whatever the encoder says: `encoder.config.hidden_size`.
# - The class token stands in front of the patches; the encoder is called with `inputs_embeds=`; the readout reads the
#   class token in `last_hidden_state`, and gives logits.
# - No positions of your own: the encoder has some.
# - Images come in any size that patches of P pixels divide, and in batches of any size.
#
# The exam puts two encoders in: a small BERT, and a tiny stand-in that is called in the same way and has no pooler.

# %% [markdown] grade_id="hints-EncoderViT"
# <details><summary><b>Hint 1: a question</b></summary>
#
# What is the shape of a convolution's output when the kernel is as large as the stride? Which axis has to go where,
# until it is (B, N, D)? And how do you get B class tokens out of one parameter?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# It is Lab 2's embedding without the positions, then one call, then one line that picks a token. The encoder's result
# is no tensor, but an object with fields. Called with the tokens as its first argument the encoder takes them for
# numbers of words, so their name must be said.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# __init__:  D from the encoder's ____
#            patch_embed = convolution from ____ channels to ____, kernel = stride = ____
#            cls_token = a parameter of (1, 1, ____);  encoder;  readout from ____ to ____
#
# forward:   patches = patch_embed of the images, the grid flattened, axes ____ and ____ exchanged     (B, N, D)
#            tokens  = the class token for each of the ____ images, then the patches, along axis ____   (B, N+1, D)
#            result  = the encoder, called with ____ = tokens
#            return readout of place ____ of the result's ____
# ```
#
# </details>

# %% grade_id="EncoderViT" role="solution"
class EncoderViT(nn.Module):
    """A Vision Transformer around an encoder of Hugging Face, which is called with vectors in place of words.

    Its parts with parameters are patch_embed (Conv2d), cls_token (1, 1, D), encoder, and readout (Linear).

    Args:
        patch_size: P.
        in_channels: C.
        num_classes: number of classes.
        encoder: called as encoder(inputs_embeds=(B, N+1, D)), gives an object with last_hidden_state (B, N+1, D);
            D is encoder.config.hidden_size. It adds positions itself.
    """

    def __init__(self, patch_size: int, in_channels: int, num_classes: int, encoder: nn.Module) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        dim = encoder.config.hidden_size
        self.patch_embed = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.encoder = encoder
        self.readout = nn.Linear(dim, num_classes)
        ### END SOLUTION

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, num_classes)."""
        ### BEGIN SOLUTION
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)  # (B, N, D)
        cls = self.cls_token.expand(len(images), -1, -1)  # (B, 1, D)
        tokens = torch.cat([cls, patches], dim=1)  # (B, N+1, D)
        output = self.encoder(inputs_embeds=tokens)
        return self.readout(output.last_hidden_state[:, 0, :])
        ### END SOLUTION

# %% grade_id="exam-EncoderViT" role="exam" exercise="EncoderViT" points=3
check("lab5/EncoderViT", EncoderViT)

# %% [markdown] grade_id="see-training"
# ### It trains
#
# The data are Lab 4's *pairs*: 32 x 32 pixels, six classes; which two of three coloured objects are there, and which
# one is above. The loop is Lab 4's, the recipe, too: AdamW, a short warm-up, a cosine. Three models of nearly the same
# size take part: our own Vision Transformer, and yours around a BERT, twice. The two BERTs differ in a single number of
# their configuration, `initializer_range`, the standard deviation of fresh weights: 0.02, the library's default, and
# 0.1. Do you expect a difference?

# %% grade_id="training" role="setup"
CONFIG = {
    "image_size": 32, "patch_size": 8, "in_channels": 3, "num_classes": 6,
    "dim": 64, "depth": 2, "num_heads": 4, "mlp_dim": 128,
    "head_dim": None, "dropout": 0.0, "qkv_bias": True, "pool": "cls",
    "eps": 1e-5, "gelu": "none",
}  # fmt: skip
OWN = [name for name in CONFIG if name not in ("eps", "gelu")]  # what our VisionTransformer takes as arguments
EPOCHS = 6


@cache
def pairs():
    """The data; made when they are first needed, which takes a few seconds."""
    return load("pairs", test=300)


def small_bert(initializer_range: float = 0.1) -> BertModel:
    """A BERT with CONFIG's sizes and random weights, and a position embedding for each of 17 tokens."""
    config = BertConfig(
        hidden_size=CONFIG["dim"], num_hidden_layers=CONFIG["depth"], num_attention_heads=CONFIG["num_heads"],
        intermediate_size=CONFIG["mlp_dim"], max_position_embeddings=17, vocab_size=1, type_vocab_size=1,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=initializer_range,
    )  # fmt: skip
    return BertModel(config, add_pooling_layer=False)


def own_vit(**changes) -> VisionTransformer:
    """Our own model with CONFIG's sizes."""
    return VisionTransformer(**{name: (CONFIG | changes)[name] for name in OWN})


def trained(make, title):
    """Make a model and train it; returns it with its history."""
    torch.manual_seed(0)
    model = make().to(device)
    loaders = [
        [(x.to(device), y.to(device)) for x, y in zip(*(t.split(50) for t in part.tensors), strict=True)]
        for part in (pairs().train, pairs().test)
    ]
    steps = EPOCHS * len(loaders[0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, 10 * (step + 1) / steps) * 0.5 * (1 + math.cos(math.pi * min(1, step / steps)))
    )
    return model, fit(model, *loaders, optimizer, EPOCHS, device, schedule, watch(EPOCHS, title))


@cache
def trained_own():
    """Our own model, trained once; the weights that you will move."""
    return trained(own_vit, "our own ViT")


def three_trainings(model_class):
    """Train the three models and draw their curves."""
    runs = {
        f"BERT, initializer_range {spread}": trained(
            lambda spread=spread: model_class(8, 3, 6, small_bert(spread)), f"BERT {spread}"
        )[1]
        for spread in (0.02, 0.1)
    }  # fmt: skip
    return curves.by_epoch({"our own ViT": trained_own()[1]} | runs)

# %% grade_id="picture-training" role="display"
when_ready(three_trainings)(EncoderViT)

# %% [markdown] grade_id="read-training"
# Compare the two curves of your model. With 0.1 it learns as well as our own ViT, a text encoder or not. With 0.02 it
# gets stuck between 0.5 and 0.6: it knows *which* two objects there are, and guesses which one is above. That is the
# accuracy of a model without positions (Lab 4), although its positions are there.
#
# They are there, but small. A fresh BERT adds positions of size 0.02 to word vectors of size 0.02, and a LayerNorm
# follows that makes the sum large. Your patches are no word vectors: the convolution gives numbers about 20 times as
# large. Beside them the positions are a whisper, and after the LayerNorm still one. A long training finds them in the
# end. The fields had the right names and the right shapes, everything ran, and the model could not see.

# %% [markdown] grade_id="background-move"
# ## 2 The same weights in other hands
#
# Two libraries have the Vision Transformer of Dosovitskiy et al. as you wrote it: **torchvision**
# (`torchvision.models.vision_transformer`) and **timm** (`timm.models.vision_transformer`). Same function, same number
# of parameters; other names, and one other arrangement. Here is what the three models hold, for the sizes in `CONFIG`,
# by the names of the first block only.

# %% grade_id="listing" role="setup"
def listing():
    """The parameters of the three models: those of the first block, and what is outside the blocks."""
    theirs = {
        "ours": own_vit(),
        "torchvision": torchvision_vit.VisionTransformer(32, 8, 2, 4, 64, 128, num_classes=6),
        "timm": timm_vit.VisionTransformer(32, 8, 3, 6, embed_dim=64, depth=2, num_heads=4, mlp_ratio=2),
    }
    for title, model in theirs.items():
        rows = [
            (name, " x ".join(map(str, p.shape)))
            for name, p in sorted(model.named_parameters())
            if not any(mark in name for mark in ("blocks.1", "layer_1"))
        ]
        sizes = [p.numel() for p in model.parameters()]
        print(f"{title}: {sum(sizes):,} parameters in {len(sizes)} tensors\n")
        print("\n".join(f"  {name:<64}{shape}" for name, shape in rows), end="\n\n")

# %% grade_id="show-listing" role="display"
# NBVAL_CHECK_OUTPUT
listing()

# %% [markdown] grade_id="read-listing"
# Most lines have a partner with the same shape, and the name tells which one. (torchvision's MLP is an `nn.Sequential`:
# 0 is a linear layer, 1 the GELU, 2 dropout, 3 a linear layer.) The exception is the attention. Ours has three layers
# `to_q`, `to_k`, `to_v`; both libraries have a single one, three times as tall, because one large matrix product is
# faster than three small ones.

# %% grade_id="picture-fused" role="display"
library_diagrams.fused()

# %% [markdown] grade_id="read-fused"
# Queries lie on top, then keys, then values, and the biases likewise. `nn.Linear` keeps its weight as (out, in), so
# three layers side by side become three weights on top of each other. Nothing in the shapes forbids another order:
# with keys on top the weights load without complaint, and the model computes something else.
#
# **What weights do not tell.** The weights alone do not make the function. How many heads the features are split into,
# the eps of the LayerNorms, which GELU it is, what the head reads, whether dropout is active: no tensor holds these.
# They come from the `config`, and each library has defaults of its own.
#
# | key of `config` | meaning | torchvision |
# |---|---|---|
# | `image_size` | int or (H, W) | one int: images are square |
# | `patch_size`, `num_classes`, `dim`, `depth`, `num_heads`, `mlp_dim` | sizes as in Lab 3 | there, by other names |
# | `in_channels` | channels of an image | always 3 |
# | `head_dim` | features of a head; None: `dim // num_heads` | always `dim // num_heads` |
# | `qkv_bias` | do queries, keys and values have a bias? | always |
# | `pool` | `"cls"` or `"mean"`: what the head reads | always the class token |
# | `eps` | of every LayerNorm | by `norm_layer`; its default is 1e-6, ours is 1e-5 |
# | `gelu` | `"none"` (exact) or `"tanh"`: `approximate` of `nn.GELU` | always exact |
# | `dropout` | for training only | there |

# %% [markdown] grade_id="exercise-libraries"
# ## Exercise 2: into torchvision and into timm
#
# **Difficulty** 4 of 5 | **Importance** 4 of 5 | **Time** 60 minutes | **Points** 4
#
# Write `to_torchvision(state_dict, config)` and `to_timm(state_dict, config)`. Each makes the library's own
# `VisionTransformer`, puts the weights in, and returns it. What is fixed:
#
# - `state_dict` holds the weights of our `VisionTransformer`, under the names of the listing; `config` is a dictionary
#   with all keys of the table. Neither is changed.
# - The model comes back ready for testing, in **evaluation mode**, in the dtype of the weights, and gives the logits of
#   ours: to 1e-5 in float32, to 1e-10 in float64.
# - `to_torchvision` **refuses** what torchvision cannot express, by a `ValueError` whose message holds the name of the
#   option, and of no other: `image_size`, `in_channels`, `head_dim`, `qkv_bias`, `pool` or `gelu`. It refuses nothing
#   else: (32, 32) is square, and a `head_dim` of `dim // num_heads` is no other model. (Changing parts of torchvision's
#   model afterwards, or zeros for the biases that are not there, would make another model than the one you were given,
#   and is not asked for.)
# - timm has options for nearly all of that. Use them, or refuse; `to_timm` is examined only on what both can express.
#
# `load_state_dict` is your friend as long as it is strict: it names what is missing and what is too much. What it
# cannot see is whether the right tensor lies in the right place.

# %% [markdown] grade_id="hints-libraries"
# <details><summary><b>Hint 1: a question</b></summary>
#
# Make the library's model first, and list its `state_dict()`. For each of its names: which of our names holds that
# tensor? For how many is the answer a single one, and for which is it three?
#
# </details>
# <details><summary><b>Hint 2: the idea</b></summary>
#
# Build a new dictionary with the library's names as keys, and load it strictly. A loop over the blocks makes the names
# of each block; `torch.cat` along axis 0 puts q, k and v on top of each other. The eps goes in as
# `norm_layer=partial(nn.LayerNorm, eps=...)`. timm wants `mlp_ratio`, a *ratio* to `dim`, which it multiplies with
# `dim` and cuts off to a whole number. The dtype: move the model there *before* you load.
#
# </details>
# <details><summary><b>Hint 3: pseudocode with holes</b></summary>
#
# ```
# for each option that the library lacks: if config asks for it, raise a ____ that names it
# model = the library's VisionTransformer of config's sizes, LayerNorms with ____, in the dtype of ____
# new = {}
# the three that stand outside the blocks and are no layers: class token, ____, ...
# for each block i:
#     norm1, to_out, norm2, fc1, fc2: weight and bias under the library's name
#     for weight and bias: new[fused name] = ____, ____, ____ of the block, on top of each other
# patch projection, last ____, and ____: weight and bias
# load new into the model, strictly;  put the model into ____ mode;  return the ____
# ```
#
# </details>

# %% grade_id="libraries" role="solution"
def to_torchvision(state_dict: dict[str, Tensor], config: dict) -> nn.Module:
    """torchvision's VisionTransformer with the weights of ours.

    Args:
        state_dict: of our VisionTransformer.
        config: its arguments by name, with eps (of all LayerNorms) and gelu ("none" or "tanh") besides.

    Returns:
        A torchvision.models.VisionTransformer in evaluation mode, with the same logits.

    Raises:
        ValueError: torchvision cannot express an option; the message names it.
    """
    ### BEGIN SOLUTION
    size, heads, dim = config["image_size"], config["num_heads"], config["dim"]
    height, width = (size, size) if isinstance(size, int) else size
    fits = {
        "image_size": height == width,
        "in_channels": config["in_channels"] == 3,
        "head_dim": config["head_dim"] in (None, dim // heads),
        "qkv_bias": config["qkv_bias"],
        "pool": config["pool"] == "cls",
        "gelu": config["gelu"] == "none",
    }
    for option, fit in fits.items():
        if not fit:
            raise ValueError(f"torchvision's VisionTransformer cannot express {option}={config[option]!r}")
    model = torchvision_vit.VisionTransformer(
        height, config["patch_size"], config["depth"], heads, dim, config["mlp_dim"], config["dropout"],
        num_classes=config["num_classes"], norm_layer=partial(nn.LayerNorm, eps=config["eps"]),
    )  # fmt: skip
    layers = {"conv_proj": "embedding.patches.proj", "encoder.ln": "norm", "heads.head": "head"}
    moved = {
        "class_token": state_dict["embedding.cls_token"],
        "encoder.pos_embedding": state_dict["embedding.position"],
    }
    for i in range(config["depth"]):
        theirs, ours = f"encoder.layers.encoder_layer_{i}", f"blocks.{i}"
        layers |= {
            f"{theirs}.ln_1": f"{ours}.norm1",
            f"{theirs}.self_attention.out_proj": f"{ours}.attention.to_out",
            f"{theirs}.ln_2": f"{ours}.norm2",
            f"{theirs}.mlp.0": f"{ours}.mlp.fc1",
            f"{theirs}.mlp.3": f"{ours}.mlp.fc2",
        }
        for kind in ("weight", "bias"):
            three = [state_dict[f"{ours}.attention.to_{name}.{kind}"] for name in "qkv"]
            moved[f"{theirs}.self_attention.in_proj_{kind}"] = torch.cat(three)
    for theirs, ours in layers.items():
        for kind in ("weight", "bias"):
            moved[f"{theirs}.{kind}"] = state_dict[f"{ours}.{kind}"]
    model.to(state_dict["norm.weight"].dtype).load_state_dict(moved)
    return model.eval()
    ### END SOLUTION


def to_timm(state_dict: dict[str, Tensor], config: dict) -> nn.Module:
    """timm's VisionTransformer with the weights of ours.

    Args:
        state_dict: of our VisionTransformer.
        config: its arguments by name, with eps (of all LayerNorms) and gelu ("none" or "tanh") besides.

    Returns:
        A timm VisionTransformer in evaluation mode, with the same logits.

    Raises:
        ValueError: an option that is not expressed; the message names it.
    """
    ### BEGIN SOLUTION
    if config["head_dim"] not in (None, config["dim"] // config["num_heads"]):
        raise ValueError(f"timm's attention has heads of dim / num_heads features, not head_dim={config['head_dim']}")
    library = timm_vit.VisionTransformer(
        config["image_size"], config["patch_size"], config["in_channels"], config["num_classes"],
        "token" if config["pool"] == "cls" else "avg", config["dim"], config["depth"], config["num_heads"],
        mlp_ratio=(config["mlp_dim"] + 0.5) / config["dim"],  # timm cuts the product off to a whole number
        qkv_bias=config["qkv_bias"], fc_norm=False, proj_drop_rate=config["dropout"],
        norm_layer=partial(nn.LayerNorm, eps=config["eps"]),
        act_layer=partial(nn.GELU, approximate=config["gelu"]),
    )  # fmt: skip
    renamed = {
        "embedding.cls_token": "cls_token",
        "embedding.position": "pos_embed",
        "embedding.patches.": "patch_embed.",
        "attention.to_out": "attn.proj",
    }
    filled: dict[str, Tensor] = {}
    for ours, value in state_dict.items():
        name = ours
        for old, new in renamed.items():
            name = name.replace(old, new)
        if "attention.to_" not in name:
            filled[name] = value
        elif "to_q" in name:
            parts = [state_dict[ours.replace("to_q", f"to_{letter}")] for letter in "qkv"]
            filled[name.replace("attention.to_q", "attn.qkv")] = torch.cat(parts)
    library.to(state_dict["norm.weight"].dtype).load_state_dict(filled)
    return library.eval()
    ### END SOLUTION

# %% grade_id="exam-libraries" role="exam" exercise="libraries" points=4
check("lab5/libraries", to_torchvision, to_timm)

# %% [markdown] grade_id="see-equal"
# ### One function, three programs
#
# The weights of the training above, moved by your functions. The cell asks the three models about the same 300 test
# images, in float32 and in float64, and prints how many classes are right and how far the logits are apart at most.

# %% grade_id="equal" role="setup"
def untrained(*moves):
    """Move a fresh model, so that a TODO is met before the training and not behind it."""
    for move in moves:
        move(own_vit().state_dict(), dict(CONFIG))


def same_logits(to_torchvision, to_timm):
    """The accuracy of the three models, and the largest difference between their logits and ours."""
    untrained(to_torchvision, to_timm)
    model = copy.deepcopy(trained_own()[0]).cpu().eval()
    images, labels = pairs().test.tensors
    rows = []
    for dtype in (torch.float32, torch.float64):
        model, images = model.to(dtype), images.to(dtype)
        with torch.no_grad():
            ours = model(images)
            for name, move in {"torchvision": to_torchvision, "timm": to_timm}.items():
                theirs = move(model.state_dict(), dict(CONFIG))(images)
                right = [(logits.argmax(1) == labels).sum().item() for logits in (ours, theirs)]
                apart = (theirs - ours).abs().max().item()
                good = apart < {torch.float32: 1e-5, torch.float64: 1e-10}[dtype] * (1 + ours.abs().max().item())
                rows.append((name, str(dtype).removeprefix("torch."), f"{right[0]} and {right[1]} of {len(labels)}",
                             f"{apart:.0e}", "yes" if good else "no"))  # fmt: skip
    return Table(("library", "dtype", "right: ours and theirs", "logits apart by", "equal"), rows)

# %% grade_id="show-equal" role="display"
when_ready(same_logits)(to_torchvision, to_timm)

# %% [markdown] grade_id="read-equal"
# In float32 at most the last digits differ: sums are taken in another order, and each addition rounds. In float64 the
# same happens nine digits further to the right, and that is the proof. A real difference, such as an eps of 1e-6 in
# place of 1e-5, does not shrink when the numbers get more digits; rounding does.

# %% grade_id="wrong-moves" role="setup"
def wrong_moves(to_timm):
    """What four silent mistakes do to the logits and to the accuracy of a model that was moved."""
    untrained(to_timm)

    def keys_on_top(model):
        for block in model.blocks:
            for p in (block.attn.qkv.weight, block.attn.qkv.bias):
                q, k, v = p.data.clone().chunk(3)
                p.data.copy_(torch.cat([k, q, v]))

    def default_eps(model):
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = 1e-6

    def half_the_heads(model):
        for block in model.blocks:
            block.attn.num_heads //= 2
            block.attn.head_dim *= 2
            block.attn.scale = block.attn.head_dim**-0.5

    def norms_exchanged(model):
        for block in model.blocks:
            block.norm1, block.norm2 = block.norm2, block.norm1

    model = copy.deepcopy(trained_own()[0]).cpu().double().eval()
    images, labels = pairs().test.tensors
    rows = []
    for mistake in (default_eps, norms_exchanged, half_the_heads, keys_on_top):
        theirs = to_timm(model.state_dict(), dict(CONFIG))
        mistake(theirs)
        with torch.no_grad():
            logits, ours = theirs(images.double()), model(images.double())
        right = [(x.argmax(1) == labels).double().mean().item() for x in (ours, logits)]
        name = mistake.__name__.replace("_", " ")
        rows.append((name, f"{(logits - ours).abs().max().item():.1e}", f"{right[0]:.3f}", f"{right[1]:.3f}"))
    return Table(("mistake", "logits apart by", "accuracy, ours", "accuracy, moved"), rows)

# %% grade_id="show-wrong-moves" role="display"
when_ready(wrong_moves)(to_timm)

# %% [markdown] grade_id="read-wrong-moves"
# Four mistakes that no error message reports: all names are there, all shapes fit, and the load is strict. Go down the
# last column. The lower two ruin the model; whoever looks at all will see that. The upper two leave the accuracy as it
# was, to the last image, and yet the model computes something else: if you had compared accuracies, you would have
# called it equal. Compare **logits, in float64, in evaluation mode, on images that are not all alike**: either they are
# equal to ten digits, or something is wrong.

# %% [markdown] grade_id="question-sure"
# ## Question: how can you be sure?
#
# **Difficulty** 2 of 5 | **Importance** 4 of 5 | **Time** 15 minutes | **Points** 1
#
# Somebody hands you a converted model: "all weights loaded, strictly, no error, and the accuracy is nearly the same."
# In five to ten sentences: name two mistakes that this does not exclude, and say why they load without an error. How
# would you test the conversion, and why like that? And what has to be known besides the weights, so that the model is
# determined at all? Give examples from this lab, your own mistakes included.

# %% [markdown] grade_id="written-sure" role="written" points=1
# A strict load compares names and shapes. Whatever keeps both goes through: queries and keys exchanged in the fused
# weight (three blocks of the same shape, in any order), the two LayerNorms of a block exchanged, a square projection
# that is transposed, the class token's position at the wrong end.
#
# I would compare logits of both models on the same random images, in evaluation mode and in float64. Logits, because
# the largest one often stays the largest although all have moved: with the wrong eps not one of 300 answers changed.
# Evaluation mode, because dropout makes every pass another one. Float64, because there rounding is at 1e-15 and a
# mistake is not: in float32 I could have taken a difference of 1e-5 for rounding. Weights that are all random, norms
# and biases too: in a fresh model the norms are all ones and the biases zeros, and exchanging them changes nothing.
#
# Besides the weights one needs what no tensor holds: the number of heads (the fused weight has the same shape for any),
# the eps of the LayerNorms, exact GELU or tanh, what the head reads, pre-norm or post-norm. I had forgotten the eps
# first: the libraries' default is 1e-6, and the logits were off by a hundredth.
#
# ### BEGIN MARK SCHEME
# - 0.25 points: two mistakes that keep names and shapes (order of q, k, v; exchanged norms; transposed square weight;
#   shifted positions; wrong number of heads; eps), with the reason that loading compares names and shapes only. One:
#   0.12.
# - 0.25 points: compare logits (or tokens inside), not accuracies, on the same inputs, with the reason.
# - 0.25 points: evaluation mode, and float64 or another way to tell rounding from a mistake; one of the two with its
#   reason is enough.
# - 0.25 points: two things that the weights do not hold (heads, eps, kind of GELU, pooling, order of norm and branch,
#   dropout, normalisation of the images).
# - "I would train it again" or "I would look at the parameters' number" alone earns nothing.
# ### END MARK SCHEME

# %% [markdown] grade_id="background-speed"
# ## 3 (extra) Parameters and speed
#
# Nothing to write. Four models with the same sizes: ours, the two that you moved it into, and your `EncoderViT` around
# BERT. The cell measures **in turns**: one batch with the first, one with the second, and so on, then the next round. A
# machine has fast and slow minutes, and so each model meets the same ones. What stands in the table is the median.

# %% grade_id="contest" role="setup"
@cache
def contest_of(encoder_class, to_torchvision, to_timm):
    """The four models, and their rates."""
    untrained(to_torchvision, to_timm)
    own = trained_own()[0]
    torch.manual_seed(0)
    models = {
        "our own ViT": copy.deepcopy(own),
        "torchvision": to_torchvision(own.state_dict(), dict(CONFIG)).to(device),
        "timm": to_timm(own.state_dict(), dict(CONFIG)).to(device),
        "EncoderViT with BERT": encoder_class(8, 3, 6, small_bert()).to(device),
    }
    images, labels = (t[:64].to(device) for t in pairs().test.tensors)
    rounds = 15
    bar = progress(None, "contest", total=rounds + 1)
    found = contest.rates(models, images, labels, device, rounds, tick=bar.update)
    bar.close()
    return models, found


def contest_table(encoder_class, to_torchvision, to_timm):
    """Parameters and rates as a table."""
    models, found = contest_of(encoder_class, to_torchvision, to_timm)
    return contest.table(models, found, lambda model: sum(p.numel() for p in model.parameters()))


def contest_picture(encoder_class, to_torchvision, to_timm):
    """The rates as a picture."""
    return contest.picture(contest_of(encoder_class, to_torchvision, to_timm)[1])

# %% grade_id="show-contest" role="display"
when_ready(contest_table)(EncoderViT, to_torchvision, to_timm)

# %% grade_id="picture-contest" role="display"
when_ready(contest_picture)(EncoderViT, to_torchvision, to_timm)

# %% [markdown] grade_id="read-contest"
# First the parameters: three times the same number, although the libraries need fewer tensors for it, because q, k and
# v lie in one. BERT has 128 more. Can you find where? (A row for its one word, which nobody asks for here, and one for
# its one token type. The norms are as many as ours: it has no last one, because its norms stand *behind* the branches,
# but one more at the beginning.)
#
# Then the speed. Look at how wide the dots are scattered before you look at the medians: two models whose clouds
# overlap are equally fast, as far as this measurement can tell. At these sizes the matrix products are small, and what
# differs is what Python does between them. All of them call the same kernels of torch in the end. Nobody has a secret
# that is worth more than some percent; what the libraries have are the weights, the options, and the tests of thousands
# of users.

# %% [markdown] grade_id="playground-prose"
# ## Playground
#
# The next cell is yours; nothing in it is graded. Some things to try:
#
# - Put another encoder in: `EncoderViT(8, 3, 6, zoo.small("GPT2Model"))`, and train it with `trained(...)`. What
#   accuracy does a class token reach that sees no patch?
# - Train the BERT with 0.02 for longer, or multiply its position embeddings by 10 before the training.
# - `pool="mean"`: which two options does timm need, so that the norm stays *before* the mean, as ours does it?
# - How large is the difference if the GELU is the tanh one? `act_layer=partial(nn.GELU, approximate="tanh")`.

# %% grade_id="playground" role="playground"
own_vit(pool="mean").pool

# %% [markdown] grade_id="closing"
# ## What you know now, and what comes next
#
# - An encoder for text is an encoder. What makes it a Vision Transformer is what stands before and behind it.
# - Fields and arguments with the same name mean different things in different models: positions, poolers, causal masks.
#   An experiment of three lines tells which.
# - Weights are half of a model; the other half is in options, and each library has its own defaults.
# - Equal means: equal logits in float64.
#
# **Lab 6** takes models from these libraries and trains a single block of them.
#
# ### To read on
#
# - A. Dosovitskiy et al.: *An image is worth 16x16 words*, 2020, [arXiv:2010.11929](https://arxiv.org/abs/2010.11929).
# - J. Devlin et al.: *BERT: pre-training of deep bidirectional transformers*, 2018,
#   [arXiv:1810.04805](https://arxiv.org/abs/1810.04805). Its figure 2 shows the embeddings that are added.
# - R. Wightman: *PyTorch image models*,
#   [github.com/huggingface/pytorch-image-models](https://github.com/huggingface/pytorch-image-models); its
#   `timm/models/vision_transformer.py` is worth an evening.
# - T. Wolf et al.: *Transformers: state-of-the-art natural language processing*, 2020,
#   [arXiv:1910.03771](https://arxiv.org/abs/1910.03771).
