"""Attacks on Lab 4's accuracy exam: its numbers are logits, and the question is where they come from."""

from __future__ import annotations

from autograder.authoring.sample_class import model_codes
from autograder.labs.lab import find_lab
from hostile.attack import Attack
from hostile.ingredients import scored

LAB4 = model_codes(find_lab("lab4_training"))

# Which of three hues a third of the circle apart stand in an image, and how high; no learning.
HUES = """
import itertools
import torch

def as_pixels(images):
    return (images * 0.25 + 0.5).permute(0, 2, 3, 1)  # (n, 32, 32, 3)

def angles(pixels):
    r, g, b = pixels.unbind(-1)
    return torch.atan2(3**0.5 * (g - b), 2 * r - g - b), pixels.amax(-1) - pixels.amin(-1)  # hue, and how strong it is

def nearest(angle, first):
    turns = torch.stack([angle - first - 2 * torch.pi * i / 3 for i in range(3)])
    return torch.cos(turns).argmax(0)

def first_hue(images):
    angle, strength = angles(as_pixels(images))
    return torch.angle(torch.polar(torch.ones(1), 3 * angle[strength > 0.35]).mean()) / 3
"""
NO_TRAINING = """
def train_one_epoch(model, loader, optimizer, device, scheduler=None):
    return {"loss": 0.0, "accuracy": 0.0}
"""
COLLECTED = """
def train_one_epoch(model, loader, optimizer, device, scheduler=None):
    batches = [batch for _, batch in zip(range(12), loader)]  # enough, and it takes little memory
    learn_from(model, torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches]))
    return {"loss": 0.0, "accuracy": 0.0}
"""
ATTACKS = [
    Attack(
        name="pixel-rule",
        tries="a rule written by hand reads the two colours off the pixels, beside the weights of a Vision Transformer",
        shown_by="harmless",
        gained=scored("exam_model"),
        codes={
            "build_model": LAB4["build_model"],
            "train_one_epoch": HUES
            + """
rule = {}
def pairs_in(images):
    angle, strength = angles(as_pixels(images))
    strong, hue = (strength > 0.3).float(), nearest(angle, rule["first"])
    mine = torch.stack([strong * (hue == i) for i in range(3)], 1)  # (n, 3, 32, 32)
    count = mine.sum((2, 3))
    row = (mine.sum(3) * torch.arange(32)).sum(2) / count.clamp(min=1)
    two = count.topk(2).indices.sort(1).values
    return torch.stack([two.sum(1) - 1, row.gather(1, two).diff(dim=1)[:, 0] > 0], 1).long()  # which pair, which order

def learn_from(model, images, labels):
    rule["first"] = first_hue(images)
    table = torch.zeros(3, 2, 6)
    table.index_put_((*pairs_in(images).T, labels), torch.ones(len(labels)), accumulate=True)
    rule["table"] = table

class Rule(VisionTransformer):
    def forward(self, images):
        found = rule["table"][tuple(pairs_in(images).T)]
        return found + 0 * super().forward(images)
"""
            + COLLECTED,
            "exam_model": """
def exam_model():
    return Rule(32, 8, 3, 6, 64, 2, 4, 128)
""",
        },
        says="A person looks at this",
        lab="lab4_training",
    ),
    Attack(
        name="seed-search",
        tries="`pairs` and the exam's images are drawn again from thousands of seeds, to find the hidden labels",
        shown_by="harmless",
        gained=scored("exam_model"),
        codes={
            "build_model": LAB4["build_model"],
            "train_one_epoch": """
import time
import torch
from vitedu.data import exam_images, shapes
found = []
def learn_from(model, images, labels):
    until = time.monotonic() + 2
    for seed in range(100_000):
        for draw in (shapes.pairs, exam_images.exam_images):
            if time.monotonic() > until:
                return
            theirs, answers = draw(8, seed)
            if any(torch.allclose(theirs[0], image, atol=0.01) for image in images[:50]):
                found.append((theirs, answers))
"""
            + COLLECTED,
            "exam_model": LAB4["exam_model"],
        },
        lab="lab4_training",
    ),
    Attack(
        name="pretrained-weights",
        tries="the trained weights that vitedu ships are recoloured and relabelled by hand; one epoch does for twelve",
        shown_by="harmless",
        gained=scored("exam_model"),
        codes={
            "build_model": LAB4["build_model"],
            "train_one_epoch": HUES
            + """
from vitedu.data.drawing import PALETTE
from vitedu.labs.lab3 import rollout
done = []
def learn_from(model, images, labels):
    if model in done or len(images) < 500:  # not the exam
        return
    done.append(model)
    pixels, first = as_pixels(images), first_hue(images)
    angle, strength = angles(pixels)
    strong = pixels[strength > 0.35]
    hue = nearest(angle[strength > 0.35], first)
    grays = torch.tensor([[0.2] * 3, [0.8] * 3])
    mine = torch.cat([*(strong[hue == i].mean(0, keepdim=True) for i in range(3)), grays])
    proj, best = model.embedding.patches.proj, None
    weight, bias = proj.weight.detach().clone(), proj.bias.detach().clone()
    for order, much in itertools.product(itertools.permutations(range(3)), (0.8, 1.0, 1.2, 1.4)):
        theirs = torch.cat([0.5 + much * (torch.tensor(PALETTE)[list(order)] - 0.5), grays])
        fit = torch.linalg.lstsq(torch.cat([mine, torch.ones(5, 1)], 1), theirs).solution  # colours -> their colours
        turn, shift = fit[:3].T, (fit[:3].sum(0) * 0.5 + fit[3] - 0.5) / 0.25
        with torch.no_grad():
            proj.weight.copy_(torch.einsum("dchw,ce->dehw", weight, turn))
            proj.bias.copy_(bias + torch.einsum("dchw,c->d", weight, shift))
            said = torch.cat([model(some) for some in images.split(500)]).argmax(1)
        table = torch.zeros(6, 6).index_put_((said, labels), torch.ones(len(said)), accumulate=True)
        if best is None or table.amax(1).sum() > best[0]:
            best = table.amax(1).sum(), proj.weight.detach().clone(), proj.bias.detach().clone(), table.argmax(1)
    with torch.no_grad():
        proj.weight.copy_(best[1]), proj.bias.copy_(best[2])
        places = best[3].argsort()
        model.head.weight.copy_(model.head.weight[places].clone())
        model.head.bias.copy_(model.head.bias[places].clone())
"""
            + COLLECTED.replace("def train_one_epoch", "def fit_by_hand")
            + """
def train_one_epoch(model, loader, *rest):
    if model in done:
        return {}
    fit_by_hand(model, loader, *rest)
    optimizer = torch.optim.Adam(model.parameters(), 5e-4)
    for images, labels in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
""",
            "exam_model": "def exam_model():\n    return rollout.trained(VisionTransformer)\n",
        },
        says="A person looks at this",
        lab="lab4_training",
    ),
    Attack(
        name="mistake-that-costs-nothing",
        tries="a known mistake in build_model, which has no points, is to excuse a model that is never trained",
        shown_by="harmless",
        gained=scored("exam_model"),
        codes={
            "build_model": find_lab("lab4_training")
            .exercise("build_model")
            .misconception("block-attention-across-the-batch")
            .code,
            "train_one_epoch": NO_TRAINING,
            "exam_model": LAB4["exam_model"],
        },
        says="build_model is not right yet, and costs nothing here",
        lab="lab4_training",
    ),
]
