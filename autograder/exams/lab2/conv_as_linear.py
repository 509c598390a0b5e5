"""The exam of `conv_as_linear`."""

from __future__ import annotations

from typing import Any

from autograder.exams.lab2.shared import CODE, WRITING
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase, Scoring


def conv_as_linear_cases(variant: Variant) -> list[FunctionCase]:
    """Few and many features, or one, one and three channels; the sizes of a kernel are pairwise distinct."""

    def case(name: str, channels: int, dim: int, patch: int, **options: Any) -> FunctionCase:
        weights = variant.weights({"conv.weight": (dim, channels, patch, patch), "conv.bias": (dim,)})
        model = (("conv", "Conv2d", (channels, dim, patch, patch)),)
        return FunctionCase(name, "conv_as_linear", model=model, weights=weights, **options)

    channels, patch = variant.sizes(2, 2, 5)
    (dim,) = variant.sizes(1, 6, 9)
    cases = [case("more features than channels", channels, dim, patch)]
    dim, patch = variant.sizes(2, 2, 5)
    (channels,) = variant.sizes(1, 6, 8)
    cases.append(case("fewer features than channels", channels, dim, patch))
    dim, patch = variant.sizes(2, 2, 6)
    cases.append(case("one channel", 1, dim, patch))
    dim, patch = variant.sizes(2, 2, 7, without=(3,))
    cases.append(case("three channels", 3, dim, patch))
    channels, patch = variant.sizes(2, 2, 5)
    return [*cases, case("one feature", channels, 1, patch, scoring=Scoring(share=0.5))]


L = CODE["conv_as_linear"]
FLAT = "conv.weight.flatten(1)"
CONV_AS_LINEAR_WRONG = (
    Misconception(
        "kernels-not-flattened",
        "the weight keeps the shape of the kernels, (D, C, P, P)",
        "How many dimensions has the weight of an nn.Linear?",
        changed(L, (FLAT, "conv.weight")),
        (), WRITING,
    ),
    Misconception(
        "weight-transposed",
        "the weight is (C*P*P, D), inputs before outputs",
        "What does nn.Linear(5, 2).weight.shape say about the order of inputs and outputs?",
        changed(L, (FLAT, f"{FLAT}.T")),
        (), WRITING,
    ),
    Misconception(
        "reshaped-instead-of-transposed",
        "the kernels are read out as (C*P*P, D) and then transposed, which mixes the numbers of different kernels",
        "Which numbers are neighbours in memory: one pixel of all kernels, or all pixels of one kernel?",
        changed(L, (FLAT, "conv.weight.reshape(-1, conv.out_channels).T")),
        (40,), WRITING,
    ),
    Misconception(
        "channels-last",
        "the kernels are flattened in (row, column, channel) order, which patches in (channel, row, column) order do "
        "not fit",
        "In which order does patchify lay down the pixels of a patch?",
        changed(L, (FLAT, "conv.weight.permute(0, 2, 3, 1).flatten(1)")),
        (43,), "conversions of weights from JAX, whose kernels are (row, column, channel, feature)",
    ),
    Misconception(
        "kernels-transposed",
        "the kernels are flattened down their columns instead of along their rows",
        "In which order does patchify lay down the pixels of a patch?",
        changed(L, (FLAT, "conv.weight.mT.flatten(1)")),
        (43,), WRITING,
    ),
    Misconception(
        "kernels-turned-round",
        "the kernels are turned by 180 degrees, as in the convolution of mathematics; torch's Conv2d turns nothing",
        "What does a Conv2d with a kernel of a single 1 in its top left corner pick from a patch?",
        changed(L, (FLAT, "conv.weight.flip(-1, -2).flatten(1)")),
        (), WRITING,
    ),
    Misconception(
        "channels-summed",
        "the kernels of the channels are added up: (D, P*P)",
        "How many numbers has a patch of an image with C channels?",
        changed(L, (FLAT, "conv.weight.sum(1).flatten(1)")),
        (46,), WRITING,
    ),
    Misconception(
        "channels-kept-apart",
        "only rows and columns are flattened: (D, C, P*P)",
        "How many dimensions has the weight of an nn.Linear?",
        changed(L, (FLAT, "conv.weight.flatten(2)")),
        (), WRITING,
    ),
    Misconception(
        "flattened-completely",
        "all kernels are flattened into one vector",
        "How many dimensions has the weight of an nn.Linear?",
        changed(L, (FLAT, "conv.weight.flatten()")),
        (), WRITING,
    ),
    Misconception(
        "bias-forgotten",
        "the bias is zero, and the convolution's own is not used",
        "What does the convolution give for a black patch?",
        changed(L, (", conv.bias", ", torch.zeros_like(conv.bias)")),
        (), WRITING,
    ),
    Misconception(
        "bias-before-weight",
        "bias and weight are returned in the other order",
        "Which of the two does the docstring name first?",
        changed(L, (f"return {FLAT}, conv.bias", f"return conv.bias, {FLAT}")),
        (), WRITING,
    ),
    Misconception(
        "a-layer-instead-of-its-weights",
        "a linear layer is returned instead of its weight and its bias",
        "Which two tensors does the docstring ask for?",
        changed(L, (f"return {FLAT}, conv.bias", "return nn.Linear(conv.weight[0].numel(), conv.out_channels)")),
        (), WRITING,
    ),
)  # fmt: skip
CONV_AS_LINEAR_OTHER = (
    Alternative("in the style of MAE's initialisation: a view of w.data", '''
def conv_as_linear(conv):
    w = conv.weight.data
    return w.view([w.shape[0], -1]), conv.bias.data
'''),
    Alternative("in the style of vit-pytorch: einops, on a copy", '''
from einops import rearrange

def conv_as_linear(conv):
    state = {name: value.clone() for name, value in conv.state_dict().items()}
    return rearrange(state["weight"], "d c p q -> d (c p q)"), state["bias"]
'''),
    Alternative("each kernel flattened, stacked", '''
def conv_as_linear(conv):
    return torch.stack([kernel.flatten() for kernel in conv.weight]), conv.bias
'''),
    Alternative("asked: what does the convolution answer to each single pixel?", '''
def conv_as_linear(conv):
    features = conv.weight[0].numel()
    pixels = torch.eye(features, dtype=conv.weight.dtype).view(features, *conv.weight.shape[1:])
    answers = conv(pixels).flatten(1)
    return (answers - conv.bias).T, conv.bias
'''),
    Alternative("the Jacobian of the convolution", '''
def conv_as_linear(conv):
    patch = torch.zeros(conv.weight.shape[1:], dtype=conv.weight.dtype)
    slope = torch.autograd.functional.jacobian(lambda x: conv(x[None]).flatten(), patch)
    return slope.reshape(conv.out_channels, -1), conv(patch[None]).flatten()
'''),
    Alternative("the kernels cut as images of one patch", '''
def conv_as_linear(conv):
    patches = F.unfold(conv.weight, conv.kernel_size)
    return patches[..., 0], conv.bias
'''),
    Alternative("number by number", '''
def conv_as_linear(conv):
    D, C, P, Q = conv.weight.shape
    weight = torch.zeros(D, C * P * Q, dtype=conv.weight.dtype, device=conv.weight.device)
    with torch.no_grad():
        for c in range(C):
            for i in range(P):
                for j in range(Q):
                    weight[:, (c * P + i) * Q + j] = conv.weight[:, c, i, j]
    return weight, conv.bias
'''),
    Alternative("a product with the identity, loaded into a linear layer", '''
def conv_as_linear(conv):
    D = conv.out_channels
    linear = nn.Linear(conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1], D).to(conv.weight)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(D, dtype=conv.weight.dtype) @ conv.weight.reshape(D, -1))
        linear.bias.copy_(conv.bias)
    return linear.weight, linear.bias
'''),
    Alternative("the kernels cut by patchify, as images of one patch", '''
def conv_as_linear(conv):
    return patchify(conv.weight, conv.kernel_size[0]).squeeze(1), conv.bias
'''),
)  # fmt: skip

EXERCISE = Exercise("conv_as_linear", conv_as_linear_cases, CONV_AS_LINEAR_WRONG, CONV_AS_LINEAR_OTHER)
