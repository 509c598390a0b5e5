"""The exam of `SmallCNN`."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.lab import solution_cells
from autograder.labs.variants import Variant
from vitedu.probe.case import ModuleCase, Scoring

CODE = solution_cells("lab7_vit_or_cnn")
REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public CNN code and of courses"
WRITING = "thought of while writing this exam"


def cnn_weights(variant: Variant, channels: int, classes: int, width: int) -> dict[str, Tensor]:
    """Random values for everything in a SmallCNN's state_dict; running variances are positive."""
    weights, inside = {}, channels
    for i, outside in enumerate((width, 2 * width, 4 * width), start=1):
        scale = (9 * inside) ** -0.5
        weights[f"conv{i}.weight"] = variant.normal(outside, inside, 3, 3, scale=1.5 * scale)
        weights[f"conv{i}.bias"] = variant.normal(outside, scale=0.5)
        # A scale of either sign: the maximum of a pool and a norm may then not be exchanged.
        weights[f"norm{i}.weight"] = variant.normal(outside, scale=1.5)
        weights[f"norm{i}.bias"] = variant.normal(outside, scale=0.5)
        weights[f"norm{i}.running_mean"] = variant.normal(outside, scale=0.5)
        weights[f"norm{i}.running_var"] = 0.5 + variant.normal(outside).abs()
        weights[f"norm{i}.num_batches_tracked"] = variant.normal().abs().long() + 1
        inside = outside
    return weights | variant.weights({"head.weight": (classes, 4 * width), "head.bias": (classes,)})


def cnn_cases(variant: Variant) -> list[ModuleCase]:
    """Rectangular images in both modes, one alone, odd sides, images cut out of others, and two calls in a row."""

    def case(name: str, batch: int, height: int, width: int, **options: Any) -> ModuleCase:
        (channels,) = variant.sizes(1, 1, 4)
        (classes,) = variant.sizes(1, 3, 6, without=(channels,))
        (features,) = variant.sizes(1, 2, 4, without=(channels, classes))
        images = variant.normal(batch, channels, height, width, scale=1.5)
        weights = cnn_weights(variant, channels, classes, features)
        return ModuleCase(name, "SmallCNN", (images,), init=(channels, classes, features), weights=weights, **options)

    def sides(extra: tuple[int, int] = (0, 0)) -> list[int]:
        # Large enough that something is left even where the convolutions have no padding.
        return [4 * n + more for n, more in zip(variant.sizes(2, 5, 7), extra, strict=True)]

    cases = [
        case("eval mode, with gradients", 2, *sides(), gradients=True),
        case("one image alone", 1, *sides()),
        case("sides that cannot be halved twice", 3, *sides((1, 2))),
        case("images cut out of larger ones", 2, *sides(), layout="cropped"),
        case("training mode: the batch's own statistics", 4, *sides(), train=True),
    ]
    second = case("a second call, with fewer and smaller images", 2, *sides(), scoring=Scoring(share=0.5))
    batch, channels, height, width = second.args[0].shape
    before = (variant.normal(batch + 1, channels, height + 4, width + 8),)
    return [*cases, dataclasses.replace(second, before=before)]


C = CODE["SmallCNN"]
BLOCK = "F.max_pool2d(F.relu(self.norm{0}(self.conv{0}(x))), 2)"
THIRD = "F.relu(self.norm3(self.conv3(x)))"
MEAN = "x.mean(dim=(2, 3))"


def both(new: str) -> str:
    """SmallCNN with another first and second block; `{0}` stands for the block's number."""
    return changed(C, *((BLOCK.format(i), new.format(i)) for i in (1, 2)))


def three(new: str) -> str:
    """SmallCNN with other activations or norms in all blocks: `new` stands for relu(norm(conv))."""
    inner = "F.relu(self.norm{0}(self.conv{0}(x)))"
    return changed(C, *((inner.format(i), new.format(i)) for i in (1, 2, 3)))


def convolutions(new: str) -> str:
    """SmallCNN with other arguments for all convolutions."""
    return C.replace("kernel_size=3, padding=1", new)


CNN_WRONG = (
    Misconception(
        "no-padding",
        "the convolutions have no padding, so that each takes a pixel off every side",
        "How large is what conv1 makes of an image of 8 by 12 pixels?",
        convolutions("kernel_size=3"),
        (), TRACKERS,
    ),
    Misconception(
        "padding-of-two",
        "the convolutions are padded by two pixels a side, so that each makes the image larger",
        "How large is what conv1 makes of an image of 8 by 12 pixels?",
        convolutions("kernel_size=3, padding=2"),
        (), WRITING,
    ),
    Misconception(
        "edges-repeated",
        "the padding repeats or mirrors the pixels at the edge instead of being zeros",
        "What stands outside the image when padding=1 is all that one says?",
        convolutions('kernel_size=3, padding=1, padding_mode="replicate"'),
        (), WRITING,
    ),
    Misconception(
        "kernels-of-five",
        "the kernels are 5 x 5 instead of 3 x 3",
        "How many weights has conv1 for each pair of an input and an output channel?",
        convolutions("kernel_size=5, padding=2"),
        (), WRITING,
    ),
    Misconception(
        "no-pooling",
        "nothing is pooled, and the features keep the size of the image until the mean",
        "How many positions has what conv3 sees, for an image of 8 by 12 pixels?",
        both("F.relu(self.norm{0}(self.conv{0}(x)))"),
        (), WRITING,
    ),
    Misconception(
        "pools-once",
        "only the first block pools",
        "How many positions has what conv3 sees, for an image of 8 by 12 pixels?",
        changed(C, (BLOCK.format(2), "F.relu(self.norm2(self.conv2(x)))")),
        (), WRITING,
    ),
    Misconception(
        "pools-three-times",
        "the third block pools as well, before the mean",
        "Which blocks halve the sides, by the table?",
        changed(C, (THIRD, f"F.max_pool2d({THIRD}, 2)")),
        (), WRITING,
    ),
    Misconception(
        "mean-instead-of-max-pooling",
        "each 2 x 2 square is replaced by its mean instead of its maximum",
        "What does a pool of the values 0, 0, 0, 8 give?",
        both("F.avg_pool2d(F.relu(self.norm{0}(self.conv{0}(x))), 2)"),
        (), TRACKERS,
    ),
    Misconception(
        "one-pixel-instead-of-max-pooling",
        "of each 2 x 2 square the first pixel is kept, as a convolution with a stride of 2 does, instead of the "
        "maximum",
        "How many of the four pixels of a square can change your result?",
        both("F.relu(self.norm{0}(self.conv{0}(x)))[:, :, ::2, ::2]"),
        (), WRITING,
    ),
    Misconception(
        "overlapping-pools",
        "the pools are 3 x 3 squares at a distance of 2, which overlap",
        "How many pixels has a square, and does a pixel belong to two of them?",
        both("F.max_pool2d(F.relu(self.norm{0}(self.conv{0}(x))), 3, 2, 1)"),
        (), WRITING,
    ),
    Misconception(
        "pools-at-every-pixel",
        "the pools move on by one pixel instead of two, so that the sides are hardly smaller",
        "How many positions has what conv2 sees, for an image of 8 by 12 pixels?",
        both("F.max_pool2d(F.relu(self.norm{0}(self.conv{0}(x))), 2, 1)"),
        (), TRACKERS,
    ),
    Misconception(
        "rounds-up",
        "a last row or column that has no partner is pooled by itself instead of being dropped (ceil_mode=True)",
        "How many rows are left of 9?",
        both("F.max_pool2d(F.relu(self.norm{0}(self.conv{0}(x))), 2, ceil_mode=True)"),
        (), WRITING,
    ),
    Misconception(
        "no-activation",
        "there is no ReLU anywhere",
        "What can the features of norm3 be that a ReLU's result cannot?",
        three("self.norm{0}(self.conv{0}(x))"),
        (), TRACKERS,
    ),
    Misconception(
        "no-last-activation",
        "the third block has no ReLU",
        "Of what is the mean taken: of numbers of both signs?",
        changed(C, (THIRD, "self.norm3(self.conv3(x))")),
        (), WRITING,
    ),
    Misconception(
        "gelu",
        "the activation is a GELU, as in the transformer, instead of a ReLU",
        "What does your activation give for -0.5?",
        three("F.gelu(self.norm{0}(self.conv{0}(x)))"),
        (), WRITING,
    ),
    Misconception(
        "leaky-relu",
        "the activation lets a part of the negative numbers through (a leaky ReLU)",
        "What does your activation give for -0.5?",
        three("F.leaky_relu(self.norm{0}(self.conv{0}(x)))"),
        (), WRITING,
    ),
    Misconception(
        "norm-after-the-activation",
        "the BatchNorm comes after the ReLU instead of before it",
        "Can the features that leave a block be negative in your network?",
        three("self.norm{0}(F.relu(self.conv{0}(x)))"),
        (), TRACKERS,
    ),
    Misconception(
        "norm-after-the-pool",
        "the pool stands before norm and ReLU instead of after them",
        "A BatchNorm may turn a channel's sign round: which pixel of a square is then the largest?",
        both("F.relu(self.norm{0}(F.max_pool2d(self.conv{0}(x), 2)))"),
        (), WRITING,
    ),
    Misconception(
        "no-norms",
        "there are no BatchNorms",
        "Which layers does the docstring name?",
        changed(three("F.relu(self.conv{0}(x))"),
                *((f"        self.norm{i} = nn.BatchNorm2d({w})\n", "")
                  for i, w in ((1, "width"), (2, "2 * width"), (3, "4 * width")))),
        (), TRACKERS,
    ),
    Misconception(
        "norms-not-called",
        "the BatchNorms are made and never called",
        "What does forward do with norm1?",
        three("F.relu(self.conv{0}(x))"),
        (), TRACKERS,
    ),
    Misconception(
        "statistics-of-the-batch-always",
        "BatchNorm uses the batch's own statistics in eval mode, too",
        "Does your network say the same to an image alone and in a batch, after eval()?",
        three("F.relu(F.batch_norm(self.conv{0}(x), None, None, self.norm{0}.weight, self.norm{0}.bias, True))"),
        (), TRACKERS,
    ),
    Misconception(
        "stored-statistics-always",
        "BatchNorm uses the stored statistics in training mode, too",
        "Which mean and variance does a BatchNorm take while the network is trained?",
        three("F.relu(F.batch_norm(self.conv{0}(x), self.norm{0}.running_mean, self.norm{0}.running_var, "
              "self.norm{0}.weight, self.norm{0}.bias))"),
        (), WRITING,
    ),
    Misconception(
        "statistics-not-kept",
        "the norms keep no running statistics (a GroupNorm, or track_running_stats=False)",
        "What does a BatchNorm know of earlier batches when it meets one image alone?",
        C.replace("width)\n        self.conv", "width, track_running_stats=False)\n        self.conv").replace(
            "nn.BatchNorm2d(4 * width)", "nn.BatchNorm2d(4 * width, track_running_stats=False)"),
        (), TRACKERS,
    ),
    Misconception(
        "convolutions-without-bias",
        "the convolutions have no bias: as a BatchNorm follows, that can learn the same, but the course fixes the "
        "parameters",
        "Which parameters has conv1 by the docstring?",
        convolutions("kernel_size=3, padding=1, bias=False"),
        (), TRACKERS,
    ),
    Misconception(
        "width-not-doubled",
        "all three blocks have the same width",
        "How many channels leave the second block, by the table?",
        C.replace("2 * width", "width").replace("4 * width", "width"),
        (), WRITING,
    ),
    Misconception(
        "head-in-place-of-width",
        "width and num_classes have changed places",
        "In which order does the constructor take its three arguments?",
        changed(C, ("num_classes: int, width: int", "width: int, num_classes: int")),
        (), WRITING,
    ),
    Misconception(
        "maximum-over-the-image",
        "of each feature the largest value in the image is taken, not the mean",
        "What does the last step do with the positions that are left?",
        changed(C, (MEAN, "x.amax(dim=(2, 3))")),
        (), TRACKERS,
    ),
    Misconception(
        "sum-over-the-image",
        "each feature is added up over the image instead of averaged, so that larger images give larger logits",
        "How does your result change when the image is twice as large and shows the same?",
        changed(C, (MEAN, "x.sum(dim=(2, 3))")),
        (), WRITING,
    ),
    Misconception(
        "one-position",
        "the head reads the features at a single position",
        "How many of the image's pixels can change your logits?",
        changed(C, (MEAN, "x[:, :, 0, 0]")),
        (), WRITING,
    ),
    Misconception(
        "flattened",
        "all positions are flattened into the head, which fits images of one size only",
        "How many numbers a sample does your head read, and on what does that depend?",
        changed(C, (MEAN, "x.flatten(1)")),
        (), TRACKERS,
    ),
    Misconception(
        "softmax-at-the-end",
        "a softmax stands at the end, where logits are asked for",
        "What do the numbers of a row add up to, and what does the cross-entropy do with them?",
        changed(C, (f"self.head({MEAN})", f"self.head({MEAN}).softmax(dim=1)")),
        (), TRACKERS,
    ),
    Misconception(
        "log-softmax-at-the-end",
        "a log-softmax stands at the end, where logits are asked for",
        "What does the cross-entropy do with what it gets?",
        changed(C, (f"self.head({MEAN})", f"self.head({MEAN}).log_softmax(dim=1)")),
        (), TRACKERS,
    ),
    Misconception(
        "relu-on-the-logits",
        "a ReLU stands at the end, so that no logit is negative",
        "Can a class be less likely in your network than one whose logit is 0?",
        changed(C, (f"self.head({MEAN})", f"F.relu(self.head({MEAN}))")),
        (), WRITING,
    ),
    Misconception(
        "activation-changes-the-images",
        "a ReLU that works in place is applied to the images, which changes the caller's tensor",
        "What do the images hold after the call?",
        changed(C, (BLOCK.format(1), BLOCK.format(1).replace("self.conv1(x)", "self.conv1(F.relu(x, inplace=True))"))),
        (), WRITING,
    ),
)  # fmt: skip
MADE = C[: C.index("\n    def forward")]


def with_forward(forward: str, *before: str) -> str:
    """The model answer's layers, and another forward."""
    return "\n".join([*before, MADE, forward])


CNN_OTHER = (
    Alternative("in the style of torchvision: a Sequential whose layers have names, ReLUs in place, adaptive pool", '''
from collections import OrderedDict

class SmallCNN(nn.Sequential):
    def __init__(self, in_channels, num_classes, width):
        layers = OrderedDict()
        for i, planes in enumerate((width, 2 * width, 4 * width), start=1):
            layers[f"conv{i}"] = nn.Conv2d(in_channels, planes, 3, 1, 1)
            layers[f"norm{i}"] = nn.BatchNorm2d(planes)
            layers[f"relu{i}"] = nn.ReLU(inplace=True)
            if i < 3:
                layers[f"pool{i}"] = nn.MaxPool2d(2, 2)
            in_channels = planes
        layers["avgpool"] = nn.AdaptiveAvgPool2d((1, 1))
        layers["flatten"] = nn.Flatten()
        layers["head"] = nn.Linear(in_channels, num_classes)
        super().__init__(layers)
'''),
    Alternative("in the style of timm: a block's norm and activation in one, the pool before the activation", '''
class SmallCNN(nn.Module):
    def __init__(self, in_channels, num_classes, width):
        super().__init__()
        in_chs = in_channels
        for i in range(3):
            out_chs = width * 2**i
            setattr(self, f"conv{i + 1}", nn.Conv2d(in_chs, out_chs, 3, padding="same"))
            setattr(self, f"norm{i + 1}", nn.BatchNorm2d(out_chs))
            in_chs = out_chs
        self.num_features = in_chs
        self.head = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x):
        x = self.norm1(self.conv1(x))
        x = F.max_pool2d(x, 2).clamp(min=0)
        x = self.norm2(self.conv2(x))
        x = F.max_pool2d(x, 2).clamp(min=0)
        return self.norm3(self.conv3(x)).clamp(min=0)

    def forward(self, x):
        return self.head(F.avg_pool2d(x := self.forward_features(x), x.shape[-2:]).squeeze((2, 3)))
'''),
    Alternative("the largest of four strided views; a threshold; a sum over positions", with_forward('''
    def forward(self, x):
        x = halve(F.threshold(self.norm1(self.conv1(x)), 0.0, 0.0))
        x = halve(F.threshold(self.norm2(self.conv2(x)), 0.0, 0.0))
        x = F.threshold(self.norm3(self.conv3(x)), 0.0, 0.0)
        return self.head(x.flatten(2).sum(dim=2) / (x.shape[2] * x.shape[3]))
''', '''
def halve(x):
    x = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
    upper = torch.maximum(x[:, :, 0::2, 0::2], x[:, :, 0::2, 1::2])
    return torch.maximum(upper, torch.maximum(x[:, :, 1::2, 0::2], x[:, :, 1::2, 1::2]))

''')),
    Alternative("convolutions as products with the patches of unfold, einops for the rest", with_forward('''
    def forward(self, x):
        import einops
        blocks = ((self.conv1, self.norm1), (self.conv2, self.norm2), (self.conv3, self.norm3))
        for i, (conv, norm) in enumerate(blocks):
            height, width = x.shape[2:]
            columns = F.unfold(x, 3, padding=1)
            x = (conv.weight.flatten(1) @ columns + conv.bias[:, None]).unflatten(2, (height, width))
            x = norm(x).relu()
            if i < 2:
                x = x[:, :, : height // 2 * 2, : width // 2 * 2]
                x = einops.reduce(x, "b c (h two) (w deux) -> b c h w", "max", two=2, deux=2)
        return self.head(einops.reduce(x, "b c h w -> b c", "mean"))
''')),
    Alternative("nine shifted images, an einsum for each; the norm written out", with_forward('''
    def forward(self, x):
        x = F.max_pool2d(self.block(x, self.conv1, self.norm1), 2)
        x = F.max_pool2d(self.block(x, self.conv2, self.norm2), 2)
        x = self.block(x, self.conv3, self.norm3)
        return torch.einsum("bchw,kc->bk", x, self.head.weight) / x[0, 0].numel() + self.head.bias

    def block(self, x, conv, norm):
        height, width = x.shape[2:]
        padded = F.pad(x, (1, 1, 1, 1))
        out = conv.bias[:, None, None]
        for i in range(3):
            for j in range(3):
                part = padded[:, :, i : i + height, j : j + width]
                out = out + torch.einsum("bchw,oc->bohw", part, conv.weight[:, :, i, j])
        mean, var = norm.running_mean, norm.running_var
        if self.training:
            mean, var = out.mean((0, 2, 3)), out.var((0, 2, 3), unbiased=False)
        out = (out - mean[:, None, None]) / (var[:, None, None] + norm.eps).sqrt()
        return (out * norm.weight[:, None, None] + norm.bias[:, None, None]).relu()
''')),
    Alternative("in eval mode the norms folded into the convolutions, as for deployment", with_forward('''
    def forward(self, x):
        x = nn.functional.max_pool2d(self.fused(x, self.conv1, self.norm1), kernel_size=2, stride=2)
        x = nn.functional.max_pool2d(self.fused(x, self.conv2, self.norm2), kernel_size=2, stride=2)
        x = self.fused(x, self.conv3, self.norm3)
        return F.linear(x.flatten(2).mean(-1), self.head.weight, self.head.bias)

    def fused(self, x, conv, norm):
        if self.training:
            return norm(conv(x)).relu()
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        bias = (conv.bias - norm.running_mean) * scale + norm.bias
        return F.conv2d(x, conv.weight * scale.view(-1, 1, 1, 1), bias, padding=1).relu()
''')),
    Alternative("one image after the other where the mode allows it; channels last; squares by unfold", with_forward('''
    def forward(self, x):
        if not self.training:
            return torch.cat([self.some(image) for image in x.split(1)])
        return self.some(x)

    def some(self, x):
        x = x.contiguous(memory_format=torch.channels_last)
        for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2)):
            x = torch.max(torch.zeros_like(y := norm(conv(x))), y)
            x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-2, -1))
        x = torch.relu(self.norm3(self.conv3(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1)[..., 0, 0])
''')),
)  # fmt: skip

EXERCISE = Exercise("SmallCNN", cnn_cases, CNN_WRONG, CNN_OTHER, ("resnet18", "create_model"))
