"""The exam of `FeedForward`."""

from __future__ import annotations

from typing import Any

from autograder.exams.lab3.shared import CODE, REPORTS, TRACKERS, WRITING, mlp_weights
from autograder.labs.exam import Alternative, Convention, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ModuleCase, Scoring


def forward_cases(variant: Variant) -> list[ModuleCase]:
    """A wide and a narrow hidden layer, a lone sample or token, a second call, and dropout in both modes."""

    def case(name: str, batch: int, tokens: int, dim: int, hidden: int, **options: Any) -> ModuleCase:
        x, weights = variant.normal(batch, tokens, dim, scale=1.5), mlp_weights(variant, dim, hidden)
        return ModuleCase(name, "FeedForward", (x,), init=(dim, hidden), weights=weights, **options)

    def sizes() -> list[int]:
        # Four features and two tokens at least: dropout does not leave two calls equal by chance.
        (batch,), (dim,) = variant.sizes(1, 2, 3), variant.sizes(1, 5, 8)
        tokens, hidden = variant.sizes(2, 4, 11, without=(dim, 4 * dim))
        return [batch, tokens, dim, hidden]

    half = {"dropout": 0.5}
    (dim,), (hidden,), (batch, tokens) = variant.sizes(1, 6, 8), variant.sizes(1, 4, 5), variant.sizes(2, 2, 3)
    cases = [case("a narrow hidden layer, with gradients", batch, tokens, dim, hidden, gradients=True)]
    (dim,), (hidden,), (batch, tokens) = variant.sizes(1, 4, 6), variant.sizes(1, 9, 12), variant.sizes(2, 2, 3)
    cases.append(case("a wide hidden layer", batch, tokens, dim, hidden))
    cases.append(case("one sample alone", 1, *variant.sizes(3, 2, 9)))
    batch, dim, hidden = variant.sizes(3, 2, 9)
    cases.append(case("one token alone", batch, 1, dim, hidden, scoring=Scoring(share=0.5)))
    cases.append(case("dropout 0.5 in eval mode: nothing is dropped", *sizes(), init_kwargs=half))
    zero = {"dropout": 0.0}
    cases.append(case("dropout 0.0 in training mode: nothing is dropped", *sizes(), init_kwargs=zero, train=True))
    name = "dropout 0.5 in training mode: two calls differ"
    cases.append(case(name, *sizes(), init_kwargs=half, train=True, scoring=Scoring(random=True)))
    batch, tokens, dim, hidden, *first = variant.sizes(6, 2, 9)
    before = (variant.normal(*first, dim),)
    name = "a second call in training mode, with other sizes; dropout left out: nothing is dropped"
    again = case(name, batch, tokens, dim, hidden, before=before, train=True, scoring=Scoring(share=0.5))
    return [*cases, again]


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
        "dropout-with-its-defaults",
        "F.dropout is told neither the probability nor the module's mode, and drops half of the features always",
        "What are the defaults of F.dropout's arguments p and training?",
        ff("""        hidden = F.dropout(self.activation(self.fc1(x)))
        return self.fc2(hidden)"""),
        (16, 66), WRITING,
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
        "first-layer-without-bias",
        "fc1 is made without a bias",
        "Which entries does state_dict() lack?",
        changed(FF, ("nn.Linear(dim, hidden_dim)", "nn.Linear(dim, hidden_dim, bias=False)")),
        (), WRITING,
    ),
    Misconception(
        "second-layer-without-bias",
        "fc2 is made without a bias",
        "Which entries does state_dict() lack?",
        changed(FF, ("nn.Linear(hidden_dim, dim)", "nn.Linear(hidden_dim, dim, bias=False)")),
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
FF_CONVENTIONS = (Convention("tanh-gelu", "GELU in its tanh form", (("nn.GELU()", 'nn.GELU(approximate="tanh")'),)),)

EXERCISE = Exercise("FeedForward", forward_cases, FF_WRONG, FF_OTHER, conventions=FF_CONVENTIONS)
