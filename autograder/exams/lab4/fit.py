"""The exam of `fit`.

It is run on histories whose best epoch by validation accuracy is neither the first nor the last nor
the best by anything else.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from autograder.errors import UserError
from autograder.exams.lab4.training_problems import (
    CODE,
    REPORTS,
    TRACKERS,
    TRIES,
    WRITING,
    apart,
    batches,
    first_drawn,
    never_right,
    rate,
    small_net,
    solved,
    with_pattern,
)
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ScenarioCase, Scoring


def fit_cases(variant: Variant) -> list[ScenarioCase]:
    """A best epoch among many, a scheduler and on_epoch, accuracy 0 throughout, data on another device.

    Where epochs tie, the validation batches have 4, 2 and 2 samples: eighths are exact however they are added up, so
    that no rounding in a right `evaluate` decides which of two equal epochs is the better one. They are drawn again
    until every wrong choice of an epoch shows with stand-ins for train_one_epoch and evaluate, too.
    """

    def case(
        name: str, norm: str, sizes: tuple[int, ...], val_sizes: tuple[int, ...], **parameters: Any
    ) -> ScenarioCase:
        height, width, hidden, classes = variant.sizes(4, 3, 6)
        layers, weights = small_net(variant, height * width, hidden, classes, norm)
        data = batches(variant, sizes, (1, height, width), classes)
        data |= batches(variant, val_sizes, (1, height, width), classes, "val_")
        return ScenarioCase(
            name, "fit", model=layers, weights=weights, parameters={**data, **parameters}, scenario="lab4.fit"
        )

    def middle() -> ScenarioCase | None:
        drawn = case(
            "the best epoch is neither the first nor the last", "BatchNorm1d", (4, 3), (4, 2, 2), epochs=7,
            optimizer="SGD", options=(("lr", rate(variant, 20, 50)), ("momentum", 0.9)),
        )  # fmt: skip
        return with_pattern(variant, drawn, alone_at_the_top)

    def watched() -> ScenarioCase | None:
        drawn = case(
            "a scheduler and on_epoch", "BatchNorm1d", (4, 2), (4, 2, 2), epochs=5, on_epoch=True,
            optimizer="AdamW", options=(("lr", rate(variant, 20, 40)),),
            scheduler="StepLR", scheduler_options=(("step_size", 3), ("gamma", 0.6)),
        )  # fmt: skip
        return with_pattern(variant, drawn, four_epochs)

    def hopeless() -> ScenarioCase | None:
        drawn = case(
            "accuracy 0.0 in every epoch", "LayerNorm", (3, 2), (3, 2), epochs=2,
            optimizer="SGD", options=(("lr", rate(variant, 5, 20)),),
        )  # fmt: skip
        return never_right(drawn)

    def fake_device() -> ScenarioCase | None:
        drawn = case(
            "the first epoch is the best; batches lie on another device", "BatchNorm1d", (3, 2), (3, 2), epochs=2,
            optimizer="SGD", options=(("lr", rate(variant, 50, 90)),), elsewhere=True,
        )  # fmt: skip
        return with_pattern(variant, drawn, falling)

    def unscheduled() -> ScenarioCase | None:
        drawn = case(
            "on_epoch without a scheduler", "LayerNorm", (4, 2), (3, 2), epochs=2, on_epoch=True,
            optimizer="SGD", options=(("lr", rate(variant, 20, 50)),),
        )  # fmt: skip
        found = with_pattern(variant, drawn, falling)
        return found and dataclasses.replace(found, scoring=Scoring(share=0.5))

    for _ in range(TRIES):
        drawn = [first_drawn(make) for make in (middle, watched, hopeless, fake_device)]
        if all(every_choice_shows(drawn, bound) for bound in BOUND):
            return [*drawn, first_drawn(unscheduled)]
    raise UserError(f"Lab 4: none of {TRIES} draws shows with stand-ins what fit is examined for.")


BOUND = (("train_one_epoch",), ("evaluate",), ("train_one_epoch", "evaluate"))


def every_choice_shows(cases: list[ScenarioCase], bound: tuple[str, ...]) -> bool:
    """Whether each wrong way to choose the best epoch, or to stop, ends differently in one of the cases.

    Args:
        bound: the exercises in whose place a stand-in is called.
    """
    shown: set[str] = set()
    for case in cases:
        found, _ = solved(case, bound=bound)
        numbers = [found[name] for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")]
        first, last, by = _epochs(*numbers)
        facts = {
            **{rule: epoch != first for rule, epoch in by.items()},
            "equals": last != first,
            "buffers": first < len(numbers[0]) - 1 and any("running" in name for name in found),
            "falls": _falls_before_the_end(numbers[-1]),
            "zero": not numbers[-1].any(),
        }
        shown |= {name for name, fact in facts.items() if fact}
    return shown == facts.keys()


def alone_at_the_top(train_loss: Tensor, train_accuracy: Tensor, val_loss: Tensor, val_accuracy: Tensor) -> bool:
    """Whether the best epoch has an equal later on, and every other way to choose or to stop gives another end."""
    first, last, by = _epochs(train_loss, train_accuracy, val_loss, val_accuracy)
    others = [last, len(val_loss) - 1, by["val_loss"], by["train_loss"]]
    alone = len({first, *others}) == 5 and first not in by.values()
    return 0 < first and _falls_before_the_end(val_accuracy) and alone and _sharp(train_loss, val_loss)


def four_epochs(train_loss: Tensor, train_accuracy: Tensor, val_loss: Tensor, val_accuracy: Tensor) -> bool:
    """Whether the best epoch, the last, the worst, and the best in training are four."""
    first, last, by = _epochs(train_loss, train_accuracy, val_loss, val_accuracy)
    four = {first, len(val_loss) - 1, by["worst"], by["train_accuracy"]}
    apart_from_others = {by["worst"], by["train_accuracy"]}.isdisjoint({last, by["train_loss"], by["val_loss"]})
    return (
        0 < first and len(four) == 4 and apart_from_others and first not in by.values() and _sharp(train_loss, val_loss)
    )


def falling(train_loss: Tensor, train_accuracy: Tensor, val_loss: Tensor, val_accuracy: Tensor) -> bool:
    """Whether the validation accuracy only falls, and not to 0."""
    return bool((val_accuracy.diff() < 0).all() and val_accuracy.min() > 0 and _sharp(train_loss, val_loss))


def _falls_before_the_end(val_accuracy: Tensor) -> bool:
    """Whether there is a bad epoch with another one after it."""
    before = val_accuracy[:-1]
    return bool((before < before.cummax(0).values).any())


def _epochs(
    train_loss: Tensor, train_accuracy: Tensor, val_loss: Tensor, val_accuracy: Tensor
) -> tuple[int, int, dict[str, int]]:
    """The first and the last epoch of the best validation accuracy, and the epochs that other rules choose."""
    best = (val_accuracy == val_accuracy.max()).nonzero().flatten().tolist()
    worst = (val_accuracy == val_accuracy.min()).nonzero().flatten().tolist()
    good = (train_accuracy > train_accuracy.max() - 1e-9).nonzero().flatten().tolist()
    by = {
        "val_loss": int(val_loss.argmin()), "train_loss": int(train_loss.argmin()), "train_accuracy": good[0],
        "worst": worst[0],
    }  # fmt: skip
    return best[0], best[-1], by


def _sharp(*losses: Tensor) -> bool:
    """Whether the smallest loss is clearly smaller than the second."""
    return all(apart(*loss.topk(2, largest=False).values.tolist(), by=0.005) for loss in losses)


V = CODE["fit"]
TRAINED = "        train = train_one_epoch(model, train_loader, optimizer, device, scheduler)\n"
TESTED = "        val = evaluate(model, val_loader, device)\n"
KEPT = "best, best_accuracy = copy.deepcopy(model.state_dict()), val"
BETTER = 'if val["accuracy"] > best_accuracy:'
WATCHED = "        if on_epoch is not None:\n            on_epoch(epoch, history)\n"
RECORDED = V[V.index('        for name, value in (("train"') : V.index(f"        {BETTER}")]
# Everything in one function, without train_one_epoch and evaluate: right as it stands.
INLINE = """
def fit(model, train_loader, val_loader, optimizer, epochs, device, scheduler=None, on_epoch=None):
    history = {"train_loss": [], "train_accuracy": [], "val_loss": [], "val_accuracy": []}
    best, best_accuracy = None, -1.0
    for epoch in range(epochs):
        model.train()
        loss_sum, hits, n = 0.0, 0, 0
        for images, labels in train_loader:
            images, labels = images.to(device), labels.to(device)
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            loss_sum += loss.item() * len(labels)
            hits += (logits.max(1).indices == labels).sum().item()
            n += len(labels)
        history["train_loss"].append(loss_sum / n)
        history["train_accuracy"].append(hits / n)
        model.eval()
        val_loss_sum, val_hits, val_n = 0.0, 0, 0
        with torch.no_grad():
            for images, labels in val_loader:
                images, labels = images.to(device), labels.to(device)
                logits = model(images)
                val_loss_sum += F.cross_entropy(logits, labels, reduction="sum").item()
                val_hits += (logits.max(1).indices == labels).sum().item()
                val_n += len(labels)
        history["val_loss"].append(val_loss_sum / val_n)
        history["val_accuracy"].append(val_hits / val_n)
        if history["val_accuracy"][-1] > best_accuracy:
            best_accuracy = history["val_accuracy"][-1]
            best = {key: value.clone() for key, value in model.state_dict().items()}
        if on_epoch is not None:
            on_epoch(epoch, history)
    model.load_state_dict(best)
    return history
"""
FIT_WRONG = (
    Misconception(
        "ends-with-the-last-epoch",
        "the model ends with the weights of the last epoch: the best ones were kept without a copy, were overwritten "
        "in every epoch, or were never loaded",
        "What does model.state_dict() hold: a copy of the weights, or the weights that training goes on changing?",
        changed(V, ("copy.deepcopy(model.state_dict())", "model.state_dict()")),
        (109, 114), TRACKERS,
    ),
    Misconception(
        "the-last-of-equals",
        "a later epoch replaces the best one when it is only as good (>= instead of >)",
        "Two epochs have the same validation accuracy: which of them does the docstring ask for?",
        changed(V, ("> best_accuracy", ">= best_accuracy")),
        (114,), TRACKERS,
    ),
    Misconception(
        "keeps-the-worst",
        "the comparison is the wrong way round, so that the worst epoch is kept",
        "Is your best accuracy above or below the others of your history?",
        changed(V, ("> best_accuracy", "< best_accuracy"), ("None, -1.0", 'None, float("inf")')),
        (114,), TRACKERS,
    ),
    Misconception(
        "best-by-validation-loss",
        "the epoch with the lowest validation loss is kept instead of the one with the highest validation accuracy",
        "Can the loss rise while the accuracy rises too, and which of them does the docstring name?",
        changed(V, (BETTER, 'if -val["loss"] > best_accuracy:'), (f'{KEPT}["accuracy"]', f'{KEPT}["loss"] * -1'),
                ("None, -1.0", 'None, -float("inf")')),
        (114,), TRACKERS,
    ),
    Misconception(
        "best-by-training-loss",
        "the epoch with the lowest training loss is kept, which says nothing about images that were not trained on",
        "Which of your four curves tells how good the model is on images that it has not seen?",
        changed(V, (BETTER, 'if -train["loss"] > best_accuracy:'),
                (f'{KEPT}["accuracy"]', f'{KEPT[:-3]}train["loss"] * -1'), ("None, -1.0", 'None, -float("inf")')),
        (102, 114), REPORTS,
    ),
    Misconception(
        "best-by-training-accuracy",
        "the epoch with the highest training accuracy is kept, which says nothing about images that were not trained "
        "on",
        "Which of your four curves tells how good the model is on images that it has not seen?",
        changed(V, (BETTER, 'if train["accuracy"] > best_accuracy:'),
                (f'{KEPT}["accuracy"]', f'{KEPT[:-3]}train["accuracy"]')),
        (102,), TRACKERS,
    ),
    Misconception(
        "zero-accuracy-never-counts",
        "the best accuracy starts at 0.0, so that nothing is kept, and nothing can be loaded, while no sample is right",
        "Is an accuracy of 0.0 greater than your first best accuracy?",
        changed(V, ("None, -1.0", "None, 0.0")),
        (114,), WRITING,
    ),
    Misconception(
        "starts-from-the-untrained-model",
        "the untrained model counts as the best until an epoch has an accuracy above 0.0",
        "Which weights does your model end with when no sample is right in any epoch?",
        changed(V, ("None, -1.0", "copy.deepcopy(model.state_dict()), 0.0")),
        (114,), WRITING,
    ),
    Misconception(
        "best-without-buffers",
        "only the parameters of the best epoch are kept, and the buffers (BatchNorm's running statistics) are those of "
        "the last",
        "What is in model.state_dict() that is not in model.named_parameters()?",
        changed(V, ("copy.deepcopy(model.state_dict())",
                    "{n: p.detach().clone() for n, p in model.named_parameters()}"),
                ("load_state_dict(best)", "load_state_dict(best, strict=False)")),
        (109, 111), WRITING,
    ),
    Misconception(
        "goes-on-from-the-best",
        "the best weights are loaded after every epoch, so that training goes on from there instead of from where it "
        "was",
        "With which weights does the epoch after a bad one begin?",
        changed(V, (WATCHED, WATCHED + "        model.load_state_dict(best)\n")),
        (114,), WRITING,
    ),
    Misconception(
        "train-mode-once",
        "model.train() stands before the loop over the epochs and model.eval() inside it, so that from the second "
        "epoch on the model trains in eval mode",
        "In which mode is the model when the second epoch begins?",
        changed(INLINE, ("        model.train()\n", ""), ("    for epoch in", "    model.train()\n    for epoch in")),
        (85,), REPORTS,
    ),
    Misconception(
        "sums-of-earlier-epochs",
        "the sums of losses and hits are not set back to zero between epochs, so that every epoch's numbers hold the "
        "earlier ones",
        "What is in your sums when the second epoch begins?",
        changed(INLINE, ("        loss_sum, hits, n = 0.0, 0, 0\n", ""),
                ("        val_loss_sum, val_hits, val_n = 0.0, 0, 0\n", ""),
                ("    for epoch in", "    loss_sum, hits, n = 0.0, 0, 0\n"
                 "    val_loss_sum, val_hits, val_n = 0.0, 0, 0\n    for epoch in")),
        (95,), REPORTS,
    ),
    Misconception(
        "validates-with-gradients",
        "the validation images go through the model while gradients are recorded, which costs memory and time",
        "Which of your loops needs gradients?",
        changed(INLINE, ("with torch.no_grad():", "with torch.enable_grad():")),
        (99,), REPORTS,
    ),
    Misconception(
        "new-optimizer-each-epoch",
        "an optimizer is made anew for every epoch, so that it forgets its momentum or its averages, and the given one "
        "never steps",
        "What does Adam remember from step to step, and where is it when the optimizer is a new one?",
        changed(V, (TRAINED, '        own = type(optimizer)(model.parameters(), lr=optimizer.param_groups[0]["lr"])\n'
                    + TRAINED.replace("optimizer,", "own,"))),
        (83,), TRACKERS,
    ),
    Misconception(
        "validates-on-the-training-data",
        "the validation numbers come from the training data",
        "Which loader did you give to evaluate?",
        changed(V, (TESTED, TESTED.replace("val_loader", "train_loader"))),
        (90, 102), TRACKERS,
    ),
    Misconception(
        "trains-on-the-validation-data",
        "the model is trained on the validation data",
        "Which loader did you give to train_one_epoch?",
        changed(V, (TRAINED, TRAINED.replace("train_loader", "val_loader"))),
        (90,), TRACKERS,
    ),
    Misconception(
        "trains-on-both",
        "the model is trained on the validation data, too, before it is tested on it",
        "What does the validation accuracy say when its images were trained on?",
        changed(V, (TRAINED, TRAINED + TRAINED.replace("train_loader", "val_loader").replace("train =", "_ ="))),
        (90,), TRACKERS,
    ),
    Misconception(
        "training-numbers-from-a-test",
        "the training loss and accuracy are measured by evaluate after the epoch instead of during the steps",
        "What does train_one_epoch return, and where does it go in your code?",
        changed(V, (TRAINED, TRAINED + "        train = evaluate(model, train_loader, device)\n")),
        (), WRITING,
    ),
    Misconception(
        "validates-before-training",
        "the validation comes before the training of its epoch, so that the first number is that of the untrained "
        "model",
        "Which weights does the validation accuracy of epoch 0 belong to?",
        changed(V, (TRAINED + TESTED, TESTED + TRAINED)),
        (), WRITING,
    ),
    Misconception(
        "scheduler-not-passed-on",
        "the scheduler is not given to train_one_epoch, so that the learning rate never changes",
        "What does your train_one_epoch know of the scheduler?",
        changed(V, (", device, scheduler)\n", ", device)\n")),
        (88,), TRACKERS,
    ),
    Misconception(
        "scheduler-steps-once-more",
        "the scheduler steps after every epoch on top of the steps inside train_one_epoch",
        "Who else steps the scheduler?",
        changed(V, (WATCHED, WATCHED + "        if scheduler is not None:\n            scheduler.step()\n")),
        (88,), TRACKERS,
    ),
    Misconception(
        "scheduler-once-an-epoch",
        "the scheduler steps once an epoch in fit instead of once a batch in train_one_epoch",
        "What does the docstring of train_one_epoch say about when the scheduler steps?",
        changed(V, (", device, scheduler)\n", ", device)\n"),
                (WATCHED, WATCHED + "        if scheduler is not None:\n            scheduler.step()\n")),
        (88,), TRACKERS,
    ),
    Misconception(
        "return-inside-the-loop",
        "return stands inside the loop over the epochs, so that one epoch is all",
        "After how many epochs does your function end?",
        changed(V, ("    model.load_state_dict(best)\n    return history",
                    "        model.load_state_dict(best)\n        return history")),
        (93,), REPORTS,
    ),
    Misconception(
        "one-epoch-too-few",
        "the epochs are counted from 1 up to epochs - 1, so that one is missing",
        "Which numbers does range(1, 3) give?",
        changed(V, ("range(epochs)", "range(1, epochs)"),
                ("load_state_dict(best)", "load_state_dict(best or model.state_dict())")),
        (), WRITING,
    ),
    Misconception(
        "stops-early",
        "training stops at the first epoch that is worse than the best one",
        "How many epochs does the caller ask for, and can an epoch after a bad one be the best?",
        changed(V, (WATCHED, WATCHED + '        if val["accuracy"] < best_accuracy:\n            break\n')),
        (), WRITING,
    ),
    Misconception(
        "history-of-the-last-epoch",
        "the history is made anew in every epoch, so that only the last one is in it",
        "How long are your lists after three epochs?",
        changed(V, ("        for name, value in",
                    "        history = {name: [] for name in history}\n        for name, value in")),
        (95,), WRITING,
    ),
    Misconception(
        "on-epoch-taken-for-granted",
        "on_epoch is called even when there is none",
        "What is on_epoch when nobody gave one?",
        changed(V, (WATCHED, "        on_epoch(epoch, history)\n")),
        (), WRITING,
    ),
    Misconception(
        "on-epoch-never-called",
        "on_epoch is taken as an argument and never called",
        "How would a caller who draws a progress bar learn that an epoch is over?",
        changed(V, (WATCHED, "")),
        (), WRITING,
    ),
    Misconception(
        "on-epoch-counted-from-one",
        "on_epoch is told epoch 1 after the first epoch, not epoch 0",
        "From which number on does the docstring count the epochs?",
        changed(V, ("on_epoch(epoch, history)\n", "on_epoch(epoch + 1, history)\n")),
        (), WRITING,
    ),
    Misconception(
        "on-epoch-before-the-numbers",
        "on_epoch is called before the epoch's numbers are in the history",
        "How many numbers does the history hold when on_epoch(0, history) is called?",
        changed(V, (WATCHED, ""), (RECORDED, WATCHED + RECORDED)),
        (), WRITING,
    ),
)  # fmt: skip
FIT_OTHER = (
    Alternative("everything in one function, clones of the best", INLINE),
    Alternative("the best in memory as bytes", '''
def fit(model, train_loader, val_loader, optimizer, epochs, device, scheduler=None, on_epoch=None):
    import io

    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    history, best = {name: [] for name in names}, io.BytesIO()
    for epoch in range(epochs):
        results = train_one_epoch(model, train_loader, optimizer, device, scheduler=scheduler)
        tested = evaluate(model, val_loader, device)
        new = (results["loss"], results["accuracy"], tested["loss"], tested["accuracy"])
        for name, value in zip(names, new):
            history[name].append(value)
        if history["val_accuracy"].index(max(history["val_accuracy"])) == epoch:
            best = io.BytesIO()
            torch.save(model.state_dict(), best)
        if on_epoch:
            on_epoch(epoch, history)
    best.seek(0)
    model.load_state_dict(torch.load(best, map_location=device, weights_only=True))
    return history
'''),
    Alternative("the weights of every epoch, the best chosen at the end", '''
def fit(model, train_loader, val_loader, optimizer, epochs, device, scheduler=None, on_epoch=None):
    train_loss, train_accuracy, val_loss, val_accuracy, states = [], [], [], [], []
    history = dict(train_loss=train_loss, train_accuracy=train_accuracy, val_loss=val_loss, val_accuracy=val_accuracy)
    for epoch in range(epochs):
        result = train_one_epoch(model, train_loader, optimizer, device, scheduler)
        train_loss.append(result["loss"])
        train_accuracy.append(result["accuracy"])
        result = evaluate(model, val_loader, device)
        val_loss.append(result["loss"])
        val_accuracy.append(result["accuracy"])
        states.append({key: torch.empty_like(value).copy_(value) for key, value in model.state_dict().items()})
        if on_epoch is not None:
            on_epoch(epoch, history)
    model.load_state_dict(states[max(range(epochs), key=lambda e: float(val_accuracy[e]))])
    return history
'''),
    Alternative("a deep copy of the whole model, values copied back by hand", '''
def fit(model, train_loader, val_loader, optimizer, epochs, device, scheduler=None, on_epoch=None):
    history = {f"{part}_{what}": [] for part in ("train", "val") for what in ("loss", "accuracy")}
    best_model, best = None, float("-inf")
    for epoch in range(epochs):
        numbers = {
            "train": train_one_epoch(model, train_loader, optimizer, device, scheduler),
            "val": evaluate(model, val_loader, device),
        }
        for part in numbers:
            for what in ("loss", "accuracy"):
                history[f"{part}_{what}"].append(float(numbers[part][what]))
        if history["val_accuracy"][-1] > best:
            best = history["val_accuracy"][-1]
            best_model = copy.deepcopy(model)
        if on_epoch is not None:
            on_epoch(epoch, history)
    with torch.no_grad():
        for mine, kept in zip(model.parameters(), best_model.parameters()):
            mine.set_(kept.data)
        for mine, kept in zip(model.buffers(), best_model.buffers()):
            mine.copy_(kept)
    return history
'''),
    Alternative("one long vector of all weights", '''
def fit(model, train_loader, val_loader, optimizer, epochs, device, scheduler=None, on_epoch=None):
    from torch.nn.utils import parameters_to_vector, vector_to_parameters

    history = {"train_loss": [], "train_accuracy": [], "val_loss": [], "val_accuracy": []}
    best = None
    for epoch in range(epochs):
        train = train_one_epoch(model, train_loader, optimizer, device, scheduler)
        val = evaluate(model, val_loader, device)
        history["train_loss"] += [train["loss"]]
        history["train_accuracy"] += [train["accuracy"]]
        history["val_loss"] += [val["loss"]]
        history["val_accuracy"] += [val["accuracy"]]
        if best is None or val["accuracy"] > best[0]:
            buffers = [buffer.clone() for buffer in model.buffers()]
            best = (val["accuracy"], parameters_to_vector(model.parameters()).detach().clone(), buffers)
        if callable(on_epoch):
            on_epoch(epoch, history)
    vector_to_parameters(best[1], model.parameters())
    for buffer, kept in zip(model.buffers(), best[2]):
        buffer.copy_(kept)
    return history
'''),
    Alternative("in the style of torch's transfer learning tutorial: the best in a file", '''
def fit(model, train_loader, val_loader, optimizer, num_epochs, device, scheduler=None, on_epoch=None):
    import os
    from tempfile import TemporaryDirectory

    history = {"train_loss": [], "train_accuracy": [], "val_loss": [], "val_accuracy": []}
    with TemporaryDirectory() as tempdir:
        best_model_params_path = os.path.join(tempdir, "best_model_params.pt")
        best_acc = None
        for epoch in range(num_epochs):
            for phase in ["train", "val"]:
                if phase == "train":
                    result = train_one_epoch(model, train_loader, optimizer, device, scheduler)
                else:
                    result = evaluate(model, val_loader, device)
                epoch_acc = torch.tensor(result["accuracy"], dtype=torch.float64)
                history[phase + "_loss"].append(result["loss"])
                history[phase + "_accuracy"].append(epoch_acc.item())
                if phase == "val" and (best_acc is None or epoch_acc > best_acc):
                    best_acc = epoch_acc
                    torch.save(model.state_dict(), best_model_params_path)
            if on_epoch is not None:
                on_epoch(epoch, history)
        model.load_state_dict(torch.load(best_model_params_path, weights_only=True))
    return history
'''),
    Alternative("in the style of timm: a saver that keeps the best, on the CPU", '''
class CheckpointSaver:
    def __init__(self, model):
        self.model, self.best_metric, self.best = model, None, None

    def save_checkpoint(self, metric):
        if self.best_metric is None or metric > self.best_metric:
            self.best_metric = metric
            self.best = {k: v.detach().to("cpu", copy=True) for k, v in self.model.state_dict().items()}


def fit(model, train_loader, val_loader, optimizer, epochs, device, scheduler=None, on_epoch=None):
    saver = CheckpointSaver(model)
    history = {"train_loss": [], "train_accuracy": [], "val_loss": [], "val_accuracy": []}
    for epoch in range(0, epochs):
        train_metrics = train_one_epoch(model, train_loader, optimizer, device, scheduler)
        eval_metrics = evaluate(model, val_loader, device)
        for prefix, metrics in (("train", train_metrics), ("val", eval_metrics)):
            for key, value in metrics.items():
                history[f"{prefix}_{key}"].append(value)
        saver.save_checkpoint(eval_metrics["accuracy"])
        if on_epoch is not None:
            on_epoch(epoch, history)
    model.load_state_dict(saver.best)
    model.eval()
    return history
'''),
)  # fmt: skip

EXERCISE = Exercise("fit", fit_cases, FIT_WRONG, FIT_OTHER)
