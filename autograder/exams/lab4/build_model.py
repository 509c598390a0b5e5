"""Lab 4's exam of build_model: does the model that is going to be trained compute what it should?

Students paste their own classes of Lab 3 above the function. So its wrong ideas are Lab 3's, each
pasted in whole, and the few that a function of so many numbers has of its own.
"""

from __future__ import annotations

from typing import Any

from autograder.exams.lab3 import encoder_block, feed_forward, shared, vision_transformer
from autograder.exams.lab4.training_problems import CODE, REPORTS, WRITING
from autograder.labs.exam import Alternative, Convention, Exercise, Misconception, changed
from autograder.labs.lab import setup_cell
from autograder.labs.variants import Variant
from vitedu.probe.case import ModuleCase, Scoring


def model_cases(variant: Variant) -> list[ModuleCase]:
    """All sizes given, most of them left out, and dropout in both modes; images are square."""

    def case(name: str, grid: int, depth: int, **options: Any) -> ModuleCase:
        init, _, inner = vision_transformer.vit_init(variant, (grid, grid), depth)
        return _asked(variant, name, init, inner, grid, **options)

    half: dict[str, Any] = {"init_kwargs": {"dropout": 0.5}}
    heads = 4  # what the function takes when nothing is said, as 32, 8, 3, and 6
    dim = heads * variant.sizes(1, 2, 3)[0]
    depth, hidden = variant.sizes(1, 2, 3)[0], variant.sizes(1, 13, 19)[0]
    given = {"dim": dim, "depth": depth, "mlp_dim": hidden}
    return [
        case("all sizes given, with gradients", 2, 3, gradients=True),
        _asked(variant, "some sizes left out", (32, 8, 3, 6, dim, depth, heads, hidden), dim, 4, init_kwargs=given),
        case("dropout 0.5 in eval mode: nothing is dropped", 3, 2, **half),
        case("dropout 0.0 in training mode: nothing is dropped", 2, 2, train=True),
        case("dropout 0.5 in training mode: two calls differ", 3, 2, **half, train=True, scoring=Scoring(random=True)),
    ]


def _asked(variant: Variant, name: str, init: tuple[int, ...], inner: int, grid: int, **options: Any) -> ModuleCase:
    """One question; tokens are large, so that the eps of a LayerNorm, which is free, does not show."""
    _, patch, channels, classes, dim, depth, _, hidden = init
    weights = vision_transformer.vit_weights(variant, (grid, grid), patch, channels, classes, dim, depth, inner, hidden)
    for key in ("embedding.cls_token", "embedding.position"):
        weights[key] = weights[key] * 8
    images = vision_transformer.vit_images(variant, init)
    if "dim" in options.get("init_kwargs", {}):
        init = ()
    return ModuleCase(
        name, "build_model", (images,), init=init, weights=weights, loose=("embedding.position",), **options
    )


B = CODE["build_model"]
GIVEN = "image_size, patch_size, in_channels, num_classes, dim, depth, num_heads, mlp_dim, dropout=dropout"
PARTS = ("FeedForward", "EncoderBlock", "VisionTransformer")


def with_classes(**classes: str) -> str:
    """The cell with Lab 3's three classes above the function, some of them replaced."""
    return "\n\n\n".join([*(classes.get(name, shared.CODE[name]) for name in PARTS), B])


def with_method(method: str) -> str:
    """The cell with a further method on the model's class."""
    return f"class Own(VisionTransformer):\n{method}\n\n\n" + changed(B, ("return VisionTransformer(", "return Own("))


OWN_WRONG = (
    Misconception(
        "sizes-written-in",
        "the sizes are written into the function, and its arguments are not used",
        "What changes in your model when somebody asks for another dim?",
        changed(B, (GIVEN, "32, 8, 3, 6, 64, 2, 4, 128, dropout=dropout")),
        (), WRITING,
    ),
    Misconception(
        "dropout-taken-for-head-dim",
        "dropout is passed on by position, where head_dim stands",
        "What is the ninth argument of VisionTransformer?",
        changed(B, ("dropout=dropout", "dropout")),
        (), WRITING,
    ),
    Misconception(
        "dropout-not-passed-on",
        "nothing is ever dropped: dropout is not passed on, or the model cannot be put into training mode",
        "With which dropout is your model made when somebody asks for 0.5, and what is model.training after "
        "model.train()?",
        changed(B, (", dropout=dropout", "")),
        (), WRITING,
    ),
    Misconception(
        "depth-and-heads-swapped",
        "depth and num_heads have changed places",
        "In which order does VisionTransformer take its sizes?",
        changed(B, (GIVEN, GIVEN.replace("depth, num_heads", "num_heads, depth"))),
        (), WRITING,
    ),
    Misconception(
        "widths-swapped",
        "dim and mlp_dim have changed places",
        "In which order does VisionTransformer take its sizes?",
        changed(B, (GIVEN, GIVEN.replace(" dim,", " DIM,").replace("mlp_dim", "dim").replace(" DIM,", " mlp_dim,"))),
        (), WRITING,
    ),
    Misconception(
        "patches-a-side-for-pixels",
        "the model gets the number of patches along a side where the side of a patch in pixels is meant",
        "An image of 32 pixels in patches of 8: which two numbers are 4 and 8?",
        changed(B, (GIVEN, GIVEN.replace("patch_size,", "image_size // patch_size,", 1))),
        (47,), WRITING,
    ),
    Misconception(
        "heads-of-64-features",
        "every head has 64 features, whatever dim is",
        "How wide is a head when head_dim is left out?",
        changed(B, (GIVEN, GIVEN.replace("mlp_dim,", "mlp_dim, head_dim=64,"))),
        (), REPORTS,
    ),
    Misconception(
        "no-bias-for-queries-keys-and-values",
        "the layers that make queries, keys, and values have no bias (qkv_bias=False)",
        "What is qkv_bias when nobody says anything about it?",
        changed(B, (GIVEN, GIVEN.replace("mlp_dim,", "mlp_dim, qkv_bias=False,"))),
        (), REPORTS,
    ),
    Misconception(
        "reads-the-mean",
        'the head reads the mean of the patch tokens (pool="mean") instead of the class token',
        "What does the head read when pool is left out?",
        changed(B, (GIVEN, GIVEN.replace("mlp_dim,", 'mlp_dim, pool="mean",'))),
        (69,), WRITING,
    ),
    Misconception(
        "class-instead-of-model",
        "the class is returned, not a model made from it",
        "What is type(build_model())?",
        changed(B, (f"VisionTransformer(\n        {GIVEN}\n    )", "VisionTransformer")),
        (), WRITING,
    ),
    Misconception(
        "own-train-method",
        "the model's class has a method of its own that is called train, which hides nn.Module's: model.train() and "
        "model.eval() no longer switch modes",
        "Which method of nn.Module does model.eval() call, and what does yours of that name do?",
        with_method("    def train(self, p):\n        for parameter in self.parameters():\n"
                    "            parameter.requires_grad = p"),
        (), REPORTS,
    ),
)  # fmt: skip
# The most frequent of Lab 3's; the others are caught as well, and are named where they are examined.
PASTED = {
    "FeedForward": ("relu", "no-activation", "activation-after-both"),
    "EncoderBlock": (
        "post-norm", "norm-after-the-branch", "no-first-residual", "no-second-residual", "no-residual",
        "residuals-from-the-normalised-tokens", "second-residual-adds-the-input", "mlp-reads-the-input",
        "one-norm-for-both", "no-norms", "mlp-before-attention", "dropout-always-on", "dropout-as-what-is-kept",
        "attention-across-the-batch",
    ),
    "VisionTransformer": (
        "first-sample-for-the-class-token", "last-token", "first-patch", "mean-over-everything-always",
        "flattened-tokens", "token-dimension-kept", "no-final-norm", "norm-before-the-blocks", "softmax-in-the-head",
        "log-softmax-in-the-head", "relu-on-the-logits", "one-block-many-times", "blocks-in-a-plain-list",
        "every-block-reads-the-embedding", "last-block-skipped", "positions-in-every-block",
        "class-token-dropped-before-the-blocks",
    ),
}  # fmt: skip
LAB3 = (feed_forward.EXERCISE, encoder_block.EXERCISE, vision_transformer.EXERCISE)
NAMES = {"FeedForward": "mlp", "EncoderBlock": "block", "VisionTransformer": "model"}


def _pasted() -> tuple[Misconception, ...]:
    """Lab 3's wrong ideas, each in a cell with all three classes."""
    found = [(e.id, e.misconception(id)) for e in LAB3 if e.id in PASTED for id in PASTED[e.id]]
    return tuple(
        Misconception(
            f"{NAMES[part]}-{m.id}", f"in {part}, {m.idea}", m.question, with_classes(**{part: m.code}), m.rows, m.seen
        )
        for part, m in found
    )


MODEL_WRONG = (*OWN_WRONG, *_pasted())


def _others() -> tuple[Alternative, ...]:
    """Lab 3's other right ways, one of each class together."""
    ways = [next(e.alternatives for e in LAB3 if e.id == name) for name in PARTS]
    return tuple(
        Alternative(
            f"own classes: {last.name}",
            with_classes(FeedForward=mlp.code, EncoderBlock=block.code, VisionTransformer=last.code),
        )
        for mlp, block, last in zip(*ways, strict=False)
    )  # fmt: skip


MODEL_OTHER = _others()
# A decorator changes every GELU of a model, whichever classes it was made from.
TANH = """
def _with_tanh_gelu(build):
    def built(*args, **kwargs):
        model = build(*args, **kwargs)
        for module in model.modules():
            if isinstance(module, nn.GELU):
                module.approximate = "tanh"
        return model

    return built


@_with_tanh_gelu
def build_model("""
MODEL_CONVENTIONS = (Convention("tanh-gelu", "GELU in its tanh form", (("def build_model(", TANH),)),)

# In place of a model that is not right comes the one that the notebook's locked cell gives to everybody.
LOCKED = f"{setup_cell('lab4_training', 'earlier-parts')}\n\n\n{B}"

EXERCISE = Exercise(
    "build_model", model_cases, MODEL_WRONG, MODEL_OTHER, ("vit_b_16", "create_model"), MODEL_CONVENTIONS, LOCKED
)
