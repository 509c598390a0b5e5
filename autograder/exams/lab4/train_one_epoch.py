"""The exam of `train_one_epoch`.

It is run on small problems (vitedu/labs/lab4/scenarios.py). Batches have unequal sizes, the models
have a BatchNorm or a Dropout, which show the mode, and the optimizers have a memory, which shows
whether it is the given one.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from autograder.exams.lab4.training_problems import (
    CODE,
    REPORTS,
    TRACKERS,
    WRITING,
    apart,
    batches,
    conv_net,
    drawn_until,
    per_batch,
    rate,
    small_net,
    telling,
)
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ScenarioCase, Scoring
from vitedu.probe.recording import Numbers


def train_cases(variant: Variant) -> list[ScenarioCase]:
    """Momentum and two epochs, a scheduler, Adam on a model found in eval mode, data on another device."""

    def case(name: str, net: tuple, data: dict, mode: str = "train", **parameters: Any) -> ScenarioCase:
        layers, weights = net
        parameters = {**data, **parameters, "mode": mode}
        return ScenarioCase(
            name, "train_one_epoch", model=layers, weights=weights, parameters=parameters, scenario="lab4.train"
        )

    def momentum() -> ScenarioCase:
        height, width, hidden, classes = variant.sizes(4, 2, 6)
        large = variant.sizes(1, 3, 5)[0]
        return case(
            "two epochs in a row, a smaller last batch",
            small_net(variant, 2 * height * width, hidden, max(classes, 3)),
            batches(variant, (large, large, 2), (2, height, width), max(classes, 3)), epochs=2,
            optimizer="SGD", options=(("lr", rate(variant, 10, 25)), ("momentum", 0.9)),
        )  # fmt: skip

    def scheduled() -> ScenarioCase:
        height, width, hidden, classes = variant.sizes(4, 3, 6)
        large = variant.sizes(1, 3, 5)[0]
        return case(
            "a scheduler", small_net(variant, height * width, hidden, classes, "LayerNorm"),
            batches(variant, (large, large, 1), (1, height, width), classes),
            optimizer="SGD", options=(("lr", rate(variant, 20, 60)),),
            scheduler="ExponentialLR", scheduler_options=(("gamma", 0.5),),
        )  # fmt: skip

    def adam() -> ScenarioCase:
        channels, height, width, hidden, classes = variant.sizes(5, 2, 6)
        large = variant.sizes(1, 3, 4)[0]
        return case(
            "a model that is found in eval mode, Adam", conv_net(variant, channels, height, width, hidden, classes + 1),
            batches(variant, (large, large, 1), (channels, height, width), classes + 1), mode="eval", epochs=2,
            optimizer="AdamW", options=(("lr", rate(variant, 2, 6)), ("weight_decay", 0.1)),
        )  # fmt: skip

    def fake_device() -> ScenarioCase:
        height, width, hidden, classes = variant.sizes(4, 3, 6)
        return case(
            "batches that lie on another device", small_net(variant, height * width, hidden, classes),
            batches(variant, (4, 3), (1, height, width), classes), elsewhere=True,
            optimizer="SGD", options=(("lr", rate(variant, 20, 60)),),
        )  # fmt: skip

    def shows(case: ScenarioCase, found: Numbers, logits: list[Tensor]) -> bool:
        losses, rights = per_batch(case, logits)
        sizes = case.parameters["batches"]
        loss, right = found["loss"][0].item(), found["accuracy"][0].item()
        last, first = losses[-1], losses[0]
        return (
            telling(found["accuracy"])
            and apart(loss, sum(losses) / len(losses), last, first, 0.0)
            and apart(right, sum(rights) / len(rights), by=0.01)
            and (len(sizes) == 2 or bool(found["norms"].max() > 1.2))
        )

    def many() -> ScenarioCase:
        height, width, hidden = variant.sizes(3, 3, 6)
        large = case(
            "batches of hundreds of samples, hundreds of them right", small_net(variant, height * width, hidden, 2),
            batches(variant, (600, 300), (1, height, width), 2),
            optimizer="SGD", options=(("lr", rate(variant, 20, 60)),),
        )  # fmt: skip
        return dataclasses.replace(large, scoring=Scoring(share=0.5))

    cases = [drawn_until(make, shows) for make in (momentum, scheduled, adam, fake_device)]
    drawn = [*cases, drawn_until(many, lambda case, found, logits: telling(found["accuracy"]))]
    return [looked_at(case, what) for case in drawn for what in ("training", "report")]


LOOKS = {"training": "what it trains", "report": "what it reports"}


def looked_at(case: ScenarioCase, what: str) -> ScenarioCase:
    """Half of a case: what the function has trained, or what it says about it, which may be wrong alone."""
    scoring = dataclasses.replace(case.scoring, share=case.scoring.share / 2)
    parameters = {**case.parameters, "look": what}
    return dataclasses.replace(case, name=f"{case.name}: {LOOKS[what]}", parameters=parameters, scoring=scoring)


T = CODE["train_one_epoch"]
LOOP = "    for images, labels in loader:\n"
MOVED = "        images, labels = images.to(device), labels.to(device)\n"
CLEARED = "        optimizer.zero_grad()\n"
BACKWARD = "        loss.backward()\n"
STEP = "        optimizer.step()\n"
SCHEDULED = "        if scheduler is not None:\n            scheduler.step()\n"
SUMMED = "        total_loss += loss.item() * len(labels)\n"
RESULT = 'return {"loss": total_loss / count, "accuracy": right / count}'
TRAIN_WRONG = (
    Misconception(
        "no-zero-grad",
        "the gradients are never cleared, so that each step also goes along the gradients of all earlier batches",
        "What does backward do with what already lies in .grad: replace it, or add to it?",
        changed(T, (CLEARED, "")),
        (80,), TRACKERS,
    ),
    Misconception(
        "zero-grad-once-an-epoch",
        "the gradients are cleared once before the loop, so that they pile up from batch to batch",
        "How often does backward run in an epoch, and how often must its result be thrown away?",
        changed(T, (CLEARED, ""), (LOOP, "    optimizer.zero_grad()\n" + LOOP)),
        (80,), WRITING,
    ),
    Misconception(
        "no-gradient-at-the-step",
        "there is no gradient when optimizer.step() runs: backward is missing or comes after it, or zero_grad stands "
        "between the two",
        "What lies in .grad of the first weight in the line before your optimizer.step()?",
        changed(T, (CLEARED, ""), (BACKWARD, BACKWARD + CLEARED)),
        (81, 82), TRACKERS,
    ),
    Misconception(
        "step-before-backward",
        "the step comes before the backward pass and changes weights that backward still needs",
        "Backward computes the gradient at which weights, and which weights are there after a step?",
        changed(T, (CLEARED, ""), (BACKWARD + STEP, STEP + CLEARED + BACKWARD)),
        (82,), TRACKERS,
    ),
    Misconception(
        "no-step",
        "optimizer.step() is never called, so that the gradients are computed and nothing learns from them",
        "Which line of yours changes a weight?",
        changed(T, (STEP, "")),
        (81,), TRACKERS,
    ),
    Misconception(
        "step-once-an-epoch",
        "the optimizer steps once after the loop, along the sum of all batches' gradients",
        "How many steps of gradient descent are there in an epoch of n batches?",
        changed(T, (CLEARED, ""), (STEP, ""),
                (LOOP, "    optimizer.zero_grad()\n" + LOOP),
                (f"    {RESULT}", f"    optimizer.step()\n    {RESULT}")),
        (), WRITING,
    ),
    Misconception(
        "new-optimizer-each-epoch",
        "an optimizer is made anew inside the function, and the given one, with its momentum or its averages, "
        "never steps",
        "What does Adam remember from step to step, and where is it when the optimizer is a new one?",
        changed(T, ("    model.train()\n", "    model.train()\n    own = type(optimizer)(model.parameters(), "
                    'lr=optimizer.param_groups[0]["lr"])\n'),
                (CLEARED, "        own.zero_grad()\n"), (STEP, "        own.step()\n")),
        (83,), TRACKERS,
    ),
    Misconception(
        "new-optimizer-each-batch",
        "an optimizer is made anew for each batch, so that it remembers nothing, and the given one never steps",
        "What does Adam remember from step to step, and where is it when the optimizer is a new one?",
        changed(T, (CLEARED, '        own = type(optimizer)(model.parameters(), lr=optimizer.param_groups[0]["lr"])\n'
                    "        own.zero_grad()\n"),
                (STEP, "        own.step()\n")),
        (83,), TRACKERS,
    ),
    Misconception(
        "no-train-mode",
        "the model is left in the mode in which it came, so that after a test it trains in eval mode",
        "Which mode is a model in that evaluate has just left, or that somebody loaded for testing?",
        changed(T, ("    model.train()\n", "")),
        (85,), REPORTS,
    ),
    Misconception(
        "trains-in-eval-mode",
        "the model is put into eval mode for training, so that dropout is off and BatchNorm uses its running "
        "statistics",
        "Which of model.train() and model.eval() belongs to learning, and what changes in between?",
        changed(T, ("model.train()", "model.eval()")),
        (85,), TRACKERS,
    ),
    Misconception(
        "softmax-before-the-loss",
        "a softmax is taken before the cross-entropy, which takes one itself",
        "What does F.cross_entropy expect: logits or probabilities? What is its smallest value on probabilities?",
        changed(T, ("F.cross_entropy(logits,", "F.cross_entropy(logits.softmax(dim=1),")),
        (86,), TRACKERS,
    ),
    Misconception(
        "nll-of-logits",
        "the negative log-likelihood is taken of the logits, without a logarithm of a softmax before it",
        "What must its input be so that F.nll_loss is a cross-entropy, and can yours become negative?",
        changed(T, ("F.cross_entropy(logits,", "F.nll_loss(logits,")),
        (86,), WRITING,
    ),
    Misconception(
        "nll-of-probabilities",
        "the negative log-likelihood is taken of the softmax, without its logarithm",
        "What does the name of F.nll_loss's input say, and where is the logarithm in your code?",
        changed(T, ("F.cross_entropy(logits,", "F.nll_loss(logits.softmax(dim=1),")),
        (86,), WRITING,
    ),
    Misconception(
        "squared-error",
        "the loss is the squared distance of the logits from one-hot labels instead of the cross-entropy",
        "Which loss does the text above name, and what does a squared error say about a logit of 7 for the right "
        "class?",
        changed(T, ("F.cross_entropy(logits, labels)",
                    "F.mse_loss(logits, F.one_hot(labels, logits.shape[1]).to(logits.dtype))")),
        (86,), WRITING,
    ),
    Misconception(
        "steps-along-the-summed-loss",
        "backward starts at the sum of a batch's losses instead of their mean, so that large batches take large steps",
        "What happens to the length of your step when a batch has twice as many samples?",
        changed(T, ("F.cross_entropy(logits, labels)", 'F.cross_entropy(logits, labels, reduction="sum")'),
                ("loss.item() * len(labels)", "loss.item()")),
        (), WRITING,
    ),
    Misconception(
        "keeps-the-graph",
        "the losses are summed as tensors with their graphs (without item() or detach()), so that the memory of "
        "every batch stays taken",
        "What is total_loss.grad_fn after the last batch, and what does it hold on to?",
        changed(T, ("loss.item() * len(labels)", "loss * len(labels)")),
        (87,), TRACKERS,
    ),
    Misconception(
        "scheduler-once-an-epoch",
        "the scheduler steps once after the loop instead of after each batch",
        "What does the docstring say about when the scheduler steps?",
        changed(T, (SCHEDULED, ""),
                (f"    {RESULT}", f"    if scheduler is not None:\n        scheduler.step()\n    {RESULT}")),
        (88,), TRACKERS,
    ),
    Misconception(
        "scheduler-before-the-optimizer",
        "the scheduler steps before the optimizer, so that the first learning rate is never used",
        "With which learning rate is your first step taken?",
        changed(T, (STEP + SCHEDULED, SCHEDULED + STEP)),
        (88,), TRACKERS,
    ),
    Misconception(
        "scheduler-never-steps",
        "the scheduler is taken as an argument and never steps",
        "What is the learning rate at the end of your epoch, and what should it be?",
        changed(T, (SCHEDULED, "")),
        (88,), TRACKERS,
    ),
    Misconception(
        "scheduler-taken-for-granted",
        "the scheduler steps even when there is none",
        "What is scheduler when nobody gave one?",
        changed(T, (SCHEDULED, "        scheduler.step()\n")),
        (88,), WRITING,
    ),
    Misconception(
        "not-moved",
        "images or labels stay on the device on which they came (or the result of .to(device) is thrown away)",
        "Does images.to(device) change images, or does it return something?",
        changed(T, (MOVED, "")),
        (89,), TRACKERS,
    ),
    Misconception(
        "cuda-written-in",
        "images and labels go to a GPU by .cuda(), whatever device the caller gave",
        "What does your function do on a machine without a GPU, and which argument says where to go?",
        changed(T, (MOVED, "        images, labels = images.cuda(), labels.cuda()\n")),
        (89,), REPORTS,
    ),
    Misconception(
        "clips-the-gradients",
        "the gradients are clipped to a norm of 1 before the step, which nobody asked for",
        "What does the docstring say about what one step is, and what does clipping change in it?",
        changed(T, (STEP, "        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n" + STEP)),
        (91,), TRACKERS,
    ),
    Misconception(
        "measured-after-the-step",
        "loss and accuracy come from a second forward pass, after the step, instead of the one of the step",
        "From which forward pass do the numbers come that the docstring asks for?",
        changed(T, (SUMMED, "        logits = model(images)\n"
                    "        loss = F.cross_entropy(logits, labels)\n" + SUMMED)),
        (), WRITING,
    ),
    Misconception(
        "mean-of-batch-means",
        "the batches' means are averaged, so that a sample of the small last batch weighs more than another",
        "Five samples in batches of 2, 2, and 1: how much does the last one weigh in your mean?",
        changed(T, (SUMMED, "        total_loss += loss.item()\n"),
                ("== labels).sum()", "== labels).double().mean()"),
                ("count += len(labels)", "count += 1")),
        (92,), TRACKERS,
    ),
    Misconception(
        "loss-is-a-mean-of-batch-means",
        "the accuracy is a mean over samples, but the loss is the mean of the batches' means",
        "Five samples in batches of 2, 2, and 1: how much does the last one weigh in your mean loss?",
        changed(T, (SUMMED, "        total_loss += loss.item()\n        batches += 1\n"),
                ("    model.train()\n", "    model.train()\n    batches = 0\n"),
                ("total_loss / count", "total_loss / batches")),
        (92,), TRACKERS,
    ),
    Misconception(
        "divides-by-the-loader-s-length",
        "the sums are divided by len(loader), which is a number of batches, and which a loader need not have",
        "What can you count inside the loop, whatever the loader is?",
        changed(T, (RESULT, 'return {"loss": total_loss / len(loader), "accuracy": right / len(loader)}')),
        (94,), TRACKERS,
    ),
    Misconception(
        "divides-by-the-dataset-s-length",
        "the sums are divided by len(loader.dataset), which a loader need not have, and which is wrong when it drops "
        "samples",
        "What can you count inside the loop, whatever the loader is?",
        changed(T, (RESULT, 'n = len(loader.dataset)\n    return {"loss": total_loss / n, "accuracy": right / n}')),
        (95,), TRACKERS,
    ),
    Misconception(
        "divides-by-full-batches",
        "the sums are divided by the number of batches times the size of the first, although the last is smaller",
        "By which number do you divide, and how many samples were there?",
        changed(T, (LOOP, "    size = None\n" + LOOP), ("count += len(labels)", "size = size or len(labels)\n"
                    "        count += size")),
        (94,), REPORTS,
    ),
    Misconception(
        "batch-means-over-samples",
        "the batches' mean losses are summed and divided by the number of samples, so that the loss is far too small",
        "loss.item() is the mean of how many losses? By how many do you divide again?",
        changed(T, ("loss.item() * len(labels)", "loss.item()")),
        (95,), TRACKERS,
    ),
    Misconception(
        "last-batch-only",
        "the sums are overwritten by each batch, so that only the last one counts",
        "What does total_loss hold before and after the second batch?",
        changed(T, ("total_loss += loss", "total_loss = loss"), ("right += (", "right = ("),
                ("count += len(labels)", "count = len(labels)")),
        (93,), TRACKERS,
    ),
    Misconception(
        "return-inside-the-loop",
        "return stands inside the loop, so that one batch is the whole epoch",
        "After how many batches does your function end?",
        changed(T, (f"    {RESULT}", f"        {RESULT}")),
        (93,), REPORTS,
    ),
    Misconception(
        "sum-thrown-away",
        "the sum of the losses is computed and not kept (total_loss + ... as a line of its own)",
        "Which line of yours changes total_loss?",
        changed(T, ("total_loss += loss", "total_loss + loss")),
        (95,), REPORTS,
    ),
    Misconception(
        "sums-of-earlier-epochs",
        "the sums go on from one epoch to the next instead of starting at zero, so that every epoch's numbers hold "
        "the earlier ones",
        "What is in total_loss when the second epoch begins?",
        changed(T, ("    total_loss, right, count = 0.0, 0, 0\n",
                    '    total_loss, right, count = getattr(model, "totals", (0.0, 0, 0))\n'),
                (f"    {RESULT}", f"    model.totals = (total_loss, right, count)\n    {RESULT}")),
        (95,), REPORTS,
    ),
    Misconception(
        "percent",
        "the accuracy is given in percent instead of as a number from 0 to 1",
        "What is the accuracy when every sample is right?",
        changed(T, ("right / count", "100 * right / count")),
        (96,), TRACKERS,
    ),
    Misconception(
        "hits-not-divided",
        "the number of right samples is given instead of their share",
        "What is the accuracy when every one of 80 samples is right?",
        changed(T, ("right / count", "float(right)")),
        (), WRITING,
    ),
    Misconception(
        "running-average",
        "a running average is reported, in which the last batches weigh most",
        "With 0.9 * old + 0.1 * new: how much does the first batch weigh at the end, and how much the last?",
        changed(T, (SUMMED, "        new = loss.item()\n"
                    "        total_loss = 0.9 * total_loss + 0.1 * new if count else new\n"),
                ("total_loss / count", "total_loss")),
        (), WRITING,
    ),
    Misconception(
        "trains-with-label-smoothing",
        "the loss is smoothed (label_smoothing), in the steps and in what is reported",
        "Which loss does a sample give that the model gets right with certainty: in the task, and in your code?",
        changed(T, ("F.cross_entropy(logits, labels)", "F.cross_entropy(logits, labels, label_smoothing=0.1)")),
        (), WRITING,
    ),
    Misconception(
        "reports-the-smoothed-loss",
        "the steps are right, but the loss that is reported is another one: it is smoothed (label_smoothing)",
        "Is the loss that you add up the one along which the model makes its step?",
        changed(T, (SUMMED, "        smoothed = F.cross_entropy(logits, labels, label_smoothing=0.1)\n"
                    "        total_loss += smoothed.item() * len(labels)\n")),
        (), WRITING,
    ),
    Misconception(
        "smaller-batches-left-out",
        "batches that are smaller than the first are left out, as with drop_last=True",
        "Five samples in batches of 2, 2, and 1: how many steps are made, and how many samples are seen?",
        changed(T, ("    for images, labels in loader:\n", "    full = None\n    for images, labels in loader:\n"
                    "        full = full or len(labels)\n        if len(labels) < full:\n            continue\n")),
        (), WRITING,
    ),
)  # fmt: skip
TRAIN_OTHER = (
    Alternative("a closure given to optimizer.step, sums in lists", '''
def train_one_epoch(model, loader, optimizer, device, scheduler=None):
    model.train()
    losses, hits = [], []
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)

        def closure():
            optimizer.zero_grad(set_to_none=True)
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            losses.extend([loss.item()] * len(labels))
            hits.extend((logits.max(dim=1).indices == labels).tolist())
            return loss

        optimizer.step(closure)
        if scheduler:
            scheduler.step()
    return {"loss": sum(losses) / len(losses), "accuracy": sum(hits) / len(hits)}
'''),
    Alternative("zeros kept as gradients and cleared at the end, tensors summed and returned", '''
def train_one_epoch(model, loader, optimizer, device, scheduler=None):
    model.train(True)
    loss_sum = torch.zeros((), device=device)
    hits = torch.zeros((), device=device)
    seen = 0
    for images, labels in loader:
        images = images.to(device)
        labels = labels.to(device)
        logits = model(images)
        loss = nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        if scheduler is not None:
            scheduler.step()
        loss_sum += loss.detach() * labels.size(0)
        hits += torch.eq(torch.argmax(logits, -1), labels).sum()
        seen += labels.size(0)
    return {"loss": loss_sum / seen, "accuracy": hits / seen}
'''),
    Alternative("log-softmax and negative log-likelihood, model.zero_grad", '''
def train_one_epoch(model, loader, optimizer, device, scheduler=None):
    model.train()
    total, hits, n = 0.0, 0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        model.zero_grad()
        log_p = torch.log_softmax(model(images), dim=-1)
        losses = F.nll_loss(log_p, labels, reduction="none")
        losses.mean().backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        total += losses.detach().sum().item()
        hits += torch.count_nonzero(log_p.argmax(-1) == labels).item()
        n += losses.numel()
    return {"accuracy": hits / n, "loss": total / n}
'''),
    Alternative("logsumexp minus the logit of the class, gradients by torch.autograd.grad", '''
def train_one_epoch(model, loader, optimizer, device, scheduler=None):
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    total, hits, n = 0.0, 0.0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = (logits.logsumexp(dim=1) - logits.gather(1, labels[:, None]).squeeze(1)).mean()
        for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
            p.grad = gradient
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        n += len(images)
        total += float(loss) * len(images)
        hits += float((logits.detach().sort(dim=1).indices[:, -1] == labels).float().sum())
    return {"loss": total / n, "accuracy": hits / n}
'''),
    Alternative("cross-entropy with one-hot labels, the metrics' own accuracy", '''
def train_one_epoch(model, loader, optimizer, device, scheduler=None):
    model.train()
    loss_sum, hit_sum, n = 0.0, 0.0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        logits = model(images)
        loss = F.cross_entropy(logits, F.one_hot(labels, logits.shape[1]).to(logits.dtype))
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        loss_sum += loss.item() * images.shape[0]
        hit_sum += float(accuracy(logits.detach(), labels)) * images.shape[0]
        n += images.shape[0]
    return dict(loss=loss_sum / n, accuracy=hit_sum / n)
'''),
    Alternative("in the style of pytorch/examples: enumerate, keepdim, view_as, a progress bar", '''
def train_one_epoch(model, loader, optimizer, device, scheduler=None):
    from tqdm import tqdm

    model.train()
    train_loss, correct, total = 0, 0, 0
    criterion = nn.CrossEntropyLoss()
    for batch_idx, (data, target) in enumerate(tqdm(loader, disable=True)):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = criterion(output, target)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        train_loss += loss.item() * data.size(0)
        pred = output.argmax(dim=1, keepdim=True)
        correct += pred.eq(target.view_as(pred)).sum().item()
        total += target.size(0)
    return {"loss": train_loss / total, "accuracy": correct / total}
'''),
    Alternative("in the style of timm: running averages weighted by batch size, top-k", '''
class AverageMeter:
    def __init__(self):
        self.sum, self.count = 0.0, 0

    def update(self, value, n):
        self.sum += value * n
        self.count += n

    @property
    def avg(self):
        return self.sum / self.count


def train_one_epoch(model, loader, optimizer, device, scheduler=None):
    losses, top1 = AverageMeter(), AverageMeter()
    loss_fn = nn.CrossEntropyLoss().to(device)
    model.train()
    for input, target in loader:
        input, target = input.to(device), target.to(device)
        output = model(input)
        loss = loss_fn(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        _, pred = output.detach().topk(1, 1, True, True)
        correct = pred.t().eq(target.reshape(1, -1).expand_as(pred.t()))
        losses.update(loss.item(), input.size(0))
        top1.update(correct[:1].reshape(-1).float().sum(0).item() / input.size(0), input.size(0))
    return {"loss": losses.avg, "accuracy": top1.avg}
'''),
    Alternative("the sum over a batch divided by its size, all logits kept, numpy for the means", '''
def train_one_epoch(model, loader, optimizer, device, scheduler=None):
    import numpy as np

    model.train()
    per_sample, hits = [], []
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        for p in model.parameters():
            p.grad = None
        logits = model(images)
        loss = F.cross_entropy(logits, labels, reduction="sum") / len(labels)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        with torch.no_grad():
            per_sample.append(F.cross_entropy(logits, labels, reduction="none").cpu().numpy())
        hits.append(logits.detach().cpu().numpy().argmax(1) == labels.cpu().numpy())
    return {"loss": np.concatenate(per_sample).mean(), "accuracy": np.concatenate(hits).mean()}
'''),
)  # fmt: skip

EXERCISE = Exercise("train_one_epoch", train_cases, TRAIN_WRONG, TRAIN_OTHER)
