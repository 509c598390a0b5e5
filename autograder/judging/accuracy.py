"""The judge of the accuracy exam: from logits and weights to points. Lab 4's exam module points to it.

It sees answers only, and what it trains itself is our own code. Kernels are the examiner's affair:
it sends the requests of vitedu.training_exams, and hands over what came back as `Attempt`s.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autograder.judging.check_weights import same_model
from autograder.judging.reference_answers import AppliedIdeas, Reference
from autograder.judging.trained_exercise import Attempt, Outcome
from autograder.judging.verdict import ERROR, FOR_REVIEW, GRADED, NOT_ANSWERED, Diagnosis
from autograder.labs.training_draw import ATTEMPTS, AccuracyDraw
from autograder.sanitize import untrusted
from vitedu.probe.case import Answer
from vitedu.training_exams.recipe import CLASSES, TARGETS, TEST, TIERS, learn, logits_of, points_of, tier

NEAR_MISS = 0.02  # so close below a tier, two more seeds are tried
MARGIN = 0.05  # by how much an accuracy may fall short of our own model with the same mistake in it
BEFORE = ("train_one_epoch",)  # the exercises whose mistakes are at work in the exam, and cost their points there


def needs_rerun(accuracy: float | None, tiers: Mapping[str, float] = TIERS) -> bool:
    """Whether this is a near miss: training by another seed might reach the next tier."""
    return accuracy is not None and any(least - NEAR_MISS <= accuracy < least - 1e-9 for least in tiers.values())


def accuracy_of(draw: AccuracyDraw, attempt: Attempt) -> float | None:
    """The accuracy of one training on the hidden labels; None when there are no proper logits."""
    logits = _logits(attempt.tested)
    if logits is None or attempt.trained is None or attempt.trained.status != "ok":
        return None
    return int((logits.argmax(1) == draw.test_labels).sum()) / TEST


def next_seed(draw: AccuracyDraw, attempts: Sequence[Attempt], tiers: Mapping[str, float] = TIERS) -> int | None:
    """The seed of the next training; None when no further one is needed.

    After a near miss two more are tried, until one reaches the tier that the first one missed.
    """
    if not attempts:
        return draw.seeds[0]
    found = [accuracy_of(draw, attempt) for attempt in attempts]
    better = tier(max(accuracy or 0.0 for accuracy in found), tiers) != tier(found[0] or 0.0, tiers)
    return None if better or not needs_rerun(found[0], tiers) else dict(enumerate(draw.seeds)).get(len(attempts))


def without_logits(attempts: Sequence[Attempt], exercise: str) -> Outcome:
    """No training ended with logits: not answered, or an error."""
    answers = [answer for a in attempts for answer in (a.trained, a.tested) if answer is not None]
    if answers and all(answer.status in ("undone", "missing") for answer in answers):
        return Outcome(0.0, NOT_ANSWERED, notes=[f"{exercise}, or what it needs, is still a TODO."])
    errors = [answer.error for answer in answers if answer.status == "error"]
    if errors:
        kind, message = errors[0].get("type", ""), untrusted.text(errors[0].get("message", ""), 300)
        note = f"{kind}: {message}" if message else kind
    elif answers:
        note = f"What came back are no finite logits of {TEST} images."
    else:
        note = "No trained model came back."
    return Outcome(0.0, ERROR, notes=[note])


def _logits(tested: Answer | None) -> Tensor | None:
    """The logits of an answer, if they are what was asked for: float32 (600, 6), finite."""
    if tested is None or tested.status != "ok":
        return None
    logits = tested.tensors.get("logits")
    if logits is None or logits.shape != (TEST, CLASSES) or logits.dtype != torch.float32:
        return None
    return logits if bool(torch.isfinite(logits).all()) else None


def _for_review(outcome: Outcome, reason: str, would_be: float) -> Outcome:
    """An outcome about which a person decides."""
    outcome.would_be, outcome.points, outcome.status = float(would_be), 0.0, FOR_REVIEW
    outcome.notes.append(f"A person looks at this: {reason}.")
    return outcome


class AccuracyExam:
    """Judges trained answers to Lab 4's accuracy exam; what it trains itself is kept for the next submission."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self._reached: dict[tuple[str, AppliedIdeas, int], float | str] = {}

    def judge(
        self,
        draw: AccuracyDraw,
        attempts: Sequence[Attempt],
        earlier: Mapping[str, str],
        earned: Mapping[str, float | None] | None = None,
    ) -> Outcome:
        """Decide on the trainings of one submission; the best of those that hold counts.

        Args:
            attempts: one, or more after a near miss.
            earlier: exercise id -> idea, as judged in this student's earlier exercises.
            earned: exercise id -> points there.
        """
        wrong = tuple((id, earlier[id]) for id in BEFORE if earlier.get(id, "").partition("~")[0])
        found = [(accuracy, a) for a in attempts[:ATTEMPTS] if (accuracy := accuracy_of(draw, a)) is not None]
        if not found:
            return self._without_logits(draw, attempts, wrong)
        found.sort(key=lambda pair: pair[0], reverse=True)
        outcomes = []
        for accuracy, attempt in found:  # the best first; one that does not hold leaves it to the next
            outcomes.append(self._judge_one(draw, accuracy, attempt, wrong, earned or {}))
            if outcomes[-1].status == GRADED:
                break
        outcome = outcomes[-1] if outcomes[-1].points else outcomes[0]
        if len(found) > 1:
            outcome.notes.insert(1, f"The best of {len(found)} trainings counts: the first was a near miss.")
        return outcome

    def _judge_one(
        self,
        draw: AccuracyDraw,
        accuracy: float,
        attempt: Attempt,
        wrong: AppliedIdeas,
        earned: Mapping[str, float | None],
    ) -> Outcome:
        reached, points = tier(accuracy), float(points_of(accuracy))
        right = round(accuracy * TEST)
        note = f"{right} of {TEST} hidden images right ({accuracy:.1%}): {reached or 'below bronze'}."
        outcome = Outcome(points, GRADED, accuracy, [note])
        if points < len(TIERS) and wrong and self._explains(draw, accuracy, wrong):
            outcome.diagnoses = self._carried(wrong)
            note = "With the same mistake in it, our own model does no better"
            outcome.points = float(len(TIERS))
            outcome.notes.append(f"{note}: it has cost its points.")
        elif points and earned.get("train_one_epoch") == 0:
            return _for_review(outcome, "nothing was right in train_one_epoch, which has trained this model", points)
        if outcome.points == 0:
            return outcome  # nothing hangs on how these logits were made
        tensors = attempt.tested.tensors if attempt.tested is not None else {}
        state = {k.removeprefix("state."): t for k, t in tensors.items() if k.startswith("state.")}
        reason = same_model(self.reference, state, draw.test_images, tensors["logits"])
        return _for_review(outcome, untrusted.text(reason, 300), outcome.points) if reason else outcome

    def _without_logits(self, draw: AccuracyDraw, attempts: Sequence[Attempt], wrong: AppliedIdeas) -> Outcome:
        """No training ended with logits: not answered, or an error.

        Where our own training with the student's earlier mistakes ends without logits, too, nothing can show
        whether the rest is right (anybody could raise): a person looks at it.
        """
        outcome = without_logits(attempts, "exam_model")
        if outcome.status == NOT_ANSWERED:
            return outcome
        answers = any(answer is not None for a in attempts for answer in (a.trained, a.tested))
        ours = self._with_mistakes(draw, wrong, draw.seeds[0]) if wrong and answers else 1.0
        if isinstance(ours, float):
            return outcome
        reason = f"A person looks at this: with the same mistake in it, our own training ends in a {ours}, too."
        notes = [*outcome.notes, reason]
        return Outcome(0.0, FOR_REVIEW, None, notes, self._carried(wrong), would_be=float(len(TIERS)))

    def _explains(self, draw: AccuracyDraw, accuracy: float, wrong: AppliedIdeas) -> bool:
        """Whether these mistakes make our own model miss the last tier, and this accuracy is no worse than that.

        Broken code is more at the mercy of the seed than right code is (without a softmax .56 to .91), so
        that more than one seed is tried before a student loses points for the same mistake twice.
        """
        for seed in draw.seeds:
            reached = self._with_mistakes(draw, wrong, seed)
            if isinstance(reached, float) and reached < max(TIERS.values()) and accuracy >= reached - MARGIN:
                return True
        return False

    def _with_mistakes(self, draw: AccuracyDraw, applied: AppliedIdeas, seed: int) -> float | str:
        """The accuracy of the model answer with these ideas in place, or the type of its error, or "NaN"."""
        if (draw.id, applied, seed) not in self._reached:
            reference = self.reference
            namespace = reference.namespace([(id, reference.code(id, idea)) for id, idea in applied])
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # wrong ideas make torch warn
                    make_model, train_one_epoch = (namespace[name] for name in TARGETS)
                    model, _ = learn(make_model, train_one_epoch, draw.train_images, draw.train_labels, seed)
                    logits = logits_of(model, draw.test_images)
                hits = int((logits.argmax(1) == draw.test_labels).sum())
                reached: float | str = hits / TEST if bool(logits.isfinite().all()) else "NaN"
            except Exception as error:
                reached = type(error).__name__
            self._reached[draw.id, applied, seed] = reached
        return self._reached[draw.id, applied, seed]

    def _carried(self, applied: AppliedIdeas) -> list[Diagnosis]:
        ideas = [(id, self.reference.lab.exercise(id).misconception(idea.partition("~")[0])) for id, idea in applied]
        return [Diagnosis(m.id, id, m.idea, m.question, carried=True) for id, m in ideas]
