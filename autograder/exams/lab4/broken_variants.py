"""Broken Vision Transformers and broken training loops, as edits of Lab 4's own cells.

What a minimum accuracy can see of them, and what only the exams of values and behaviour see, is
measured by benchmarks/accuracy.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autograder.labs.exam import changed
from autograder.labs.lab import Lab, without_marks

VISIBLE = (
    "no-positions",
    "plain-view-patches",
    "class-token-isolated",
    "uniform-attention",
    "no-softmax",
    "heads-scrambled-in-and-out",
    "no-step",
    "no-zero-grad",
    "labels-shuffled",
)
Edits = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class BrokenTraining:
    """A broken answer: edits of Lab 4's cells.

    Attributes:
        edits: (old, new) pairs by grade_id.
    """

    id: str
    about: str
    edits: Mapping[str, Edits]

    @property
    def held(self) -> tuple[str, ...]:
        """The misconceptions of other exams that are the same idea: "labN/exercise misconception"."""
        return HELD.get(self.id, ())


def codes(broken: BrokenTraining, lab: Lab) -> list[tuple[str, str]]:
    """The changed cells, as `Reference.namespace` takes them.

    Raises:
        UserError: an edit does not fit its cell any more.
    """
    cells = {cell.grade_id: without_marks(cell.source) for cell in lab.cells if cell.kind == "code"}
    return [(grade_id, changed(cells[grade_id], *edits)) for grade_id, edits in broken.edits.items()]


def _parts(*edits: tuple[str, str]) -> dict[str, Edits]:
    return {"earlier-parts": edits}


def _loop(*edits: tuple[str, str]) -> dict[str, Edits]:
    return {"train_one_epoch": edits}


TOKENS = "return torch.cat([cls, self.patches(images)], dim=1) + self.position"
PATCHES = "return self.proj(images).flatten(2).transpose(1, 2)"
ATTEND = "heads = F.scaled_dot_product_attention(q, k, v)"
SPLIT = "to(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)"
MERGE = "heads.transpose(1, 2).flatten(2)"
THREE = "for to in (self.to_q, self.to_k, self.to_v)"
FIRST, SECOND = "x = x + self.dropout(self.attention(self.norm1(x)))", "return x + self.mlp(self.norm2(x))"
POOL = 'x = x[:, 0] if self.pool == "cls" else x[:, 1:].mean(dim=1)'
LINEAR = "return F.linear({}, self.proj.weight.flatten(1), self.proj.bias)"
SIZES = "B, C, H, W = images.shape\n        P = self.proj.kernel_size[0]\n        "


def _weights(scores: str, softmax: str) -> dict[str, Edits]:
    """Attention written out, with these scores and this softmax."""
    return _parts((ATTEND, f"heads = ({scores}){softmax} @ v"))


SCALED = "q @ k.mT / math.sqrt(q.shape[-1])"
VIEWED = "images.reshape(B, (H // P) * (W // P), C * P * P)"
SPREAD = "images.reshape(B, C, P, H // P, P, W // P).permute(0, 3, 5, 1, 2, 4).flatten(3).flatten(1, 2)"
PERMUTED = (
    "patches = self.patches(images)\n"
    "        order = torch.rand(patches.shape[:2]).argsort(dim=1)[..., None].expand_as(patches)\n"
    "        return torch.cat([cls, patches.gather(1, order)], dim=1) + self.position"
)
FIRST_ONLY = (
    "x = torch.cat([cls, self.patches(images)], dim=1)\n"
    "        return torch.cat([x[:, :1] + self.position[:, :1], x[:, 1:]], dim=1)"
)
DROPOUT = {"exam_model": (("mlp_dim=128)", "mlp_dim=128, dropout=0.1)"),)}
BROKEN_TRAININGS = (
    BrokenTraining(
        "no-positions", "positions are not added", _parts((TOKENS, TOKENS.removesuffix(" + self.position"))),
    ),
    BrokenTraining(
        "position-on-class-token-only", "only the class token gets its position", _parts((TOKENS, FIRST_ONLY)),
    ),
    BrokenTraining("patches-permuted", "patches in a random order, per image", _parts((TOKENS, PERMUTED))),
    BrokenTraining("softmax-over-queries", "softmax over the queries", _weights(SCALED, ".softmax(dim=-2)")),
    BrokenTraining("softmax-over-heads", "softmax over the heads", _weights(SCALED, ".softmax(dim=1)")),
    BrokenTraining("softmax-over-batch", "softmax over the batch", _weights(SCALED, ".softmax(dim=0)")),
    BrokenTraining("no-softmax", "scores used as weights", _weights(SCALED, "")),
    BrokenTraining("no-scale", "scores not divided by sqrt(K)", _weights("q @ k.mT", ".softmax(dim=-1)")),
    BrokenTraining(
        "scale-after-softmax", "divided by sqrt(K) after the softmax",
        _weights("q @ k.mT", ".softmax(dim=-1) / math.sqrt(q.shape[-1])"),
    ),
    BrokenTraining(
        "heads-scrambled-in-and-out", "heads split and merged without transposing",
        _parts(
            (SPLIT, "to(x).reshape(len(x), self.num_heads, x.shape[1], -1)"),
            (MERGE, "heads.reshape(len(x), x.shape[1], -1)"),
        ),
    ),
    BrokenTraining(
        "heads-scrambled-in", "heads split without transposing",
        _parts((SPLIT, "to(x).reshape(len(x), self.num_heads, x.shape[1], -1)")),
    ),
    BrokenTraining(
        "heads-scrambled-out", "heads merged without transposing",
        _parts((MERGE, "heads.reshape(len(x), x.shape[1], -1)")),
    ),
    BrokenTraining(
        "attention-transposed", "queries and keys exchanged",
        _weights("k @ q.mT / math.sqrt(q.shape[-1])", ".softmax(dim=-1)"),
    ),
    BrokenTraining(
        "uniform-attention", "every token gets the mean of all",
        _parts((ATTEND, "heads = v.mean(dim=2, keepdim=True).expand_as(v)")),
    ),
    BrokenTraining("class-token-isolated", "no attention: each token sees itself only", _parts((ATTEND, "heads = v"))),
    BrokenTraining(
        "one-projection", "one linear layer for queries, keys, values",
        _parts((THREE, "for to in (self.to_q, self.to_q, self.to_q)")),
    ),
    BrokenTraining(
        "no-residual", "branches replace what they should be added to",
        _parts((FIRST, FIRST.replace("x + ", "")), (SECOND, SECOND.replace("x + ", ""))),
    ),
    BrokenTraining(
        "class-token-frozen", "the class token is not trained",
        _parts(("torch.zeros(1, 1, dim))", "torch.zeros(1, 1, dim), requires_grad=False)")),
    ),
    BrokenTraining("head-reads-a-patch", "the head reads the first patch", _parts((POOL, "x = x[:, 1]"))),
    BrokenTraining("head-reads-the-mean", "the head reads the mean of all tokens", _parts((POOL, "x = x.mean(dim=1)"))),
    BrokenTraining(
        "plain-view-patches", "patches by a plain view: stripes of the image",
        _parts((PATCHES, SIZES + LINEAR.format(VIEWED))),
    ),
    BrokenTraining(
        "pixels-interleaved", "patches of every P-th pixel", _parts((PATCHES, SIZES + LINEAR.format(SPREAD)))
    ),
    BrokenTraining(
        "no-norm", "no LayerNorm anywhere",
        _parts(
            (FIRST, FIRST.replace("self.norm1(x)", "x")), (SECOND, SECOND.replace("self.norm2(x)", "x")),
            ("        x = self.norm(x)\n", ""),
        ),
    ),
    BrokenTraining(
        "post-norm", "LayerNorm after each sum",
        _parts(
            (FIRST, "x = self.norm1(x + self.dropout(self.attention(x)))"),
            (SECOND, "return self.norm2(x + self.mlp(x))"),
        ),
    ),
    BrokenTraining("no-mlp", "blocks without their feed-forward network", _parts((SECOND, "return x"))),
    BrokenTraining("no-gelu", "no activation between fc1 and fc2", _parts(("nn.GELU()", "nn.Identity()"))),
    BrokenTraining(
        "labels-shuffled", "labels shuffled within each batch",
        _loop(("logits = model(", "labels = labels[torch.randperm(len(labels))]\n        logits = model(")),
    ),
    BrokenTraining("no-zero-grad", "gradients are never cleared", _loop(("        optimizer.zero_grad()\n", ""))),
    BrokenTraining("no-step", "the optimizer never steps", _loop(("        optimizer.step()\n", ""))),
    BrokenTraining(
        "softmax-before-cross-entropy", "cross-entropy of softmaxed logits",
        _loop(("F.cross_entropy(logits, labels)", "F.cross_entropy(logits.softmax(dim=1), labels)")),
    ),
    BrokenTraining(
        "one-batch-an-epoch", "the return stands inside the loop",
        _loop(("    return {", "        return {")),
    ),
    BrokenTraining(
        "scheduler-never-stepped", "the learning rate stays at its first value",
        _loop(("            scheduler.step()", "            pass")),
    ),
    BrokenTraining(
        "dropout-never-active", "dropout 0.1 in the model, trained in eval mode",
        DROPOUT | _loop(("model.train()", "model.eval()")),
    ),
    BrokenTraining(
        "dropout-left-on", "dropout 0.1 also when tested",
        DROPOUT | _parts(
            ("hidden = self.dropout(self.activation(self.fc1(x)))",
             "hidden = F.dropout(self.activation(self.fc1(x)), self.dropout.p)"),
            ("return self.dropout(self.fc2(hidden))", "return F.dropout(self.fc2(hidden), self.dropout.p)"),
            ("x + self.dropout(self.attention(self.norm1(x)))",
             "x + F.dropout(self.attention(self.norm1(x)), self.dropout.p)"),
        ),
    ),
)  # fmt: skip
HELD = {
    "no-positions": ("lab2/TokenEmbedding no-positions",),
    "softmax-over-queries": ("lab1/MultiHeadAttention softmax-over-queries",),
    "softmax-over-heads": ("lab1/MultiHeadAttention softmax-over-heads",),
    "softmax-over-batch": ("lab1/attention_weights softmax-over-batch",),
    "no-softmax": ("lab1/attention_weights no-softmax",),
    "no-scale": ("lab1/MultiHeadAttention no-scale",),
    "scale-after-softmax": ("lab1/MultiHeadAttention scale-after-softmax",),
    "heads-scrambled-in-and-out": ("lab1/MultiHeadAttention split-and-merge-by-view-alone",),
    "heads-scrambled-in": ("lab1/MultiHeadAttention split-by-view-alone",),
    "heads-scrambled-out": ("lab1/MultiHeadAttention merge-by-view-alone",),
    "attention-transposed": ("lab1/MultiHeadAttention query-and-key-swapped",),
    "class-token-isolated": ("lab3/VisionTransformer patch-embedding-alone",),
    "one-projection": ("lab1/MultiHeadAttention query-layer-used-three-times",),
    "no-residual": ("lab3/EncoderBlock no-residual",),
    "class-token-frozen": ("lab2/TokenEmbedding class-token-frozen",),
    "head-reads-a-patch": ("lab3/VisionTransformer first-patch",),
    "head-reads-the-mean": ("lab3/VisionTransformer mean-over-everything-always",),
    "plain-view-patches": ("lab2/patchify stripes", "lab2/patch_embeddings linear-stripes"),
    "pixels-interleaved": ("lab2/patchify every-hth-pixel", "lab2/patch_embeddings linear-every-hth-pixel"),
    "no-norm": ("lab3/EncoderBlock no-norms", "lab3/VisionTransformer no-final-norm"),
    "post-norm": ("lab3/EncoderBlock post-norm",),
    "no-mlp": ("lab3/EncoderBlock mlp-missing",),
    "no-gelu": ("lab3/FeedForward no-activation",),
    "no-zero-grad": ("lab4/train_one_epoch no-zero-grad",),
    "no-step": ("lab4/train_one_epoch no-step",),
    "softmax-before-cross-entropy": ("lab4/train_one_epoch softmax-before-the-loss",),
    "one-batch-an-epoch": ("lab4/train_one_epoch return-inside-the-loop",),
    "scheduler-never-stepped": ("lab4/train_one_epoch scheduler-never-steps",),
    "dropout-never-active": ("lab4/train_one_epoch trains-in-eval-mode",),
    "dropout-left-on": ("lab3/FeedForward dropout-always-on", "lab3/EncoderBlock dropout-always-on"),
}


def find(id: str) -> BrokenTraining:
    """The variant with this id."""
    return next(broken for broken in BROKEN_TRAININGS if broken.id == id)
