"""Other right ways to move weights into the two libraries, and the exam that libraries.py has the rest of."""

from __future__ import annotations

from autograder.exams.lab5.libraries import LIBRARIES_WRONG, libraries_cases
from autograder.labs.exam import Alternative, Exercise

# What every other way has in common: the refusals, and the two empty models.
COMMON = """
def _refuse(config):
    size = config["image_size"]
    if not isinstance(size, int) and size[0] != size[1]:
        raise ValueError(f"torchvision's images are square: image_size is {size}")
    if config["in_channels"] != 3:
        raise ValueError(f"expected in_channels 3, got {config['in_channels']}")
    if config["head_dim"] is not None and config["head_dim"] * config["num_heads"] != config["dim"]:
        raise ValueError(f"head_dim {config['head_dim']} times num_heads is not dim")
    if not config["qkv_bias"]:
        raise ValueError("torchvision's attention always has biases, qkv_bias is False")
    if config["pool"] != "cls":
        raise ValueError(f"torchvision reads the class token, pool is {config['pool']}")
    if config["gelu"] != "none":
        raise ValueError(f"torchvision's activation is exact, gelu is {config['gelu']}")


def _empty(library, config):
    size, norm = config["image_size"], partial(nn.LayerNorm, eps=config["eps"])
    side = size if isinstance(size, int) else size[0]
    if library == "torchvision":
        return torchvision_vit.VisionTransformer(
            image_size=side, patch_size=config["patch_size"], num_layers=config["depth"], num_heads=config["num_heads"],
            hidden_dim=config["dim"], mlp_dim=config["mlp_dim"], num_classes=config["num_classes"], norm_layer=norm)
    return timm_vit.VisionTransformer(
        img_size=side, patch_size=config["patch_size"], num_classes=config["num_classes"], embed_dim=config["dim"],
        depth=config["depth"], num_heads=config["num_heads"], mlp_ratio=config["mlp_dim"] / config["dim"],
        norm_layer=norm)
"""
# A move that works on both libraries, given how their names are made; `_filled` is what each way brings.
BY_NAME = """

TORCHVISION = {"cls_token": "class_token", "pos_embed": "encoder.pos_embedding", "patch_embed.proj": "conv_proj",
               "norm": "encoder.ln", "head": "heads.head", "block": "encoder.layers.encoder_layer_", "norm1": "ln_1",
               "norm2": "ln_2", "qkv": "self_attention.in_proj_", "proj": "self_attention.out_proj", "fc1": "mlp.0",
               "fc2": "mlp.3"}
TIMM = {"cls_token": "cls_token", "pos_embed": "pos_embed", "patch_embed.proj": "patch_embed.proj", "norm": "norm",
        "head": "head", "block": "blocks.", "norm1": "norm1", "norm2": "norm2", "qkv": "attn.qkv.", "proj": "attn.proj",
        "fc1": "mlp.fc1", "fc2": "mlp.fc2"}


def to_torchvision(state_dict, config):
    _refuse(config)
    return _filled(_empty("torchvision", config), state_dict, config, TORCHVISION)


def to_timm(state_dict, config):
    return _filled(_empty("timm", config), state_dict, config, TIMM)
"""
LIBRARIES_OTHER = (
    Alternative(
        "in the style of Hugging Face's conversion scripts: a list of keys to rename, then q, k, v read in",
        COMMON + '''

def _rename_keys(config, prefix, names):
    keys = [("embedding.cls_token", names[0]), ("embedding.position", names[1])]
    for kind in ("weight", "bias"):
        keys.append((f"embedding.patches.proj.{kind}", f"{names[2]}.{kind}"))
        keys.append((f"norm.{kind}", f"{names[3]}.{kind}"))
        keys.append((f"head.{kind}", f"{names[4]}.{kind}"))
        for i in range(config["depth"]):
            for src, dest in zip(("norm1", "norm2", "attention.to_out", "mlp.fc1", "mlp.fc2"), names[5:]):
                keys.append((f"blocks.{i}.{src}.{kind}", f"{prefix}{i}.{dest}.{kind}"))
    return keys


def _convert(model, state_dict, config, prefix, names, qkv):
    new = dict(state_dict)
    for src, dest in _rename_keys(config, prefix, names):
        new[dest] = new.pop(src)
    for i in range(config["depth"]):
        for kind in ("weight", "bias"):
            q, k, v = (new.pop(f"blocks.{i}.attention.to_{n}.{kind}") for n in "qkv")
            new[f"{prefix}{i}.{qkv}{kind}"] = torch.concatenate((q, k, v), dim=0)
    model.to(q.dtype)
    missing, unexpected = model.load_state_dict(new, strict=False)
    assert not missing and not unexpected
    return model.eval()


def to_torchvision(state_dict, config):
    _refuse(config)
    return _convert(
        _empty("torchvision", config), state_dict, config, "encoder.layers.encoder_layer_",
        ["class_token", "encoder.pos_embedding", "conv_proj", "encoder.ln", "heads.head",
         "ln_1", "ln_2", "self_attention.out_proj", "mlp.0", "mlp.3"], "self_attention.in_proj_")


def to_timm(state_dict, config):
    return _convert(
        _empty("timm", config), state_dict, config, "blocks.",
        ["cls_token", "pos_embed", "patch_embed.proj", "norm", "head",
         "norm1", "norm2", "attn.proj", "mlp.fc1", "mlp.fc2"], "attn.qkv.")
'''),
    Alternative(
        "in the style of timm's reader of JAX checkpoints: each tensor copied in place, the fused ones by slices",
        COMMON + BY_NAME + '''

@torch.no_grad()
def _filled(model, state, config, names):
    model = model.to(state["head.bias"].dtype)
    p = dict(model.named_parameters())

    def copy(theirs, ours):
        for kind in ("weight", "bias"):
            p[f"{theirs}.{kind}"].copy_(state[f"{ours}.{kind}"])

    p[names["cls_token"]].copy_(state["embedding.cls_token"])
    p[names["pos_embed"]].copy_(state["embedding.position"])
    copy(names["patch_embed.proj"], "embedding.patches.proj")
    copy(names["norm"], "norm")
    copy(names["head"], "head")
    D = config["dim"]
    for i in range(config["depth"]):
        block = f"{names['block']}{i}."
        for part, ours in (("norm1", "norm1"), ("norm2", "norm2"), ("proj", "attention.to_out"), ("fc1", "mlp.fc1"),
                           ("fc2", "mlp.fc2")):
            copy(block + names[part], f"blocks.{i}.{ours}")
        for j, n in enumerate("qkv"):
            for kind in ("weight", "bias"):
                p[block + names["qkv"] + kind][j * D : (j + 1) * D] = state[f"blocks.{i}.attention.to_{n}.{kind}"]
    return model.eval()
'''),
    Alternative(
        "regular expressions on our names; q, k and v stacked and flattened; the tensors themselves assigned",
        COMMON + '''

import re


def _moved(model, state, rules):
    new = {}
    for key, value in state.items():
        if re.search(r"to_[kv]", key):
            continue
        if "to_q" in key:
            value = torch.stack([state[key.replace("to_q", f"to_{n}")] for n in "qkv"]).flatten(0, 1)
        for pattern, name in rules:
            key = re.sub(pattern, name, key)
        new[key] = value.clone()
    model.load_state_dict(new, assign=True)
    return model.requires_grad_(True).eval()


def to_torchvision(state_dict, config):
    _refuse(config)
    return _moved(_empty("torchvision", config), state_dict, [
        (r"^embedding\\.cls_token$", "class_token"), (r"^embedding\\.position$", "encoder.pos_embedding"),
        (r"^embedding\\.patches\\.proj", "conv_proj"), (r"^norm\\.", "encoder.ln."), (r"^head\\.", "heads.head."),
        (r"^blocks\\.(\\d+)\\.", r"encoder.layers.encoder_layer_\\1."), (r"\\.norm(\\d)\\.", r".ln_\\1."),
        (r"attention\\.to_q\\.", "self_attention.in_proj_"), (r"attention\\.to_out", "self_attention.out_proj"),
        (r"mlp\\.fc1", "mlp.0"), (r"mlp\\.fc2", "mlp.3")])


def to_timm(state_dict, config):
    return _moved(_empty("timm", config), state_dict, [
        (r"^embedding\\.cls_token$", "cls_token"), (r"^embedding\\.position$", "pos_embed"),
        (r"^embedding\\.patches", "patch_embed"), (r"attention\\.to_q", "attn.qkv"),
        (r"attention\\.to_out", "attn.proj")])
'''),
    Alternative("numpy arrays, as a converter between frameworks has them", COMMON + BY_NAME + '''

import numpy as np


def _filled(model, state, config, names):
    a = {key: value.detach().cpu().numpy() for key, value in state.items()}
    new = {names["cls_token"]: a["embedding.cls_token"], names["pos_embed"]: a["embedding.position"]}
    for kind in ("weight", "bias"):
        for theirs, ours in (("patch_embed.proj", "embedding.patches.proj"), ("norm", "norm"), ("head", "head")):
            new[f"{names[theirs]}.{kind}"] = a[f"{ours}.{kind}"]
        for i in range(config["depth"]):
            block, mine = f"{names['block']}{i}.", f"blocks.{i}."
            for theirs, ours in (("norm1", "norm1"), ("norm2", "norm2"), ("proj", "attention.to_out"),
                                 ("fc1", "mlp.fc1"), ("fc2", "mlp.fc2")):
                new[f"{block}{names[theirs]}.{kind}"] = a[f"{mine}{ours}.{kind}"]
            new[f"{block}{names['qkv']}{kind}"] = np.concatenate([a[f"{mine}attention.to_{n}.{kind}"] for n in "qkv"])
    everything = torch.from_numpy(np.concatenate([value.ravel() for value in new.values()]))
    parts = everything.split([value.size for value in new.values()])
    new = {key: part.reshape(value.shape) for part, (key, value) in zip(parts, new.items())}
    model.to(everything.dtype).load_state_dict(new)
    return model.eval()
'''),
    Alternative(
        "module by module, with torch's own load_state_dict of each layer; a matrix product places q, k, v",
        COMMON + '''

def _layer(layer, state, name):
    layer.load_state_dict({kind: state[f"{name}.{kind}"] for kind in ("weight", "bias")})


def _placed(state, name, kind, D):
    eye = torch.eye(3, dtype=state["norm.weight"].dtype)
    parts = [state[f"{name}.to_{n}.{kind}"].reshape(D, -1) for n in "qkv"]
    return sum(torch.kron(eye[:, j : j + 1], part) for j, part in enumerate(parts))


def to_torchvision(state_dict, config):
    _refuse(config)
    model, D = _empty("torchvision", config).to(state_dict["norm.weight"]), config["dim"]
    model.class_token = nn.Parameter(state_dict["embedding.cls_token"].clone())
    model.encoder.pos_embedding = nn.Parameter(state_dict["embedding.position"].clone())
    _layer(model.conv_proj, state_dict, "embedding.patches.proj")
    _layer(model.encoder.ln, state_dict, "norm")
    _layer(model.heads.head, state_dict, "head")
    for i, block in enumerate(model.encoder.layers):
        name = f"blocks.{i}"
        _layer(block.ln_1, state_dict, f"{name}.norm1")
        _layer(block.ln_2, state_dict, f"{name}.norm2")
        _layer(block.self_attention.out_proj, state_dict, f"{name}.attention.to_out")
        block.self_attention.in_proj_weight = nn.Parameter(_placed(state_dict, f"{name}.attention", "weight", D))
        block.self_attention.in_proj_bias = nn.Parameter(_placed(state_dict, f"{name}.attention", "bias", D).flatten())
        _layer(block.mlp[0], state_dict, f"{name}.mlp.fc1")
        _layer(block.mlp[3], state_dict, f"{name}.mlp.fc2")
    return model.eval()


def to_timm(state_dict, config):
    model, D = _empty("timm", config).to(state_dict["norm.weight"]), config["dim"]
    model.cls_token.data = state_dict["embedding.cls_token"].clone()
    model.pos_embed.data = state_dict["embedding.position"].clone()
    _layer(model.patch_embed.proj, state_dict, "embedding.patches.proj")
    _layer(model.norm, state_dict, "norm")
    _layer(model.head, state_dict, "head")
    for i, block in enumerate(model.blocks):
        name = f"blocks.{i}"
        for part, ours in ((block.norm1, "norm1"), (block.norm2, "norm2"), (block.attn.proj, "attention.to_out"),
                           (block.mlp.fc1, "mlp.fc1"), (block.mlp.fc2, "mlp.fc2")):
            _layer(part, state_dict, f"{name}.{ours}")
        block.attn.qkv.weight.data = _placed(state_dict, f"{name}.attention", "weight", D)
        block.attn.qkv.bias.data = _placed(state_dict, f"{name}.attention", "bias", D).flatten()
    return model.eval()
'''),
    Alternative("all numbers in one long vector, in the order in which each library has its parameters", COMMON + '''

def _vector(state, config, order):
    parts = []
    for name in order:
        if name.startswith("block"):
            for i in range(config["depth"]):
                for part in ("norm1", "qkv", "attention.to_out", "norm2", "mlp.fc1", "mlp.fc2"):
                    for kind in ("weight", "bias"):
                        three = [f"attention.to_{n}" for n in "qkv"] if part == "qkv" else [part]
                        parts += [state[f"blocks.{i}.{one}.{kind}"] for one in three]
        else:
            parts.append(state[name])
    return nn.utils.parameters_to_vector(parts)


OUTSIDE = {"cls": ["embedding.cls_token"], "patches": [f"embedding.patches.proj.{k}" for k in ("weight", "bias")],
           "position": ["embedding.position"], "blocks": ["blocks"],
           "rest": [f"{n}.{k}" for n in ("norm", "head") for k in ("weight", "bias")]}


def _fill(model, state, config, order):
    names = [name for part in order for name in OUTSIDE[part]]
    model = model.to(dtype=state["norm.weight"].dtype)
    nn.utils.vector_to_parameters(_vector(state, config, names), model.parameters())
    return model.eval()


def to_torchvision(state_dict, config):
    _refuse(config)
    return _fill(_empty("torchvision", config), state_dict, config, ["cls", "patches", "position", "blocks", "rest"])


def to_timm(state_dict, config):
    return _fill(_empty("timm", config), state_dict, config, ["cls", "position", "patches", "blocks", "rest"])
'''),
)  # fmt: skip

EXERCISE = Exercise("libraries", libraries_cases, LIBRARIES_WRONG, LIBRARIES_OTHER)
