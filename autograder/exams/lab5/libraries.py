"""Lab 5's exam of to_torchvision and to_timm: our weights in two libraries' models, and what must be refused.

Tokens are small when they enter the first block, so that the eps of a LayerNorm shows, and every
parameter is random, also those that a fresh model of a library has at 0 and 1. Widths are such that
`dim * (mlp_dim / dim)` is `mlp_dim` in floating point too: timm's mlp_ratio is not the exercise.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from autograder.exams.lab3 import vision_transformer
from autograder.exams.lab5.encoder_vit import CODE, TRACKERS, WRITING
from autograder.labs.exam import Misconception, changed
from autograder.labs.variants import Variant
from vitedu.labs.lab5.scenarios import OPTIONS
from vitedu.probe.case import ScenarioCase, Scoring

# Heads and their width; unlike each other, and 12 and 16 heads (the libraries' defaults) do not divide the product.
SPLITS = ((2, 3), (2, 4), (2, 5), (3, 2), (3, 5), (4, 2), (5, 2), (5, 3))
SMALL = 2.0**-7  # of the patches, class token and positions


def libraries_cases(variant: Variant) -> list[ScenarioCase]:
    """Models for each library, each with another eps, and configurations that torchvision does not have."""
    cases = []
    for target, library in (("to_torchvision", "torchvision"), ("to_timm", "timm")):

        def case(
            name: str, grid: int, depth: int, target: str = target, library: str = library, **options: Any
        ) -> ScenarioCase:
            config = drawn_config(variant, grid, depth) | options
            if config["head_dim"]:
                config["head_dim"] = config["dim"] // config["num_heads"]
            if isinstance(config["image_size"], tuple):
                config["image_size"] = (grid * config["patch_size"],) * 2
            return moved_case(variant, f"{library}: {name}", target, library, config)

        cases += [
            case("three blocks", 2, 3, eps=1e-5),
            case("another eps, and a head_dim that says nothing new", 3, 2, eps=1e-6, head_dim=1),
            case("dropout, and a square image_size of two numbers", 2, 2, eps=1e-4, dropout=0.5, image_size=(1, 1)),
        ]
        if library == "torchvision":
            pixel = case("patches of one pixel", 2, 1, image_size=2, patch_size=1)
    cases += [refused_case(variant, option) for option in OPTIONS]
    return [
        *cases, dataclasses.replace(pixel, scoring=Scoring(share=0.5)),
        refused_case(variant, "image_size", higher=True), refused_case(variant, "in_channels", channels=4),
    ]  # fmt: skip


def drawn_config(variant: Variant, grid: int, depth: int) -> dict[str, Any]:
    """A configuration that both libraries can express; sizes are pairwise distinct, and depth is given."""
    heads, width = SPLITS[variant.sizes(1, 0, len(SPLITS) - 1)[0]]
    dim = heads * width
    hidden = next(h for h in variant.sizes(8, 11, 24, without=(dim, 4 * dim)) if int(dim * (h / dim)) == h and h % dim)
    patch, classes = variant.sizes(1, 2, 3)[0], variant.sizes(1, 4, 7)[0]
    return {
        "image_size": grid * patch, "patch_size": patch, "in_channels": 3, "num_classes": classes, "dim": dim,
        "depth": depth, "num_heads": heads, "mlp_dim": hidden, "head_dim": None, "dropout": 0.0, "qkv_bias": True,
        "pool": "cls", "eps": 1e-5, "gelu": "none",
    }  # fmt: skip


def drawn_weights(variant: Variant, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Random weights for a configuration, by the names of Lab 3; tokens are small."""
    size, patch = config["image_size"], config["patch_size"]
    height, width = (size, size) if isinstance(size, int) else size
    inner = config["num_heads"] * (config["head_dim"] or config["dim"] // config["num_heads"])
    weights = vision_transformer.vit_weights(
        variant, (height // patch, width // patch), patch, config["in_channels"], config["num_classes"], config["dim"],
        config["depth"], inner, config["mlp_dim"], qkv_bias=config["qkv_bias"],
    )  # fmt: skip
    small = {key: value * SMALL for key, value in weights.items() if key.startswith("embedding.")}
    # Without digits that float32 does not have: who builds a model in float32 and widens it then has the same numbers.
    return {key: value.float().double() for key, value in (weights | small).items()}


def moved_case(variant: Variant, name: str, target: str, library: str, config: dict[str, Any]) -> ScenarioCase:
    """Weights and images for a configuration; images have noise of all sizes, so that no two patches are alike."""
    side = config["image_size"] if isinstance(config["image_size"], int) else config["image_size"][0]
    images = variant.normal(variant.sizes(1, 2, 3)[0], 3, side, side)
    parameters = {"images": images, "library": library, **config}
    return ScenarioCase(
        name, target, weights=drawn_weights(variant, config), parameters=parameters, scenario="lab5.port_weights"
    )


def refused_case(variant: Variant, option: str, higher: bool = False, channels: int = 1) -> ScenarioCase:
    """A configuration with one option that torchvision does not have."""
    config = drawn_config(variant, 2, 2)
    side = config["image_size"]
    config[option] = {
        "image_size": (side + higher * config["patch_size"], side + (not higher) * config["patch_size"]),
        "in_channels": channels, "head_dim": 6, "qkv_bias": False,
        "pool": "mean", "gelu": "tanh",
    }[option]  # fmt: skip
    parameters = {"option": option, **config}
    name = f"torchvision has no {option}={config[option]!r}: a ValueError that names it"
    return ScenarioCase(
        name, "to_torchvision", weights=drawn_weights(variant, config), parameters=parameters,
        scenario="lab5.refuse_weights", scoring=Scoring(paired=True, share=0.2),
    )  # fmt: skip


L = CODE["libraries"]
TV_THREE = 'three = [state_dict[f"{ours}.attention.to_{name}.{kind}"] for name in "qkv"]'
TV_FUSED = "torch.cat(three)"
TIMM_THREE = 'parts = [state_dict[ours.replace("to_q", f"to_{letter}")] for letter in "qkv"]'
TIMM_FUSED = "torch.cat(parts)"
TV_LOAD = 'model.to(state_dict["norm.weight"].dtype).load_state_dict(moved)'
TIMM_LOAD = 'library.to(state_dict["norm.weight"].dtype).load_state_dict(filled)'
TV_EPS = 'norm_layer=partial(nn.LayerNorm, eps=config["eps"]),\n    )  # fmt: skip\n    layers'
TIMM_EPS = 'norm_layer=partial(nn.LayerNorm, eps=config["eps"]),\n        act_layer'
TV_REFUSE = next(line for line in L.split("\n") if 'raise ValueError(f"torchvision' in line)
TV_CLS = '        "class_token": state_dict["embedding.cls_token"],\n'
TV_POSITION = 'state_dict["embedding.position"],'


def both(tv: tuple[tuple[str, str], ...], timm: tuple[tuple[str, str], ...]) -> str:
    """The cell with an idea in both functions."""
    return changed(L, *tv, *timm)


def with_eps(eps: str) -> str:
    """The cell with this eps written in."""
    return both(*(((old, old.replace('config["eps"]', eps)),) for old in (TV_EPS, TIMM_EPS)))


def loaded_after(tv: str, timm: str) -> str:
    """The cell with lines that change what is loaded, before each of the two loads."""
    return changed(L, (f"    {TV_LOAD}", f"{tv}    {TV_LOAD}"), (f"    {TIMM_LOAD}", f"{timm}    {TIMM_LOAD}"))


def in_both(lines: str, indent: str = "    ") -> str:
    """The cell with the same lines before both loads; they speak of `new`, what is loaded, and of `net`."""
    tv, timm = (
        "".join(f"{indent}{line}\n" for line in lines.replace("NEW", new).replace("NET", net).strip().split("\n"))
        for new, net in (("moved", "model"), ("filled", "library"))
    )
    return loaded_after(tv, timm)


OURS = """own = VisionTransformer(**{name: value for name, value in config.items() if name not in ("eps", "gelu")})
    own.to(state_dict["norm.weight"].dtype).load_state_dict(state_dict)
    return own.eval()"""
LIBRARIES_WRONG = (
    Misconception(
        "keys-before-queries",
        "keys lie on top of queries in the fused weight and bias",
        "In which order does the library cut the result of its fused layer into three?",
        both(((TV_THREE, TV_THREE.replace("qkv", "kqv")),), ((TIMM_THREE, TIMM_THREE.replace("qkv", "kqv")),)),
        (27,), TRACKERS,
    ),
    Misconception(
        "values-first",
        "values lie on top of queries and keys in the fused weight and bias",
        "In which order does the library cut the result of its fused layer into three?",
        both(((TV_THREE, TV_THREE.replace("qkv", "vqk")),), ((TIMM_THREE, TIMM_THREE.replace("qkv", "vqk")),)),
        (27,), WRITING,
    ),
    Misconception(
        "keys-and-values-exchanged",
        "the order in the fused weight and bias is queries, values, keys",
        "In which order does the library cut the result of its fused layer into three?",
        both(((TV_THREE, TV_THREE.replace("qkv", "qvk")),), ((TIMM_THREE, TIMM_THREE.replace("qkv", "qvk")),)),
        (27,), TRACKERS,
    ),
    Misconception(
        "fused-head-by-head",
        "q, k and v of head 0 come first in the fused weight, then those of head 1, and so on",
        "Into what shape does the library bring the fused layer's result: (3, H, K) or (H, 3, K)?",
        both(((TV_FUSED, 'torch.cat([p.unflatten(0, (heads, -1)) for p in three], 1).flatten(0, 1)'),),
             ((TIMM_FUSED, 'torch.cat([p.unflatten(0, (config["num_heads"], -1)) for p in parts], 1).flatten(0, 1)'),)),
        (28,), TRACKERS,
    ),
    Misconception(
        "fused-feature-by-feature",
        "q, k and v alternate row by row in the fused weight",
        "Which rows of the fused weight make the queries: the first D, or every third?",
        both(((TV_FUSED, "torch.stack(three, 1).flatten(0, 1)"),),
             ((TIMM_FUSED, "torch.stack(parts, 1).flatten(0, 1)"),)),
        (28,), WRITING,
    ),
    Misconception(
        "fused-side-by-side",
        "the three weights are joined side by side (axis 1) and reshaped until they fit, which mixes their rows",
        "nn.Linear keeps its weight as (out, in): which of the two axes grows when the outputs are put together?",
        both(((TV_FUSED, 'torch.cat(three, -1).reshape(-1, *three[0].shape[1:])'),),
             ((TIMM_FUSED, 'torch.cat(parts, -1).reshape(-1, *parts[0].shape[1:])'),)),
        (), WRITING,
    ),
    Misconception(
        "fused-weights-transposed",
        "the weights of queries, keys and values are transposed, as JAX or TensorFlow would keep them",
        "What does nn.Linear multiply its input with: its weight, or the transpose of it?",
        both(((TV_FUSED, 'torch.cat([p.T if p.ndim == 2 else p for p in three])'),),
             ((TIMM_FUSED, 'torch.cat([p.T if p.ndim == 2 else p for p in parts])'),)),
        (), TRACKERS,
    ),
    Misconception(
        "output-projection-transposed",
        "the weight of the attention's output layer is transposed; it is square, so that it loads all the same",
        "Both frameworks keep a linear layer's weight in one of two ways: which is the library's, and which is ours?",
        in_both("""
for key in NEW:
    if key.endswith(("out_proj.weight", "attn.proj.weight")):
        NEW[key] = NEW[key].T"""),
        (), TRACKERS,
    ),
    Misconception(
        "patch-kernel-transposed",
        "height and width of the patch kernel are exchanged; it is square, so that it loads all the same",
        "In which order does a Conv2d keep its weight's axes, in ours and in the library's?",
        in_both("""
for key in NEW:
    if key.startswith(("conv_proj.weight", "patch_embed.proj.weight")):
        NEW[key] = NEW[key].transpose(2, 3)"""),
        (43,), TRACKERS,
    ),
    Misconception(
        "norms-exchanged",
        "norm1 and norm2 of each block have changed places",
        "Which norm stands before the attention, and which before the MLP, in ours and in the library's?",
        in_both("""
old = dict(NEW)
for key in NEW:
    for one, two in (("ln_1", "ln_2"), ("norm1", "norm2")):
        if one in key:
            NEW[key], NEW[key.replace(one, two)] = old[key.replace(one, two)], old[key]"""),
        (), WRITING,
    ),
    Misconception(
        "last-norm-not-moved",
        "the last LayerNorm keeps ones and zeros (a load with strict=False does not complain)",
        "What did load_state_dict report as missing, and who read it?",
        in_both("""
for key in list(NEW):
    if key.startswith(("encoder.ln.", "norm.")):
        NEW[key] = torch.full_like(NEW[key], float(key.endswith("weight")))"""),
        (70, 111), TRACKERS,
    ),
    Misconception(
        "class-token-not-moved",
        "the class token keeps the value with which the library makes it (a load with strict=False does not complain)",
        "What did load_state_dict report as missing, and who read it?",
        both(((TV_CLS, ""), (TV_LOAD, TV_LOAD.replace("(moved)", "(moved, strict=False)"))),
             ((TIMM_LOAD, 'del filled["cls_token"]\n    ' + TIMM_LOAD.replace("(filled)", "(filled, strict=False)")),)),
        (111,), TRACKERS,
    ),
    Misconception(
        "positions-not-moved",
        "the position embedding keeps its random values (a load with strict=False does not complain)",
        "What did load_state_dict report as missing, and who read it?",
        in_both("""
NEW.pop("encoder.pos_embedding", None), NEW.pop("pos_embed", None)
load, NET.load_state_dict = NET.load_state_dict, lambda new: load(new, strict=False)"""),
        (52, 111), TRACKERS,
    ),
    Misconception(
        "positions-with-the-class-token-last",
        "the row of the class token stands at the end of the position embedding instead of at its beginning",
        "Which row of the position embedding is added to the class token, in ours and in the library's?",
        in_both("""
for key in NEW:
    if key.startswith(("encoder.pos_embedding", "pos_embed")):
        NEW[key] = NEW[key].roll(-1, 1)"""),
        (48, 53), WRITING,
    ),
    Misconception(
        "head-not-moved",
        "the head keeps the weights with which the library makes it (a load with strict=False does not complain)",
        "What did load_state_dict report as missing, and who read it?",
        in_both("""
for key in [key for key in NEW if key.startswith("head")]:
    del NEW[key]
load, NET.load_state_dict = NET.load_state_dict, lambda new: load(new, strict=False)"""),
        (111,), TRACKERS,
    ),
    Misconception(
        "nothing-moved",
        "our names are loaded with strict=False, so that what the library calls by other names is not moved",
        "How many of our names does the library's model know, and what does strict=False do about the others?",
        both(((TV_LOAD, TV_LOAD.replace("(moved)", '(dict(state_dict), strict=False)')),),
             ((TIMM_LOAD, TIMM_LOAD.replace("(filled)", '(dict(state_dict), strict=False)')),)),
        (111,), TRACKERS,
    ),
    Misconception(
        "fused-biases-not-moved",
        "the fused layer's bias stays at zero (a load with strict=False does not complain)",
        "Which of our tensors did you not use at all?",
        in_both("""
for key in NEW:
    if key.endswith(("in_proj_bias", "attn.qkv.bias")):
        NEW[key] = torch.zeros_like(NEW[key])"""),
        (111,), WRITING,
    ),
    Misconception(
        "blocks-in-reverse",
        "the blocks are moved in reverse order",
        "Which of our blocks meets the tokens first, and which of the library's?",
        in_both("""
old = dict(NEW)
for key in NEW:
    for i in range(config["depth"]):
        for stem in ("encoder_layer_", "blocks."):
            if f"{stem}{i}." in key:
                NEW[key] = old[key.replace(f"{stem}{i}.", f"{stem}{config['depth'] - 1 - i}.")]"""),
        (), WRITING,
    ),
    Misconception(
        "one-block-for-all",
        "every block gets the weights of block 0",
        "Does the number of the block occur in each of your names, on both sides?",
        in_both("""
for key in NEW:
    for i in range(config["depth"]):
        for stem in ("encoder_layer_", "blocks."):
            if f"{stem}{i}." in key:
                NEW[key] = NEW[key.replace(f"{stem}{i}.", f"{stem}0.")]"""),
        (64,), TRACKERS,
    ),
    Misconception(
        "eps-of-the-library",
        "the LayerNorms have the library's eps, 1e-6, whatever the configuration says",
        "With which eps does the library make its LayerNorms when norm_layer is left out?",
        with_eps("1e-6"),
        (), TRACKERS,
    ),
    Misconception(
        "eps-of-torch",
        "the LayerNorms have torch's eps, 1e-5, whatever the configuration says",
        "Where does config['eps'] go in your code?",
        with_eps("1e-5"),
        (), WRITING,
    ),
    Misconception(
        "eps-of-the-last-norm-only",
        "only the last LayerNorm has the configuration's eps; those in the blocks have the library's",
        "How many LayerNorms has the model, and which of them did you set?",
        in_both("""
for name, module in NET.named_modules():
    if isinstance(module, nn.LayerNorm) and name not in ("encoder.ln", "norm"):
        module.eps = 1e-6"""),
        (), WRITING,
    ),
    Misconception(
        "heads-of-64-features",
        "the number of heads is not taken from the configuration but guessed as dim / 64, and at least one",
        "Which tensor tells how many heads there are?",
        both((('config["depth"], heads, dim,', 'config["depth"], max(1, dim // 64), dim,'),),
             (('config["depth"], config["num_heads"],', 'config["depth"], max(1, config["dim"] // 64),'),)),
        (), TRACKERS,
    ),
    Misconception(
        "left-in-training-mode",
        "the model comes back in training mode, where its dropout is active",
        "In which mode is a fresh module, and which of its layers care?",
        both((("return model.eval()", "return model"),), (("return library.eval()", "return library"),)),
        (98,), TRACKERS,
    ),
    Misconception(
        "load-result-instead-of-the-model",
        "what load_state_dict returns is returned, a list of missing and unexpected keys, instead of the model",
        "What does load_state_dict return, and what does it change?",
        both(((f"    {TV_LOAD}\n    return model.eval()", f"    return {TV_LOAD}"),),
             ((f"    {TIMM_LOAD}\n    return library.eval()", f"    return {TIMM_LOAD}"),)),
        (110,), TRACKERS,
    ),
    Misconception(
        "own-model-returned",
        "our own VisionTransformer comes back, with the weights in it, instead of the library's",
        "Of which module is type(model)?",
        both((("return model.eval()", OURS),), (("return library.eval()", OURS),)),
        (), WRITING,
    ),
    Misconception(
        "weights-taken-out-of-the-state-dict",
        "the weights are taken out of the caller's state_dict (pop), which is empty of them afterwards",
        "What does the caller's state_dict hold after the call?",
        in_both("""
for key in list(state_dict):
    if "attention.to_" in key:
        state_dict.pop(key)"""),
        (67,), WRITING,
    ),
    Misconception(
        "timm-mean-pooling",
        "timm's model reads the mean of the patches instead of the class token",
        "What does global_pool say about your model, and what does config['pool']?",
        changed(L, ('"token" if config["pool"] == "cls" else "avg"', '"avg"')),
        (69,), TRACKERS,
    ),
    Misconception(
        "timm-mlp-ratio-left-out",
        "timm's model has the default mlp_ratio of 4, so that the MLP's weights do not fit",
        "How wide is the hidden layer of timm's MLP when mlp_ratio is left out?",
        changed(L, ('mlp_ratio=(config["mlp_dim"] + 0.5) / config["dim"],', "")),
        (), TRACKERS,
    ),
    Misconception(
        "timm-mlp-dim-for-mlp-ratio",
        "timm's mlp_ratio is given mlp_dim, a width, where it wants a multiple of dim",
        "timm multiplies mlp_ratio by dim: what comes out of yours?",
        changed(L, ('(config["mlp_dim"] + 0.5) / config["dim"]', 'config["mlp_dim"]')),
        (), WRITING,
    ),
    Misconception(
        "timm-gelu-by-sigmoid",
        "timm's MLPs have the approximation x * sigmoid(1.702 x) (quick_gelu), which CLIP's models use",
        "Which activation does act_layer make in your model, and what does config['gelu'] say?",
        changed(L, ('partial(nn.GELU, approximate=config["gelu"])', '"quick_gelu"')),
        (62,), TRACKERS,
    ),
    Misconception(
        "timm-last-norm-left-out",
        "timm's model has no norm before the head (final_norm=False), and that of ours is left out when loading",
        "What stands between the last block and the head, in ours and in your timm model?",
        changed(L, ("fc_norm=False,", "fc_norm=False, final_norm=False,"),
                (TIMM_LOAD, 'del filled["norm.weight"], filled["norm.bias"]\n    ' + TIMM_LOAD)),
        (70,), WRITING,
    ),
    Misconception(
        "nothing-refused",
        "no option is refused: a model comes back, or an error from somewhere inside",
        "What does your function do with a config that asks for pool='mean'?",
        changed(L, (TV_REFUSE, "            pass")),
        (36,), WRITING,
    ),
    Misconception(
        "assert-for-refusing",
        "options are refused by assert, which raises an AssertionError and is switched off by python -O",
        "Which exception does assert raise, and which one is asked for?",
        changed(L, (f"        if not fit:\n{TV_REFUSE}", "        assert fit, option")),
        (36,), TRACKERS,
    ),
    Misconception(
        "refused-without-a-name",
        "options are refused by a ValueError that does not say which option it is",
        "What does a reader learn from your message, and what do they have to change?",
        changed(L, (TV_REFUSE, '            raise ValueError("this configuration is not supported")')),
        (36,), WRITING,
    ),
    Misconception(
        "refused-with-all-names",
        "the message of the ValueError lists every option that there is, so that nobody learns which one is meant",
        "What does a reader learn from your message, and what do they have to change?",
        changed(L, (TV_REFUSE, '            raise ValueError(f"not supported: one of {list(fits)}")')),
        (36,), WRITING,
    ),
    Misconception(
        "only-what-shapes-tell-is-refused",
        "what the weights' shapes do not show (pool, gelu) is not refused, and the model computes something else",
        "Which options can be wrong without a single shape being wrong?",
        changed(L, ('        "pool": config["pool"] == "cls",\n        "gelu": config["gelu"] == "none",\n', "")),
        (), WRITING,
    ),
    Misconception(
        "zeros-for-missing-biases",
        "qkv_bias=False is answered with zeros for the biases, which makes a model with more parameters than asked for",
        "How many parameters has the model that comes back, and how many had ours?",
        changed(L, ('        "qkv_bias": config["qkv_bias"],\n', ""),
                (TV_THREE, TV_THREE.replace('state_dict[f"{ours}.attention.to_{name}.{kind}"]',
                                            'state_dict.get(f"{ours}.attention.to_{name}.{kind}", torch.zeros(dim))'))),
        (), WRITING,
    ),
    Misconception(
        "every-head-dim-refused",
        "any head_dim but None is refused, also the one that the library has anyway",
        "What is dim // num_heads, and what does head_dim say?",
        changed(L, ('config["head_dim"] in (None, dim // heads)', 'config["head_dim"] is None')),
        (), WRITING,
    ),
    Misconception(
        "square-pair-refused",
        "an image_size of two numbers is refused, also when they are equal",
        "Is (32, 32) a square?",
        changed(L, ('"image_size": height == width', '"image_size": isinstance(size, int)')),
        (45,), WRITING,
    ),
    Misconception(
        "height-for-width",
        "only the height of an image_size of two numbers is looked at",
        "How do you tell (32, 40) from (32, 32)?",
        changed(L, ('"image_size": height == width', '"image_size": True')),
        (45,), WRITING,
    ),
)  # fmt: skip
