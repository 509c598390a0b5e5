"""The exam of `TokenEmbedding`."""

from __future__ import annotations

import dataclasses
from typing import Any

from autograder.exams.lab2.shared import CODE, REPORTS, TRACKERS, WRITING, sizes
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ModuleCase, Scoring


def tokens_cases(variant: Variant) -> list[ModuleCase]:
    """image_size as a pair and as a number, one and three channels, batches of every size, and of two in a row."""

    def case(name: str, batch: int, channels: int, patch: int, h: int, w: int, **options: Any) -> ModuleCase:
        (dim,) = variant.sizes(1, 7, 11, without=(h * w, h * w + 1))
        shapes = {
            "patches.proj.weight": (dim, channels, patch, patch), "patches.proj.bias": (dim,),
            "cls_token": (1, 1, dim), "position": (1, h * w + 1, dim),
        }  # fmt: skip
        height, width = h * patch, w * patch
        return ModuleCase(
            name, "TokenEmbedding", (variant.normal(batch, channels, height, width),),
            init=(height if h == w else (height, width), patch, channels, dim), weights=variant.weights(shapes),
            loose=("position",), **options,
        )  # fmt: skip

    _, *alone = sizes(variant, "wide")
    cases = [
        case("wide images, with gradients", *sizes(variant, "wide"), gradients=True),
        case("tall images of one channel", *sizes(variant, "tall", channels=1)),
        case("image_size is one number", *sizes(variant, "square")),
        case("three channels, cut out of larger images", *sizes(variant, "tall", channels=3), layout="cropped"),
        case("one image alone", 1, *alone),
    ]
    smaller = case("a smaller batch after a larger one", *sizes(variant, "tall"), scoring=Scoring(share=0.5))
    batch, *image = smaller.args[0].shape
    return [*cases, dataclasses.replace(smaller, before=(variant.normal(batch + 3, *image),))]


T = CODE["TokenEmbedding"]
SIDES = "H, W = (image_size, image_size) if isinstance(image_size, int) else image_size"
EMBED = "ConvPatchEmbedding(patch_size, in_channels, dim)"
CLASS = "self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))"
ROWS = "(H // patch_size) * (W // patch_size) + 1"
PLACES = f"self.position = nn.Parameter(torch.randn(1, {ROWS}, dim) * 0.02)"
FIRST = "cls = self.cls_token.expand(len(images), -1, -1)"
JOINED = "torch.cat([cls, self.patches(images)], dim=1)"
ADDED = f"return {JOINED} + self.position"
TOKENS_WRONG = (
    Misconception(
        "class-token-last",
        "the class token is appended after the patches instead of put before them",
        "Which token will the head read in Lab 3, and where does yours stand?",
        changed(T, (JOINED, "torch.cat([self.patches(images), cls], dim=1)")),
        (48,), TRACKERS,
    ),
    Misconception(
        "class-token-of-zeros",
        "the class token is a tensor of zeros and no nn.Parameter, so that it is neither saved nor trained",
        "Which names does named_parameters() list, and which one is missing?",
        changed(T, (CLASS, "self.cls_token = torch.zeros(1, 1, dim)")),
        (49,), TRACKERS,
    ),
    Misconception(
        "class-token-drawn-anew",
        "the class token is drawn anew in each forward pass, so that there is nothing to train",
        "Call the module twice with the same images: why do the results differ?",
        changed(T, (f"        {CLASS}\n", ""),
                (FIRST, "cls = torch.randn(len(images), 1, self.position.shape[-1], dtype=images.dtype)")),
        (49,), TRACKERS,
    ),
    Misconception(
        "class-token-not-registered",
        "the class token is no nn.Parameter when it is assigned: something was done with the Parameter first "
        "(times 0.02, detach(), or .to(device) with another device), and its result is a plain tensor",
        "What is type(module.cls_token), and does named_parameters() list it?",
        changed(T, (CLASS, "self.cls_token = nn.Parameter(torch.randn(1, 1, dim)) * 0.02")),
        (49,), TRACKERS,
    ),
    Misconception(
        "neither-registered",
        "class token and positions are no nn.Parameter when they are assigned: something was done with the Parameters "
        "first (times 0.02, detach(), or .to(device) with another device, as in a report whose model so trained "
        "neither on its GPU), and its result is a plain tensor",
        "What is type(module.position), and what does named_parameters() list?",
        changed(T, (CLASS, "self.cls_token = nn.Parameter(torch.randn(1, 1, dim)) * 0.02"),
                (PLACES, f"self.position = nn.Parameter(torch.randn(1, {ROWS}, dim)) * 0.02")),
        (49, 55), REPORTS,
    ),
    Misconception(
        "class-token-frozen",
        "the class token has its value but gets no gradient: a buffer, requires_grad=False, or a detach() in forward",
        "After a backward pass, what is cls_token.grad?",
        changed(T, (CLASS, CLASS.replace("dim))", "dim), requires_grad=False)"))),
        (49,), TRACKERS,
    ),
    Misconception(
        "class-token-with-a-batch-dimension",
        "the parameter holds one class token for each sample of a batch of a size fixed in the code",
        "How many class tokens has a model, and what happens when the last batch is smaller?",
        changed(T, (CLASS, "self.cls_token = nn.Parameter(torch.zeros(32, 1, dim))")),
        (50,), "an issue in one of ahmadchalhoub's repositories",
    ),
    Misconception(
        "first-batch-size-kept",
        "the size of the first batch is kept in the module, and the class token is expanded to it ever after, which "
        "fails for a batch of another size, such as the last one of an epoch",
        "From what can this batch's size be read in each forward pass?",
        changed(T, (FIRST, 'self.batch = getattr(self, "batch", None) or len(images)\n'
                           "        cls = self.cls_token.expand(self.batch, -1, -1)")),
        (50,), WRITING,
    ),
    Misconception(
        "class-token-not-expanded",
        "there is one class token for the whole batch where each image needs its own, which works only for an image "
        "that comes alone",
        "How many class tokens does a batch of three images need, and do they need three parameters?",
        changed(T, (FIRST, "cls = self.cls_token")),
        (50,), WRITING,
    ),
    # Any sizes that do not fit give the same words of torch.cat, so this one comes after the narrower idea above.
    Misconception(
        "class-token-repeated-to-a-fixed-batch",
        "class token and patches do not fit where they are concatenated: the class token is repeated to a batch size "
        "fixed in the code (which fails for any other batch, such as the last one of an epoch), or they are joined "
        "along another dimension than the tokens'",
        "Print both shapes before torch.cat: which sizes must agree, and where can this batch's size be read from?",
        changed(T, (FIRST, "cls = self.cls_token.repeat(32, 1, 1)")),
        (50,), REPORTS,
    ),
    Misconception(
        "no-class-token",
        "there is no class token: N tokens come out, with N positions",
        "How many tokens does the docstring promise for N patches?",
        changed(T, (f"        {CLASS}\n", ""), (PLACES, PLACES.replace(" + 1", "")),
                (FIRST, "x = self.patches(images)"), (ADDED, "return x + self.position")),
        (), WRITING,
    ),
    Misconception(
        "a-position-for-each-patch-only",
        "there are N positions, none for the class token",
        "How many tokens are there when the positions are added?",
        changed(T, (PLACES, PLACES.replace(" + 1", "")),
                (ADDED, "return torch.cat([cls, self.patches(images) + self.position], dim=1)")),
        (51, 54), "labml issue 221",
    ),
    Misconception(
        "class-token-without-position",
        "the positions are added to the patches only, and the row of the class token is left unused",
        "Which row of position gets no gradient?",
        changed(T, (ADDED, "return torch.cat([cls, self.patches(images) + self.position[:, 1:]], dim=1)")),
        (51,), TRACKERS,
    ),
    Misconception(
        "no-positions",
        "there is no parameter position, so that the tokens of a shuffled image are the same set",
        "How would attention know which of two equal patches was on the left?",
        changed(T, (f"        {PLACES}\n", ""), (ADDED, f"return {JOINED}")),
        (52,), TRACKERS,
    ),
    Misconception(
        "positions-never-added",
        "the parameter position is there but is never used",
        "After a backward pass, what is position.grad?",
        changed(T, (ADDED, f"return {JOINED}")),
        (52,), TRACKERS,
    ),
    Misconception(
        "positions-shifted",
        "the positions are shifted by one: the first patch gets row 0, and the class token the last row",
        "Which token is the first of the sequence, and which row of position belongs to it?",
        changed(T, ("+ self.position", "+ self.position.roll(1, dims=1)")),
        (53,), TRACKERS,
    ),
    Misconception(
        "one-position-for-all",
        "the first row of position is added to every token",
        "Exchange two patches of an image: what else must change than the order of the tokens?",
        changed(T, ("+ self.position", "+ self.position[:, :1]")),
        (53,), TRACKERS,
    ),
    Misconception(
        "positions-multiplied",
        "the tokens are multiplied by the positions instead of added to them",
        "What is the operation between tokens and positions in equation 1?",
        changed(T, ("+ self.position", "* self.position")),
        (53,), TRACKERS,
    ),
    Misconception(
        "positions-subtracted",
        "the positions are subtracted from the tokens",
        "What is the operation between tokens and positions in equation 1?",
        changed(T, ("+ self.position", "- self.position")),
        (53,), TRACKERS,
    ),
    Misconception(
        "positions-added-twice",
        "the patches get their positions twice, once before the class token joins them and once after",
        "How often does position stand in equation 1?",
        changed(T, (JOINED, "torch.cat([cls, self.patches(images) + self.position[:, 1:]], dim=1)")),
        (53,), TRACKERS,
    ),
    Misconception(
        "positions-concatenated",
        "the positions are laid beside the tokens' features, which makes tokens of 2 * D, instead of added to them",
        "How many features should a token have when it leaves this module?",
        changed(T, (ADDED, f"return torch.cat([{JOINED}, self.position.expand(len(images), -1, -1)], dim=-1)")),
        (54,), TRACKERS,
    ),
    Misconception(
        "positions-as-further-tokens",
        "the positions are appended as further tokens instead of added to those that are there",
        "How many tokens should come out for N patches?",
        changed(T, (ADDED, f"return torch.cat([{JOINED}, self.position.expand(len(images), -1, -1)], dim=1)")),
        (54,), WRITING,
    ),
    Misconception(
        "positions-not-registered",
        "position is no nn.Parameter when it is assigned: a plain tensor, or a Parameter with which something was done "
        "first (times 0.02, detach(), or .to(device) with another device)",
        "What is type(module.position), and does named_parameters() list it?",
        changed(T, (PLACES, f"self.position = nn.Parameter(torch.randn(1, {ROWS}, dim)) * 0.02")),
        (55,), TRACKERS,
    ),
    Misconception(
        "positions-frozen",
        "the positions have their values but get no gradient: a buffer, requires_grad=False, or a detach() in forward",
        "After a backward pass, what is position.grad?",
        changed(T, (PLACES, PLACES.replace("0.02)", "0.02, requires_grad=False)"))),
        (55,), TRACKERS,
    ),
    Misconception(
        "writes-into-what-was-expanded",
        "the patches are written in place into a tensor made by expand, whose samples all share one piece of memory: "
        "the parameter itself",
        "How much memory does expand allocate for a batch of 32, and who else uses it?",
        changed(T, (FIRST, "tokens = self.position.expand(len(images), -1, -1)"),
                (ADDED, "tokens[:, :1] += self.cls_token\n        tokens[:, 1:] += self.patches(images)\n"
                        "        return tokens")),
        (56,), TRACKERS,
    ),
    Misconception(
        "square-images-only",
        "image_size must be a number; a pair (H, W) fails",
        "What may image_size be, by the docstring?",
        changed(T, (f"        {SIDES}\n", ""), (ROWS, "(image_size // patch_size) ** 2 + 1")),
        (45,), TRACKERS,
    ),
    Misconception(
        "pairs-only",
        "image_size must be a pair (H, W); a number fails",
        "What may image_size be, by the docstring?",
        changed(T, (SIDES, "H, W = image_size")),
        (45,), WRITING,
    ),
    Misconception(
        "square-grid",
        "the number of patches down is squared for the whole grid, which fits square images only",
        "How many patches stand side by side in an image of H x W pixels?",
        changed(T, (ROWS, "(H // patch_size) ** 2 + 1")),
        (45,), TRACKERS,
    ),
    Misconception(
        "length-from-the-patch-size",
        "there are patch_size + 1 positions, which is right only where P happens to be the number of patches (images "
        "of 64 pixels in patches of 16: 4 * 4 patches)",
        "How many patches has an image of H x W pixels, and does your number change with the image?",
        changed(T, (ROWS, "patch_size + 1")),
        (), REPORTS,
    ),
    Misconception(
        "length-from-the-patch-size-squared",
        "there are P * P + 1 positions, one for each pixel of a patch instead of one for each patch",
        "How many patches has an image of H x W pixels, and does your number change with the image?",
        changed(T, (ROWS, "patch_size**2 + 1")),
        (47,), WRITING,
    ),
    Misconception(
        "area-divided-by-the-side",
        "the number of patches is taken to be H * W / P instead of H * W / (P * P)",
        "How many pixels has one patch?",
        changed(T, (ROWS, "H * W // patch_size + 1")),
        (47,), WRITING,
    ),
    Misconception(
        "linear-instead-of-convolution",
        "patches is a LinearPatchEmbedding, whose weight has another shape than the convolution's",
        "Which of the two embeddings does the docstring name?",
        changed(T, (EMBED, EMBED.replace("Conv", "Linear"))),
        (), WRITING,
    ),
    Misconception(
        "patches-scaled-by-root",
        "the patches are multiplied by sqrt(D), as the first Transformer did with its words, but equation 1 does not",
        "Which factors stand in equation 1?",
        changed(T, (JOINED, JOINED.replace("(images)", "(images) * math.sqrt(cls.shape[-1])"))),
        (), WRITING,
    ),
    Misconception(
        "dropout-that-never-stops",
        "features are dropped at random when the module is evaluated, too",
        "When must dropout be off, and who tells F.dropout?",
        changed(T, (ADDED, f"return F.dropout({JOINED} + self.position, 0.5)")),
        (16,), TRACKERS,
    ),
)  # fmt: skip


def tokens(forward: str, init: str = "", before: str = "") -> str:
    """The class with another forward, indented by eight spaces, and what is special in its constructor."""
    usual = f"""
        {SIDES}
        self.patches = {EMBED}
        {CLASS}
        {PLACES}
"""
    return f"""{before}
class TokenEmbedding(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        {(init or usual).strip()}

    def forward(self, images):
        {forward.strip()}
"""


TOKENS_OTHER = (
    Alternative("in the style of timm: expand, cat, dropout after the positions", tokens(init=f"""
        img_size = image_size if isinstance(image_size, tuple) else (image_size, image_size)
        self.patches = {EMBED}
        num_patches = (img_size[0] // patch_size) * (img_size[1] // patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, num_patches + 1, dim) * .02)
        self.pos_drop = nn.Dropout(p=0.1)
""", forward="""
        x = self.patches(images)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.pos_drop(x + self.position)
""")),
    Alternative("in the style of vit-pytorch: einops' repeat, positions added in place", tokens(
        before="from einops import repeat", forward="""
        found = self.patches(images)
        first = repeat(self.cls_token, "1 1 d -> b 1 d", b=found.shape[0])
        sequence = torch.cat((first, found), dim=1)
        sequence += self.position[:, : sequence.shape[1]]
        return sequence
""")),
    Alternative("in the style of torchvision: position without a batch dimension", tokens(init="""
        if isinstance(image_size, int):
            image_size = [image_size, image_size]
        self.patches = nn.Module()
        self.patches.proj = nn.Conv2d(in_channels, dim, patch_size, patch_size)
        seq_length = (image_size[0] // patch_size) * (image_size[1] // patch_size) + 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.empty(seq_length, dim).normal_(std=0.02))
""", forward="""
        n = images.shape[0]
        x = self.patches.proj(images)
        x = x.reshape(n, x.shape[1], -1).permute(0, 2, 1)
        batch_class_token = self.cls_token.expand(n, -1, -1)
        x = torch.cat([batch_class_token, x], dim=1)
        return x + self.position.unsqueeze(0)
""")),
    Alternative("positions added to class token and patches one by one", tokens(forward="""
        x = self.patches(images) + self.position[:, 1:]
        cls = self.cls_token + self.position[:, :1]
        return torch.cat([cls.repeat(x.size(0), 1, 1), x], dim=1)
""")),
    Alternative("filled into an empty sequence", tokens(forward="""
        x = self.patches(images)
        out = x.new_empty(x.shape[0], x.shape[1] + 1, x.shape[2])
        out[:, 0] = self.cls_token[0, 0]
        out[:, 1:] = x
        return torch.add(out, self.position)
""")),
    Alternative("a row of zeros for the class token by padding", tokens(forward="""
        x = F.pad(self.patches(images), (0, 0, 1, 0))
        first = F.one_hot(torch.zeros(1, dtype=torch.long), x.shape[1]).to(x)
        return x + first.unsqueeze(-1) * self.cls_token + self.position
""")),
    Alternative("image by image, stacked", tokens(forward="""
        place = self.position.squeeze(0)
        return torch.stack([torch.vstack([self.cls_token[0], self.patches(i[None])[0]]) + place for i in images])
""")),
    Alternative("rows of position looked up by number, a product as convolution", tokens(init="""
        height, width = image_size if isinstance(image_size, tuple) else (image_size,) * 2
        self.patches = nn.ModuleDict({"proj": nn.Conv2d(in_channels, dim, patch_size, patch_size)})
        count = height // patch_size * (width // patch_size) + 1
        self.register_buffer("places", torch.arange(count), persistent=False)
        self.register_parameter("cls_token", nn.Parameter(torch.randn(1, 1, dim)))
        self.register_parameter("position", nn.Parameter(torch.randn(count, dim)))
""", forward="""
        proj = self.patches["proj"]
        x = patchify(images, proj.kernel_size[0])
        x = F.linear(x, proj.weight.flatten(1), proj.bias)
        x = torch.cat([torch.broadcast_to(self.cls_token, (len(x), 1, x.shape[2])), x], 1)
        return x + F.embedding(self.places, self.position)
""")),
    Alternative("patchify and the weights of conv_as_linear", '''
class TokenEmbedding(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        H, W = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.patch_size = patch_size
        self.patches = ConvPatchEmbedding(patch_size, in_channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, (H // patch_size) * (W // patch_size) + 1, dim) * 0.02)

    def forward(self, images):
        found = F.linear(patchify(images, self.patch_size), *conv_as_linear(self.patches.proj))
        return torch.cat([self.cls_token.expand(len(found), -1, -1), found], dim=1) + self.position
'''),
)  # fmt: skip

EXERCISE = Exercise("TokenEmbedding", tokens_cases, TOKENS_WRONG, TOKENS_OTHER)
