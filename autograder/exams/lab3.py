"""Lab 3's exams: the cases, the wrong ideas, and the other right ways of its exercises.

Sizes inside a case are pairwise distinct and every parameter is random, those of the LayerNorms,
the class token, and the positions too: zeros and ones let wrong code through. Dropout may stand at
several places, so training mode is only asked about what holds wherever it stands.
"""

from __future__ import annotations

from typing import Any

import torch

from vitedu.probe import Case

from ..exam import Alternative, Convention, Draw, Exercise, Misconception, changed
from ..lab import solution_cells

CODE = solution_cells("lab3_vit")

REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public ViT code and of courses"
WRITING = "thought of while writing this exam"

# Heads and their width, unlike each other; their product is the width of all heads together.
SPLITS = ((2, 3), (2, 4), (2, 5), (3, 2), (3, 4), (4, 2), (4, 3), (5, 2))


def split(draw: Draw, widest: int = 12) -> tuple[int, int, int]:
    """Heads, the width of a head, and the width of all together, `widest` at most."""
    choices = [(h, k, h * k) for h, k in SPLITS if h * k <= widest]
    return choices[draw.sizes(1, 0, len(choices) - 1)[0]]


def norm_weights(draw: Draw, name: str, dim: int) -> dict[str, torch.Tensor]:
    """A LayerNorm's weight, around 1, and its bias."""
    return {f"{name}.weight": 1 + draw.normal(dim, scale=0.4), f"{name}.bias": draw.normal(dim, scale=0.5)}


def mlp_weights(draw: Draw, dim: int, hidden: int, prefix: str = "") -> dict[str, torch.Tensor]:
    """Random weights and biases for fc1 and fc2."""
    shapes = {"fc1.weight": (hidden, dim), "fc1.bias": (hidden,), "fc2.weight": (dim, hidden), "fc2.bias": (dim,)}
    return {prefix + key: value for key, value in draw.weights(shapes).items()}


def block_weights(
    draw: Draw, dim: int, inner: int, hidden: int, qkv_bias: bool = True, prefix: str = ""
) -> dict[str, torch.Tensor]:
    """Random values for everything in a block; `inner` is the width of all heads together."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("to_q", "to_k", "to_v"):
        shapes[f"attention.{name}.weight"] = (inner, dim)
        if qkv_bias:
            shapes[f"attention.{name}.bias"] = (inner,)
    values = draw.weights(shapes | {"attention.to_out.weight": (dim, inner), "attention.to_out.bias": (dim,)})
    values |= norm_weights(draw, "norm1", dim) | norm_weights(draw, "norm2", dim)
    return {prefix + key: value for key, value in values.items()} | mlp_weights(draw, dim, hidden, f"{prefix}mlp.")


# --- FeedForward ---------------------------------------------------------------------------------


def forward_cases(draw: Draw) -> list[Case]:
    """A wide and a narrow hidden layer, a lone sample, and dropout in both modes."""

    def case(name: str, batch: int, tokens: int, dim: int, hidden: int, **options: object) -> Case:
        x, weights = draw.normal(batch, tokens, dim, scale=1.5), mlp_weights(draw, dim, hidden)
        return Case(name, "FeedForward", (x,), init=(dim, hidden), weights=weights, **options)

    def sizes() -> list[int]:
        # Four features and two tokens at least: dropout does not leave two calls equal by chance.
        (batch,), (dim,) = draw.sizes(1, 2, 3), draw.sizes(1, 5, 8)
        tokens, hidden = draw.sizes(2, 4, 11, without=(dim, 4 * dim))
        return [batch, tokens, dim, hidden]

    half = {"dropout": 0.5}
    (dim,), (hidden,), rest = draw.sizes(1, 6, 8), draw.sizes(1, 4, 5), draw.sizes(2, 2, 3)
    cases = [case("a narrow hidden layer, with gradients", *rest, dim, hidden, gradients=True)]
    (dim,), (hidden,), rest = draw.sizes(1, 4, 6), draw.sizes(1, 9, 12), draw.sizes(2, 2, 3)
    cases.append(case("a wide hidden layer", *rest, dim, hidden))
    cases.append(case("one sample alone", 1, *draw.sizes(3, 2, 9)))
    cases.append(case("dropout 0.5 in eval mode: nothing is dropped", *sizes(), init_kwargs=half))
    zero = {"dropout": 0.0}
    cases.append(case("dropout 0.0 in training mode: nothing is dropped", *sizes(), init_kwargs=zero, train=True))
    name = "dropout 0.5 in training mode: two calls differ"
    return [*cases, case(name, *sizes(), init_kwargs=half, train=True, random=True)]


FF = CODE["FeedForward"]
FF_LAYERS = """        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
"""
FF_ACTIVATION = "self.activation = nn.GELU()"
FF_FORWARD = """        hidden = self.dropout(self.activation(self.fc1(x)))
        return self.dropout(self.fc2(hidden))
"""
FF_DROPOUT = "self.dropout = nn.Dropout(dropout)"


def ff(body: str, *edits: tuple[str, str]) -> str:
    """FeedForward with another forward, and further edits."""
    return changed(FF, (FF_FORWARD.rstrip(), body), *edits)


FF_WRONG = (
    Misconception(
        "relu",
        "a ReLU stands between the two layers instead of a GELU",
        "What do the two functions give for -0.5?",
        changed(FF, (FF_ACTIVATION, "self.activation = nn.ReLU()")),
        (62,), TRACKERS,
    ),
    Misconception(
        "silu",
        "a SiLU (x times its sigmoid) stands between the two layers instead of a GELU",
        "GELU multiplies x by the probability that a standard normal number is below x: by what does yours?",
        changed(FF, (FF_ACTIVATION, "self.activation = nn.SiLU()")),
        (62,), WRITING,
    ),
    Misconception(
        "sigmoid-approximation",
        "GELU is approximated as x * sigmoid(1.702 x), which is off by up to 0.02",
        "Which of the two forms that nn.GELU offers does the paper mean, and how far is yours from them at x = 2?",
        ff("""        hidden = self.fc1(x)
        hidden = self.dropout(hidden * torch.sigmoid(1.702 * hidden))
        return self.dropout(self.fc2(hidden))"""),
        (62,), TRACKERS,
    ),
    Misconception(
        "tanh",
        "a tanh stands between the two layers instead of a GELU",
        "What does GELU give for a large positive number, and what does a tanh?",
        changed(FF, (FF_ACTIVATION, "self.activation = nn.Tanh()")),
        (62,), WRITING,
    ),
    Misconception(
        "sigmoid",
        "a sigmoid stands between the two layers instead of a GELU",
        "What does GELU give for a large positive number, and what does a sigmoid?",
        changed(FF, (FF_ACTIVATION, "self.activation = nn.Sigmoid()")),
        (62,), WRITING,
    ),
    Misconception(
        "no-activation",
        "nothing stands between the two layers, so that together they are one linear map",
        "Which single matrix does the same as fc2(fc1(x))?",
        changed(FF, ("self.activation(self.fc1(x))", "self.fc1(x)")),
        (62,), TRACKERS,
    ),
    Misconception(
        "activation-after-both",
        "a GELU follows the second layer, too, so that the result can hardly be negative",
        "What can the block add to a token if the branch gives no number below -0.17?",
        changed(FF, ("self.dropout(self.fc2(hidden))", "self.dropout(self.activation(self.fc2(hidden)))")),
        (62,), "omihub",
    ),
    Misconception(
        "activation-after-the-second-only",
        "the GELU follows the second layer instead of standing between the two",
        "What do two linear layers make together when nothing stands between them?",
        ff("""        hidden = self.dropout(self.fc1(x))
        return self.dropout(self.activation(self.fc2(hidden)))"""),
        (62,), WRITING,
    ),
    Misconception(
        "activation-before-the-first",
        "the GELU is applied to the tokens before the first layer, not between the two",
        "In which order do the tokens meet fc1, the GELU, and fc2?",
        changed(FF, ("self.activation(self.fc1(x))", "self.fc1(self.activation(x))")),
        (62,), WRITING,
    ),
    Misconception(
        "dropout-always-on",
        "dropout is active in eval mode, too: F.dropout does not know the module's mode unless it is told",
        "Does your module give the same result twice after module.eval()?",
        ff("""        hidden = F.dropout(self.activation(self.fc1(x)), self.p)
        return F.dropout(self.fc2(hidden), self.p)""", (FF_DROPOUT, "self.p = dropout")),
        (16, 66), TRACKERS,
    ),
    Misconception(
        "dropout-as-what-is-kept",
        "dropout is read as the share that is kept: nn.Dropout(1 - dropout)",
        "What should dropout=0.0 do to the numbers, and what does nn.Dropout(1.0) do to them?",
        changed(FF, (FF_DROPOUT, "self.dropout = nn.Dropout(1 - dropout)")),
        (66,), TRACKERS,
    ),
    Misconception(
        "dropout-fixed",
        "the probability of dropout is written into the class, whatever the argument says",
        "Where does the constructor's argument dropout go?",
        changed(FF, (FF_DROPOUT, "self.dropout = nn.Dropout(0.1)")),
        (), WRITING,
    ),
    Misconception(
        "dropout-ignored",
        "nothing is dropped in training, whatever the argument says: there is no dropout, or its result is not used",
        "Where does the constructor's argument dropout go, and who uses what dropout(x) returns?",
        ff("        return self.fc2(self.activation(self.fc1(x)))"),
        (), WRITING,
    ),
    Misconception(
        "hidden-width-four-times",
        "the hidden layer is always four times as wide as a token, whatever hidden_dim says",
        "Where does the constructor's argument hidden_dim go?",
        changed(FF, (FF_LAYERS, FF_LAYERS.replace("hidden_dim", "4 * dim"))),
        (), TRACKERS,
    ),
    Misconception(
        "no-hidden-width",
        "both layers have the width of a token, and hidden_dim is not used",
        "Where does the constructor's argument hidden_dim go?",
        changed(FF, (FF_LAYERS, FF_LAYERS.replace("hidden_dim", "dim"))),
        (), WRITING,
    ),
    Misconception(
        "sizes-of-the-layers-swapped",
        "the two layers have each other's sizes, the input and output widths in the wrong order",
        "Which size goes into nn.Linear first, what comes in or what goes out?",
        changed(FF, (FF_LAYERS, """        self.fc1 = nn.Linear(hidden_dim, dim)
        self.fc2 = nn.Linear(dim, hidden_dim)
""")),
        (), WRITING,
    ),
    Misconception(
        "residual-inside",
        "x is added to the result here already, and the block will add it once more",
        "Who adds the branch to the tokens: the feed-forward network or the block?",
        ff("""        hidden = self.dropout(self.activation(self.fc1(x)))
        return x + self.dropout(self.fc2(hidden))"""),
        (), TRACKERS,
    ),
    Misconception(
        "norm-inside",
        "a LayerNorm stands inside, which the course keeps in the block under the name norm2: a convention, not an "
        "error",
        "Which of the two classes has the LayerNorms as its parts, by the docstrings?",
        changed(FF, (FF_LAYERS, FF_LAYERS + "        self.norm = nn.LayerNorm(dim)\n"),
                ("self.fc1(x)", "self.fc1(self.norm(x))")),
        (), "lucidrains/vit-pytorch",
    ),
    Misconception(
        "norm-inside-without-parameters",
        "the tokens are normalised here, without parameters, before the first layer, and the block will normalise "
        "them once more",
        "Which of the two classes has the LayerNorms as its parts, by the docstrings?",
        changed(FF, ("self.fc1(x)", "self.fc1(F.layer_norm(x, x.shape[-1:]))")),
        (), WRITING,
    ),
    Misconception(
        "layers-in-a-sequential",
        "the layers lie in an nn.Sequential and are called net.0 and net.3: that computes the same, but the course "
        "fixes their names, fc1 and fc2",
        "Under which names does the docstring want the weights, so that they can be loaded?",
        ff("        return self.net(x)",
           (FF_LAYERS, "        self.net = nn.Sequential(nn.Linear(dim, hidden_dim), nn.GELU(), nn.Dropout(dropout),\n"
                       "                                 nn.Linear(hidden_dim, dim), nn.Dropout(dropout))\n")),
        (), TRACKERS,
    ),
    Misconception(
        "layers-without-bias",
        "the two layers are made without a bias",
        "Which entries does state_dict() lack?",
        changed(FF, (FF_LAYERS, FF_LAYERS.replace(")\n", ", bias=False)\n"))),
        (), WRITING,
    ),
    Misconception(
        "layers-over-the-flattened-sequence",
        "the first layer reads the whole sequence at once, all tokens flattened (here 17 tokens), instead of one "
        "token after the other",
        "What does your network do with a sequence of another length, and how many parameters does it have?",
        ff("        return self.fc2(self.activation(self.fc1(x.flatten(1)))).view(x.shape)",
           (FF_LAYERS, FF_LAYERS.replace("(dim, hidden_dim)", "(17 * dim, 17 * hidden_dim)")
                                .replace("(hidden_dim, dim)", "(17 * hidden_dim, 17 * dim)"))),
        (), REPORTS,
    ),
    Misconception(
        "softmax-over-the-hidden-features",
        "the hidden features go through a softmax instead of a GELU",
        "Should the hidden features of a token compete with each other and sum to 1?",
        changed(FF, (FF_ACTIVATION, "self.activation = nn.Softmax(dim=-1)")),
        (), WRITING,
    ),
    Misconception(
        "cut-from-the-graph",
        "the numbers are right, but the result is cut off from x and the weights (detach, data, no_grad, or a new "
        "tensor), so that nothing can be learned through it",
        "What is the result's grad_fn?",
        changed(FF, ("self.fc2(hidden)", "self.fc2(hidden).detach()")),
        (), WRITING,
    ),
)  # fmt: skip

FF_INIT = """
class FeedForward(nn.Module):
    def __init__(self, dim, hidden_dim, dropout=0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.dropout = dropout
"""

FF_OTHER = (
    Alternative("in the style of timm: layers and two dropouts called one by one", '''
class FeedForward(nn.Module):
    def __init__(self, dim, hidden_dim, dropout=0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.drop1 = nn.Dropout(dropout)
        self.norm = nn.Identity()
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop2 = nn.Dropout(dropout)

    def forward(self, x):
        x = self.fc1(x)
        x = self.act(x)
        x = self.drop1(x)
        x = self.norm(x)
        x = self.fc2(x)
        return self.drop2(x)
'''),
    Alternative("in the style of torchvision: a Sequential whose layers have names, one dropout, tanh GELU", '''
from collections import OrderedDict

class FeedForward(nn.Sequential):
    def __init__(self, dim, hidden_dim, dropout=0.0):
        super().__init__(OrderedDict(
            fc1=nn.Linear(dim, hidden_dim), act=TanhGELU(), fc2=nn.Linear(hidden_dim, dim), drop=nn.Dropout(dropout)))

class TanhGELU(nn.Module):
    def forward(self, x):
        return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3))))
'''),
    Alternative("in the style of older Hugging Face models: GELU with erf, dropout after fc2 only", FF_INIT + '''
    def forward(self, x):
        x = self.fc1(x)
        x = x * 0.5 * (1.0 + torch.erf(x / 2**0.5))
        return F.dropout(self.fc2(x), self.dropout, training=self.training)
'''),
    Alternative("the normal distribution's own function, products with the weights", FF_INIT + '''
    def forward(self, x):
        hidden = torch.matmul(x, self.fc1.weight.T) + self.fc1.bias
        hidden = hidden * torch.special.ndtr(hidden)
        if self.training:
            hidden = F.dropout(hidden, self.dropout)
        return torch.matmul(hidden, self.fc2.weight.T) + self.fc2.bias
'''),
    Alternative("einsum, dropout with a mask of its own", FF_INIT + '''
    def forward(self, x):
        hidden = F.gelu(torch.einsum("btd,hd->bth", x, self.fc1.weight) + self.fc1.bias)
        if self.training and self.dropout > 0:
            hidden = hidden * torch.bernoulli(torch.full_like(hidden, 1 - self.dropout)) / (1 - self.dropout)
        return torch.einsum("bth,dh->btd", hidden, self.fc2.weight) + self.fc2.bias
'''),
    Alternative("convolutions with kernels of one token, whole features dropped, tanh GELU", FF_INIT + '''
    def forward(self, x):
        hidden = F.conv1d(x.transpose(1, 2), self.fc1.weight.unsqueeze(-1), self.fc1.bias)
        hidden = F.dropout1d(F.gelu(hidden, approximate="tanh"), self.dropout, self.training)
        return F.conv1d(hidden, self.fc2.weight.unsqueeze(-1), self.fc2.bias).transpose(1, 2)
'''),
    Alternative("token by token, stacked", FF_INIT + '''
    def forward(self, x):
        tokens = [self.fc2(F.gelu(self.fc1(token))) for token in x.unbind(dim=1)]
        return nn.Dropout(self.dropout).train(self.training)(torch.stack(tokens, dim=1))
'''),
    Alternative("layers on a flat list of tokens, in place on its own tensor", FF_INIT + '''
    def forward(self, x):
        hidden = x.flatten(0, 1).mm(self.fc1.weight.t())
        hidden += self.fc1.bias
        out = F.gelu(hidden).mm(self.fc2.weight.t())
        out += self.fc2.bias
        return F.dropout(out, self.dropout, self.training, inplace=True).unflatten(0, x.shape[:2])
'''),
)  # fmt: skip

FF_CONVENTIONS = (
    Convention("tanh-gelu", "GELU in its tanh form", (("nn.GELU()", 'nn.GELU(approximate="tanh")'),)),
)

# --- EncoderBlock --------------------------------------------------------------------------------


def block_cases(draw: Draw) -> list[Case]:
    """Each constructor argument given and left out, and what holds wherever dropout stands."""

    def case(name: str, init: tuple[int, ...], inner: int, scale: float = 5.0, **options: object) -> Case:
        dim, heads, hidden = init[:3]
        batch, tokens = draw.sizes(2, 2, 6, without=(dim, heads, inner // heads))
        weights = block_weights(draw, dim, inner, hidden, options.get("init_kwargs", {}).get("qkv_bias", True))
        x = draw.normal(batch, tokens, dim, scale=scale)  # large tokens: eps hardly shows
        return Case(name, "EncoderBlock", (x,), init=init, weights=weights, **options)

    def sizes(widest: int = 12) -> tuple[tuple[int, ...], int]:
        heads, width, dim = split(draw, widest)
        return (dim, heads, *draw.sizes(1, 6, 13, without=(heads, width, dim, 4 * dim))), dim

    cases = [case("head_dim left out, with gradients", *sizes(8), gradients=True)]  # small: gradients are many numbers
    heads, width, inner = split(draw)
    dim, hidden = draw.sizes(2, 5, 11, without=(heads, width, inner))
    cases.append(case("head_dim given", (dim, heads, hidden, width), inner))
    # Small tokens tell an eps of 1e-5 from 1e-6, so that the later exercises can follow.
    name = "queries, keys, and values without bias, small tokens"
    cases.append(case(name, *sizes(), scale=0.1, init_kwargs={"qkv_bias": False}))
    half = {"init_kwargs": {"dropout": 0.5}}
    cases.append(case("dropout 0.5 in eval mode: nothing is dropped", *sizes(), **half))
    name = "dropout 0.0 in training mode: nothing is dropped"
    cases.append(case(name, *sizes(), init_kwargs={"dropout": 0.0}, train=True))
    cases.append(case("dropout 0.5 in training mode: two calls differ", *sizes(), **half, train=True, random=True))
    # Wherever dropout stands on a branch, a branch of zeros stays one; an echo of the input alone earns nothing.
    name = "dropout 0.5 in training mode, branches that give 0: tokens stay what they are"
    idle = case(name, *sizes(), **half, train=True, paired=True)
    for name in ("attention.to_out.weight", "attention.to_out.bias", "mlp.fc2.weight", "mlp.fc2.bias"):
        idle.weights[name].zero_()
    return [*cases, idle]


B = CODE["EncoderBlock"]
B_FIRST = "x = x + self.dropout(self.attention(self.norm1(x)))"
B_SECOND = "return x + self.mlp(self.norm2(x))"
B_FORWARD = f"        {B_FIRST}\n        {B_SECOND}"
B_NORM1 = "self.norm1 = nn.LayerNorm(dim)"
B_NORM2 = "self.norm2 = nn.LayerNorm(dim)"
B_ATTENTION = "MultiHeadAttention(dim, num_heads, head_dim, qkv_bias)"
B_MLP = "FeedForward(dim, mlp_dim, dropout)"
B_DROPOUT = "self.dropout = nn.Dropout(dropout)"


def block(body: str, *edits: tuple[str, str]) -> str:
    """EncoderBlock with another forward, its lines indented like the text between the quotes, and further edits."""
    lines = "\n".join(f"        {line}" if line else "" for line in body.split("\n"))
    return changed(B, (B_FORWARD, lines), *edits)


BLOCK_WRONG = (
    Misconception(
        "post-norm",
        "each LayerNorm comes after the sum, norm(x + f(x)): the first transformer's order, not the Vision "
        "Transformer's",
        "If both branches gave 0, what would your block give back: the tokens, or something else?",
        block("x = self.norm1(x + self.dropout(self.attention(x)))\nreturn self.norm2(x + self.mlp(x))"),
        (57,), TRACKERS,
    ),
    Misconception(
        "norm-after-the-branch",
        "each LayerNorm comes after its branch, x + norm(f(x)), not before it",
        "Do attention and the feed-forward network see normalised tokens in your block?",
        block("x = x + self.dropout(self.norm1(self.attention(x)))\nreturn x + self.norm2(self.mlp(x))"),
        (57,), TRACKERS,
    ),
    Misconception(
        "pre-norm-then-post-norm",
        "the first branch has its LayerNorm before it, but the second one's comes after the sum",
        "Which tokens does the feed-forward network see in your block?",
        block(f"{B_FIRST}\nreturn self.norm2(x + self.mlp(x))"),
        (57,), WRITING,
    ),
    Misconception(
        "no-first-residual",
        "the tokens are not added to what attention found: the first sum is missing",
        "If attention gave 0, what would be left of the tokens?",
        changed(B, ("x = x + self.dropout", "x = self.dropout")),
        (58,), TRACKERS,
    ),
    Misconception(
        "no-second-residual",
        "the tokens are not added to what the feed-forward network gives: the second sum is missing",
        "If the feed-forward network gave 0, what would be left of the tokens?",
        changed(B, ("return x + self.mlp", "return self.mlp")),
        (58,), TRACKERS,
    ),
    Misconception(
        "no-residual",
        "nothing is ever added: attention and feed-forward network simply follow each other",
        "If both branches gave 0, what would be left of the tokens?",
        changed(B, ("x = x + self.dropout", "x = self.dropout"), ("return x + self.mlp", "return self.mlp")),
        (58,), TRACKERS,
    ),
    Misconception(
        "one-residual-around-both",
        "there is one sum around the whole block instead of one around each branch",
        "How many plus signs do equations 2 and 3 of the paper hold?",
        block("return x + self.mlp(self.norm2(self.dropout(self.attention(self.norm1(x)))))"),
        (58, 60), WRITING,
    ),
    Misconception(
        "residuals-from-the-normalised-tokens",
        "what is added to each branch are the normalised tokens, not the tokens themselves",
        "Make the tokens ten times as large: does your result grow with them?",
        block("x = self.norm1(x)\nx = x + self.dropout(self.attention(x))\nx = self.norm2(x)\nreturn x + self.mlp(x)"),
        (59,), TRACKERS,
    ),
    Misconception(
        "first-residual-from-the-normalised-tokens",
        "the first sum adds the normalised tokens instead of the tokens themselves",
        "Make the tokens ten times as large: does your result grow with them?",
        block(f"x = self.norm1(x)\nx = x + self.dropout(self.attention(x))\n{B_SECOND}"),
        (59,), TRACKERS,
    ),
    Misconception(
        "second-residual-from-the-normalised-tokens",
        "the second sum adds the normalised tokens instead of the tokens themselves",
        "Make the tokens ten times as large: does your result grow with them?",
        block(f"{B_FIRST}\nx = self.norm2(x)\nreturn x + self.mlp(x)"),
        (59,), TRACKERS,
    ),
    Misconception(
        "second-residual-adds-the-input",
        "the second sum adds the block's input instead of what the first sum gave, so that attention only reaches the "
        "result through the feed-forward network",
        "Which x stands in equation 3 of the paper: the one before or the one after attention?",
        block("y = x + self.dropout(self.attention(self.norm1(x)))\nreturn x + self.mlp(self.norm2(y))"),
        (60,), TRACKERS,
    ),
    Misconception(
        "mlp-reads-the-input",
        "the feed-forward network reads the block's input, side by side with attention instead of after it",
        "Which x does the feed-forward network get: the one before or the one after attention?",
        block("y = x + self.dropout(self.attention(self.norm1(x)))\nreturn y + self.mlp(self.norm2(x))"),
        (60,), TRACKERS,
    ),
    Misconception(
        "attention-thrown-away",
        "what attention found is computed and thrown away: only the feed-forward network's branch is added",
        "Does your result change when you change one other token?",
        block("self.dropout(self.attention(self.norm1(x)))\nreturn x + self.mlp(self.norm2(x))"),
        (60,), WRITING,
    ),
    Misconception(
        "mlp-missing",
        "the block ends after attention: the feed-forward network is made, but never called",
        "Which of the block's four parts gets no gradient?",
        block("return x + self.dropout(self.attention(self.norm1(x)))"),
        (), WRITING,
    ),
    Misconception(
        "block-input-added-once-more",
        "the block's input is added a second time at the end",
        "If both branches gave 0, what should the block give back?",
        block(f"y = x\n{B_FIRST}\nx = x + self.mlp(self.norm2(x))\nreturn x + y"),
        (), WRITING,
    ),
    Misconception(
        "first-norm-used-twice",
        "norm1 is called before both branches, and norm2 never",
        "Which of the block's four parts gets no gradient?",
        changed(B, ("self.norm2(x)", "self.norm1(x)")),
        (61,), TRACKERS,
    ),
    Misconception(
        "one-norm-under-two-names",
        "norm1 and norm2 are two names of one and the same LayerNorm",
        "How many different tensors does list(block.parameters()) hold?",
        changed(B, (B_NORM2, "self.norm2 = self.norm1")),
        (61,), TRACKERS,
    ),
    Misconception(
        "one-norm-for-both",
        "there is one LayerNorm only, which both branches share",
        "Which entries does block.state_dict() lack?",
        changed(B, (f"        {B_NORM2}\n", ""), ("self.norm2(x)", "self.norm1(x)")),
        (61,), TRACKERS,
    ),
    Misconception(
        "norms-swapped",
        "norm2 stands before attention and norm1 before the feed-forward network",
        "Which of the two belongs to which branch, by the order of the block's parts?",
        block("x = x + self.dropout(self.attention(self.norm2(x)))\nreturn x + self.mlp(self.norm1(x))"),
        (61,), WRITING,
    ),
    Misconception(
        "no-norms",
        "the LayerNorms are made, but never called",
        "Which of the block's four parts get no gradient?",
        block("x = x + self.dropout(self.attention(x))\nreturn x + self.mlp(x)"),
        (61,), TRACKERS,
    ),
    Misconception(
        "no-first-norm",
        "attention reads the tokens as they are, without a LayerNorm before it",
        "Which of the block's four parts gets no gradient?",
        changed(B, ("self.attention(self.norm1(x))", "self.attention(x)")),
        (61,), TRACKERS,
    ),
    Misconception(
        "no-second-norm",
        "the feed-forward network reads the tokens as they are, without a LayerNorm before it",
        "Which of the block's four parts gets no gradient?",
        changed(B, ("self.mlp(self.norm2(x))", "self.mlp(x)")),
        (61,), TRACKERS,
    ),
    Misconception(
        "norm-over-the-tokens-too",
        "each sample is normalised over all its tokens and features together, not each token by itself",
        "Should a token's normalised value depend on the other tokens of its sample?",
        block("""def norm(layer, x):
    return F.layer_norm(x, x.shape[1:]) * layer.weight + layer.bias
x = x + self.dropout(self.attention(norm(self.norm1, x)))
return x + self.mlp(norm(self.norm2, x))"""),
        (61,), TRACKERS,
    ),
    Misconception(
        "norm-over-the-batch",
        "each feature is normalised over all samples and tokens, as BatchNorm does, not over the features of a token",
        "Would a sample get the same result if it came alone?",
        block("""def norm(layer, x):
    flat = F.batch_norm(x.flatten(0, 1), None, None, layer.weight, layer.bias, training=True)
    return flat.view(x.shape)
x = x + self.dropout(self.attention(norm(self.norm1, x)))
return x + self.mlp(norm(self.norm2, x))"""),
        (61,), TRACKERS,
    ),
    Misconception(
        "batch-norm",
        "BatchNorm1d layers stand where the LayerNorms should be, with running statistics of their own",
        "Over what does LayerNorm take its mean, and over what BatchNorm?",
        block("""x = x + self.dropout(self.attention(self.norm1(x.mT).mT))
return x + self.mlp(self.norm2(x.mT).mT)""",
              (B_NORM1, "self.norm1 = nn.BatchNorm1d(dim)"), (B_NORM2, "self.norm2 = nn.BatchNorm1d(dim)")),
        (61,), TRACKERS,
    ),
    Misconception(
        "root-mean-square-norm",
        "RMSNorm layers stand where the LayerNorms should be: they subtract no mean and have no bias",
        "Which entries does block.state_dict() lack?",
        changed(B, (B_NORM1, "self.norm1 = nn.RMSNorm(dim)"), (B_NORM2, "self.norm2 = nn.RMSNorm(dim)")),
        (61,), WRITING,
    ),
    Misconception(
        "norms-without-parameters",
        "the LayerNorms have no weight and no bias",
        "Which entries does block.state_dict() lack?",
        changed(B, (B_NORM1, "self.norm1 = nn.LayerNorm(dim, elementwise_affine=False)"),
                (B_NORM2, "self.norm2 = nn.LayerNorm(dim, elementwise_affine=False)")),
        (61,), WRITING,
    ),
    Misconception(
        "norm-with-the-corrected-deviation",
        "the LayerNorm is written by hand with std(), which divides by D - 1 where LayerNorm divides by D",
        "What does torch's std divide by, unless it is told otherwise?",
        block("""def norm(layer, x):
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) * layer.weight + layer.bias
x = x + self.dropout(self.attention(norm(self.norm1, x)))
return x + self.mlp(norm(self.norm2, x))"""),
        (61,), TRACKERS,
    ),
    Misconception(
        "mlp-before-attention",
        "the feed-forward network comes first and attention second, each with its LayerNorm",
        "Which of the two is equation 2 of the paper?",
        block("x = x + self.mlp(self.norm2(x))\nreturn x + self.dropout(self.attention(self.norm1(x)))"),
        (63,), TRACKERS,
    ),
    Misconception(
        "mlp-before-attention-norms-in-order",
        "the feed-forward network comes first, with norm1, and attention second, with norm2",
        "Which of the two is equation 2 of the paper?",
        block("x = x + self.mlp(self.norm1(x))\nreturn x + self.dropout(self.attention(self.norm2(x)))"),
        (63,), TRACKERS,
    ),
    Misconception(
        "activation-after-the-block",
        "a GELU follows at the end of the block",
        "What can later blocks do with tokens whose features are hardly ever negative?",
        changed(B, (B_SECOND, "return F.gelu(x + self.mlp(self.norm2(x)))")),
        (62,), WRITING,
    ),
    Misconception(
        "dropout-always-on",
        "dropout is active in eval mode, too: F.dropout does not know the module's mode unless it is told",
        "Does your block give the same result twice after block.eval()?",
        changed(B, (B_DROPOUT, "self.p = dropout"),
                ("self.dropout(self.attention(self.norm1(x)))", "F.dropout(self.attention(self.norm1(x)), self.p)")),
        (16, 66), TRACKERS,
    ),
    Misconception(
        "dropout-as-what-is-kept",
        "dropout is read as the share that is kept: nn.Dropout(1 - dropout)",
        "What should dropout=0.0 do to the numbers, and what does nn.Dropout(1.0) do to them?",
        changed(B, (B_DROPOUT, "self.dropout = nn.Dropout(1 - dropout)")),
        (66,), TRACKERS,
    ),
    Misconception(
        "dropout-fixed",
        "the probability of dropout is written into the class, whatever the argument says",
        "Where does the constructor's argument dropout go?",
        changed(B, (B_DROPOUT, "self.dropout = nn.Dropout(0.1)")),
        (), WRITING,
    ),
    Misconception(
        "dropout-ignored",
        "nothing is dropped in training, whatever the argument says: no part of the block gets the probability",
        "Where does the constructor's argument dropout go?",
        block("x = x + self.attention(self.norm1(x))\nreturn x + self.mlp(self.norm2(x))",
              (B_MLP, "FeedForward(dim, mlp_dim)")),
        (), WRITING,
    ),
    Misconception(
        "dropout-on-the-sums",
        "dropout is applied to the sums: it zeroes features of the tokens themselves, not only of a branch",
        "If both branches gave 0, would your block in training mode give the tokens back?",
        block("x = self.dropout(x + self.attention(self.norm1(x)))\nreturn self.dropout(x + self.mlp(self.norm2(x)))"),
        (66,), WRITING,
    ),
    Misconception(
        "head-dim-not-passed-on",
        "the argument head_dim is not passed on to attention, which then splits dim evenly",
        "Which of the constructor's arguments does attention need?",
        changed(B, (B_ATTENTION, "MultiHeadAttention(dim, num_heads, qkv_bias=qkv_bias)")),
        (), WRITING,
    ),
    Misconception(
        "qkv-bias-not-passed-on",
        "the argument qkv_bias is not passed on to attention, which then has biases always",
        "Which of the constructor's arguments does attention need?",
        changed(B, (B_ATTENTION, "MultiHeadAttention(dim, num_heads, head_dim)")),
        (), WRITING,
    ),
    Misconception(
        "attention-with-its-defaults",
        "attention gets dim and num_heads only; head_dim and qkv_bias are not passed on",
        "Which of the constructor's arguments does attention need?",
        changed(B, (B_ATTENTION, "MultiHeadAttention(dim, num_heads)")),
        (), WRITING,
    ),
    Misconception(
        "qkv-bias-in-the-place-of-head-dim",
        "attention's third argument is head_dim, and qkv_bias is passed in its place",
        "In which order does MultiHeadAttention take its arguments?",
        changed(B, (B_ATTENTION, "MultiHeadAttention(dim, num_heads, qkv_bias)")),
        (), WRITING,
    ),
    Misconception(
        "dropout-in-the-place-of-head-dim",
        "attention's third argument is head_dim, and dropout is passed in its place",
        "In which order does MultiHeadAttention take its arguments?",
        changed(B, (B_ATTENTION, "MultiHeadAttention(dim, num_heads, dropout)")),
        (), WRITING,
    ),
    Misconception(
        "hidden-width-four-times",
        "the feed-forward network's hidden layer is always four times as wide as a token, whatever mlp_dim says",
        "Where does the constructor's argument mlp_dim go?",
        changed(B, (B_MLP, "FeedForward(dim, 4 * dim, dropout)")),
        (), TRACKERS,
    ),
    Misconception(
        "attention-across-the-batch",
        "the first dimension is taken for the sequence, so that a token attends to the same place in other samples",
        "Does a sample's result change when another one of its batch does?",
        changed(B, ("self.attention(self.norm1(x))", "self.attention(self.norm1(x).transpose(0, 1)).transpose(0, 1)")),
        (25,), TRACKERS,
    ),
    Misconception(
        "torchs-own-attention",
        "attention is torch's nn.MultiheadAttention, whose weights have other names than the course's: a "
        "convention, not an error",
        "Which class does the docstring name for the part attention?",
        block("""n = self.norm1(x)
x = x + self.dropout(self.attention(n, n, n)[0])
return x + self.mlp(self.norm2(x))""",
              (B_ATTENTION, "nn.MultiheadAttention(num_heads * (head_dim or dim // num_heads), num_heads, "
                            "batch_first=True)")),
        (), WRITING,
    ),
    Misconception(
        "changes-its-input-in-place",
        "the tokens are changed in place (x += ...), which changes the caller's tensor and what gradients are made of",
        "What does the caller's tensor hold after the call, and what did norm1 keep for its gradient?",
        changed(B, (B_FIRST, "x += self.dropout(self.attention(self.norm1(x)))")),
        (67,), "ARENA",
    ),
    Misconception(
        "cut-from-the-graph",
        "the numbers are right, but the result is cut off from the tokens and the weights (detach, data, no_grad, or "
        "a new tensor), so that nothing can be learned through it",
        "What is the result's grad_fn?",
        changed(B, (B_SECOND, "return (x + self.mlp(self.norm2(x))).detach()")),
        (), WRITING,
    ),
)  # fmt: skip

BLOCK_INIT = """
class EncoderBlock(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, head_dim=None, dropout=0.0, qkv_bias=True):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, num_heads, head_dim=head_dim, qkv_bias=qkv_bias)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, mlp_dim, dropout)
        self.drop = nn.Dropout(dropout)
"""

BLOCK_OTHER = (
    Alternative("in the style of timm: each branch with dropout and a path of its own, eps 1e-6", '''
class EncoderBlock(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, head_dim=None, dropout=0.0, qkv_bias=True):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attention = MultiHeadAttention(dim, num_heads, head_dim, qkv_bias)
        self.ls1, self.drop_path1 = nn.Identity(), nn.Dropout(dropout)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim, mlp_dim, dropout)
        self.ls2, self.drop_path2 = nn.Identity(), nn.Dropout(dropout)

    def forward(self, x):
        x = x + self.drop_path1(self.ls1(self.attention(self.norm1(x))))
        x = x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))
        return x
'''),
    Alternative("in the style of torchvision: x and y, torch.add", '''
from functools import partial

class EncoderBlock(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, head_dim=None, dropout=0.0, qkv_bias=True):
        super().__init__()
        norm_layer = partial(nn.LayerNorm, eps=1e-6)
        self.norm1 = norm_layer(dim)
        self.attention = MultiHeadAttention(dim, num_heads, head_dim, qkv_bias)
        self.dropout = nn.Dropout(dropout)
        self.norm2 = norm_layer(dim)
        self.mlp = FeedForward(dim, mlp_dim, dropout)

    def forward(self, input):
        torch._assert(input.dim() == 3, "expected (B, T, D)")
        x = self.norm1(input)
        x = self.attention(x)
        x = self.dropout(x)
        x = torch.stack([x, input]).sum(dim=0)
        y = self.norm2(x)
        y = self.mlp(y)
        return torch.stack([x, y]).sum(dim=0)
'''),
    Alternative("in the style of vit-pytorch: residual and pre-norm as wrappers", BLOCK_INIT + '''
    def forward(self, x):
        def residual(function):
            return lambda x: torch.sub(x, function(x), alpha=-1)

        def normed(norm, function):
            return lambda x: function(norm(x))

        attend = normed(self.norm1, self.attention)
        for function in (lambda x: self.drop(attend(x)), normed(self.norm2, self.mlp)):
            x = residual(function)(x)
        return x
'''),
    Alternative("in the style of nanoGPT: an own LayerNorm, dropout in the mlp only", BLOCK_INIT + '''
    def forward(self, x):
        def norm(layer, x):
            mean = x.mean(dim=-1, keepdim=True)
            centred = x - mean
            variance = centred.pow(2).mean(dim=-1, keepdim=True)
            return centred * torch.rsqrt(variance + layer.eps) * layer.weight + layer.bias

        x = x + self.attention(norm(self.norm1, x))
        return x + self.mlp(norm(self.norm2, x))
'''),
    Alternative("the tokens are added to each branch in place", BLOCK_INIT + '''
    def forward(self, x):
        attended = self.drop(self.attention(self.norm1(x)))
        attended += x
        found = self.drop(self.mlp(self.norm2(attended)))
        found += attended
        return found
'''),
    Alternative("LayerNorm as a group norm with one group, eps 1e-6 in the first only", BLOCK_INIT + '''
    def forward(self, x):
        def norm(layer, eps):
            return F.group_norm(x.flatten(0, 1), 1, layer.weight, layer.bias, eps).view(x.shape)

        x = self.drop(self.attention(norm(self.norm1, 1e-6))) + x
        return self.mlp(norm(self.norm2, 1e-5)) + x
'''),
    Alternative("LayerNorm with var_mean, eps 1e-6 in the second only", BLOCK_INIT + '''
    def forward(self, x):
        def norm(layer, eps):
            variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
            return torch.addcmul(layer.bias, (x - mean) / (variance + eps).sqrt(), layer.weight)

        x = x + F.dropout(self.attention(norm(self.norm1, 1e-5)), self.drop.p, self.training)
        return x + F.dropout(self.mlp(norm(self.norm2, 1e-6)), self.drop.p, self.training)
'''),
    Alternative("one sample after the other", BLOCK_INIT + '''
    def forward(self, x):
        found = []
        for sample in x.split(1):
            sample = sample + self.drop(self.attention(self.norm1(sample)))
            found.append(sample + self.mlp(self.norm2(sample)))
        return torch.cat(found)
'''),
    Alternative("attention written out with the layers of its part, one product for all three", BLOCK_INIT + '''
    def forward(self, x):
        a = self.attention
        layers = (a.to_q, a.to_k, a.to_v)
        biases = [layer.bias for layer in layers]
        bias = None if biases[0] is None else torch.cat(biases)
        qkv = F.linear(self.norm1(x), torch.cat([layer.weight for layer in layers]), bias)
        q, k, v = (t.unflatten(-1, (a.num_heads, -1)).permute(0, 2, 1, 3) for t in qkv.chunk(3, dim=-1))
        weights = self.drop(torch.einsum("bhik,bhjk->bhij", q / q.shape[-1] ** 0.5, k).softmax(-1))
        mixed = torch.einsum("bhij,bhjk->bihk", weights, v).flatten(2)
        x = x + a.to_out(mixed)
        return x + self.mlp(self.norm2(x))
'''),
)  # fmt: skip

FIRST_EPS = (B_NORM1, "self.norm1 = nn.LayerNorm(dim, eps=1e-6)")
SECOND_EPS = (B_NORM2, "self.norm2 = nn.LayerNorm(dim, eps=1e-6)")
# Who leaves dropout to the feed-forward network has none when that one ignores it: the mistake counts there only.
MLP_DROPS = ("self.dropout(self.attention(self.norm1(x)))", "self.attention(self.norm1(x))")
BLOCK_CONVENTIONS = (
    Convention("eps-1e-6", "LayerNorms with eps 1e-6", (FIRST_EPS, SECOND_EPS)),
    Convention("first-eps-1e-6", "norm1 with eps 1e-6", (FIRST_EPS,)),
    Convention("second-eps-1e-6", "norm2 with eps 1e-6", (SECOND_EPS,)),
    Convention("mlp-drops", "dropout in the feed-forward network only", (MLP_DROPS,)),
    Convention("mlp-drops-eps-1e-6", "dropout in the feed-forward network only, LayerNorms with eps 1e-6",
               (MLP_DROPS, FIRST_EPS, SECOND_EPS)),
)  # fmt: skip

# --- VisionTransformer ---------------------------------------------------------------------------


def vit_weights(
    draw: Draw, grid: tuple[int, int], patch: int, channels: int, classes: int, dim: int, depth: int, inner: int,
    hidden: int, qkv_bias: bool = True,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Random values for everything in a Vision Transformer; large tokens, in which eps hardly shows."""
    values = {
        "embedding.cls_token": draw.normal(1, 1, dim, scale=4.0),
        "embedding.position": draw.normal(1, grid[0] * grid[1] + 1, dim, scale=4.0),
        "embedding.patches.proj.weight": draw.normal(dim, channels, patch, patch, scale=1 / patch),
        "embedding.patches.proj.bias": draw.normal(dim, scale=0.5),
    }
    for i in range(depth):
        values |= block_weights(draw, dim, inner, hidden, qkv_bias, f"blocks.{i}.")
    values |= norm_weights(draw, "norm", dim) | draw.weights({"head.weight": (classes, dim), "head.bias": (classes,)})
    values["head.bias"][:2] = torch.tensor([2.0, -2.0])  # some logits are negative and some are not
    return values


def vit_init(
    draw: Draw, grid: tuple[int, int], depth: int, own_width: bool = False, widest: int = 12
) -> tuple[tuple[Any, ...], int, int]:
    """Constructor arguments from image_size to mlp_dim, all unlike each other; the width of a head, and of all heads.

    With a head width of its own, dim still splits evenly, so that the width is not missed by an error alone.
    """
    tokens = (grid[0] * grid[1], grid[0] * grid[1] + 1)
    choices = [
        (h, k, h * k, dim)
        for h, k in SPLITS
        if h * k <= widest
        for dim in (range(2 * h, 13, h) if own_width else (h * k,))
        if own_width == (dim != h * k) and len({h, k, h * k, dim, *tokens}) == 5 + own_width
    ]
    heads, width, inner, dim = choices[draw.sizes(1, 0, len(choices) - 1)[0]]
    classes, hidden = draw.sizes(2, 4, 11, without=(heads, width, inner, dim, *tokens))
    patch, channels = draw.sizes(2, 2, 3)
    size = grid[0] * patch if grid[0] == grid[1] else (grid[0] * patch, grid[1] * patch)
    return (size, patch, channels, classes, dim, depth, heads, hidden), width, inner


def vit_images(draw: Draw, init: tuple[Any, ...], batch: int | None = None) -> torch.Tensor:
    """Images that fit the constructor arguments; their number is none of the other sizes."""
    size, patch, channels, classes, dim, depth = init[:6]
    height, width = (size, size) if isinstance(size, int) else size
    tokens = (height // patch) * (width // patch)
    batch = batch or draw.sizes(1, 2, 8, without=(channels, classes, dim, depth, tokens, tokens + 1))[0]
    return draw.normal(batch, channels, height, width, scale=3.0)


def uneven(draw: Draw) -> tuple[int, int]:
    """A grid of patches that is not square."""
    return ((2, 3), (3, 2), (2, 4), (4, 2))[draw.sizes(1, 0, 3)[0]]


def transformer_cases(draw: Draw) -> list[Case]:
    """Both pools, both kinds of image_size, each further argument given and left out, and dropout in both modes."""

    def case(
        name: str, grid: tuple[int, int], depth: int = 2, batch: int | None = None, own: bool = False, **options: object
    ) -> Case:
        init, width, inner = vit_init(draw, grid, depth, own, widest=8 if "gradients" in options else 12)
        _, patch, channels, classes, dim, _, _, hidden = init
        weights = vit_weights(draw, grid, patch, channels, classes, dim, depth, inner, hidden, qkv_bias=not own)
        images = vit_images(draw, init, batch)
        if own:  # by position, so that their order is asked, too
            init = (*init, width, 0.0, False, "cls")
        return Case(name, "VisionTransformer", (images,), init=init, weights=weights, **options)

    mean, half = {"pool": "mean"}, {"dropout": 0.5}
    (side,) = draw.sizes(1, 2, 3)
    return [
        case("the class token, square images, with gradients", (2, 2), gradients=True),
        case("the mean of the patch tokens, images that are not square", uneven(draw), init_kwargs=mean),
        case("head_dim given, no qkv_bias, three blocks", uneven(draw), 3, own=True, layout="channels_last"),
        case("dropout 0.5 in eval mode: nothing is dropped", uneven(draw), 1, init_kwargs=half),
        case("dropout 0.0 in training mode, one image alone: nothing is dropped", (side, side), 1, batch=1,
             init_kwargs={"dropout": 0.0} | mean, train=True),
        case("dropout 0.5 in training mode: two calls differ", uneven(draw), 1, init_kwargs=half, train=True,
             random=True),
    ]  # fmt: skip


V = CODE["VisionTransformer"]
V_EMBEDDING = "TokenEmbedding(image_size, patch_size, in_channels, dim)"
V_BLOCK = "EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout, qkv_bias)"
V_BLOCKS = f"""nn.ModuleList(
            [{V_BLOCK} for _ in range(depth)]
        )"""
V_HEAD = "self.head = nn.Linear(dim, num_classes)"
V_TOKENS = "x = self.dropout(self.embedding(images))  # (B, N+1, D)"
V_LOOP = """        for block in self.blocks:
            x = block(x)
"""
V_NORM = "        x = self.norm(x)\n"
V_POOL = 'x = x[:, 0] if self.pool == "cls" else x[:, 1:].mean(dim=1)  # (B, D)'
V_CLS, V_MEAN = 'x[:, 0] if', 'x[:, 1:].mean(dim=1)  # (B, D)'
V_DROPOUT = "self.dropout = nn.Dropout(dropout)"


VIT_WRONG = (
    Misconception(
        "first-sample-for-the-class-token",
        "x[0] takes the first sample of the batch with all its tokens, where the class token of every sample is meant",
        "Which dimension of (B, N+1, D) does an index select when it stands first?",
        changed(V, (V_CLS, "x[0] if")),
        (68,), TRACKERS,
    ),
    Misconception(
        "last-token",
        "the head reads the last token, which is a patch, instead of the class token",
        "At which place did the embedding put the class token?",
        changed(V, (V_CLS, "x[:, -1] if")),
        (69,), TRACKERS,
    ),
    Misconception(
        "first-patch",
        "the head reads the token at place 1, the first patch, instead of the class token",
        "At which place did the embedding put the class token?",
        changed(V, (V_CLS, "x[:, 1] if")),
        (69,), TRACKERS,
    ),
    Misconception(
        "mean-with-the-class-token",
        "the mean runs over all tokens, the class token among them",
        "Of which tokens should pool=\"mean\" take the mean, and how many are they?",
        changed(V, (V_MEAN, "x.mean(dim=1)  # (B, D)")),
        (69,), TRACKERS,
    ),
    Misconception(
        "mean-without-the-last-patch",
        "the mean leaves out the last token instead of the first, so that it holds the class token and lacks a patch",
        "At which place did the embedding put the class token?",
        changed(V, (V_MEAN, "x[:, :-1].mean(dim=1)  # (B, D)")),
        (69,), WRITING,
    ),
    Misconception(
        "pool-ignored",
        "the head reads the class token always, whatever pool says",
        "What is different in your model when it is made with pool=\"mean\"?",
        changed(V, (V_POOL, "x = x[:, 0]")),
        (69,), WRITING,
    ),
    Misconception(
        "mean-always",
        "the head reads the mean of the patch tokens always, whatever pool says",
        "What is different in your model when it is made with pool=\"cls\"?",
        changed(V, (V_POOL, "x = x[:, 1:].mean(dim=1)")),
        (69,), TRACKERS,
    ),
    Misconception(
        "mean-over-everything-always",
        "the head reads the mean of all tokens always, the class token among them, whatever pool says",
        "Why was a class token put in front of the patches if it is treated as one of them?",
        changed(V, (V_POOL, "x = x.mean(dim=1)")),
        (69,), REPORTS,
    ),
    Misconception(
        "pools-swapped",
        "the two pools have changed places: \"cls\" gives the mean of the patches and \"mean\" the class token",
        "Which branch does your condition take for pool=\"cls\"?",
        changed(V, ('self.pool == "cls"', 'self.pool != "cls"')),
        (69,), WRITING,
    ),
    Misconception(
        "largest-instead-of-mean",
        "each feature's largest value over the patches goes to the head instead of the mean",
        "Which word does the argument pool hold?",
        changed(V, (V_MEAN, "x[:, 1:].amax(dim=1)  # (B, D)")),
        (69,), TRACKERS,
    ),
    Misconception(
        "sum-instead-of-mean",
        "the patch tokens are added up and not divided by their number",
        "How do your logits grow with the number of patches?",
        changed(V, (V_MEAN, "x[:, 1:].sum(dim=1)  # (B, D)")),
        (69,), WRITING,
    ),
    Misconception(
        "flattened-tokens",
        "the head reads all tokens flattened into one vector, so that its size depends on the image",
        "How many features should the head read, and from how many tokens?",
        changed(V, (V_HEAD, "self.head = nn.Linear(self.embedding.position.shape[1] * dim, num_classes)"),
                (V_POOL, "x = x.flatten(1)")),
        (69,), REPORTS,
    ),
    Misconception(
        "mean-over-the-features",
        "the mean runs over the features instead of the tokens",
        "What are the three dimensions of the tokens, and which one should vanish?",
        changed(V, (V_MEAN, "x[:, 1:].mean(dim=-1)  # (B, D)")),
        (74,), TRACKERS,
    ),
    Misconception(
        "mean-over-the-batch",
        "the mean runs over the first dimension, the samples of the batch",
        "What are the three dimensions of the tokens, and which one should vanish?",
        changed(V, (V_MEAN, "x[:, 1:].mean(dim=0)  # (B, D)")),
        (74,), WRITING,
    ),
    Misconception(
        "token-dimension-kept",
        "the class token is cut out as x[:, 0:1], which keeps a dimension of size 1",
        "What is the shape of x[:, 0:1], and what is that of x[:, 0]?",
        changed(V, (V_CLS, "x[:, 0:1] if")),
        (73,), TRACKERS,
    ),
    Misconception(
        "mean-keeps-the-token-dimension",
        "the mean is taken with keepdim=True, which keeps a dimension of size 1",
        "Which shape should the logits have?",
        changed(V, (V_MEAN, "x[:, 1:].mean(dim=1, keepdim=True)  # (B, D)")),
        (73,), WRITING,
    ),
    Misconception(
        "logits-of-all-tokens",
        "the head is applied to every token and nothing is selected",
        "How many rows of logits should one image get?",
        changed(V, (f"        {V_POOL}\n", "")),
        (69,), WRITING,
    ),
    Misconception(
        "squeezed",
        "squeeze() removes the batch dimension, too, when there is one image only",
        "What is the shape of your logits for a single image?",
        changed(V, ("return self.head(x)", "return self.head(x).squeeze()")),
        (), WRITING,
    ),
    Misconception(
        "no-final-norm",
        "the last LayerNorm is missing between the blocks and the head, or its result is not used",
        "Which of the model's four parts gets no gradient?",
        changed(V, (V_NORM, "")),
        (70,), TRACKERS,
    ),
    Misconception(
        "norm-after-the-mean",
        "the mean is taken first and normalised then, where equation 4 normalises each token first",
        "Does the mean of normalised tokens equal the normalised mean?",
        changed(V, (V_NORM, ""), ("return self.head(x)", "return self.head(self.norm(x))")),
        (70,), "lucidrains/vit-pytorch issue 274",
    ),
    Misconception(
        "norm-before-the-blocks",
        "the LayerNorm stands between the embedding and the blocks instead of after them",
        "Which equation of the paper holds the last LayerNorm, and what does it normalise?",
        changed(V, (V_NORM, ""), (V_LOOP, V_NORM + V_LOOP)),
        (70,), TRACKERS,
    ),
    Misconception(
        "norm-inside-the-loop",
        "the last LayerNorm is applied after every block, not once at the end",
        "How often is norm called in one forward pass?",
        changed(V, (V_NORM, ""), ("x = block(x)", "x = self.norm(block(x))")),
        (70,), WRITING,
    ),
    Misconception(
        "norm-over-the-logits",
        "the LayerNorm stands after the head and normalises the logits",
        "How many features does norm have by the docstring, and how many do the logits have?",
        changed(V, ("self.norm = nn.LayerNorm(dim)", "self.norm = nn.LayerNorm(num_classes)"), (V_NORM, ""),
                ("return self.head(x)", "return self.norm(self.head(x))")),
        (70,), WRITING,
    ),
    Misconception(
        "softmax-in-the-head",
        "the result went through a softmax: it holds probabilities, where logits are asked",
        "What do your rows sum to, and what will cross_entropy do with them?",
        changed(V, ("return self.head(x)", "return self.head(x).softmax(dim=-1)")),
        (71,), TRACKERS,
    ),
    Misconception(
        "log-softmax-in-the-head",
        "the result went through a log-softmax, where logits are asked",
        "What do the exponentials of your rows sum to, and what will cross_entropy do with them?",
        changed(V, ("return self.head(x)", "return self.head(x).log_softmax(dim=-1)")),
        (71,), TRACKERS,
    ),
    Misconception(
        "sigmoid-on-the-logits",
        "the result went through a sigmoid, where logits are asked",
        "Between which numbers do all your results lie?",
        changed(V, ("return self.head(x)", "return self.head(x).sigmoid()")),
        (71,), WRITING,
    ),
    Misconception(
        "relu-on-the-logits",
        "a ReLU follows the head, so that no logit is negative",
        "What gradient does a class get whose logit was cut off at 0?",
        changed(V, ("return self.head(x)", "return F.relu(self.head(x))")),
        (72,), TRACKERS,
    ),
    Misconception(
        "class-instead-of-logits",
        "the number of the largest logit is returned, where the logits are asked",
        "What can a loss learn from a class number?",
        changed(V, ("return self.head(x)", "return self.head(x).argmax(dim=-1)")),
        (), WRITING,
    ),
    Misconception(
        "head-with-a-hidden-layer",
        "the head is a small network with a hidden layer instead of one linear layer",
        "Which entries of state_dict() begin with head, and which should they be?",
        changed(V, (V_HEAD, "self.head = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, num_classes))")),
        (), TRACKERS,
    ),
    Misconception(
        "head-without-bias",
        "the head has no bias",
        "Which entries does state_dict() lack?",
        changed(V, (V_HEAD, "self.head = nn.Linear(dim, num_classes, bias=False)")),
        (), WRITING,
    ),
    Misconception(
        "one-block-many-times",
        "[block] * depth puts the same block into the list depth times, so that all layers share their weights",
        "Of how many blocks does list(model.parameters()) hold parameters?",
        changed(V, (f"[{V_BLOCK} for _ in range(depth)]", f"[{V_BLOCK}] * depth")),
        (64,), TRACKERS,
    ),
    Misconception(
        "one-block-called-again-and-again",
        "there is one block, and it is called depth times",
        "Which entries does state_dict() lack?",
        changed(V, (f"[{V_BLOCK} for _ in range(depth)]", f"[{V_BLOCK}]"),
                (V_LOOP, "        for _ in range(self.depth):\n            x = self.blocks[0](x)\n"),
                ("self.pool = pool", "self.pool, self.depth = pool, depth")),
        (64,), TRACKERS,
    ),
    Misconception(
        "one-block-only",
        "there is one block, whatever depth says",
        "Where does the constructor's argument depth go?",
        changed(V, (f"[{V_BLOCK} for _ in range(depth)]", f"[{V_BLOCK}]")),
        (64,), WRITING,
    ),
    Misconception(
        "one-block-too-few",
        "there is one block less than depth says",
        "How many numbers does your range give for depth=2?",
        changed(V, ("range(depth)", "range(1, depth)")),
        (), WRITING,
    ),
    Misconception(
        "depth-fixed",
        "the number of blocks is written into the class (here four), whatever depth says",
        "Where does the constructor's argument depth go?",
        changed(V, ("range(depth)", "range(4)")),
        (), WRITING,
    ),
    Misconception(
        "blocks-in-a-plain-list",
        "the blocks stand in a plain Python list, so that torch does not know their parameters: no optimizer trains "
        "them, no state_dict saves them",
        "How many parameters does list(model.parameters()) show, and what must a module's children be kept in?",
        # Such blocks do not follow model.double() either; here they do, so that float64 can ask them.
        changed(V, (V_BLOCKS, f"[{V_BLOCK} for _ in range(depth)]"),
                ("    def forward(self,", """    def _apply(self, *args, **kwargs):
        for block in self.blocks:
            block._apply(*args, **kwargs)
        return super()._apply(*args, **kwargs)

    def forward(self,""")),
        (30,), TRACKERS,
    ),
    Misconception(
        "every-block-reads-the-embedding",
        "every block gets what the embedding gave, not what the block before it gave, so that only the last one counts",
        "Would your result change if all blocks but the last were taken out?",
        changed(V, (V_LOOP, "        tokens = x\n        for block in self.blocks:\n            x = block(tokens)\n")),
        (65,), TRACKERS,
    ),
    Misconception(
        "first-block-only",
        "the loop ends after the first block",
        "Would your result change if all blocks but the first were taken out?",
        changed(V, (V_LOOP, V_LOOP + "            break\n")),
        (65,), WRITING,
    ),
    Misconception(
        "last-block-skipped",
        "the loop leaves out the last block",
        "Which blocks of your model get no gradient?",
        changed(V, ("for block in self.blocks:", "for block in self.blocks[:-1]:")),
        (65,), WRITING,
    ),
    Misconception(
        "blocks-thrown-away",
        "the blocks are called, but their result is not used: the head reads the embedding",
        "What does block(x) return, and where does it go?",
        changed(V, ("x = block(x)", "block(x)")),
        (65,), WRITING,
    ),
    Misconception(
        "blocks-in-reverse",
        "the blocks are called from the last to the first",
        "Which block should see the embedding's tokens?",
        changed(V, ("for block in self.blocks:", "for block in reversed(self.blocks):")),
        (), WRITING,
    ),
    Misconception(
        "residual-around-the-blocks",
        "what goes into a block is added to what comes out, which the block itself does already",
        "How many sums does a block hold by equations 2 and 3, and where are they?",
        changed(V, ("x = block(x)", "x = x + block(x)")),
        (), WRITING,
    ),
    Misconception(
        "positions-in-every-block",
        "the positions are added again before every block, where they belong to the embedding alone",
        "How often is position added in one forward pass?",
        changed(V, ("x = block(x)", "x = block(x + self.embedding.position)")),
        (53,), TRACKERS,
    ),
    Misconception(
        "positions-twice",
        "the positions are added once more after the embedding, which has added them already",
        "What does the forward of TokenEmbedding return?",
        changed(V, (V_TOKENS, f"{V_TOKENS}\n        x = x + self.embedding.position")),
        (53,), WRITING,
    ),
    Misconception(
        "class-token-dropped-before-the-blocks",
        "the class token is cut off before the blocks, so that it gathers nothing and place 0 is a patch",
        "How many tokens go through your blocks?",
        changed(V, (V_LOOP, "        x = x[:, 1:]\n" + V_LOOP)),
        (48, 69), WRITING,
    ),
    Misconception(
        "class-token-twice",
        "a second class token of the model's own is put in front, where the embedding has one already",
        "Which shape does the embedding's result have, and what stands at place 0?",
        changed(V, (V_HEAD, f"{V_HEAD}\n        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))"),
                (V_LOOP, "        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)\n" + V_LOOP)),
        (), WRITING,
    ),
    Misconception(
        "patch-embedding-alone",
        "the embedding makes patches only: there is no class token, and there are no positions",
        "Which class does the docstring name for the part embedding?",
        changed(V, (V_EMBEDDING, "ConvPatchEmbedding(patch_size, in_channels, dim)")),
        (48, 52), WRITING,
    ),
    Misconception(
        "attention-across-the-batch",
        "the tokens go through the blocks as (N+1, B, D), so that a token attends to other samples instead of the "
        "other tokens of its own",
        "Does an image's result change when another one of its batch does?",
        changed(V, (V_LOOP, "        x = x.transpose(0, 1)\n" + V_LOOP + "        x = x.transpose(0, 1)\n")),
        (25,), TRACKERS,
    ),
    Misconception(
        "height-for-both-sides",
        "image_size is taken for a square: the first of its two sides counts for both",
        "How many patches has an image of 8 x 12 pixels in your model?",
        changed(V, (V_EMBEDDING, "TokenEmbedding(image_size if isinstance(image_size, int) else image_size[0], "
                                 "patch_size, in_channels, dim)")),
        (45,), WRITING,
    ),
    Misconception(
        "image-size-always-a-pair",
        "image_size is taken apart as a pair, which fails for an int",
        "Which two kinds of image_size does the docstring name, and which of them does TokenEmbedding understand?",
        changed(V, (V_EMBEDDING, "TokenEmbedding((image_size[0], image_size[1]), patch_size, in_channels, dim)")),
        (), WRITING,
    ),
    Misconception(
        "patch-size-and-channels-swapped",
        "in_channels and patch_size have changed places in the call of TokenEmbedding",
        "In which order does TokenEmbedding take its arguments?",
        changed(V, (V_EMBEDDING, "TokenEmbedding(image_size, in_channels, patch_size, dim)")),
        (), WRITING,
    ),
    Misconception(
        "heads-and-mlp-dim-swapped",
        "num_heads and mlp_dim have changed places in the call of EncoderBlock",
        "In which order does EncoderBlock take its arguments?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, mlp_dim, num_heads, head_dim, dropout, qkv_bias)")),
        (), WRITING,
    ),
    Misconception(
        "head-dim-not-passed-on",
        "the argument head_dim is not passed on to the blocks, which then split dim evenly",
        "Which of the constructor's arguments do the blocks need?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, num_heads, mlp_dim, dropout=dropout, qkv_bias=qkv_bias)")),
        (), WRITING,
    ),
    Misconception(
        "qkv-bias-not-passed-on",
        "the argument qkv_bias is not passed on to the blocks, which then have biases always",
        "Which of the constructor's arguments do the blocks need?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout)")),
        (), WRITING,
    ),
    Misconception(
        "blocks-with-their-defaults",
        "the blocks get dim, num_heads, mlp_dim, and dropout only; head_dim and qkv_bias are not passed on",
        "Which of the constructor's arguments do the blocks need?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, num_heads, mlp_dim, dropout=dropout)")),
        (), WRITING,
    ),
    Misconception(
        "dropout-in-the-place-of-head-dim",
        "the blocks' fourth argument is head_dim, and dropout is passed in its place",
        "In which order does EncoderBlock take its arguments?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, num_heads, mlp_dim, dropout)")),
        (), WRITING,
    ),
    Misconception(
        "dropout-ignored",
        "nothing is dropped in training, whatever the argument says: neither the blocks nor the embedding's tokens "
        "get the probability",
        "Where does the constructor's argument dropout go?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, num_heads, mlp_dim, head_dim, qkv_bias=qkv_bias)"),
                (V_TOKENS, "x = self.embedding(images)")),
        (), WRITING,
    ),
    Misconception(
        "dropout-always-on",
        "dropout is active in eval mode, too: F.dropout does not know the module's mode unless it is told",
        "Does your model give the same result twice after model.eval()?",
        changed(V, (V_DROPOUT, "self.p = dropout"), (V_TOKENS, "x = F.dropout(self.embedding(images), self.p)")),
        (16, 66), TRACKERS,
    ),
    Misconception(
        "dropout-as-what-is-kept",
        "dropout is read as the share that is kept: nn.Dropout(1 - dropout)",
        "What should dropout=0.0 do to the numbers, and what does nn.Dropout(1.0) do to them?",
        changed(V, (V_DROPOUT, "self.dropout = nn.Dropout(1 - dropout)")),
        (66,), TRACKERS,
    ),
    Misconception(
        "dropout-fixed",
        "the probability of dropout is written into the class, whatever the argument says",
        "Where does the constructor's argument dropout go?",
        changed(V, (V_DROPOUT, "self.dropout = nn.Dropout(0.1)")),
        (), WRITING,
    ),
    Misconception(
        "cut-from-the-graph",
        "the numbers are right, but the result is cut off from the images and the weights (detach, data, no_grad, or "
        "a new tensor), so that nothing can be learned through it",
        "What is the result's grad_fn?",
        changed(V, ("return self.head(x)", "return self.head(x).detach()")),
        (), WRITING,
    ),
    Misconception(
        "head-alone-learns",
        "the head's input is cut off from the graph (detach, data, or no_grad around the blocks), so that the head "
        "alone can learn",
        "Which parameters have a gradient after loss.backward()?",
        changed(V, ("return self.head(x)", "return self.head(x.detach())")),
        (), WRITING,
    ),
)  # fmt: skip

VIT_SIGNATURE = """
class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, num_classes, dim, depth, num_heads, mlp_dim,
                 head_dim=None, dropout=0.0, qkv_bias=True, pool="cls"):
        super().__init__()
        self.pool = pool
        self.embedding = TokenEmbedding(image_size, patch_size, in_channels, dim)
"""
VIT_INIT = VIT_SIGNATURE + """        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout, qkv_bias))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
"""

VIT_OTHER = (
    Alternative("in the style of timm: blocks in a Sequential, eps 1e-6, dropout before the head", VIT_SIGNATURE + '''
        self.pos_drop = nn.Dropout(p=dropout)
        self.blocks = nn.Sequential(*[
            EncoderBlock(dim, num_heads, mlp_dim, head_dim=head_dim, dropout=dropout, qkv_bias=qkv_bias)
            for i in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head_drop = nn.Dropout(dropout)
        self.head = nn.Linear(dim, num_classes) if num_classes > 0 else nn.Identity()

    def forward_features(self, x):
        x = self.embedding(x)
        x = self.pos_drop(x)
        x = self.blocks(x)
        return self.norm(x)

    def forward_head(self, x):
        x = x[:, 1:].mean(dim=1) if self.pool == "mean" else x[:, 0]
        return self.head(self.head_drop(x))

    def forward(self, x):
        return self.forward_head(self.forward_features(x))
'''),
    Alternative("in the style of torchvision: an encoder of named layers, a split", VIT_SIGNATURE + '''
        from collections import OrderedDict
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(OrderedDict(
            (str(i), EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout, qkv_bias)) for i in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x):
        torch._assert(x.dim() == 4, "expected (B, C, H, W)")
        x = self.norm(self.blocks(self.dropout(self.embedding(x))))
        cls, patches = x.split([1, x.shape[1] - 1], dim=1)
        if self.pool == "cls":
            return self.head(cls.squeeze(1))
        return self.head(patches.mean(1))
'''),
    Alternative("in the style of vit-pytorch: einops unpacks the class token, the norm follows", VIT_INIT + '''
    def forward(self, img):
        from einops import unpack
        x = self.drop(self.embedding(img))
        for block in self.blocks:
            x = block(x)
        cls, patches = unpack(x, [[], [x.shape[1] - 1]], "b * d")
        return self.head(self.norm(patches).mean(dim=1) if self.pool == "mean" else self.norm(cls))
'''),
    Alternative("the head on all tokens, then the pool, by a mask", VIT_INIT + '''
    def forward(self, images):
        from functools import reduce
        x = reduce(lambda x, block: block(x), self.blocks, self.embedding(images))
        logits = self.head(self.norm(x))
        is_class_token = torch.arange(x.shape[1], device=x.device) == 0
        return logits[:, is_class_token if self.pool == "cls" else ~is_class_token].mean(dim=1)
'''),
    Alternative("pooling as a weighted sum of the tokens, einsum", VIT_INIT + '''
    def forward(self, images):
        x = self.embedding(images)
        for i in range(len(self.blocks)):
            x = self.blocks[i](x)
        x = self.norm(x)
        share = torch.zeros(x.shape[1], dtype=x.dtype, device=x.device)
        if self.pool == "cls":
            share[0] = 1
        else:
            share[1:] = 1 / (x.shape[1] - 1)
        return torch.einsum("n,bnd,cd->bc", share, x, self.head.weight) + self.head.bias
'''),
    Alternative("index_select, products with the head's weights", VIT_INIT + '''
    def forward(self, images):
        x = self.drop(self.embedding(images))
        for block in self.blocks.children():
            x = block(x)
        last = 1 if self.pool == "cls" else x.shape[1]
        places = torch.arange(0 if last == 1 else 1, last, device=x.device)
        x = F.layer_norm(x.index_select(1, places), self.norm.normalized_shape, self.norm.weight, self.norm.bias)
        return torch.addmm(self.head.bias, x.mean(dim=1), self.head.weight.T)
'''),
    Alternative("one image after the other", VIT_INIT + '''
    def forward(self, images):
        logits = []
        for image in images:
            x = self.drop(self.embedding(image[None]))
            for block in self.blocks:
                x = block(x)
            x = self.norm(x)[0]
            logits.append(self.head(x[0] if self.pool == "cls" else torch.mean(x[1:], 0)))
        return torch.stack(logits)
'''),
    Alternative("tokens unbound, the mean added up by hand, blocks copied with deepcopy", VIT_SIGNATURE + '''
        import copy
        block = EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout, qkv_bias)
        self.blocks = nn.ModuleList(copy.deepcopy(block) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, images):
        x = self.embedding(images)
        for block in self.blocks:
            x = block(x)
        cls, *patches = self.norm(x).unbind(1)
        return self.head(cls if self.pool == "cls" else sum(patches) / len(patches))
'''),
)  # fmt: skip

LAST_EPS = ("self.norm = nn.LayerNorm(dim)", "self.norm = nn.LayerNorm(dim, eps=1e-6)")
BLOCKS_DROP = (V_TOKENS, "x = self.embedding(images)")
VIT_CONVENTIONS = (
    Convention("eps-1e-6", "the last LayerNorm with eps 1e-6", (LAST_EPS,)),
    Convention("blocks-drop", "dropout in the blocks only", (BLOCKS_DROP,)),
    Convention("blocks-drop-eps-1e-6", "dropout in the blocks only, the last LayerNorm with eps 1e-6",
               (BLOCKS_DROP, LAST_EPS)),
)  # fmt: skip

# --- parameter_counts ----------------------------------------------------------------------------

REPORT = {  # the lab report's model: 28 x 28 pixels, one channel, six classes
    "image_size": 28, "patch_size": 4, "in_channels": 1, "num_classes": 6, "dim": 192, "depth": 10, "num_heads": 8,
    "mlp_dim": 384, "head_dim": 64, "qkv_bias": False,
}  # fmt: skip
VIT_B_16 = {
    "image_size": 224, "patch_size": 16, "in_channels": 3, "num_classes": 1000, "dim": 768, "depth": 12,
    "num_heads": 12, "mlp_dim": 3072,
}  # fmt: skip


def count_cases(draw: Draw) -> list[Case]:
    """Small models whose parameters are easily miscounted, formulas with drawn sizes, and two published ones."""
    a, b, c, d = draw.sizes(4, 2, 9)
    plain = (("conv", "Conv2d", (a, b, c)), ("act", "GELU", ()), ("norm", "LayerNorm", (d,)), ("fc", "Linear", (d, a)))
    a, b, c = draw.sizes(3, 2, 9)
    batch_norm = (("first", "Linear", (a, b)), ("norm", "BatchNorm1d", (b,)), ("head", "Linear", (b, c)))
    a, b = draw.sizes(2, 2, 9)
    tied = (("first", "Linear", (a, a)), ("act", "Tanh", ()), ("again", "same", ("first",)), ("head", "Linear", (a, b)))
    a, b, c = draw.sizes(3, 2, 9)
    a, c = sorted((a, c))  # so that what is frozen and what is not are never equally many
    frozen = (("body", "Linear", (a, b)), ("norm", "LayerNorm", (b,)), ("head", "Linear", (b, c)))
    count, cold = "count_parameters", {"model": frozen, "frozen": ("body", "norm.bias")}
    cases = [
        Case("layers of several kinds", count, model=plain, any_dtype=True),
        Case("a model with buffers", count, model=batch_norm, any_dtype=True),
        Case("a layer that is used twice", count, model=tied, any_dtype=True),
        Case("half of it frozen, all counted", count, any_dtype=True, **cold),
        Case("half of it frozen, the rest counted", count, kwargs={"trainable_only": True}, any_dtype=True, **cold),
    ]

    def counts(name: str, grid: tuple[int, int], own: bool, **options: object) -> Case:
        depth = draw.sizes(1, 2, 5)[0]
        init, width, _ = vit_init(draw, grid, depth, own)
        if own:
            options["head_dim"] = width
        return Case(name, "vit_parameters", init, options, any_dtype=True)

    (side,) = draw.sizes(1, 2, 5)
    return [
        *cases,
        counts("the formula, head_dim left out", (side, side), own=False),
        counts("the formula, head_dim given, image not square", uneven(draw), own=True),
        counts("the formula, no qkv_bias", uneven(draw), own=True, qkv_bias=False),
        Case("the lab report's model", "vit_parameters", kwargs=REPORT, any_dtype=True),
        Case("ViT-B/16", "vit_parameters", kwargs=VIT_B_16, any_dtype=True),
    ]


N = CODE["parameter_counts"]
N_COUNT = "sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)"
N_SIDES = "H, W = (image_size, image_size) if isinstance(image_size, int) else image_size"
N_TOKENS = "tokens = (H // patch_size) * (W // patch_size) + 1"
N_INNER = "inner = num_heads * (head_dim or dim // num_heads)"
N_EMBEDDING = "embedding = (in_channels * patch_size**2 + 1) * dim + dim + tokens * dim"
N_ATTENTION = "attention = 3 * (dim + qkv_bias) * inner + (inner + 1) * dim"
N_MLP = "mlp = (dim + 1) * mlp_dim + (mlp_dim + 1) * dim"
N_SUM = "embedding + depth * (attention + mlp + 4 * dim) + 2 * dim + (dim + 1) * num_classes"


def counted(expression: str) -> str:
    """The cell with another body of count_parameters."""
    return changed(N, (N_COUNT, expression))


def formula(**lines: str) -> str:
    """The cell with lines of vit_parameters replaced; `sum` is what it returns."""
    known = {
        "sides": N_SIDES, "tokens": N_TOKENS, "inner": N_INNER, "embedding": N_EMBEDDING, "attention": N_ATTENTION,
        "mlp": N_MLP, "sum": N_SUM,
    }  # fmt: skip
    return changed(N, *((known[name], line) for name, line in lines.items()))


COUNT_WRONG = (
    Misconception(
        "tensors-counted",
        "count_parameters counts the tensors, not the numbers in them",
        "How many numbers does a weight of shape (3, 5) hold?",
        counted("len([p for p in model.parameters() if p.requires_grad or not trainable_only])"),
        (75,), TRACKERS,
    ),
    Misconception(
        "first-sizes-added",
        "count_parameters adds up the first size of each tensor, p.size(0) or len(p), not the number of its entries",
        "How many numbers does a weight of shape (3, 5) hold?",
        counted("sum(p.size(0) for p in model.parameters() if p.requires_grad or not trainable_only)"),
        (76,), TRACKERS,
    ),
    Misconception(
        "buffers-too",
        "count_parameters counts the buffers, too, such as BatchNorm's running statistics",
        "Which tensors of a model does the optimizer change?",
        counted(N_COUNT + " + sum(b.numel() for b in model.buffers())"),
        (76,), TRACKERS,
    ),
    Misconception(
        "state-dict-counted",
        "count_parameters goes through the state_dict: that holds buffers and lists a shared layer twice, and its "
        "tensors have forgotten requires_grad",
        "What does state_dict() hold that parameters() does not, and what is requires_grad of its tensors?",
        counted("sum(t.numel() for t in model.state_dict().values() if t.requires_grad or not trainable_only)"),
        (76, 78), TRACKERS,
    ),
    Misconception(
        "state-dict-all-counted",
        "count_parameters adds up all of the state_dict: that holds buffers and lists a shared layer twice; "
        "trainable_only has no effect",
        "What does state_dict() hold that parameters() does not?",
        counted("sum(t.numel() for t in model.state_dict().values())"),
        (76, 77, 78), TRACKERS,
    ),
    Misconception(
        "trainable-only-ignored",
        "count_parameters counts frozen parameters always, whatever trainable_only says",
        "Which attribute of a parameter tells whether it is frozen, and where do you read it?",
        counted("sum(p.numel() for p in model.parameters())"),
        (77,), TRACKERS,
    ),
    Misconception(
        "trainable-only-always",
        "count_parameters leaves out frozen parameters always, whatever trainable_only says",
        "What should be counted when trainable_only is left out?",
        counted("sum(p.numel() for p in model.parameters() if p.requires_grad)"),
        (77,), TRACKERS,
    ),
    Misconception(
        "trainable-only-inverted",
        "with trainable_only=True count_parameters counts the frozen parameters and leaves out the others",
        "For which value of requires_grad does a parameter learn?",
        counted("sum(p.numel() for p in model.parameters() if not (p.requires_grad and trainable_only))"),
        (77,), WRITING,
    ),
    Misconception(
        "trainable-only-swapped",
        "count_parameters takes trainable_only the wrong way round: True counts everything, False only what learns",
        "Which of the two values leaves parameters out?",
        counted("sum(p.numel() for p in model.parameters() if p.requires_grad or trainable_only)"),
        (77,), WRITING,
    ),
    Misconception(
        "shared-counted-twice",
        "count_parameters counts a layer that is used in two places twice",
        "How many tensors does the optimizer get for a layer that is used twice?",
        counted("sum(p.numel() for _, p in model.named_parameters(remove_duplicate=False)\n"
                "               if p.requires_grad or not trainable_only)"),
        (78,), TRACKERS,
    ),
    Misconception(
        "matrices-only",
        "count_parameters counts weight matrices only and leaves out tensors of one dimension: biases and norms",
        "How many parameters has nn.Linear(3, 5)?",
        counted("sum(p.numel() for p in model.parameters()\n"
                "               if p.dim() > 1 and (p.requires_grad or not trainable_only))"),
        (), WRITING,
    ),
    Misconception(
        "linear-layers-only",
        "count_parameters counts the linear layers and leaves out all other kinds of layers",
        "Which kinds of layers besides nn.Linear have parameters?",
        counted("sum(p.numel() for m in model.modules() if isinstance(m, nn.Linear) for p in m.parameters()\n"
                "               if p.requires_grad or not trainable_only)"),
        (), WRITING,
    ),
    Misconception(
        "bytes-counted",
        "count_parameters gives the bytes that the parameters take, not how many they are",
        "How many bytes does one number take, and how many numbers are there?",
        counted(N_COUNT.replace("numel()", "numel() * p.element_size()")),
        (), WRITING,
    ),
    Misconception(
        "row-of-dim-missing",
        "vit_parameters lacks D numbers: the class token, its row of positions, or the bias of the patch projection",
        "Build a small model and list its named_parameters: which one of D numbers has your formula not got?",
        formula(embedding=N_EMBEDDING.replace("+ dim + tokens", "+ tokens")),
        (79,), TRACKERS,
    ),
    Misconception(
        "row-of-dim-too-many",
        "vit_parameters counts D numbers too many: a class token, a position, or a bias twice",
        "How many tokens are there, how many positions, and how many class tokens?",
        formula(embedding=N_EMBEDDING.replace("+ dim + tokens", "+ 2 * dim + tokens")),
        (79,), WRITING,
    ),
    Misconception(
        "two-rows-of-dim-missing",
        "vit_parameters lacks 2 D numbers: the last LayerNorm, or the class token together with its row of positions",
        "What comes after the last block, what does the class token add, and what has your formula got of it?",
        formula(sum=N_SUM.replace(" + 2 * dim", "")),
        (79,), TRACKERS,
    ),
    Misconception(
        "three-rows-of-dim-missing",
        "vit_parameters lacks 3 D numbers: class token, its row of positions, and the bias of the patch projection, or "
        "one of these and the last LayerNorm",
        "Build a small model and list its named_parameters: which of them has your formula not got?",
        formula(embedding="embedding = in_channels * patch_size**2 * dim + (tokens - 1) * dim"),
        (79,), WRITING,
    ),
    Misconception(
        "positions-missing",
        "vit_parameters counts no positions",
        "Which part of the embedding has N + 1 rows?",
        formula(embedding=N_EMBEDDING.replace(" + tokens * dim", "")),
        (79,), WRITING,
    ),
    Misconception(
        "head-bias-missing",
        "vit_parameters lacks the bias of the head, one number a class",
        "How many parameters has nn.Linear(dim, num_classes)?",
        formula(sum=N_SUM.replace("(dim + 1) * num_classes", "dim * num_classes")),
        (79,), TRACKERS,
    ),
    Misconception(
        "head-missing",
        "vit_parameters does not count the head",
        "Which part of the model depends on num_classes?",
        formula(sum=N_SUM.replace(" + (dim + 1) * num_classes", "")),
        (79,), WRITING,
    ),
    Misconception(
        "one-bias-in-each-block-missing",
        "vit_parameters lacks D numbers in each block: the bias of attention's output layer, or that of fc2",
        "How many biases has a block, and how long is each?",
        formula(attention=N_ATTENTION.replace("(inner + 1)", "inner")),
        (79,), TRACKERS,
    ),
    Misconception(
        "hidden-bias-missing",
        "vit_parameters lacks the bias of fc1 in each block, mlp_dim numbers",
        "How many biases has a block, and how long is each?",
        formula(mlp=N_MLP.replace("(dim + 1)", "dim")),
        (79,), TRACKERS,
    ),
    Misconception(
        "mlp-biases-missing",
        "vit_parameters lacks both biases of the feed-forward network in each block",
        "How many biases has a block, and how long is each?",
        formula(mlp="mlp = 2 * dim * mlp_dim"),
        (79,), TRACKERS,
    ),
    Misconception(
        "attention-biases-missing",
        "vit_parameters counts no bias in attention: neither the three of queries, keys, and values nor that of the "
        "output layer",
        "How many biases has attention with qkv_bias=True, and how long is each?",
        formula(attention="attention = 4 * dim * inner"),
        (79,), TRACKERS,
    ),
    Misconception(
        "linear-biases-missing",
        "vit_parameters counts no bias of any layer, only those of the LayerNorms",
        "How many parameters has nn.Linear(3, 5)?",
        formula(embedding="embedding = in_channels * patch_size**2 * dim + dim + tokens * dim",
                attention="attention = 4 * dim * inner", mlp="mlp = 2 * dim * mlp_dim",
                sum=N_SUM.replace("(dim + 1) * num_classes", "dim * num_classes")),
        (79,), TRACKERS,
    ),
    Misconception(
        "one-norm-in-each-block-missing",
        "vit_parameters lacks 2 D numbers in each block: one of the two LayerNorms, or the biases of attention's "
        "output layer and of fc2",
        "Which parts of a block have parameters, and how many has each?",
        formula(sum=N_SUM.replace("4 * dim", "2 * dim")),
        (79,), TRACKERS,
    ),
    Misconception(
        "block-norms-missing",
        "vit_parameters counts no LayerNorm inside the blocks, 4 D numbers each",
        "Which parts of a block have parameters, and how many has each?",
        formula(sum=N_SUM.replace(" + 4 * dim", "")),
        (79,), TRACKERS,
    ),
    Misconception(
        "all-norms-missing",
        "vit_parameters counts no LayerNorm at all, neither those in the blocks nor the last",
        "How many parameters has nn.LayerNorm(dim), and how many of them are there?",
        formula(sum=N_SUM.replace(" + 4 * dim", "").replace(" + 2 * dim", "")),
        (79,), TRACKERS,
    ),
    Misconception(
        "norm-biases-missing",
        "vit_parameters counts D numbers for a LayerNorm, which has a weight and a bias",
        "How many parameters has nn.LayerNorm(dim)?",
        formula(sum=N_SUM.replace("4 * dim", "2 * dim").replace(" + 2 * dim + (dim", " + dim + (dim")),
        (79,), TRACKERS,
    ),
    Misconception(
        "norm-in-each-block-too-many",
        "vit_parameters counts the last LayerNorm in every block instead of once",
        "How often is the last LayerNorm there?",
        formula(sum=N_SUM.replace("4 * dim) + 2 * dim", "6 * dim)")),
        (79,), WRITING,
    ),
    Misconception(
        "output-layer-missing",
        "vit_parameters does not count attention's output layer, to_out",
        "How many linear layers has attention?",
        formula(attention=N_ATTENTION.replace(" + (inner + 1) * dim", "")),
        (79,), TRACKERS,
    ),
    Misconception(
        "one-layer-for-q-k-v",
        "vit_parameters counts one layer for queries, keys, and values, which are three",
        "How many linear layers has attention?",
        formula(attention=N_ATTENTION.replace("3 * ", "")),
        (79,), WRITING,
    ),
    Misconception(
        "qkv-bias-ignored",
        "vit_parameters counts the biases of queries, keys, and values always, whatever qkv_bias says",
        "By how much should the count fall with qkv_bias=False?",
        formula(attention=N_ATTENTION.replace("qkv_bias", "1")),
        (79,), TRACKERS,
    ),
    Misconception(
        "qkv-bias-never",
        "vit_parameters never counts the biases of queries, keys, and values, whatever qkv_bias says",
        "By how much should the count rise with qkv_bias=True?",
        formula(attention=N_ATTENTION.replace("(dim + qkv_bias)", "dim")),
        (79,), TRACKERS,
    ),
    Misconception(
        "qkv-bias-inverted",
        "vit_parameters counts the biases of queries, keys, and values when qkv_bias is False, and not when it is True",
        "For which value of qkv_bias has to_q a bias?",
        formula(attention=N_ATTENTION.replace("dim + qkv_bias", "dim + (not qkv_bias)")),
        (79,), WRITING,
    ),
    Misconception(
        "qkv-biases-of-width-dim",
        "vit_parameters counts D numbers for each bias of queries, keys, and values, which are as long as "
        "all heads together",
        "Is a layer's bias as long as what goes in or as what comes out?",
        formula(attention="attention = 3 * dim * inner + 3 * qkv_bias * dim + (inner + 1) * dim"),
        (79,), WRITING,
    ),
    Misconception(
        "output-bias-of-all-heads",
        "vit_parameters counts heads times head_dim numbers for the bias of attention's output layer, which is D long",
        "Is a layer's bias as long as what goes in or as what comes out?",
        formula(attention=N_ATTENTION.replace("(inner + 1) * dim", "(dim + 1) * inner")),
        (79,), WRITING,
    ),
    Misconception(
        "head-dim-ignored",
        "vit_parameters splits D evenly into the heads always, whatever head_dim says",
        "How wide are all heads together when there are 8 of 64 and D is 192?",
        formula(inner="inner = dim // num_heads * num_heads"),
        (79,), TRACKERS,
    ),
    Misconception(
        "head-dim-left-out-fails",
        "vit_parameters multiplies by head_dim without asking whether it was left out",
        "What is head_dim when the caller leaves it out, and what does that mean?",
        formula(inner="inner = num_heads * head_dim"),
        (), WRITING,
    ),
    Misconception(
        "one-head-counted",
        "vit_parameters counts one head only: num_heads is missing in the width of all heads together",
        "How many rows has the weight of to_q?",
        formula(inner="inner = head_dim or dim // num_heads"),
        (79,), WRITING,
    ),
    Misconception(
        "heads-counted-twice",
        "vit_parameters multiplies attention by the number of heads once more, where its layers hold all heads already",
        "How many rows has the weight of to_q?",
        formula(sum=N_SUM.replace("(attention +", "(num_heads * attention +")),
        (79,), WRITING,
    ),
    Misconception(
        "depth-ignored",
        "vit_parameters counts one block, whatever depth says",
        "By how much does the count rise with one block more?",
        formula(sum=N_SUM.replace("depth * (attention + mlp + 4 * dim)", "attention + mlp + 4 * dim")),
        (79,), WRITING,
    ),
    Misconception(
        "everything-times-depth",
        "vit_parameters multiplies everything by depth, the embedding, the last LayerNorm, and the head, too",
        "Which parts of the model are there once, whatever its depth?",
        formula(sum="depth * (embedding + attention + mlp + 6 * dim + (dim + 1) * num_classes)"),
        (79,), WRITING,
    ),
    Misconception(
        "square-images-only",
        "vit_parameters takes the image for a square: its height counts for both sides",
        "How many patches has an image of 8 x 12 pixels with P = 4?",
        formula(tokens="tokens = (H // patch_size) ** 2 + 1"),
        (45, 79), TRACKERS,
    ),
    Misconception(
        "image-size-as-int-only",
        "vit_parameters divides image_size itself, which fails when it is a pair (H, W)",
        "Which two kinds of image_size does the docstring of VisionTransformer name?",
        formula(tokens="tokens = (image_size // patch_size) ** 2 + 1"),
        (), WRITING,
    ),
    Misconception(
        "image-size-as-pair-only",
        "vit_parameters takes image_size apart as a pair, which fails when it is an int",
        "Which two kinds of image_size does the docstring of VisionTransformer name?",
        formula(sides="H, W = image_size"),
        (), WRITING,
    ),
    Misconception(
        "channels-forgotten",
        "vit_parameters takes a patch for P * P numbers, where each pixel has C of them",
        "How many numbers does one patch of a colour image hold?",
        formula(embedding=N_EMBEDDING.replace("in_channels * ", "")),
        (79,), WRITING,
    ),
    Misconception(
        "patch-side-not-squared",
        "vit_parameters takes a patch for C * P numbers, where it has P rows of P pixels",
        "How many pixels does one patch hold?",
        formula(embedding=N_EMBEDDING.replace("patch_size**2", "patch_size")),
        (79,), WRITING,
    ),
    Misconception(
        "projection-for-each-patch",
        "vit_parameters counts the patch projection once for each patch, where all patches share it",
        "How many weights has the convolution that makes the patches into vectors?",
        formula(embedding=N_EMBEDDING.replace("+ 1) * dim + dim", "+ 1) * dim * (tokens - 1) + dim")),
        (79,), WRITING,
    ),
    Misconception(
        "head-over-all-tokens",
        "vit_parameters lets the head read all tokens flattened, where it reads one vector of D numbers",
        "How many features go into the head?",
        formula(sum=N_SUM.replace("(dim + 1) * num_classes", "(tokens * dim + 1) * num_classes")),
        (69, 79), REPORTS,
    ),
    Misconception(
        "second-mlp-layer-missing",
        "vit_parameters counts the first layer of the feed-forward network only",
        "How many linear layers has the feed-forward network?",
        formula(mlp="mlp = (dim + 1) * mlp_dim"),
        (79,), WRITING,
    ),
    Misconception(
        "hidden-width-four-times",
        "vit_parameters takes the hidden layer for four times as wide as a token, whatever mlp_dim says",
        "Where does the argument mlp_dim go?",
        formula(mlp="mlp = (dim + 1) * 4 * dim + (4 * dim + 1) * dim"),
        (79,), WRITING,
    ),
)  # fmt: skip

COUNT_FORMULA = """

def vit_parameters(image_size, patch_size, in_channels, num_classes, dim, depth, num_heads, mlp_dim,
                   head_dim=None, qkv_bias=True):
    H, W = image_size if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    inner = num_heads * head_dim if head_dim is not None else dim
    total = in_channels * patch_size * patch_size * dim + dim  # projection
    total += dim + dim * (H * W // patch_size**2 + 1)  # class token and positions
    for _ in range(depth):
        total += 2 * dim + 3 * dim * inner + (3 * inner if qkv_bias else 0) + inner * dim + dim
        total += 2 * dim + dim * mlp_dim + mlp_dim + mlp_dim * dim + dim
    return total + 2 * dim + dim * num_classes + num_classes
"""
# Without numbers in memory: what the model would hold is counted, on torch's "meta" device.
COUNT_BUILT = """

def vit_parameters(image_size, patch_size, in_channels, num_classes, dim, depth, num_heads, mlp_dim,
                   head_dim=None, qkv_bias=True):
    with torch.device("meta"):
        embedding = TokenEmbedding(image_size, patch_size, in_channels, dim)
        attention = MultiHeadAttention(dim, num_heads, head_dim, qkv_bias)
        mlp = [nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, dim)]
        norm, head = nn.LayerNorm(dim), nn.Linear(dim, num_classes)
    block = [attention, *mlp, norm, norm]
    return sum(p.numel() for m in [embedding, norm, head] + depth * block for p in m.parameters())
"""
COUNT_TERMS = """

def vit_parameters(image_size, patch_size, in_channels, num_classes, dim, depth, num_heads, mlp_dim,
                   head_dim=None, qkv_bias=True):
    def linear(into, out, bias=True):
        return into * out + (out if bias else 0)

    H, W = (image_size, image_size) if isinstance(image_size, int) else image_size
    K = dim // num_heads if head_dim is None else head_dim
    parts = {
        "projection": linear(in_channels * patch_size**2, dim),
        "tokens": dim * (2 + (H // patch_size) * (W // patch_size)),
        "attention": depth * (3 * linear(dim, num_heads * K, qkv_bias) + linear(num_heads * K, dim)),
        "mlp": depth * (linear(dim, mlp_dim) + linear(mlp_dim, dim)),
        "norms": (2 * depth + 1) * 2 * dim,
        "head": linear(dim, num_classes),
    }
    return sum(parts.values())
"""

COUNT_OTHER = (
    Alternative("products of the shapes, a loop over the blocks", '''
def count_parameters(model, trainable_only=False):
    total = 0
    for p in model.parameters():
        if trainable_only and not p.requires_grad:
            continue
        total += torch.tensor(p.shape).prod()
    return total
''' + COUNT_FORMULA),
    Alternative("in the style of torchinfo: module by module, a formula of named terms", '''
def count_parameters(model, trainable_only=False):
    seen, total = set(), 0
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if id(p) not in seen and (p.requires_grad or not trainable_only):
                seen.add(id(p))
                total += p.flatten().size(0)
    return total
''' + COUNT_TERMS),
    Alternative("in the style of timm: numel() added up, the model built without memory", '''
def count_parameters(model, trainable_only=False):
    return sum([m.numel() for m in model.parameters() if not trainable_only or m.requires_grad])
''' + COUNT_BUILT),
    Alternative("one long vector", '''
def count_parameters(model, trainable_only=False):
    wanted = [p for p in model.parameters() if p.requires_grad or not trainable_only]
    return len(nn.utils.parameters_to_vector(wanted))
''' + COUNT_TERMS),
    Alternative("a tensor of sizes, summed by torch, and a formula that gives a float", '''
def count_parameters(model, trainable_only=False):
    return torch.tensor([p.numel() for p in model.parameters() if p.requires_grad or not trainable_only]).sum()
''' + COUNT_FORMULA.replace("return total +", "return 1.0 * total +")),
    Alternative("ones as many as parameters, added up", '''
def count_parameters(model, trainable_only=False):
    chosen = {name: p for name, p in model.named_parameters() if not trainable_only or p.requires_grad}
    return int(sum(torch.ones_like(p).sum().item() for p in chosen.values()))
''' + COUNT_FORMULA),
    Alternative("row by row", '''
def count_parameters(model, trainable_only=False):
    def numbers(t):
        return sum(map(numbers, t)) if t.dim() > 1 else len(t)

    return sum(numbers(p) for p in model.parameters() if not trainable_only or p.requires_grad)
''' + COUNT_TERMS),
)  # fmt: skip

# --- attention_maps ------------------------------------------------------------------------------


def map_cases(draw: Draw) -> list[Case]:
    """Square and other images, head_dim given and left out, one image alone."""

    def case(
        name: str, grid: tuple[int, int], depth: int = 2, batch: int | None = None, own: bool = False, **options: object
    ) -> Case:
        init, width, inner = vit_init(draw, grid, depth, own)
        _, patch, channels, classes, dim, _, _, hidden = init
        weights = vit_weights(draw, grid, patch, channels, classes, dim, depth, inner, hidden, qkv_bias=not own)
        if own:
            options = {"init_kwargs": {"head_dim": width, "qkv_bias": False}}
        images = vit_images(draw, init, batch)
        return Case(name, "attention_maps", (images,), init=init, weights=weights, maker="VisionTransformer", **options)

    (side,) = draw.sizes(1, 2, 3)
    return [
        case("square images, two blocks", (side, side)),
        case("images that are not square, three blocks", uneven(draw), 3),
        case("head_dim given, no qkv_bias", uneven(draw), own=True),
        case("one image alone, a model with dropout", uneven(draw), batch=1, init_kwargs={"dropout": 0.5}),
    ]


A = CODE["attention_maps"]
A_TOKENS = "block.norm1(x)"
A_HEADS = "to(tokens).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)"
A_LAYERS = "(attention.to_q, attention.to_k)"
A_SCORES = "q @ k.mT / q.shape[-1] ** 0.5"
A_ROW = "maps.append(weights[:, :, 0, 1:])"
A_NEXT = "        x = block(x)\n"
A_STACK = "torch.stack(maps, dim=1)"

MAP_WRONG = (
    Misconception(
        "not-normalised",
        "queries and keys are made from the tokens as they are, without the block's first LayerNorm",
        "What does attention get inside the block?",
        changed(A, (A_TOKENS, "x")),
        (61,), WRITING,
    ),
    Misconception(
        "second-norm",
        "the tokens are normalised with the block's second LayerNorm, which belongs to the feed-forward network",
        "What does attention get inside the block?",
        changed(A, (A_TOKENS, "block.norm2(x)")),
        (61,), WRITING,
    ),
    Misconception(
        "no-scale",
        "the scores go into the softmax as they are, without being divided by sqrt(K)",
        "What does attention do with the scores before the softmax?",
        changed(A, (A_SCORES, "q @ k.mT")),
        (1,), TRACKERS,
    ),
    Misconception(
        "scale-by-token-width",
        "the scores are divided by the square root of dim, the token's width, instead of the head's width",
        "How many products does the dot product of one head's query and key add up?",
        changed(A, (A_SCORES, "q @ k.mT / x.shape[-1] ** 0.5")),
        (23,), TRACKERS,
    ),
    Misconception(
        "no-softmax",
        "the scaled scores are returned, without a softmax",
        "Can one of your weights be negative, and what do the weights of a query sum to?",
        changed(A, (".softmax(dim=-1)", "")),
        (8,), WRITING,
    ),
    Misconception(
        "softmax-over-queries",
        "the softmax runs over the queries instead of the keys",
        "Whose weights must sum to 1: those that one query gives, or those that one key gets?",
        changed(A, ("softmax(dim=-1)", "softmax(dim=-2)")),
        (5,), WRITING,
    ),
    Misconception(
        "softmax-over-the-patches-only",
        "the weights over the patches sum to 1: the class token's weight on itself was left out before the softmax, or "
        "the rest was divided by its sum",
        "Can the class token attend to itself, and what do the other weights sum to then?",
        changed(A, (A_SCORES, "q[:, :, :1] @ k[:, :, 1:].mT / q.shape[-1] ** 0.5"),
                (A_ROW, "maps.append(weights[:, :, 0])")),
        (), WRITING,
    ),
    Misconception(
        "with-the-class-token",
        "the class token's weight on itself is returned, too: N + 1 numbers instead of N",
        "How many patches are there, and how many numbers in one of your rows?",
        changed(A, (A_ROW, "maps.append(weights[:, :, 0])")),
        (), WRITING,
    ),
    Misconception(
        "who-looks-at-the-class-token",
        "a column was taken instead of a row: what each patch's query gives to the class token",
        "Which index of the weights is the query's, and which the key's?",
        changed(A, (A_ROW, "maps.append(weights[:, :, 1:, 0])")),
        (), TRACKERS,
    ),
    Misconception(
        "last-patch-left-out",
        "the last token is left out instead of the class token at place 0",
        "At which place did the embedding put the class token?",
        changed(A, (A_ROW, "maps.append(weights[:, :, 0, :-1])")),
        (), WRITING,
    ),
    Misconception(
        "last-token-asks",
        "the last patch's query is taken for the class token's",
        "At which place did the embedding put the class token?",
        changed(A, (A_ROW, "maps.append(weights[:, :, -1, 1:])")),
        (), WRITING,
    ),
    Misconception(
        "every-query",
        "the weights of all queries are returned, where the class token's are asked",
        "How many dimensions has your result, and which should not be in it?",
        changed(A, (A_ROW, "maps.append(weights)")),
        (), WRITING,
    ),
    Misconception(
        "mean-over-the-heads",
        "the heads' weights are averaged, where each head's own are asked",
        "How many dimensions has your result, and which one is missing?",
        changed(A, (A_ROW, "maps.append(weights[:, :, 0, 1:].mean(dim=1))")),
        (), TRACKERS,
    ),
    Misconception(
        "last-block-only",
        "the last block's weights are returned, where those of every block are asked",
        "How many dimensions has your result, and which one is missing?",
        changed(A, (A_STACK, "maps[-1]")),
        (), TRACKERS,
    ),
    Misconception(
        "blocks-first",
        "the blocks come before the samples: (depth, B, H, N)",
        "Which dimension comes first in the docstring's result, and which does stack put first?",
        changed(A, (A_STACK, "torch.stack(maps)")),
        (), WRITING,
    ),
    Misconception(
        "blocks-after-the-heads",
        "the blocks come after the heads: (B, H, depth, N)",
        "Which dimension comes second in the docstring's result?",
        changed(A, (A_STACK, "torch.stack(maps, dim=2)")),
        (), WRITING,
    ),
    Misconception(
        "blocks-joined-to-the-heads",
        "the blocks' weights are concatenated along the heads: (B, depth * H, N)",
        "What is the difference between cat and stack?",
        changed(A, (A_STACK, "torch.cat(maps, dim=1)")),
        (), WRITING,
    ),
    Misconception(
        "every-block-reads-the-embedding",
        "every block's weights are computed from the embedding's tokens, not from what the block before it gave",
        "Which tokens does the second block see?",
        changed(A, (A_NEXT, "")),
        (65,), WRITING,
    ),
    Misconception(
        "one-block-late",
        "each block's weights are computed from the tokens that come out of it, not from those that go in",
        "Does a block attend to its input or to its result?",
        changed(A, (A_NEXT, ""), ("    for block in model.blocks:\n", "    for block in model.blocks:\n" + A_NEXT)),
        (), WRITING,
    ),
    Misconception(
        "query-and-key-swapped",
        "queries and keys have changed places",
        "Which of the two layers makes what a token asks for?",
        changed(A, (A_LAYERS, "(attention.to_k, attention.to_q)")),
        (27,), WRITING,
    ),
    Misconception(
        "values-for-keys",
        "the values are used as keys",
        "Which two of the three layers decide how much a token looks at another?",
        changed(A, (A_LAYERS, "(attention.to_q, attention.to_v)")),
        (27,), WRITING,
    ),
    Misconception(
        "features-split-the-other-way",
        "the features are split as (k h): every num_heads-th one belongs to a head, where a head's features stand side "
        "by side",
        "How does MultiHeadAttention split the features into heads?",
        changed(A, (A_HEADS, "to(tokens).unflatten(-1, (-1, attention.num_heads)).permute(0, 3, 1, 2)")),
        (22,), TRACKERS,
    ),
    Misconception(
        "heads-without-transpose",
        "tokens and features are reshaped into heads without swapping the two dimensions, so that heads mix tokens",
        "What is the shape after splitting the last dimension, and which dimension must move to the front?",
        changed(A, (A_HEADS, "to(tokens).reshape(len(x), attention.num_heads, x.shape[1], -1)")),
        (19,), TRACKERS,
    ),
    Misconception(
        "one-head-over-all-features",
        "one softmax runs over the scores of all features together, as if there were one head",
        "How many heads has the model, and how many maps does each block give?",
        changed(A, (A_HEADS, "to(tokens).unsqueeze(1)")),
        (), WRITING,
    ),
)  # fmt: skip

MAP_OTHER = (
    Alternative("without gradients, torch's own attention on the identity as values", '''
@torch.no_grad()
def attention_maps(model, images):
    x = model.embedding(images)
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    maps = []
    for block in model.blocks:
        a, n = block.attention, block.norm1(x)
        q, k = (to(n).unflatten(-1, (a.num_heads, -1)).transpose(1, 2) for to in (a.to_q, a.to_k))
        weights = F.scaled_dot_product_attention(q, k, eye.expand(len(x), a.num_heads, -1, -1))
        maps.append(weights[..., 0, 1:])
        x = block(x)
    return torch.stack(maps, dim=1)
'''),
    Alternative("in the style of timm's feature extraction: hooks on the layers of attention", '''
def attention_maps(model, images):
    seen, hooks = [], []
    for block in model.blocks:
        for to in (block.attention.to_q, block.attention.to_k):
            hooks.append(to.register_forward_hook(lambda layer, inputs, output: seen.append(output)))
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    heads, maps = model.blocks[0].attention.num_heads, []
    for q, k in zip(seen[::2], seen[1::2]):
        q, k = (t.reshape(*t.shape[:2], heads, -1).permute(0, 2, 1, 3) for t in (q, k))
        maps.append(((q * k.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1)[:, :, 0, 1:])
    return torch.stack(maps, 1)
'''),
    Alternative("in the style of lucidrains' Recorder: hooks on attention's input, the class token's query alone", '''
def attention_maps(model, images):
    recorded = []
    hooks = [block.attention.register_forward_pre_hook(lambda layer, inputs: recorded.append((layer, inputs[0])))
             for block in model.blocks]
    model(images)
    for hook in hooks:
        hook.remove()
    found = []
    for layer, n in recorded:
        q = layer.to_q(n[:, 0]).unflatten(-1, (layer.num_heads, -1))
        k = layer.to_k(n).unflatten(-1, (layer.num_heads, -1))
        scores = torch.einsum("bhk,bjhk->bhj", q, k) / q.shape[-1] ** 0.5
        found.append(scores.softmax(-1).narrow(-1, 1, n.shape[1] - 1).unsqueeze(1))
    return torch.cat(found, dim=1)
'''),
    Alternative("broadcast products, exp by hand", '''
def attention_maps(model, images):
    x = model.embedding(images)
    out = x.new_empty(len(x), len(model.blocks), model.blocks[0].attention.num_heads, x.shape[1] - 1)
    for i, block in enumerate(model.blocks):
        a, n = block.attention, block.norm1(x)
        q = a.to_q(n[:, :1]).view(len(x), 1, a.num_heads, -1)
        k = a.to_k(n).view(len(x), x.shape[1], a.num_heads, -1)
        scores = (q * k).sum(-1).transpose(1, 2) / k.shape[-1] ** 0.5
        e = (scores - scores.amax(-1, keepdim=True)).exp()
        out[:, i] = (e / e.sum(-1, keepdim=True))[..., 1:]
        x = block(x)
    return out
'''),
    Alternative("head by head with bmm, logsumexp", '''
def attention_maps(model, images):
    x, layers = model.embedding(images), []
    for block in model.blocks:
        a, n = block.attention, block.norm1(x)
        heads = []
        for q, k in zip(a.to_q(n).chunk(a.num_heads, -1), a.to_k(n).chunk(a.num_heads, -1)):
            scores = torch.bmm(q, k.permute(0, 2, 1)).div(q.size(-1) ** 0.5)
            heads.append((scores - scores.logsumexp(2, keepdim=True)).exp().select(1, 0).narrow(1, 1, x.size(1) - 1))
        layers.append(torch.stack(heads, dim=1))
        x = block(x)
    return torch.stack(layers, dim=1)
'''),
    Alternative("torch's multi_head_attention_forward without averaging, where the widths allow it", '''
def attention_maps(model, images):
    x, maps = model.embedding(images), []
    for block in model.blocks:
        a, n = block.attention, block.norm1(x)
        q, k = a.to_q(n), a.to_k(n)
        width, eye = q.shape[-1], torch.eye(q.shape[-1], dtype=q.dtype)
        zeros = torch.zeros(3 * width, dtype=q.dtype)
        _, weights = F.multi_head_attention_forward(
            q.transpose(0, 1), k.transpose(0, 1), k.transpose(0, 1), width, a.num_heads, torch.cat([eye, eye, eye]),
            zeros, None, None, False, 0.0, eye, None, training=False, need_weights=True, average_attn_weights=False)
        maps += [weights[:, :, 0, 1:]]
        x = block(x)
    return torch.stack(maps).transpose(0, 1)
'''),
    Alternative("one image after the other", '''
def attention_maps(model, images):
    def one(image):
        x, maps = model.embedding(image[None]), []
        for block in model.blocks:
            a, n = block.attention, block.norm1(x)[0]
            q, k = (to(n).unflatten(-1, (a.num_heads, -1)) for to in (a.to_q, a.to_k))
            scores = torch.tensordot(q[0], k, dims=([1], [2])).diagonal(dim1=0, dim2=2).T
            maps.append(F.softmax(scores / q.shape[-1] ** 0.5, dim=-1)[:, 1:])
            x = block(x)
        return torch.stack(maps)
    return torch.stack([one(image) for image in images])
'''),
)  # fmt: skip

EXERCISES = (
    Exercise("FeedForward", forward_cases, FF_WRONG, FF_OTHER, conventions=FF_CONVENTIONS),
    Exercise("EncoderBlock", block_cases, BLOCK_WRONG, BLOCK_OTHER,
             ("TransformerEncoderLayer",), conventions=BLOCK_CONVENTIONS),
    Exercise("VisionTransformer", transformer_cases, VIT_WRONG, VIT_OTHER,
             ("TransformerEncoder", "vit_b_16", "create_model"), conventions=VIT_CONVENTIONS),
    Exercise("parameter_counts", count_cases, COUNT_WRONG, COUNT_OTHER),
    Exercise("attention_maps", map_cases, MAP_WRONG, MAP_OTHER),
)  # fmt: skip
