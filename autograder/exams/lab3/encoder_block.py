"""The exam of `EncoderBlock`."""

from __future__ import annotations

import dataclasses
from typing import Any

from autograder.exams.lab3.shared import CODE, TRACKERS, WRITING, block_weights, split
from autograder.labs.exam import Alternative, Convention, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ModuleCase, Scoring


def block_cases(variant: Variant) -> list[ModuleCase]:
    """Each constructor argument given and left out, lone samples and tokens, and what holds wherever dropout stands."""

    def case(name: str, init: tuple[int, ...], inner: int, scale: float = 5.0, **options: Any) -> ModuleCase:
        dim, heads, hidden = init[:3]
        batch, tokens = variant.sizes(2, 2, 6, without=(dim, heads, inner // heads))
        weights = block_weights(variant, dim, inner, hidden, options.get("init_kwargs", {}).get("qkv_bias", True))
        x = variant.normal(batch, tokens, dim, scale=scale)  # large tokens: eps hardly shows
        return ModuleCase(name, "EncoderBlock", (x,), init=init, weights=weights, **options)

    def sizes(widest: int = 12) -> tuple[tuple[int, ...], int]:
        heads, width, dim = split(variant, widest)
        return (dim, heads, *variant.sizes(1, 6, 13, without=(heads, width, dim, 4 * dim))), dim

    cases = [case("head_dim left out, with gradients", *sizes(8), gradients=True)]  # small: gradients are many numbers
    heads, width, inner = split(variant)
    dim, hidden = variant.sizes(2, 5, 11, without=(heads, width, inner))
    cases.append(case("head_dim given", (dim, heads, hidden, width), inner))
    # Small tokens tell an eps of 1e-5 from 1e-6, so that the later exercises can follow.
    name = "queries, keys, and values without bias, small tokens"
    cases.append(case(name, *sizes(), scale=0.1, init_kwargs={"qkv_bias": False}))
    half: dict[str, Any] = {"init_kwargs": {"dropout": 0.5}}
    cases.append(case("dropout 0.5 in eval mode: nothing is dropped", *sizes(), **half))
    name = "dropout 0.0 in training mode: nothing is dropped"
    cases.append(case(name, *sizes(), init_kwargs={"dropout": 0.0}, train=True))
    name, changing = "dropout 0.5 in training mode: two calls differ", Scoring(random=True)
    cases.append(case(name, *sizes(), **half, train=True, scoring=changing))
    # Wherever dropout stands on a branch, a branch of zeros stays one; an echo of the input alone earns nothing.
    name = "dropout 0.5 in training mode, branches that give 0: tokens stay what they are"
    idle = case(name, *sizes(), **half, train=True, scoring=Scoring(paired=True))
    for name in ("attention.to_out.weight", "attention.to_out.bias", "mlp.fc2.weight", "mlp.fc2.bias"):
        idle.weights[name].zero_()
    cases.append(idle)

    half_share = Scoring(share=0.5)
    second = case("one sample after several, dropout left out: nothing is dropped", *sizes(), train=True)
    x = second.args[0]
    before = variant.normal(len(x) + 1, x.shape[1] + 1, x.shape[2])
    second = dataclasses.replace(second, before=(before,), args=(x[:1].clone(),), scoring=half_share)
    # Here, too, eps shows, in both norms: who has a mistake where tokens are small above has still chosen one.
    lone = case("one token alone", *sizes(), scale=0.1, scoring=half_share)
    for name in ("attention.to_out.weight", "attention.to_out.bias"):
        lone.weights[name].mul_(0.125)
    return [*cases, second, dataclasses.replace(lone, args=(lone.args[0][:, :1].clone(),))]


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
        "eps-is-the-width",
        "LayerNorm's second argument is eps, which is added to the variance, and dim was passed there",
        "What is the second argument of nn.LayerNorm?",
        changed(B, (B_NORM1, "self.norm1 = nn.LayerNorm(dim, dim)"), (B_NORM2, "self.norm2 = nn.LayerNorm(dim, dim)")),
        (61,), "issue trackers of public ViT code, as nn.LayerNorm(dim, n)",
    ),
    Misconception(
        "eps-is-the-hidden-width",
        "LayerNorm's second argument is eps, which is added to the variance, and mlp_dim was passed there",
        "What is the second argument of nn.LayerNorm?",
        changed(B, (B_NORM1, "self.norm1 = nn.LayerNorm(dim, mlp_dim)"),
                (B_NORM2, "self.norm2 = nn.LayerNorm(dim, mlp_dim)")),
        (61,), WRITING,
    ),
    Misconception(
        "eps-is-the-head-count",
        "LayerNorm's second argument is eps, which is added to the variance, and num_heads was passed there",
        "What is the second argument of nn.LayerNorm?",
        changed(B, (B_NORM1, "self.norm1 = nn.LayerNorm(dim, num_heads)"),
                (B_NORM2, "self.norm2 = nn.LayerNorm(dim, num_heads)")),
        (61,), WRITING,
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
        "dropout-with-its-defaults",
        "F.dropout is told neither the probability nor the module's mode, and drops half of the features always",
        "What are the defaults of F.dropout's arguments p and training?",
        changed(B, ("self.dropout(self.attention(self.norm1(x)))", "F.dropout(self.attention(self.norm1(x)))")),
        (16, 66), WRITING,
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
        "hidden-width-as-a-multiple",
        "mlp_dim is taken for a ratio: the feed-forward network's hidden layer is dim * mlp_dim wide",
        "Is mlp_dim a number of features or a multiple of dim, by the docstring?",
        changed(B, (B_MLP, "FeedForward(dim, dim * mlp_dim, dropout)")),
        (), "timm, whose argument mlp_ratio is one",
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

EXERCISE = Exercise(
    "EncoderBlock", block_cases, BLOCK_WRONG, BLOCK_OTHER, ("TransformerEncoderLayer",), conventions=BLOCK_CONVENTIONS
)
