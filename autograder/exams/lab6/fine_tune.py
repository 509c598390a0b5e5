"""Lab 6's exam of fine-tuning, on models whose every number is known."""

from __future__ import annotations

from autograder.exams.lab6.heads import HEADS_WRONG
from autograder.exams.lab6.problems import (
    CODE,
    LAST,
    REPORTS,
    TRACKERS,
    TRIES,
    WRITING,
    apart,
    images,
    labels,
    no_draw,
    solved,
    standing_in,
)
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ScenarioCase, Scoring


def tune_cases(variant: Variant) -> list[ScenarioCase]:
    """Two heads, running statistics, a block with its name in others, data on another device.

    With stand-ins for the exercises that are called, too, the last epoch is not the best one in some case.
    """

    def case(
        name: str, kind: str, names: tuple[str, ...], sizes: tuple[int, ...], val_sizes: tuple[int, ...], **more: object
    ) -> ScenarioCase:
        (width,), (classes,) = variant.sizes(1, 4, 6), variant.sizes(1, 3, 5)
        parameters = standing_in(variant, kind, width, classes, drop=0.4) | {"names": names, **more}
        for prefix, batches in (("", sizes), ("val_", val_sizes)):
            count = sum(batches)
            seconds = variant.sizes(1, 5, 40)[0] / 8 if not prefix else variant.sizes(1, 50, 90)[0] / 64
            parameters |= {
                f"{prefix}x": images(variant, kind, count), f"{prefix}y": labels(variant, count, classes),
                f"{prefix}batches": batches, f"{prefix}seconds": seconds,
            }  # fmt: skip
        return ScenarioCase(name, "fine_tune", parameters=parameters, scenario="lab6.fine_tune")

    def rate(low: int, high: int) -> float:
        return variant.sizes(1, low, high)[0] / 1000

    def shown(make, fits) -> ScenarioCase:
        for _ in range(TRIES):
            drawn = make()
            if fits(drawn, solved(drawn)):
                return drawn
        raise no_draw(drawn.name)

    block = f"blocks.{LAST}"
    heads = shown(lambda: case("a block and two heads, two epochs", "deit", (block, "head", "head_dist"), (4, 3),
                               (3, 2), epochs=2, lr=rate(20, 50)), telling_heads)  # fmt: skip
    dense = shown(lambda: case("a dense layer and the classifier", "densenet",
                               ("features.denseblock2.denselayer12", "classifier"), (4, 2), (2, 1), epochs=2,
                               lr=rate(10, 30)), telling)  # fmt: skip
    left = [bound for bound in BOUND if not any(best_before_the_end(solved(each, bound)) for each in (heads, dense))]

    def fits(drawn: ScenarioCase, found: dict) -> bool:
        return telling_last(drawn, found) and all(best_before_the_end(solved(drawn, bound)) for bound in left)

    last = shown(lambda: case("one block without its head; batches lie on another device", "cait",
                              ("blocks_token_only.1",), (3, 2), (3, 1), epochs=3, lr=rate(10, 30), elsewhere=True),
                 fits)  # fmt: skip
    return [heads, dense, last]


BOUND = (("freeze_all_but",), ("heads",), ("freeze_all_but", "heads"))  # in whose place stand-ins are called


def telling(case: ScenarioCase, found: dict) -> bool:
    """Whether accuracies are neither 0 nor 1 throughout, and losses tell training from validation."""
    train, val = found["train_accuracy"], found["val_accuracy"]
    spread = apart(*found["train_loss"].tolist(), *found["val_loss"].tolist(), by=1e-3)
    return bool(0 < train.mean() < 1 and 0 < val.mean() < 1) and spread


def telling_last(case: ScenarioCase, found: dict) -> bool:
    """As `telling`; and the last epoch is not the best one."""
    return telling(case, found) and best_before_the_end(found)


def best_before_the_end(found: dict) -> bool:
    """Whether the last epoch's validation loss is not the lowest one."""
    return bool(found["val_loss"].argmin() < len(found["val_loss"]) - 1)


WAYS = (  # in which the heads of exercise 4 are counted wrongly; the one that shows least often first
    "mean-of-the-probabilities", "right-when-either-is", "right-when-both-are", "both-means-the-first",
    "mean-of-the-accuracies",
)  # fmt: skip


def telling_heads(case: ScenarioCase, found: dict) -> bool:
    """As `telling`; and every wrong way to count two heads gives another training accuracy than the right one.

    With stand-ins, at least the first head alone does.
    """
    if not telling(case, found):
        return False
    counted = (next(m.code for m in HEADS_WRONG if m.id == way) for way in WAYS)
    others = (solved(case, cells=(code, T)) for code in counted)
    return all(otherwise_right(other, found) for other in others) and all(
        otherwise_right(solved(case, bound, (ONE_HEAD,)), solved(case, bound)) for bound in BOUND
    )


def otherwise_right(other: dict, found: dict) -> bool:
    """Whether two training accuracies differ."""
    return bool((other["train_accuracy"] - found["train_accuracy"]).abs().max() > 0.01)


def first_layer(variant: Variant) -> ScenarioCase:
    """The first layer of a model learns, with the last one."""
    for _ in range(TRIES):
        (width,), (classes,) = variant.sizes(1, 4, 6), variant.sizes(1, 3, 5)
        parameters = standing_in(variant, "resnet", width, classes, drop=0.4)
        parameters |= {"names": ("conv1", "fc"), "epochs": 1, "lr": variant.sizes(1, 20, 50)[0] / 1000}
        for prefix, batches in (("", (4, 3)), ("val_", (3, 2))):
            count = sum(batches)
            parameters |= {
                f"{prefix}x": images(variant, "resnet", count), f"{prefix}y": labels(variant, count, classes),
                f"{prefix}batches": batches, f"{prefix}seconds": variant.sizes(1, 5, 40)[0] / 8,
            }  # fmt: skip
        drawn = ScenarioCase(
            "the first layer and the last", "fine_tune", parameters=parameters, scenario="lab6.fine_tune",
            scoring=Scoring(share=0.5),
        )  # fmt: skip
        if telling(drawn, solved(drawn)):
            return drawn
    raise no_draw("the first layer")


def all_cases(variant: Variant) -> list[ScenarioCase]:
    """Those on the stand-ins of the study's models, and one on a model that is trained from its first layer on."""
    return [*tune_cases(variant), first_layer(variant)]


T = CODE["fine_tune"]
FREEZE = "    freeze_all_but(model, module_names)\n"
ADAMW = "    adamw = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)\n"
COUNTED = "hits += head_accuracy(outputs, y) * len(y)"
ONE_HEAD = changed(T, (COUNTED, COUNTED.replace("(outputs, y)", '(outputs, y, "first")')))
MOVED = "                    x, y = x.to(device), y.to(device)\n"
MODE = "            model.train(learn)\n"
FORWARD = "                    outputs = model(x)\n"
STARTED = 'learn, started = part == "train", time.perf_counter()'
SECONDS = '            history[f"{part}_seconds"].append(time.perf_counter() - started)\n'
ZERO = "                        adamw.zero_grad()\n"
PARTS = '(("train", train_loader), ("val", val_loader))'
BACK = "    return history"
TUNE_WRONG = (
    Misconception(
        "everything-trained",
        "nothing is frozen, and the whole model is trained",
        "What are the module names for?",
        changed(T, (FREEZE, "")),
        (116,), TRACKERS,
    ),
    Misconception(
        "head-frozen-too",
        "the heads are frozen, too, although they are named",
        "Can the model learn new classes when its head is frozen?",
        changed(T, (FREEZE, '''    freeze_all_but(model, module_names)
    for name in ("head", "head_dist", "classifier"):
        if hasattr(model, name):
            getattr(model, name).requires_grad_(False)
''')),
        (120,), TRACKERS,
    ),
    Misconception(
        "head-trained-although-not-named",
        "the heads are trained, although they are not named",
        "Which modules did the caller name?",
        changed(T, (FREEZE, '''    heads = [n for n in ("head", "head_dist", "classifier") if hasattr(model, n)]
    freeze_all_but(model, [*module_names, *heads])
''')),
        (120,), WRITING,
    ),
    Misconception(
        "final-norm-trained-too",
        "the norm behind the last block is trained, too, so that the number of trainable parameters is too large by "
        "two vectors",
        "By how much does your number of trainable parameters differ from the right one?",
        changed(T, (FREEZE, '''    norms = [n for n in ("norm", "features.norm5") if n in dict(model.named_modules())]
    freeze_all_but(model, [*module_names, *norms])
''')),
        (127,), TRACKERS,
    ),
    Misconception(
        "optimizer-before-freezing",
        "the optimizer was given all parameters, and zero_grad(set_to_none=False) gives the frozen ones gradients of "
        "zeros, so that weight decay moves them",
        "Which parameters does your optimizer hold, and what does weight decay do to one with a gradient of 0?",
        changed(T, (ADAMW, "    adamw = torch.optim.AdamW(model.parameters(), lr=lr)\n"),
                (ZERO, "                        adamw.zero_grad(set_to_none=False)\n")),
        (121,), TRACKERS,
    ),
    Misconception(
        "optimizer-holds-everything",
        "the optimizer holds the frozen parameters as well; nothing moves them as long as they have no gradient",
        "Which parameters does your optimizer hold?",
        changed(T, (ADAMW, "    adamw = torch.optim.AdamW(model.parameters(), lr=lr)\n")),
        (121,), TRACKERS,
    ),
    Misconception(
        "frozen-after-the-first-epoch",
        "everything is trained in the first epoch, and frozen only then",
        "When is the model frozen, and what has moved before?",
        changed(T, (FREEZE, ""), ("    for _ in range(epochs):\n", "    for epoch in range(epochs):\n"
                "        if epoch == 1:\n            freeze_all_but(model, module_names)\n"),
                (BACK, "    freeze_all_but(model, module_names)\n    return history")),
        (121,), WRITING,
    ),
    Misconception(
        "features-without-gradients",
        "the features are computed without gradients, so that nothing learns but the head",
        "Where in the model is the block that is to learn: before the head, or behind it?",
        changed(T, (FORWARD, '''                    if hasattr(model, "forward_features"):
                        with torch.no_grad():
                            features = model.forward_features(x)
                        outputs = model.forward_head(features)
                    else:
                        with torch.no_grad():
                            features = torch.relu(model.features(x)).mean(dim=(2, 3))
                        outputs = model.classifier(features)
'''), ("                        loss.backward()\n",
       "                        if loss.requires_grad:\n                            loss.backward()\n")),
        (123,), TRACKERS,
    ),
    Misconception(
        "model-never-changes",
        "the model never changes: the optimizer holds the parameters of a copy, or of layers that are no longer in the "
        "model, or gradients are cleared between backward and step",
        "Are the parameters in your optimizer those of the model, and what is in their .grad when it steps?",
        changed(T, (ADAMW, "    held = copy.deepcopy([p for p in model.parameters() if p.requires_grad])\n"
                    "    adamw = torch.optim.AdamW(held, lr=lr)\n")),
        (81, 124), TRACKERS,
    ),
    Misconception(
        "unfrozen-at-the-end",
        "everything is thawed again at the end",
        "Who else may go on training this model, and what does the docstring say is still frozen?",
        changed(T, (BACK, "    model.requires_grad_(True)\n    return history")),
        (), WRITING,
    ),
    Misconception(
        "no-zero-grad",
        "gradients are not cleared, so that those of earlier batches add up, and those from before the call, too",
        "What is in .grad when the first batch comes?",
        changed(T, (ZERO, "")),
        (80,), TRACKERS,
    ),
    Misconception(
        "trains-in-evaluation-mode",
        "training happens in evaluation mode",
        "In which mode does the docstring want the model to be trained, and what do two heads give in the other one?",
        changed(T, (MODE, "            model.eval()\n")),
        (85,), TRACKERS,
    ),
    Misconception(
        "train-mode-once",
        "the model is put into training mode once, before the first epoch, so that it trains in evaluation mode from "
        "the second on",
        "In which mode is the model when the second epoch begins?",
        changed(T, (MODE, "            if not learn:\n                model.eval()\n"),
                ("    for _ in range(epochs)", "    model.train()\n    for _ in range(epochs)")),
        (85,), REPORTS,
    ),
    Misconception(
        "validates-in-training-mode",
        "validation happens in training mode, so that running statistics move and two heads give two answers",
        "What does BatchNorm do with a validation batch in training mode?",
        changed(T, (MODE, "            model.train()\n")),
        (98,), TRACKERS,
    ),
    Misconception(
        "validates-with-gradients",
        "validation images go through the model while gradients are recorded",
        "Which of your two loops needs gradients?",
        changed(T, ("torch.set_grad_enabled(learn)", "torch.enable_grad()")),
        (99,), REPORTS,
    ),
    Misconception(
        "validates-on-the-training-data",
        "the validation numbers come from the training data",
        "Which loader did you validate with?",
        changed(T, (PARTS, '(("train", train_loader), ("val", train_loader))')),
        (90,), TRACKERS,
    ),
    Misconception(
        "learning-rate-ignored",
        "AdamW runs with its usual learning rate of 0.001",
        "What is the argument lr for?",
        changed(T, (", lr=lr)", ")")),
        (), WRITING,
    ),
    Misconception(
        "no-weight-decay",
        "the optimizer is Adam, or AdamW without weight decay",
        "What is AdamW's weight decay when you do not say anything?",
        changed(T, (", lr=lr)", ", lr=lr, weight_decay=0.0)")),
        (), TRACKERS,
    ),
    Misconception(
        "plain-gradient-descent",
        "the optimizer is plain gradient descent instead of AdamW",
        "Which optimizer does the exercise name?",
        changed(T, ("torch.optim.AdamW", "torch.optim.SGD")),
        (), WRITING,
    ),
    Misconception(
        "new-optimizer-each-epoch",
        "the optimizer is made anew in each epoch, so that it forgets its averages",
        "What does AdamW remember from step to step?",
        changed(T, (ADAMW, ""), ("    for _ in range(epochs):\n", "    for _ in range(epochs):\n    " + ADAMW)),
        (83,), TRACKERS,
    ),
    Misconception(
        "loss-of-the-first-head-only",
        "of two heads only the first is trained",
        "Where does the gradient of the second head come from?",
        changed(T, ("two_head_loss(outputs, y)", "two_head_loss(outputs[0] if isinstance(outputs, tuple) else outputs, "
                    "y)")),
        (), REPORTS,
    ),
    Misconception(
        "accuracy-of-one-head",
        "the accuracy of a model with two heads counts the first one only",
        "Which of the two heads decides when the model is used?",
        ONE_HEAD,
        (), REPORTS,
    ),
    Misconception(
        "mean-of-batch-means",
        "the batches' means are averaged, so that a sample of the small last batch weighs more than another",
        "How much does each sample weigh in your mean?",
        changed(T, ("summed += loss.item() * len(y)", "summed += loss.item()"),
                (COUNTED, "hits += head_accuracy(outputs, y)"), ("n += len(y)", "n += 1")),
        (92,), TRACKERS,
    ),
    Misconception(
        "sums-of-earlier-epochs",
        "the sums are not set back to zero, so that every epoch's numbers hold the earlier ones",
        "What is in your sums when the second epoch begins?",
        changed(T, ("            summed, hits, n = 0.0, 0.0, 0\n", ""),
                ("    for _ in range(epochs):\n", "    sums = {'train': [0.0, 0.0, 0], 'val': [0.0, 0.0, 0]}\n"
                 "    for _ in range(epochs):\n"),
                ("            with torch.set", "            summed, hits, n = sums[part]\n            with torch.set"),
                ('            history[f"{part}_loss"]', '            sums[part] = [summed, hits, n]\n'
                 '            history[f"{part}_loss"]')),
        (95,), REPORTS,
    ),
    Misconception(
        "seconds-since-the-start",
        "the clock is started once, so that the seconds of an epoch hold all the earlier ones",
        "When do you look at the clock for the first time, and how often after that?",
        changed(T, (STARTED, 'learn = part == "train"'),
                ("    for _ in range(epochs):\n", "    started = time.perf_counter()\n    for _ in range(epochs):\n")),
        (), WRITING,
    ),
    Misconception(
        "seconds-of-the-whole-epoch",
        "training and validation are given the same seconds, those of both together",
        "Between which two moments does the training of an epoch happen?",
        changed(T, (SECONDS, ""), ("        for part, loader in", "        begun = time.perf_counter()\n"
                "        for part, loader in"),
                (BACK, "        for part in ('train', 'val'):\n"
                 "            history[f'{part}_seconds'].append(time.perf_counter() - begun)\n    return history")),
        (), WRITING,
    ),
    Misconception(
        "seconds-of-a-batch",
        "the seconds are those of one batch, not of the epoch",
        "By what do you divide, and does anybody ask for it?",
        changed(T, ("            with torch.set", "            batches = 0\n            with torch.set"),
                ("n += len(y)", "n += len(y)\n                    batches += 1"),
                ("time.perf_counter() - started)", "(time.perf_counter() - started) / batches)")),
        (), WRITING,
    ),
    Misconception(
        "loading-not-timed",
        "the clock runs only while the model computes, and not while batches are loaded",
        "What else takes time in an epoch, and is it in your seconds?",
        changed(T, (MOVED, MOVED + "                    begun = time.perf_counter()\n"),
                ("n += len(y)", "n += len(y)\n                    spent += time.perf_counter() - begun"),
                ("summed, hits, n = 0.0, 0.0, 0", "summed, hits, n, spent = 0.0, 0.0, 0, 0.0"),
                ("time.perf_counter() - started)", "spent)")),
        (), WRITING,
    ),
    Misconception(
        "milliseconds",
        "the times are given in milliseconds",
        "Which unit do the names of the lists say?",
        changed(T, ("time.perf_counter() - started)", "1000 * (time.perf_counter() - started))")),
        (), WRITING,
    ),
    Misconception(
        "history-of-the-last-epoch",
        "the history holds the last epoch only",
        "How long are your lists after three epochs?",
        changed(T, ("    for _ in range(epochs):\n", "    for _ in range(epochs):\n"
                "        history = {name: [] for name in history}\n")),
        (95,), WRITING,
    ),
    Misconception(
        "ends-with-the-best-epoch",
        "the model ends with the weights of the best epoch, and not with those of the last one",
        "What does the exercise say about the model at the end?",
        changed(T, ("        for part, loader in", "        if not history['val_loss']:\n"
                "            kept, lowest = copy.deepcopy(model.state_dict()), float('inf')\n"
                "        for part, loader in"),
                (BACK, "        if history['val_loss'][-1] < lowest:\n"
                 "            kept, lowest = copy.deepcopy(model.state_dict()), history['val_loss'][-1]\n"
                 "    model.load_state_dict(kept)\n    return history")),
        (), WRITING,
    ),
    Misconception(
        "one-epoch-too-few",
        "the epochs are counted from 1 up to epochs - 1, so that one is missing",
        "Which numbers does range(1, 3) give?",
        changed(T, ("range(epochs)", "range(1, epochs)")),
        (), WRITING,
    ),
    Misconception(
        "not-moved",
        "images or labels stay on the device on which they came",
        "Does x.to(device) change x, or does it return something?",
        changed(T, (MOVED, "")),
        (89,), TRACKERS,
    ),
)  # fmt: skip
ONE_PASS = """
def one_pass(model, loader, device, step=None):
    started = time.perf_counter()
    losses, hits, count = 0.0, 0.0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = LOSS
        if step is not None:
            step(loss)
        losses += float(loss.detach()) * labels.size(0)
        hits += float(HITS)
        count += labels.size(0)
    return losses / count, hits / count, time.perf_counter() - started
"""
HITS = "head_accuracy(logits, labels) * labels.size(0)"
PLAIN = ONE_PASS.replace("LOSS", "two_head_loss(logits, labels)").replace("HITS", HITS)
OWN = ONE_PASS.replace("LOSS", "own_loss(logits, labels)").replace("HITS", "own_hits(logits, labels)")
LOGSUMEXP = """
def own_loss(logits, labels):
    parts = logits if isinstance(logits, tuple) else (logits,)
    return torch.stack([(z.logsumexp(1) - z.gather(1, labels[:, None])[:, 0]).mean() for z in parts]).mean()

"""
TOPK = """
def own_hits(logits, labels):
    z = sum(logits) if isinstance(logits, tuple) else logits
    return (z.topk(1).indices[:, 0] == labels).sum()
"""
EPOCHS = """

def fine_tune(model, train_loader, val_loader, module_names, epochs, lr, device):
    freeze_all_but(model, module_names)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = OPTIMIZER
    names = [f"{part}_{what}" for part in ("train", "val") for what in ("loss", "accuracy", "seconds")]
    history = {name: [] for name in names}

    def step(loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for epoch in range(epochs):
        model.train()
        numbers = one_pass(model, train_loader, device, step)
        model.eval()
        with torch.no_grad():
            numbers += one_pass(model, val_loader, device)
        for name, number in zip(names, numbers):
            history[name].append(number)
    return history
"""


def epochs(optimizer: str) -> str:
    """An outer loop with this optimizer."""
    return EPOCHS.replace("OPTIMIZER", optimizer)


TUNE_OTHER = (
    Alternative("two passes, AdamW over one parameter after the other", PLAIN + epochs(
        "torch.optim.AdamW(params, lr=lr, foreach=False)")),
    Alternative("the fused AdamW", PLAIN + epochs("torch.optim.AdamW(params, lr=lr, fused=True)")),
    Alternative("the multi-tensor AdamW in groups, a loss with logsumexp", LOGSUMEXP + TOPK + OWN + epochs(
        'torch.optim.AdamW([{"params": params}], lr=lr, foreach=True)')),
    Alternative("everything written out, real seconds by another clock", '''
def fine_tune(model, train_loader, val_loader, module_names, epochs, lr, device):
    from timeit import default_timer as clock

    freeze_all_but(model, module_names)
    model.zero_grad()
    optimizer = torch.optim.AdamW(filter(lambda p: p.requires_grad, model.parameters()), lr)
    train_loss, train_accuracy, train_seconds, val_loss, val_accuracy, val_seconds = [], [], [], [], [], []
    for _ in range(epochs):
        t0 = clock()
        model.train()
        losses, rights, sizes = [], [], []
        for images, labels in train_loader:
            images, labels = images.to(device), labels.to(device)
            out = model(images)
            loss = two_head_loss(out, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
            rights.append(head_accuracy(out, labels))
            sizes.append(len(labels))
        weights = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
        train_loss.append((torch.stack(losses) @ weights.to(losses[0].dtype)).item())
        train_accuracy.append(sum(r * n for r, n in zip(rights, sizes)) / sum(sizes))
        t1 = clock()
        model.eval()
        with torch.inference_mode():
            logits, wanted = [], []
            for images, labels in val_loader:
                logits.append(model(images.to(device)))
                wanted.append(labels.to(device))
            logits, wanted = torch.cat(logits), torch.cat(wanted)
            val_loss.append(F.cross_entropy(logits, wanted).item())
            val_accuracy.append((logits.argmax(1) == wanted).double().mean().item())
        train_seconds.append(t1 - t0)
        val_seconds.append(clock() - t1)
    return dict(
        train_loss=train_loss, train_accuracy=train_accuracy, train_seconds=train_seconds,
        val_loss=val_loss, val_accuracy=val_accuracy, val_seconds=val_seconds,
    )
'''),
    Alternative("AdamW by hand, after Loshchilov and Hutter's algorithm 2", PLAIN + '''

def fine_tune(model, train_loader, val_loader, module_names, epochs, lr, device):
    freeze_all_but(model, module_names)
    learning = [p for p in model.parameters() if p.requires_grad]
    first, second, steps = ([torch.zeros_like(p) for p in learning] for _ in range(2)), None, 0
    first, second = first
    history = {f"{a}_{b}": [] for a in ("train", "val") for b in ("loss", "accuracy", "seconds")}

    def step(loss):
        nonlocal steps
        steps += 1
        gradients = torch.autograd.grad(loss, learning, allow_unused=True)
        with torch.no_grad():
            for p, g, m, v in zip(learning, gradients, first, second):
                if g is None:
                    continue
                m.lerp_(g, 0.1)
                v.mul_(0.999).add_(g * g, alpha=0.001)
                p.mul_(1 - lr * 0.01)
                p.sub_(lr * (m / (1 - 0.9**steps)) / ((v / (1 - 0.999**steps)).sqrt() + 1e-8))

    for _ in range(epochs):
        for part, loader in (("train", train_loader), ("val", val_loader)):
            model.train(part == "train")
            with torch.set_grad_enabled(part == "train"):
                found = one_pass(model, loader, device, step if part == "train" else None)
            for what, value in zip(("loss", "accuracy", "seconds"), found):
                history[f"{part}_{what}"].append(value)
    return history
'''),
    Alternative("in the style of timm's train.py: running averages, closures, nanoseconds", '''
class Average:
    def __init__(self):
        self.sum, self.count = 0.0, 0

    def update(self, value, n):
        self.sum, self.count = self.sum + float(value) * n, self.count + n

    @property
    def avg(self):
        return self.sum / self.count


def fine_tune(model, train_loader, val_loader, module_names, epochs, lr, device):
    freeze_all_but(model, module_names)
    optimizer = torch.optim.AdamW(
        [{"params": [p]} for p in model.parameters() if p.requires_grad], lr=lr, foreach=True, weight_decay=1e-2
    )
    history = {}
    for epoch in range(epochs):
        for part, loader in {"train": train_loader, "val": val_loader}.items():
            training = part == "train"
            model.train(mode=training)
            start, losses, top1 = time.time_ns(), Average(), Average()
            for input, target in loader:
                input, target = input.to(device=device), target.to(device=device)
                if training:
                    kept = []

                    def closure():
                        optimizer.zero_grad(set_to_none=False)
                        output = model(input)
                        loss = two_head_loss(output, target)
                        loss.backward()
                        kept.append((output, loss.detach()))
                        return loss

                    optimizer.step(closure)
                    output, loss = kept[0]
                else:
                    with torch.no_grad():
                        output = model(input)
                        loss = two_head_loss(output, target)
                losses.update(loss, len(target))
                top1.update(head_accuracy(output, target), len(target))
            seconds = (time.time_ns() - start) / 1e9
            for what, value in (("loss", losses.avg), ("accuracy", top1.avg), ("seconds", seconds)):
                history.setdefault(f"{part}_{what}", []).append(value)
    return history
'''),
    Alternative("one-hot labels and einsum for loss and hits", '''
def own_loss(logits, labels):
    z = torch.stack(logits if isinstance(logits, tuple) else [logits])
    wanted = F.one_hot(labels, z.shape[-1]).to(z.dtype)
    return -torch.einsum("hbc,bc->", torch.log(torch.softmax(z, dim=-1)), wanted) / z.shape[:2].numel()


def own_hits(logits, labels):
    z = logits[0].add(logits[1]) if isinstance(logits, tuple) else logits
    return torch.eq(z.argmax(dim=1), labels).count_nonzero()
''' + OWN + epochs("torch.optim.AdamW(params, lr=lr)")),
    Alternative("the parameters of the named modules go into the optimizer", PLAIN + epochs(
        "torch.optim.AdamW([p for n in module_names for p in model.get_submodule(n).parameters()], lr, foreach=True)")),
    Alternative("a loss of its own, and the accuracy of the heads", LOGSUMEXP + OWN.replace(
        "own_hits(logits, labels)", HITS) + epochs("torch.optim.AdamW(params, lr=lr, fused=True)")),
    Alternative("the loss of the heads, and hits of its own", TOPK + OWN.replace("own_loss", "two_head_loss") + epochs(
        "torch.optim.AdamW(params, lr=lr, fused=True)")),
)  # fmt: skip

EXERCISE = Exercise("fine_tune", all_cases, TUNE_WRONG, TUNE_OTHER)
