"""Lab 5's exam of EncoderViT: two encoders, a real BERT and a stand-in that is called in the same way.

The stand-in has no pooler and weighs tokens by their place, so what only BERT offers, or what only
holds for equal tokens, shows. The BERT is as small as BERTs can be; its import is what takes time.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.lab import solution_cells
from autograder.labs.variants import Variant
from vitedu.probe import encoders
from vitedu.probe.case import ModuleCase, Scoring

CODE = solution_cells("lab5_libraries")
REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public ViT code and of courses"
WRITING = "thought of while writing this exam"
MOST = 12  # tokens for which the encoders have positions


def encoder_cases(variant: Variant) -> list[ModuleCase]:
    """Both encoders, oblong images, a lone image after several, images cut out of larger ones, and dropout in both."""

    def case(name: str, kind: str, batch: int | None = None, dropout: float = 0.0, **options: Any) -> ModuleCase:
        channels, classes, batches = variant.sizes(3, 2, 5)
        patch = variant.sizes(1, 2, 3)[0]
        rows, columns = variant.sizes(2, 2, 4)  # 8 patches at most; never square
        while rows * columns + 1 > MOST:
            rows, columns = variant.sizes(2, 2, 4)
        heads, width = (2, 3) if variant.sizes(1, 0, 1)[0] else (3, 2)
        dim = heads * width + (0 if kind == "bert" else variant.sizes(1, 1, 3)[0])
        hidden = variant.sizes(1, 7, 10)[0]
        sizes = (dim, 2, heads, hidden, MOST, dropout) if kind == "bert" else (dim, MOST)
        images = variant.normal(batch or batches, channels, rows * patch, columns * patch)
        line = (encoders.MARK, kind, *sizes)
        init, weights = (patch, channels, classes, line), model_weights(variant, patch, channels, classes, line)
        return ModuleCase(name, "EncoderViT", (images,), init=init, weights=weights, loose=("cls_token",), **options)

    half: dict[str, Any] = {"dropout": 0.5, "train": True, "scoring": Scoring(random=True)}
    cases = [
        case("a stand-in for the encoder, with gradients", "stand-in", gradients=True),
        case("a BERT, with gradients", "bert", gradients=True),
        case("one image alone", "bert", batch=1),
        case("images cut out of larger ones", "stand-in", layout="cropped"),
        case("a BERT without dropout in training mode: nothing is dropped", "bert", train=True),
        case("a BERT with dropout in training mode: two calls differ", "bert", **half),
    ]
    later = case("one image after several", "stand-in", batch=1, scoring=Scoring(share=0.5))
    _, *image = later.args[0].shape
    later = dataclasses.replace(later, before=(variant.normal(3, *image),))
    name = "a BERT with dropout in eval mode: nothing is dropped"
    return [*cases, later, case(name, "bert", dropout=0.5, scoring=Scoring(share=0.5))]


def model_weights(
    variant: Variant, patch: int, channels: int, classes: int, line: tuple[Any, ...]
) -> dict[str, Tensor]:
    """Random values for everything in an EncoderViT, around 1 for the scales of LayerNorms."""
    dim = line[2]
    shapes = {
        "patch_embed.weight": (dim, channels, patch, patch), "patch_embed.bias": (dim,), "cls_token": (1, 1, dim),
        "readout.weight": (classes, dim), "readout.bias": (classes,),
    }  # fmt: skip
    shapes |= {f"encoder.{key}": tuple(t.shape) for key, t in encoders.made(line).state_dict().items()}
    scales = [key for key in shapes if key.endswith("LayerNorm.weight")]
    return {key: value + (key in scales) for key, value in variant.weights(shapes).items()}


E = CODE["EncoderViT"]
CONV = "self.patch_embed = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)"
TOKEN = "self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))"
READOUT = "self.readout = nn.Linear(dim, num_classes)"
PATCHES = "self.patch_embed(images).flatten(2).transpose(1, 2)"
EXPAND = "self.cls_token.expand(len(images), -1, -1)"
JOINED = "torch.cat([cls, patches], dim=1)"
CALL = "self.encoder(inputs_embeds=tokens)"
READ = "output.last_hidden_state[:, 0, :]"
KEPT = "self.encoder = encoder"
ENCODER_WRONG = (
    Misconception(
        "tokens-as-word-numbers",
        "the tokens are the encoder's first argument, where it expects numbers of words (input_ids)",
        "What is the first argument of the encoder's forward, and under which name do vectors go in?",
        changed(E, (CALL, "self.encoder(tokens)")),
        (), WRITING,
    ),
    Misconception(
        "pooler-output",
        "pooler_output is read: token 0 after one more linear layer and a tanh, which some encoders have and others "
        "have not",
        "What happens to token 0 on its way to pooler_output, and which field comes straight from the last layer?",
        changed(E, (READ, "output.pooler_output")),
        (), TRACKERS,
    ),
    Misconception(
        "pooler-if-there-is-one",
        "pooler_output is read wherever the encoder has one",
        "What happens to token 0 on its way to pooler_output?",
        changed(E, (READ, '(output["pooler_output"] if "pooler_output" in output else output[0][:, 0])')),
        (), WRITING,
    ),
    Misconception(
        "tanh-before-the-readout",
        "a tanh stands between the class token and the readout, as in BERT's pooler",
        "Which layers stand between last_hidden_state and the logits, by the docstring?",
        changed(E, (READ, f"torch.tanh({READ})")),
        (), WRITING,
    ),
    Misconception(
        "mean-over-all-tokens",
        "the readout gets the mean over all tokens, the class token included",
        "Which token of last_hidden_state is the class token, and what does a mean make of it?",
        changed(E, (READ, "output.last_hidden_state.mean(dim=1)")),
        (69,), REPORTS,
    ),
    Misconception(
        "mean-over-the-patches",
        "the readout gets the mean over the patches instead of the class token",
        "Which token of last_hidden_state is the class token?",
        changed(E, (READ, "output.last_hidden_state[:, 1:].mean(dim=1)")),
        (69,), TRACKERS,
    ),
    Misconception(
        "mean-over-the-features",
        "the mean is taken over the features of each token instead of a token being picked",
        "Which axis of (B, N+1, D) are the tokens?",
        changed(E, (READ, "output.last_hidden_state.mean(dim=-1)")),
        (74,), WRITING,
    ),
    Misconception(
        "largest-of-the-tokens",
        "the readout gets the largest value of each feature over all tokens",
        "Which token of last_hidden_state is the class token?",
        changed(E, (READ, "output.last_hidden_state.amax(dim=1)")),
        (69,), TRACKERS,
    ),
    Misconception(
        "last-token",
        "the last token is read instead of the class token",
        "Where did you put the class token, and which place do you read?",
        changed(E, (READ, "output.last_hidden_state[:, -1, :]")),
        (69,), TRACKERS,
    ),
    Misconception(
        "first-patch",
        "place 1 is read, which is the first patch",
        "At which place stands the class token, counted from 0?",
        changed(E, (READ, "output.last_hidden_state[:, 1, :]")),
        (69,), TRACKERS,
    ),
    Misconception(
        "first-image-for-the-class-token",
        "last_hidden_state[0] is read: all tokens of the first image instead of the first token of all images",
        "Which axis does the first index of last_hidden_state go along?",
        changed(E, (READ, "output.last_hidden_state[0]")),
        (68,), TRACKERS,
    ),
    Misconception(
        "token-dimension-kept",
        "the class token is cut out as a slice, and the result keeps an axis of length 1",
        "What is the difference between the index 0 and the slice 0:1?",
        changed(E, (READ, "output.last_hidden_state[:, 0:1, :]")),
        (73,), TRACKERS,
    ),
    Misconception(
        "logits-for-every-token",
        "the readout is applied to all tokens, and none is picked",
        "How many rows of logits should one image have?",
        changed(E, (READ, "output.last_hidden_state")),
        (69,), WRITING,
    ),
    Misconception(
        "embeddings-instead-of-the-last-layer",
        "hidden_states[0] is read: the tokens before the first layer",
        "In which order do hidden_states come, and which of them is last_hidden_state?",
        changed(E, (CALL, "self.encoder(inputs_embeds=tokens, output_hidden_states=True)"),
                (READ, "output.hidden_states[0][:, 0, :]")),
        (65,), WRITING,
    ),
    Misconception(
        "no-class-token",
        "no class token stands in front of the patches, and the first patch is read in its place",
        "What does place 0 of your tokens hold?",
        changed(E, (JOINED, "patches"), (f"        cls = {EXPAND}  # (B, 1, D)\n", "")),
        (48,), WRITING,
    ),
    Misconception(
        "class-token-last",
        "the class token stands behind the patches, and place 0, which is read, is the first patch",
        "In which order do you join the class token and the patches?",
        changed(E, (JOINED, "torch.cat([patches, cls], dim=1)")),
        (48,), REPORTS,
    ),
    Misconception(
        "class-token-last-and-read-there",
        "the class token stands behind the patches and is read there: the encoder then gives it another position",
        "Which position embedding does the encoder add to place 0, and which to the last one?",
        changed(E, (JOINED, "torch.cat([patches, cls], dim=1)"), (READ, "output.last_hidden_state[:, -1, :]")),
        (48,), REPORTS,
    ),
    Misconception(
        "class-token-drawn-anew",
        "the class token is made anew in each call, so that it is never learned",
        "Where are the class token's numbers kept between two calls?",
        changed(E, (f"        {TOKEN}\n", ""), (EXPAND, "torch.randn_like(patches[:, :1])")),
        (49,), TRACKERS,
    ),
    Misconception(
        "class-token-of-zeros",
        "the class token is a row of zeros that is no parameter, so that it is never learned",
        "Does your class token stand in list(model.named_parameters())?",
        changed(E, (f"        {TOKEN}\n", ""), (EXPAND, "torch.zeros_like(patches[:, :1])")),
        (49, 55), REPORTS,
    ),
    Misconception(
        "class-token-not-used",
        "the parameter cls_token is there, but zeros are put in front of the patches",
        "Which tensor do you join with the patches, and where did it come from?",
        changed(E, (EXPAND, "torch.zeros_like(patches[:, :1])")),
        (49,), WRITING,
    ),
    Misconception(
        "class-token-cut-off-from-the-gradient",
        "the class token is detached (.data, .detach()), so that no gradient reaches it",
        "What is model.cls_token.grad after a backward pass?",
        changed(E, (EXPAND, "self.cls_token.detach().expand(len(images), -1, -1)")),
        (49,), WRITING,
    ),
    Misconception(
        "class-token-for-a-fixed-batch",
        "there are as many class tokens as a batch has images when the model is made, so that a batch of any other "
        "size is an error",
        "How many class tokens are learned, and for how many images does each stand?",
        changed(E, (TOKEN, "self.cls_token = nn.Parameter(torch.zeros(32, 1, dim))"), (EXPAND, "self.cls_token[:]")),
        (50,), REPORTS,
    ),
    Misconception(
        "positions-of-its-own",
        "a position embedding is learned here as well, although the encoder adds one to whatever comes in",
        "What does the encoder add to inputs_embeds before its first layer?",
        changed(E, (TOKEN, f"{TOKEN}\n        self.position = nn.Parameter(torch.zeros(1, 32, dim))"),
                (JOINED, f"{JOINED} + self.position[:, : patches.shape[1] + 1]")),
        (53,), TRACKERS,
    ),
    Misconception(
        "sines-added",
        "sines and cosines are added to the tokens as positions, although the encoder adds positions of its own",
        "What does the encoder add to inputs_embeds before its first layer?",
        changed(E, (JOINED, JOINED + """
        place = torch.arange(tokens.shape[1], dtype=tokens.dtype)[:, None]
        rate = 10000.0 ** (-torch.arange(tokens.shape[2], dtype=tokens.dtype) / tokens.shape[2])
        tokens = tokens + torch.sin(place * rate)""")),
        (53,), WRITING,
    ),
    Misconception(
        "stripes-for-patches",
        "the convolution's result is reshaped to (B, N, D) without exchanging axes, which mixes places and features",
        "After flatten(2), which axis are the places and which the features?",
        changed(E, (PATCHES, "self.patch_embed(images)\n"
                    "        patches = patches.reshape(len(images), -1, patches.shape[1])")),
        (40,), TRACKERS,
    ),
    Misconception(
        "features-for-tokens",
        "the axes of places and features are not exchanged, so that the encoder is given (B, D, N)",
        "Which axis does the encoder take for the tokens, and how long is it in yours?",
        changed(E, (PATCHES, "self.patch_embed(images).flatten(2)")),
        (40,), WRITING,
    ),
    Misconception(
        "grid-by-columns",
        "the patches are read column by column instead of row by row",
        "Which patch is token 2: the one right of token 1, or the one below it?",
        changed(E, (PATCHES, "self.patch_embed(images).transpose(2, 3).flatten(2).transpose(1, 2)")),
        (42,), TRACKERS,
    ),
    Misconception(
        "stride-left-out",
        "the convolution has no stride, so that it moves on by one pixel and not by a patch",
        "How many tokens come out of your convolution, and how many patches has the image?",
        changed(E, (", stride=patch_size)", ")")),
        (44,), TRACKERS,
    ),
    Misconception(
        "patch-embedding-without-bias",
        "patch_embed has no bias, which the docstring's nn.Conv2d has",
        "Which parameters has an nn.Conv2d when nothing is said about them?",
        changed(E, (", stride=patch_size)", ", stride=patch_size, bias=False)")),
        (), WRITING,
    ),
    Misconception(
        "readout-without-bias",
        "readout has no bias, which the docstring's nn.Linear has",
        "Which parameters has an nn.Linear when nothing is said about them?",
        changed(E, (READOUT, "self.readout = nn.Linear(dim, num_classes, bias=False)")),
        (), WRITING,
    ),
    Misconception(
        "width-of-768",
        "a token has 768 features, BERT's usual width, whatever the encoder says",
        "What is encoder.config.hidden_size of the encoder that comes in?",
        changed(E, ("dim = encoder.config.hidden_size", "dim = 768")),
        (), TRACKERS,
    ),
    Misconception(
        "softmax-at-the-end",
        "a softmax stands behind the readout, and cross-entropy will apply another one",
        "What does F.cross_entropy expect: logits or probabilities?",
        changed(E, (f"self.readout({READ})", f"self.readout({READ}).softmax(dim=-1)")),
        (71, 86), TRACKERS,
    ),
    Misconception(
        "log-softmax-at-the-end",
        "a log-softmax stands behind the readout",
        "What does F.cross_entropy expect, and what does it do itself?",
        changed(E, (f"self.readout({READ})", f"self.readout({READ}).log_softmax(dim=-1)")),
        (71,), TRACKERS,
    ),
    Misconception(
        "relu-on-the-logits",
        "a ReLU follows the readout, so that no logit can be negative",
        "What is the logit of a class that the model is sure not to see?",
        changed(E, (f"self.readout({READ})", f"self.readout({READ}).relu()")),
        (72,), TRACKERS,
    ),
    Misconception(
        "encoder-without-gradients",
        "the encoder is called under torch.no_grad(), so that neither it nor what stands before it learns",
        "Which parameters have a gradient after loss.backward()?",
        changed(E, (f"        output = {CALL}\n", f"        with torch.no_grad():\n            output = {CALL}\n")),
        (), WRITING,
    ),
    Misconception(
        "encoder-frozen",
        "the encoder's parameters need no gradient, although its weights are random and have to be trained",
        "What has a fresh encoder learned so far?",
        changed(E, (KEPT, f"{KEPT}.requires_grad_(False)")),
        (), WRITING,
    ),
    Misconception(
        "encoder-always-in-eval-mode",
        "the encoder is put into eval mode in each call, so that its dropout never works",
        "In which mode is model.encoder after model.train() and one call?",
        changed(E, (CALL, "self.encoder.eval()(inputs_embeds=tokens)")),
        (85,), WRITING,
    ),
    Misconception(
        "encoder-always-in-training-mode",
        "the encoder is put into training mode in each call, so that its dropout works in eval mode, too",
        "In which mode is model.encoder after model.eval() and one call?",
        changed(E, (CALL, "self.encoder.train()(inputs_embeds=tokens)")),
        (), WRITING,
    ),
    Misconception(
        "encoder-in-a-list",
        "the encoder lies in a plain Python list, where torch finds none of its parameters",
        "How many numbers has model.parameters() to offer, with and without the encoder?",
        # Such an encoder does not follow model.double() or model.train() either; here it does, so that float64 can ask.
        changed(E, (KEPT, "self.parts = [encoder]"), (CALL, "self.parts[0](inputs_embeds=tokens)"),
                ("    def forward(self,", """    def _apply(self, *args, **kwargs):
        self.parts[0]._apply(*args, **kwargs)
        return super()._apply(*args, **kwargs)

    def train(self, mode=True):
        self.parts[0].train(mode)
        return super().train(mode)

    def forward(self,""")),
        (30,), TRACKERS,
    ),
    Misconception(
        "encoder-under-another-name",
        "the encoder has another name than encoder (such as bert): the model is right, but its weights are not found",
        "Under which names does the docstring want the parts?",
        changed(E, (KEPT, "self.bert = encoder"), (CALL, "self.bert(inputs_embeds=tokens)")),
        (), WRITING,
    ),
    Misconception(
        "attention-across-the-batch",
        "the encoder is given (N+1, B, D), so that the images of a batch attend to each other",
        "Does the result for an image change when another one in its batch does?",
        changed(E, (CALL, "self.encoder(inputs_embeds=tokens.transpose(0, 1))"),
                (READ, "output.last_hidden_state[0]")),
        (25,), TRACKERS,
    ),
    Misconception(
        "tokens-scaled",
        "the tokens are multiplied by the root of D before they go in, as the transformer of 2017 did with its words",
        "Does anything in the docstring scale the tokens?",
        changed(E, (CALL, "self.encoder(inputs_embeds=tokens * tokens.shape[-1] ** 0.5)")),
        (), WRITING,
    ),
    Misconception(
        "class-token-hidden-by-a-mask",
        "an attention mask is given in which the class token is a zero, so that no token attends to it",
        "What does a zero in transformers' attention_mask mean, and which tokens may not be seen here?",
        changed(E, (CALL, "self.encoder(inputs_embeds=tokens, attention_mask=torch.cat("
                          "[torch.zeros(len(images), 1), torch.ones(patches.shape[:2])], dim=1))")),
        (13,), WRITING,
    ),
    Misconception(
        "norm-before-the-readout",
        "a LayerNorm with parameters stands before the readout; the encoder of a library has all the norms it needs",
        "Which parts with parameters does the docstring name?",
        changed(E, (READOUT, f"{READOUT}\n        self.norm = nn.LayerNorm(dim)"), (READ, f"self.norm({READ})")),
        (70,), WRITING,
    ),
    Misconception(
        "norm-without-parameters-before-the-readout",
        "the class token is normalised before the readout",
        "Which layers stand between last_hidden_state and the logits, by the docstring?",
        changed(E, (READ, f"F.layer_norm({READ}, {READ}.shape[-1:])")),
        (70,), WRITING,
    ),
    Misconception(
        "dropout-written-in",
        "a dropout that nobody asked for stands before the readout",
        "Where does the docstring speak of dropout?",
        changed(E, (READ, f"F.dropout({READ}, 0.1, self.training)")),
        (66,), WRITING,
    ),
)  # fmt: skip
ENCODER_OTHER = (
    Alternative("as on the lab sheet: permute, repeat, the output's first entry", '''
class EncoderViT(nn.Module):
    def __init__(self, patch_size, in_channels, num_classes, encoder):
        super().__init__()
        hidden_size = encoder.config.hidden_size
        self.patch_embed = nn.Conv2d(in_channels, hidden_size, patch_size, patch_size)
        self.cls_token = nn.Parameter(torch.randn(1, 1, hidden_size))
        self.encoder = encoder
        self.readout = nn.Linear(hidden_size, num_classes)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).permute(0, 2, 1)
        x = torch.cat((self.cls_token.repeat(x.shape[0], 1, 1), x), dim=1)
        return self.readout(self.encoder(inputs_embeds=x)[0][:, 0])
'''),
    Alternative("einops; an output as a tuple", '''
class EncoderViT(nn.Module):
    def __init__(self, patch_size, in_channels, num_classes, encoder):
        super().__init__()
        width = encoder.get_input_embeddings().embedding_dim
        self.patch_embed = nn.Conv2d(in_channels, width, patch_size, stride=patch_size)
        self.cls_token = nn.Parameter(torch.zeros(width))
        self.encoder, self.readout = encoder, nn.Linear(width, num_classes)

    def forward(self, x):
        from einops import rearrange, repeat

        patches = rearrange(self.patch_embed(x), "b d h w -> b (h w) d")
        first = repeat(self.cls_token, "d -> b 1 d", b=len(x))
        hidden = self.encoder(inputs_embeds=torch.hstack([first, patches]), return_dict=False)[0]
        return self.readout(hidden.select(1, 0))
'''),
    Alternative("a buffer of tokens that is filled in; hidden_states", '''
class EncoderViT(nn.Module):
    def __init__(self, patch_size, in_channels, num_classes, encoder):
        super().__init__()
        dim = encoder.config.hidden_size
        self.patch_embed = nn.Conv2d(in_channels, dim, patch_size, patch_size)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim).normal_(std=0.02))
        self.encoder = encoder
        self.readout = nn.Linear(dim, num_classes)

    def forward(self, images):
        grid = self.patch_embed(images)
        tokens = grid.new_zeros(grid.shape[0], grid.shape[2] * grid.shape[3] + 1, grid.shape[1])
        tokens[:, 0] = self.cls_token[0, 0]
        tokens[:, 1:] = grid.movedim(1, 3).flatten(1, 2)
        output = self.encoder(inputs_embeds=tokens, output_hidden_states=True, return_dict=True)
        return self.readout(output.hidden_states[-1][:, 0])
'''),
    Alternative("the convolution as a matrix product over unfolded patches", '''
class EncoderViT(nn.Module):
    def __init__(self, patch_size, in_channels, num_classes, encoder):
        super().__init__()
        dim = encoder.config.hidden_size
        self.patch_embed = nn.Conv2d(in_channels, dim, patch_size, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.encoder = encoder
        self.readout = nn.Linear(dim, num_classes)

    def forward(self, images):
        P = self.patch_embed.kernel_size
        pixels = F.unfold(images, P, stride=P).mT
        patches = F.linear(pixels, self.patch_embed.weight.flatten(1), self.patch_embed.bias)
        cls = self.cls_token + patches.new_zeros(len(images), 1, 1)
        mask = torch.ones(len(images), patches.shape[1] + 1)
        hidden = self.encoder(inputs_embeds=torch.cat([cls, patches], 1), attention_mask=mask)["last_hidden_state"]
        return F.linear(hidden[:, 0], self.readout.weight, self.readout.bias)
'''),
    Alternative("in the style of timm: a concatenated expand, pooling in a method; logits of all tokens, then one", '''
class EncoderViT(nn.Module):
    def __init__(self, patch_size, in_channels, num_classes, encoder):
        super().__init__()
        self.num_features = self.embed_dim = encoder.config.hidden_size
        self.patch_embed = nn.Conv2d(in_channels, self.embed_dim, kernel_size=patch_size, stride=patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.embed_dim))
        nn.init.normal_(self.cls_token, std=1e-6)
        self.encoder = encoder
        self.readout = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x):
        B = x.shape[0]
        x = self.patch_embed(x)
        x = x.reshape(B, self.embed_dim, -1).swapaxes(1, 2)
        x = torch.cat((self.cls_token.expand(B, -1, -1), x), dim=1)
        return self.encoder(inputs_embeds=x).last_hidden_state

    def forward_head(self, x):
        return self.readout(x).unbind(dim=1)[0]

    def forward(self, x):
        return self.forward_head(self.forward_features(x))
'''),
    Alternative("image by image", '''
class EncoderViT(nn.Module):
    def __init__(self, patch_size, in_channels, num_classes, encoder):
        super().__init__()
        dim = encoder.config.hidden_size
        self.patch_embed = nn.Conv2d(in_channels, dim, patch_size, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.encoder = encoder
        self.readout = nn.Linear(dim, num_classes)

    def forward(self, images):
        rows = []
        for image in images:
            patches = self.patch_embed(image[None])[0].flatten(1).T
            tokens = torch.vstack([self.cls_token[0], patches])[None]
            rows.append(self.readout(self.encoder(inputs_embeds=tokens).last_hidden_state[0, 0]))
        return torch.stack(rows)
'''),
)  # fmt: skip

EXERCISE = Exercise("EncoderViT", encoder_cases, ENCODER_WRONG, ENCODER_OTHER)
