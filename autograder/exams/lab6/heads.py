"""Lab 6's exam of the heads: new ones on a pretrained model, and loss and accuracy of one and of two."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F

from autograder.exams.lab6.problems import (
    CODE,
    REPORTS,
    TRACKERS,
    TRIES,
    WRITING,
    apart,
    images,
    labels,
    no_draw,
    standing_in,
)
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ScenarioCase, Scoring


def heads_cases(variant: Variant) -> list[ScenarioCase]:
    """More and fewer classes, both names, a device without numbers; losses and accuracies of one head and of two."""

    def new_head(name: str, kind: str, meta: bool = False) -> ScenarioCase:
        (width,), (classes, new) = variant.sizes(1, 4, 7), variant.sizes(2, 3, 9)
        parameters = standing_in(variant, kind, width, classes) | {"new_classes": new, "meta": meta}
        parameters |= {} if meta else {"x": images(variant, kind, 2)}
        also = ("two_head_loss", "head_accuracy")
        return ScenarioCase(name, "replace_head", parameters=parameters, scenario="lab6.replace_head", also=also)

    half, few = Scoring(share=0.5), Scoring(share=0.25, paired=True)
    both = two_heads(variant)
    cases = [
        new_head("two heads are replaced", "deit"),
        new_head("a classifier is replaced", "densenet"),
        new_head("two heads on another device and in float16", "deit", meta=True),
        both,
        one_head(variant),
    ]
    batch = len(both.parameters["labels"])
    again = dataclasses.replace(two_heads(variant, batch), name="other outputs of as many samples", scoring=half)
    wide = {name: F.pad(both.parameters[name][:1], (300, 0), value=-9.0) for name in ("first", "second")}
    wide["labels"] = both.parameters["labels"][:1] + 300
    name = "one sample, hundreds of classes"
    alone = dataclasses.replace(both, name=name, parameters={**both.parameters, **wide}, scoring=few)
    return [*cases, dataclasses.replace(new_head("an fc is replaced", "resnet"), scoring=half), again, alone]


def two_heads(variant: Variant, samples: int = 0) -> ScenarioCase:
    """Two logits whose accuracies are unlike each other, however one counts; `samples`: so many, 0: any number."""
    for _ in range(TRIES):
        (batch,), (classes,) = variant.sizes(1, 9, 16), variant.sizes(1, 4, 7)
        batch = samples or batch
        first, second = variant.normal(batch, classes), 1.5 * variant.normal(batch, classes)
        wanted = torch.where(variant.normal(batch) > 0, first.argmax(1), second.argmax(1))
        one, two = ((logits.argmax(1) == wanted).double() for logits in (first, second))
        both = ((first + second).argmax(1) == wanted).double()
        shares = [one.mean(), two.mean(), both.mean(), (one + two).mean() / 2, (one * two).mean(),
                  1 - ((1 - one) * (1 - two)).mean()]  # fmt: skip
        soft = (first.softmax(1) + second.softmax(1)).argmax(1)
        if apart(*map(float, shares), float((soft == wanted).double().mean()), by=0.01):
            parameters = {"first": first, "second": second, "labels": wanted, "heads": ("", "both", "first", "second")}
            return ScenarioCase(
                "loss and accuracy of two heads", "two_head_loss", parameters=parameters,
                scenario="lab6.head_loss", also=("head_accuracy",),
            )  # fmt: skip
    raise no_draw("two heads")


def one_head(variant: Variant) -> ScenarioCase:
    """Plain logits, of as many samples as two heads would be."""
    for _ in range(TRIES):
        (classes,) = variant.sizes(1, 3, 7)
        logits, wanted = variant.normal(2, classes), labels(variant, 2, classes)
        share = (logits.argmax(1) == wanted).double().mean()
        if share == 0.5 and wanted[0] != wanted[1] and float(F.cross_entropy(logits, wanted)) > 0.2:
            parameters = {"first": logits, "labels": wanted, "heads": ("", "both")}
            return ScenarioCase(
                "loss and accuracy of plain logits", "two_head_loss", parameters=parameters,
                scenario="lab6.head_loss", also=("head_accuracy",),
            )  # fmt: skip
    raise no_draw("one head")


H = CODE["heads"]
REPLACED = "            setattr(model, name, nn.Linear(old.in_features, num_classes, **place))\n"
PLACE = '            place = {"device": old.weight.device, "dtype": old.weight.dtype}\n'
NAMES = '("head", "head_dist", "classifier", "fc")'
BOTH_LOSSES = "sum(F.cross_entropy(logits, labels) for logits in outputs) / len(outputs)"
BOTH = '"both": (first + second) / 2'
A_RESULT = "return (outputs.argmax(dim=1) == labels).sum().item() / len(labels)"
PICKED = "        outputs = {"
HEADS_WRONG = (
    Misconception(
        "out-features-set",
        "only the number out_features of the old layer is changed, and its weight stays as it is",
        "What shape has the weight of the head afterwards?",
        changed(H, (REPLACED, "            old.out_features = num_classes\n")),
        (124,), TRACKERS,
    ),
    Misconception(
        "first-head-only",
        "of two heads only the first is replaced",
        "How many logits does a distilled model give in training mode, and for how many classes?",
        changed(H, (NAMES, '("head", "classifier", "fc")')),
        (), REPORTS,
    ),
    Misconception(
        "classifier-forgotten",
        "only heads with the name head are replaced, and a classifier stays",
        "What is the last layer of torchvision's DenseNet called?",
        changed(H, (NAMES, '("head", "head_dist")')),
        (), TRACKERS,
    ),
    Misconception(
        "layer-on-top",
        "a new layer is put behind the old head instead of in its place",
        "How many features does the new layer see, and how many the old one?",
        changed(H, (REPLACED, "            setattr(model, name, nn.Sequential(old, nn.Linear(old.out_features, "
                    "num_classes, **place)))\n")),
        (124,), TRACKERS,
    ),
    Misconception(
        "one-layer-for-both-heads",
        "both heads are the same new layer, so that they cannot learn different things",
        "How many different weights do your two heads have?",
        changed(H, (REPLACED, "            new = nn.Linear(old.in_features, num_classes, **place)\n"
                    "            model.head = new if hasattr(model, 'head') else None\n"
                    "            setattr(model, name, new)\n")),
        (), WRITING,
    ),
    Misconception(
        "old-rows-kept",
        "the new head keeps rows of the old one's weight, which belong to other classes",
        "Which class did row 0 of the old weight stand for, and which one does it stand for now?",
        changed(H, (REPLACED, REPLACED + '''            rows = min(num_classes, len(old.weight))
            with torch.no_grad():
                getattr(model, name).weight[:rows] = old.weight[:rows]
                getattr(model, name).bias[:rows] = old.bias[:rows]
''')),
        (124,), WRITING,
    ),
    Misconception(
        "new-head-frozen",
        "the new head is frozen like the old one, and cannot learn",
        "Which parameters have to learn, whatever else is frozen?",
        changed(H, (REPLACED, REPLACED + "            getattr(model, name).requires_grad_(old.weight."
                    "requires_grad)\n")),
        (120,), TRACKERS,
    ),
    Misconception(
        "no-bias",
        "the new head has no bias",
        "Which keys of the state_dict are missing?",
        changed(H, ("num_classes, **place)", "num_classes, bias=False, **place)")),
        (), WRITING,
    ),
    Misconception(
        "head-on-the-cpu",
        "the new head is on the CPU and in float32, wherever the model is",
        "What happens in the first forward pass when the model lies on a GPU?",
        changed(H, (PLACE, ""), (", **place", "")),
        (89,), TRACKERS,
    ),
    Misconception(
        "softmax-behind-the-head",
        "a softmax is put behind the head, so that it gives probabilities instead of logits",
        "What does F.cross_entropy expect: logits or probabilities?",
        changed(H, (REPLACED, REPLACED + "            getattr(model, name).register_forward_hook("
                    "lambda m, x, out: out.softmax(1))\n")),
        (86,), TRACKERS,
    ),
    Misconception(
        "whole-model-reset",
        "other layers lose their weights as well",
        "Which layers of the model know nothing about the old classes, and should stay?",
        changed(H, ("    return model\n", "    for m in model.modules():\n"
                    "        if isinstance(m, nn.LayerNorm | nn.BatchNorm2d):\n"
                    "            m.reset_parameters()\n    return model\n")),
        (), WRITING,
    ),
    Misconception(
        "loss-of-the-first-head-only",
        "of two heads only the first has a loss, and the second learns nothing",
        "Where does the gradient of the second head come from?",
        changed(H, (BOTH_LOSSES, "F.cross_entropy(outputs[0], labels)")),
        (), REPORTS,
    ),
    Misconception(
        "losses-added",
        "the two losses are added, not averaged",
        "What are the two factors of one half in the formula?",
        changed(H, (f"{BOTH_LOSSES}", "sum(F.cross_entropy(logits, labels) for logits in outputs)")),
        (), WRITING,
    ),
    Misconception(
        "loss-of-the-mean",
        "the loss is the cross-entropy of the mean of both logits, not the mean of both cross-entropies",
        "Does each head have to be right by itself, or only both together?",
        changed(H, (BOTH_LOSSES, "F.cross_entropy(sum(outputs) / 2, labels)")),
        (), WRITING,
    ),
    Misconception(
        "accuracy-of-the-first-head",
        "the accuracy counts the first head only, whatever heads says",
        "Which of the two heads decides when the model is used?",
        changed(H, (BOTH, '"both": first'), ('"second": second', '"second": first')),
        (), REPORTS,
    ),
    Misconception(
        "both-means-the-first",
        "for both heads the first alone is counted",
        "What does a distilled model say in evaluation mode?",
        changed(H, (BOTH, '"both": first')),
        (), REPORTS,
    ),
    Misconception(
        "mean-of-the-accuracies",
        "for both heads the mean of their accuracies is given",
        "How many answers does the model give for one image when it is used?",
        changed(H, (PICKED, '        if heads == "both":\n'
                    "            return sum((z.argmax(dim=1) == labels).double().mean().item() for z in outputs) / 2\n"
                    + PICKED)),
        (), WRITING,
    ),
    Misconception(
        "right-when-either-is",
        "a sample counts as right as soon as one of the two heads is right",
        "Who tells, for a new image, which head to believe?",
        changed(H, (PICKED, '        if heads == "both":\n'
                    "            hits = [z.argmax(dim=1) == labels for z in outputs]\n"
                    "            return (hits[0] | hits[1]).double().mean().item()\n" + PICKED)),
        (), WRITING,
    ),
    Misconception(
        "right-when-both-are",
        "a sample counts as right only if both heads are right",
        "What does a distilled model say when its heads do not agree?",
        changed(H, (PICKED, '        if heads == "both":\n'
                    "            hits = [z.argmax(dim=1) == labels for z in outputs]\n"
                    "            return (hits[0] & hits[1]).double().mean().item()\n" + PICKED)),
        (), WRITING,
    ),
    Misconception(
        "mean-of-the-probabilities",
        "for both heads the probabilities are averaged, not the logits",
        "Which mean does a distilled model give in evaluation mode?",
        changed(H, (BOTH, '"both": first.softmax(1) + second.softmax(1)')),
        (), WRITING,
    ),
    Misconception(
        "plain-logits-split",
        "plain logits are taken for a tuple, and their first two rows for two heads",
        "How can you tell a tuple of two logits from logits of two samples?",
        changed(H, ("    if isinstance(outputs, tuple):\n        return sum", "    if len(outputs) == 2:\n"
                    "        outputs = [z.reshape(-1, outputs[0].shape[-1]) for z in outputs]\n"
                    "        labels = labels[: len(outputs[0])]\n        return sum")),
        (), WRITING,
    ),
    Misconception(
        "percent",
        "the accuracy is given in percent instead of as a number from 0 to 1",
        "What is the accuracy when every sample is right?",
        changed(H, (A_RESULT, f"{A_RESULT} * 100")),
        (96,), TRACKERS,
    ),
    Misconception(
        "loss-without-a-graph",
        "the loss is a plain tensor without a graph, from which no gradient flows back",
        "What does backward need from the loss?",
        changed(H, (BOTH_LOSSES, f"({BOTH_LOSSES}).detach()"),
                ("return F.cross_entropy(outputs, labels)", "return F.cross_entropy(outputs, labels).detach()")),
        (123,), WRITING,
    ),
)  # fmt: skip
LOSS = """
def two_head_loss(outputs, labels):
    if torch.is_tensor(outputs):
        return F.cross_entropy(outputs, labels)
    first, second = outputs
    return 0.5 * F.cross_entropy(first, labels) + 0.5 * F.cross_entropy(second, labels)


def head_accuracy(outputs, labels, heads="both"):
    if not torch.is_tensor(outputs):
        first, second = outputs
        outputs = first if heads == "first" else second if heads == "second" else first + second
    return (outputs.max(1).indices == labels).float().mean().item()
"""
STACKED = """
def two_head_loss(outputs, labels):
    logits = torch.stack(outputs) if isinstance(outputs, (tuple, list)) else outputs[None]  # (heads, B, C)
    log_p = logits.log_softmax(-1)
    return -log_p.gather(-1, labels.view(1, -1, 1).expand(len(logits), -1, 1)).mean()


def head_accuracy(outputs, labels, heads="both"):
    if isinstance(outputs, (tuple, list)):
        chosen = {"both": slice(None), "first": slice(0, 1), "second": slice(1, 2)}[heads]
        outputs = torch.stack(outputs)[chosen].sum(0)
    return int((outputs.argmax(-1) == labels).sum()) / len(labels)
"""
HEADS_OTHER = (
    Alternative("named children, normal weights", '''
def replace_head(model, num_classes):
    for name, child in list(model.named_children()):
        if name in ("head", "head_dist", "classifier", "fc"):
            new = nn.Linear(child.in_features, num_classes).to(child.weight)
            if not new.weight.is_meta:
                nn.init.normal_(new.weight, std=0.02)
            setattr(model, name, new)
    return model
''' + LOSS),
    Alternative("in the style of timm's reset_classifier: two assignments, truncated normal", '''
def replace_head(model, num_classes):
    for name in ["head", "head_dist", "classifier", "fc"]:
        old = getattr(model, name, None)
        if old is None:
            continue
        new = nn.Linear(old.in_features, num_classes, device=old.weight.device, dtype=old.weight.dtype)
        nn.init.trunc_normal_(new.weight, std=0.02)
        nn.init.zeros_(new.bias)
        setattr(model, name, new)
    return model
''' + STACKED),
    Alternative("the old layer gets new parameters", '''
def replace_head(model, num_classes):
    for name in ("head", "head_dist", "classifier", "fc"):
        layer = model._modules.get(name)
        if layer is not None:
            layer.weight = nn.Parameter(layer.weight.new_empty(num_classes, layer.in_features))
            layer.bias = nn.Parameter(layer.bias.new_empty(num_classes))
            layer.out_features = num_classes
            layer.reset_parameters()
    return model
''' + LOSS),
    Alternative("random numbers copied in, nothing returned", '''
def replace_head(model, num_classes):
    parts = {"head", "head_dist", "classifier", "fc"} & set(dir(model))
    for name in sorted(parts):
        old = model.get_submodule(name)
        new = nn.Linear(old.weight.shape[1], num_classes, device=old.weight.device, dtype=old.weight.dtype)
        with torch.no_grad():
            new.weight.copy_(torch.rand_like(new.weight) / 10 - 0.05)
        model.add_module(name, new)
''' + STACKED),
    Alternative("xavier weights by a forward of the module path", '''
def replace_head(model, num_classes):
    heads = [(n, m) for n, m in model.named_modules() if n in ("head", "head_dist", "classifier", "fc")]
    for name, old in heads:
        with torch.device(old.weight.device):
            new = nn.Linear(old.in_features, num_classes, dtype=old.weight.dtype)
        nn.init.xavier_uniform_(new.weight)
        nn.init.zeros_(new.bias)
        model.set_submodule(name, new)
    return model
''' + '''
def two_head_loss(outputs, labels):
    criterion = nn.CrossEntropyLoss()
    if not isinstance(outputs, tuple):
        return criterion(outputs, labels)
    return torch.mean(torch.stack([criterion(z, labels) for z in outputs]))


def head_accuracy(outputs, labels, heads="both"):
    if isinstance(outputs, tuple):
        weights = {"both": (0.5, 0.5), "first": (1.0, 0.0), "second": (0.0, 1.0)}[heads]
        outputs = weights[0] * outputs[0] + weights[1] * outputs[1]
    return torch.mean((torch.argmax(outputs, dim=-1) == labels).float())
'''),
    Alternative("zeros to begin with, logsumexp minus the logit of the class", '''
def replace_head(model, num_classes):
    for name in ("head", "head_dist", "classifier", "fc"):
        if hasattr(model, name):
            old = getattr(model, name)
            new = nn.utils.skip_init(nn.Linear, old.in_features, num_classes, device=old.weight.device)
            new = new.to(old.weight.dtype)
            with torch.no_grad():
                new.weight.fill_(0.0)
                new.bias.fill_(0.0)
            setattr(model, name, new)
    return model


def two_head_loss(outputs, labels):
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    losses = [z.logsumexp(1) - z[torch.arange(len(labels)), labels] for z in outputs]
    return torch.cat(losses).mean()


def head_accuracy(outputs, labels, heads="both"):
    from sklearn.metrics import accuracy_score

    if isinstance(outputs, tuple):
        outputs = {"first": outputs[0], "second": outputs[1]}.get(heads, outputs[0] + outputs[1])
    return accuracy_score(labels.cpu(), outputs.detach().cpu().argmax(1))
'''),
    Alternative("orthogonal weights, one-hot labels", '''
def replace_head(model, num_classes):
    for name in ("head", "head_dist", "classifier", "fc"):
        try:
            old = model.get_submodule(name)
        except AttributeError:
            continue
        new = nn.Linear(old.in_features, num_classes, device=old.weight.device)
        if not new.weight.is_meta:
            nn.init.orthogonal_(new.weight)
        model.register_module(name, new.to(old.weight.dtype))
    return model


def two_head_loss(outputs, labels):
    pair = outputs if isinstance(outputs, tuple) else (outputs, outputs)
    wanted = F.one_hot(labels, pair[0].shape[1]).to(pair[0].dtype)
    return -sum((z.log_softmax(1) * wanted).sum() for z in pair) / (2 * len(labels))


def head_accuracy(outputs, labels, heads="both"):
    if isinstance(outputs, tuple):
        first, second = outputs
        outputs = (first + second) / 2
        if heads != "both":
            outputs = first if heads == "first" else second
    return (outputs.sort(dim=1).indices[:, -1] == labels).sum().item() / labels.numel()
'''),
)  # fmt: skip

EXERCISE = Exercise("heads", heads_cases, HEADS_WRONG, HEADS_OTHER, ("reset_classifier",))
