"""The exam of the metrics: accuracy, confusion matrix."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from autograder.errors import UserError
from autograder.exams.lab4.training_problems import CODE, TRACKERS, TRIES, WRITING, apart, random_labels
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase, Scoring


def metrics_cases(variant: Variant) -> list[FunctionCase]:
    """Accuracies that no other number imitates, counts with repeated pairs and with absent classes, few and many."""
    batch, classes = variant.sizes(2, 5, 9)
    cases = [FunctionCase("accuracy of a batch", "accuracy", _outputs(variant, batch, classes))]
    (size,) = variant.sizes(1, 5, 9)
    cases.append(FunctionCase("accuracy with as many classes as samples", "accuracy", _outputs(variant, size, size)))
    (batch,), (classes,) = variant.sizes(1, 11, 15), variant.sizes(1, 4, 7)
    cases.append(
        FunctionCase("accuracy of whole-number logits", "accuracy", _outputs(variant, batch, classes, whole=True))
    )

    (classes,) = variant.sizes(1, 4, 6)
    cases.append(_counts(variant, "confusion matrix, every class occurs", classes, classes))
    (classes,) = variant.sizes(1, 4, 6)
    cases.append(_counts(variant, "confusion matrix with classes that do not occur", classes, classes - 2))
    return cases + _edges(variant)


def _edges(variant: Variant) -> list[FunctionCase]:
    """A second call with the same shapes, single samples and classes, and more of them than a byte can count."""
    half, few = Scoring(share=0.5), Scoring(share=0.25, paired=True)
    batch, classes = variant.sizes(2, 5, 9)
    first, second = _outputs(variant, batch, classes), _outputs(variant, batch, classes)
    name = "accuracy of a second batch of the same shape"
    cases = [FunctionCase(name, "accuracy", second, before=first, scoring=half)]
    logits, labels = _outputs(variant, batch, classes)
    wide = torch.cat([logits.new_full((batch, 300), -9.0), logits], dim=1)
    cases.append(FunctionCase("accuracy with hundreds of classes", "accuracy", (wide, labels + 300), scoring=half))
    cases.append(FunctionCase("accuracy of one sample", "accuracy", (logits[:1].clone(), labels[:1]), scoring=few))

    asked = _counts(variant, "confusion matrix of a second batch of the same shape", classes, classes)
    predictions, labels, _ = asked.args
    before = (predictions.flip(0), labels.clone(), classes)
    cases.append(dataclasses.replace(asked, before=before, scoring=half))
    (many,) = variant.sizes(1, 18, 22)
    predictions, labels = random_labels(variant, 400, many), random_labels(variant, 400, many)
    predictions[:300], labels[:300] = many - 2, many - 1
    options: dict[str, Any] = {"any_dtype": True, "scoring": half}
    name = "confusion matrix with hundreds of equal pairs"
    cases.append(FunctionCase(name, "confusion_matrix", (predictions, labels, many), **options))
    options["scoring"] = few
    one = torch.tensor([1])
    cases.append(FunctionCase("confusion matrix of one sample", "confusion_matrix", (one, one + 1, classes), **options))
    alike = torch.zeros(batch, dtype=torch.int64)
    cases.append(FunctionCase("confusion matrix of one class", "confusion_matrix", (alike, alike, 1), **options))
    return cases


def _outputs(variant: Variant, batch: int, classes: int, whole: bool = False) -> tuple[Tensor, Tensor]:
    """Logits and labels whose accuracy is unlike what mistakes give."""
    for _ in range(TRIES):
        logits = variant.normal(batch, classes)
        if whole:  # the largest value of a row can then be a label, too
            logits = logits.argsort(dim=1).double()
            logits[0, logits[0].argmax()] += 1
        best = logits.argmax(dim=1)
        labels = torch.where(variant.normal(batch) > -0.3, best, random_labels(variant, batch, classes))
        hits = (best == labels).double()
        recalls = torch.stack([hits[labels == c].mean() for c in labels.unique()])
        shares = [hits.mean(), 1 - hits.mean(), recalls.mean(), hits.new_zeros(()), hits.new_ones(())]
        if whole:
            shares += [(values == labels).double().mean() for values in (logits.amax(dim=1), logits.argmax())]
        if batch == classes:
            shares.append((logits.argmax(dim=0) == labels).double().mean())
        if apart(*map(float, shares), by=0.01):
            return logits, labels
    raise UserError("Lab 4: no drawn batch has an accuracy that is unlike what mistakes give.")


def _counts(variant: Variant, name: str, classes: int, present: int) -> FunctionCase:
    """Predictions and labels with repeated pairs, right ones and wrong ones, in a lopsided matrix."""
    for _ in range(TRIES):
        (count,) = variant.sizes(1, 20, 30)
        labels = random_labels(variant, count, present)
        predictions = torch.where(variant.normal(count) > 0, labels, random_labels(variant, count, present))
        counts = torch.zeros(classes, classes)
        counts.index_put_((labels, predictions), torch.ones(count), accumulate=True)
        wrong = counts - counts.diag().diag()
        every = counts[:present].sum(1).min() > 0 and counts[:, :present].sum(0).min() > 0
        if every and counts.diag().max() > 1 and wrong.max() > 1 and not torch.equal(wrong, wrong.T):
            if present < classes:  # a class that does not occur has a smaller number than one that does
                labels, predictions = (torch.where(t >= 1, t + 1, t) for t in (labels, predictions))
            return FunctionCase(name, "confusion_matrix", (predictions, labels, classes), any_dtype=True)
    raise UserError("Lab 4: no drawn predictions fill a confusion matrix as they should.")


M = CODE["metrics"]
BEST = "(logits.argmax(dim=1) == labels)"
SHARE = f"{BEST}.sum().item() / len(labels)"
PAIRS = "    pairs = labels * num_classes + predictions\n"
COUNTED = "torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)"
METRICS_WRONG = (
    Misconception(
        "integer-division",
        "the accuracy is an integer division of the hits by the samples, which is 0 unless all are right",
        "What is 3 // 5?",
        changed(M, (SHARE, f"{BEST}.sum().item() // len(labels)")),
        (96,), TRACKERS,
    ),
    Misconception(
        "percent",
        "the accuracy is given in percent instead of as a number from 0 to 1",
        "What is the accuracy when every sample is right?",
        changed(M, (SHARE, f"100 * {SHARE}")),
        (96,), TRACKERS,
    ),
    Misconception(
        "error-rate",
        "the share of wrong samples is given instead of the share of right ones",
        "What is the accuracy when every sample is right?",
        changed(M, ("dim=1) == labels", "dim=1) != labels")),
        (96,), TRACKERS,
    ),
    Misconception(
        "hits-not-divided",
        "the number of right samples is given, not their share",
        "Which values can an accuracy have, and can yours be 4?",
        changed(M, (SHARE, f"{BEST}.sum().item()")),
        (96,), TRACKERS,
    ),
    Misconception(
        "divided-by-classes",
        "the number of right samples is divided by the number of classes instead of the number of samples",
        "What is logits.shape[1], and of what is an accuracy the share?",
        changed(M, (SHARE, f"{BEST}.sum().item() / logits.shape[1]")),
        (94,), WRITING,
    ),
    Misconception(
        "divided-by-all-logits",
        "the number of right samples is divided by the number of logits",
        "What does logits.numel() count, and how many answers did the model give?",
        changed(M, (SHARE, f"{BEST}.sum().item() / logits.numel()")),
        (94,), WRITING,
    ),
    Misconception(
        "argmax-over-the-batch",
        "argmax runs over the samples of the batch (dimension 0) instead of over the classes",
        "How many predictions should a batch of B samples have, and how many has yours?",
        changed(M, ("argmax(dim=1)", "argmax(dim=0)")),
        (97,), TRACKERS,
    ),
    Misconception(
        "argmax-of-everything",
        "argmax is called without a dimension and gives one number for the whole batch",
        "How many predictions should a batch of B samples have, and how many has yours?",
        changed(M, ("argmax(dim=1)", "argmax()")),
        (97,), WRITING,
    ),
    Misconception(
        "largest-value-for-its-place",
        "the labels are compared with the largest logit itself instead of with its place",
        "torch.max(logits, dim=1) returns two things: which of them is a class?",
        changed(M, ("logits.argmax(dim=1)", "logits.max(dim=1).values")),
        (), WRITING,
    ),
    Misconception(
        "mean-of-the-recalls",
        "the accuracies of the classes are averaged, so that a sample of a rare class weighs more than another",
        "How much does each sample weigh in your mean?",
        changed(M, (f"return {SHARE}",
                    f"hits = {BEST}.double()\n"
                    "    return torch.stack([hits[labels == c].mean() for c in labels.unique()]).mean().item()")),
        (108,), WRITING,
    ),
    Misconception(
        "duplicates-lost",
        "a pair that occurs several times counts once, because matrix[labels, predictions] += 1 with index tensors "
        "adds only once to each place",
        "What is the sum of all counts, and how many samples were there?",
        changed(M, (PAIRS, "    counts = torch.zeros(num_classes, num_classes)\n"),
                (f"return {COUNTED}", "counts[labels, predictions] += 1\n    return counts")),
        (103,), TRACKERS,
    ),
    Misconception(
        "transposed",
        "rows and columns have changed places: the row is the prediction, the column the true class",
        "What does row 0 of your matrix add up to: how often class 0 occurs, or how often it was predicted?",
        changed(M, (PAIRS, "    pairs = predictions * num_classes + labels\n")),
        (104,), TRACKERS,
    ),
    Misconception(
        "size-from-the-data",
        "the matrix is only as large as the largest class that occurs",
        "How large must the matrix be when the last class does not occur in this batch?",
        changed(M, (PAIRS, "    num_classes = int(max(labels.max(), predictions.max())) + 1\n" + PAIRS)),
        (105,), TRACKERS,
    ),
    Misconception(
        "only-the-classes-that-occur",
        "classes that do not occur have no row and no column (scikit-learn's confusion_matrix without labels= does "
        "that)",
        "How many rows has your matrix, and which class does the third one belong to?",
        changed(M, (f"return {COUNTED}",
                    "from sklearn.metrics import confusion_matrix as count\n"
                    "    return torch.from_numpy(count(labels.numpy(), predictions.numpy()))")),
        (105,), WRITING,
    ),
    Misconception(
        "divided-by-row-sums",
        "each row is divided by its sum, which gives shares instead of counts, and NaN where a class does not occur",
        "Does the docstring ask for counts or for shares? What is 0 / 0?",
        changed(M, (f"return {COUNTED}", f"counts = {COUNTED}\n    return counts / counts.sum(dim=1, keepdim=True)")),
        (106,), TRACKERS,
    ),
    Misconception(
        "divided-by-column-sums",
        "each column is divided by its sum, which gives shares of the predictions instead of counts",
        "Does the docstring ask for counts or for shares?",
        changed(M, (f"return {COUNTED}", f"counts = {COUNTED}\n    return counts / counts.sum(dim=0, keepdim=True)")),
        (106, 108), TRACKERS,
    ),
    Misconception(
        "divided-by-the-number-of-samples",
        "all counts are divided by the number of samples",
        "Does the docstring ask for counts or for shares?",
        changed(M, (f"return {COUNTED}", f"return {COUNTED} / len(labels)")),
        (106,), WRITING,
    ),
    Misconception(
        "last-pair-only",
        "the matrix is made anew for each sample, so that only the last one is counted",
        "Where in your loop is the matrix made, and what does it hold when the next sample comes?",
        changed(M, (PAIRS, "    for label, prediction in zip(labels, predictions):\n"
                    "        counts = torch.zeros(num_classes, num_classes)\n"
                    "        counts[label, prediction] += 1\n"),
                (f"return {COUNTED}", "return counts")),
        (107,), TRACKERS,
    ),
    Misconception(
        "right-ones-only",
        "only right predictions are counted, so that everything off the diagonal is zero",
        "Which part of the matrix tells which classes are taken for each other?",
        changed(M, (PAIRS, "    labels = labels[labels == predictions]\n    pairs = labels * num_classes + labels\n")),
        (), WRITING,
    ),
    Misconception(
        "changes-its-labels-in-place",
        "the labels are multiplied in place (labels *= ...), which changes the caller's tensor",
        "What do the labels hold after the call, and who else still uses them?",
        changed(M, (PAIRS, "    labels *= num_classes\n    pairs = labels + predictions\n")),
        (), WRITING,
    ),
)  # fmt: skip
METRICS_OTHER = (
    Alternative("torch.max, a sum divided by the length; a loop over pairs", '''
def accuracy(logits, labels):
    _, predicted = torch.max(logits, 1)
    return (predicted == labels).sum().item() / labels.size(0)


def confusion_matrix(predictions, labels, num_classes):
    counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for t, p in zip(labels.view(-1), predictions.view(-1)):
        counts[t.long(), p.long()] += 1
    return counts
'''),
    Alternative("a 0-d float32 tensor; index_put_ that accumulates", '''
def accuracy(logits, labels):
    return torch.mean((torch.argmax(logits, dim=-1) == labels).float())


def confusion_matrix(predictions, labels, num_classes):
    counts = torch.zeros(num_classes, num_classes)
    return counts.index_put_((labels, predictions), torch.ones(len(labels)), accumulate=True)
'''),
    Alternative("scikit-learn", '''
def accuracy(logits, labels):
    from sklearn.metrics import accuracy_score

    return accuracy_score(labels.cpu(), logits.detach().argmax(1).cpu())


def confusion_matrix(predictions, labels, num_classes):
    from sklearn.metrics import confusion_matrix as count

    return count(labels.cpu().numpy(), predictions.cpu().numpy(), labels=range(num_classes))
'''),
    Alternative("numpy after a softmax, add.at", '''
def accuracy(logits, labels):
    import numpy as np

    return float(np.mean(np.argmax(torch.softmax(logits, dim=1).numpy(), axis=1) == labels.numpy()))


def confusion_matrix(predictions, labels, num_classes):
    import numpy as np

    counts = np.zeros((num_classes, num_classes), dtype=int)
    np.add.at(counts, (labels.numpy(), predictions.numpy()), 1)
    return counts
'''),
    Alternative("plain lists", '''
def accuracy(logits, labels):
    rows, wanted = logits.tolist(), labels.tolist()
    return sum(row.index(max(row)) == label for row, label in zip(rows, wanted)) / len(wanted)


def confusion_matrix(predictions, labels, num_classes):
    counts = [[0] * num_classes for _ in range(num_classes)]
    for label, prediction in zip(labels.tolist(), predictions.tolist()):
        counts[label][prediction] += 1
    return torch.tensor(counts)
'''),
    Alternative("one-hot rows and a matrix product", '''
def accuracy(logits, labels):
    predicted = F.one_hot(logits.sort(dim=1).indices[:, -1], logits.shape[1])
    return (predicted * F.one_hot(labels, logits.shape[1])).sum().item() / logits.shape[0]


def confusion_matrix(predictions, labels, num_classes):
    return F.one_hot(labels, num_classes).T @ F.one_hot(predictions, num_classes)
'''),
    Alternative("in the style of torchvision's reference training: top-k, transposed; a histogram over pairs", '''
def accuracy(logits, labels):
    with torch.inference_mode():
        _, pred = logits.topk(1, 1, True, True)
        correct = pred.t().eq(labels[None])
        return correct[:1].flatten().sum(dtype=torch.float32) * (1.0 / labels.size(0))


def confusion_matrix(predictions, labels, num_classes):
    with torch.inference_mode():
        k = (labels >= 0) & (labels < num_classes)
        inds = num_classes * labels[k].to(torch.int64) + predictions[k]
        return torch.bincount(inds, minlength=num_classes**2).reshape(num_classes, num_classes)
'''),
    Alternative("in the style of torchmetrics: a scatter of ones, the diagonal over the sum", '''
def accuracy(logits, labels):
    predicted = logits.argmax(dim=1)
    counts = confusion_matrix(predicted, labels, logits.shape[1])
    return (counts.diagonal().sum() / counts.sum()).item()


def confusion_matrix(predictions, labels, num_classes):
    unique_mapping = labels * num_classes + predictions
    bins = torch.zeros(num_classes**2, dtype=torch.long, device=labels.device)
    return bins.scatter_add_(0, unique_mapping, torch.ones_like(unique_mapping)).view(num_classes, num_classes)
'''),
)  # fmt: skip

EXERCISE = Exercise(
    "metrics",
    metrics_cases,
    METRICS_WRONG,
    METRICS_OTHER,
    ("accuracy_score", "confusion_matrix", "MulticlassAccuracy", "MulticlassConfusionMatrix"),
)
