"""Prove the exams: every wrong idea caught and named, every right answer accepted, on every variant.

Codes are run in real kernels and judged by the same functions that judge students: `ask_exercise`
and `judge`. A code that slips through on one variant of one secret is a problem, and so is a
right answer that loses a point.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path

import torch
from nbformat.v4 import new_code_cell
from nbgrader.preprocessors import ClearSolutions
from torch.utils._python_dispatch import TorchDispatchMode
from tqdm import tqdm

from autograder.authoring.new_exercise import left_to_write
from autograder.authoring.null_answers import NULLS, nearly_right
from autograder.errors import UserError
from autograder.execution.examiner import ask_exercise
from autograder.execution.limits import Limits
from autograder.execution.student_kernel import OK, StudentKernel
from autograder.judging.judge import ALONE, LITTLE, CaseAnswer, Circumstances, judge
from autograder.judging.reference_answers import Reference
from autograder.judging.verdict import GRADED, NOT_ANSWERED, Verdict
from autograder.labs.exam import Exercise
from autograder.labs.lab import STUB, Lab, all_labs, find_lab, without_marks
from autograder.labs.variants import VARIANTS, Variant
from autograder.reporting.terminal_table import format_table
from autograder.submission.bindings import defined
from vitedu.probe.ask import ask
from vitedu.probe.case import Case, to_json

SECRETS = (b"verify: first", b"verify: second", b"verify: third")
SECONDS = 120.0  # a probe's limit here; generous, because this machine may be busy
TENSORS = 2000  # about as many in a question at once; a kernel reads 4,096


@dataclass
class Proof:
    """What was shown of one exam; numbers count codes, each over all `draws`.

    Attributes:
        pairs: earlier exercises that a code of this one may call, and that have a stand-in; in pairs_hold, right code
            gets full marks with it all the same, and wrong code is caught and named.
        operations: the tensor operations that each alternative calls.
        problems: one sentence for each thing that is not as it must be.
    """

    exam: str
    misconceptions: int = 0
    caught: int = 0
    named: int = 0
    alternatives: int = 0
    accepted: int = 0
    nulls: int = 0
    nulls_refused: int = 0
    pairs: int = 0
    pairs_hold: int = 0
    draws: int = 0
    operations: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def exams(names: Iterable[str]) -> list[tuple[Lab, Exercise]]:
    """The exams of labs and exercises by name, such as "lab1" or "lab1/AttentionHead"; of all labs where none is named.

    Raises:
        UserError: there is no such lab or exercise, or it has no cases.
    """
    found: list[tuple[Lab, Exercise]] = []
    for name in list(names) or [lab.key for lab in all_labs()]:
        lab_name, _, id = name.partition("/")
        lab = find_lab(lab_name)
        if id and lab.exercise(id).trained:
            raise UserError(f"{name} is an exam by training, which has no cases to prove; see benchmarks/accuracy.py.")
        wanted = [lab.exercise(id)] if id else [each for each in lab.exercises if not each.trained]
        found += [(lab, exercise) for exercise in wanted]
    return found


def verify(
    chosen: list[tuple[Lab, Exercise]], workers: int = 2, secrets: int = len(SECRETS), variants: int = VARIANTS,
    paired: int = VARIANTS * len(SECRETS),
) -> list[Proof]:  # fmt: skip
    """Prove some exams on the variants of some secrets, several at a time, with a progress bar.

    Args:
        variants: of each secret.
        paired: pairs of a stand-in and a later exercise, and conventions of wrong ideas, are tried on this many
            variants at most: they take most of the time.
    """
    tasks = list(dict.fromkeys((lab.assignment, exercise.id) for lab, exercise in chosen))
    proofs = {}
    # With one thread each: the tensors are tiny.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        draws = {task: all_draws(task[1], secrets, variants) for task in tasks}
        waiting = {pool.submit(prove, *task, draws[task], paired): task for task in reversed(tasks)}
        for done in tqdm(as_completed(waiting), total=len(tasks), desc="exams proven", unit="exam"):
            proofs[waiting[done]] = done.result()
    return [proofs[task] for task in tasks]


def all_draws(exercise_id: str, secrets: int = len(SECRETS), variants: int = VARIANTS) -> list[Variant]:
    """The first few variants of an exercise, or all, under the first few secrets."""
    return [Variant(secret, exercise_id, v) for secret in SECRETS[:secrets] for v in range(variants)]


def prove(
    assignment: str, exercise_id: str, draws: list[Variant] | None = None, paired: int = VARIANTS * len(SECRETS)
) -> Proof:
    """Prove one exam.

    Args:
        draws: the variants to use; None: all of three secrets.
        paired: as many of them, at most, for pairs of a stand-in and this exercise.
    """
    lab = find_lab(assignment)
    exercise = lab.exercise(exercise_id)
    draws = draws or all_draws(exercise_id)
    proof = Proof(f"{lab.key}/{exercise_id}", draws=len(draws))
    if left := left_to_write(lab, exercise_id):  # of a skeleton nothing is proven yet
        proof.problems += left
        return proof
    bench = _Bench(lab, exercise, draws, proof)
    with StudentKernel(Limits(start=120), sandboxed=False) as bench.kernel:  # our own code
        bench.define({})
        bench.right_answers()
        bench.wrong_answers()
        bench.no_answers()
        bench.draws = draws[:paired]
        bench.other_conventions()
        bench.with_stand_ins()
    proof.operations = {a.name: operations(bench.reference, exercise, draws[0], a.code) for a in exercise.alternatives}
    names = list(proof.operations)
    for i, name in enumerate(names):
        for other in names[:i]:
            if proof.operations[name] == proof.operations[other]:
                proof.problems.append(f"the alternatives {other!r} and {name!r} call the same operations")
    return proof


class _Bench:
    """One exam on the bench: a kernel in which the lab's cells ran, and codes to try in it."""

    kernel: StudentKernel

    def __init__(self, lab: Lab, exercise: Exercise, draws: list[Variant], proof: Proof) -> None:
        self.lab, self.exercise, self.draws, self.proof = lab, exercise, draws, proof
        self.reference = Reference(lab)
        self.roles: tuple[str, ...] = ("setup", "solution")
        self.replaced: dict[str, str] = {}
        self.own = defined(self.model())
        self.changed = False  # the last code has defined more than this exercise's names

    def define(self, replaced: dict[str, str]) -> None:
        """Run the lab's cells with some solution cells replaced; from the second time on, only these."""
        roles, self.roles, self.replaced = self.roles, ("solution",), replaced
        for cell in self.lab.cells:
            if cell.kind == "code" and cell.role in roles:
                run = self.kernel.run(replaced.get(cell.grade_id, without_marks(cell.source)), SECONDS)
                if run.status != OK:
                    self.proof.problems.append(f"the cell {cell.grade_id} ended with {run.status}: {run.error}")

    def judged(self, code: str, around: Circumstances = ALONE) -> Iterator[Verdict]:
        """The verdicts on a code, one a draw; the next draw confirms what is named."""
        if self.changed:  # classes of an earlier lab, for example, that were pasted in
            self.roles = ("setup", "solution")
            self.define(self.replaced)
        self.changed = bool(defined(code) - self.own)
        run = self.kernel.run(code, SECONDS)
        if run.status != OK:
            self.proof.problems.append(f"a code for {self.exercise.id} ended with {run.status}: {run.error}")
        found = list(self.answers())
        for (variant, replies, status), second in zip(found, found[1:] + found[:1], strict=True):
            yield self.judge(variant, replies, around, status, second[:2])

    def answers(self) -> Iterator[tuple[Variant, list[CaseAnswer], str]]:
        """The kernel's replies and how they ended, one a draw; as many are asked at once as a question can hold."""
        tensors: dict[str, torch.Tensor] = {}
        for i, case in enumerate(self.cases(self.draws[0])):
            to_json(case, str(i), tensors)
        together = max(1, TENSORS // max(1, len(tensors)))  # a question may hold a model alone
        for i in range(0, len(self.draws), together):
            draws = self.draws[i : i + together]
            cases = [self.cases(variant) for variant in draws]
            replies, run = ask_exercise(self.kernel, [case for of_draw in cases for case in of_draw], SECONDS)
            left = iter(replies)
            for variant, of_draw in zip(draws, cases, strict=True):
                yield variant, [next(left) for _ in of_draw], GRADED if run.status == OK else run.status

    def judge(
        self, variant: Variant, replies: list[CaseAnswer], around: Circumstances = ALONE, status: str = GRADED,
        common: tuple[Variant, list[CaseAnswer]] | None = None,
    ) -> Verdict:  # fmt: skip
        """One verdict, out of one point."""
        verdict = Verdict(self.exercise.id, f"exam-{self.exercise.id}", status, 0.0, 1.0)
        return judge(self.reference, self.exercise, variant, replies, verdict, around, common)

    def check(self, what: str, verdicts: Iterator[Verdict], good: Callable[[Verdict], bool], words: str) -> bool:
        """Whether all verdicts are good; else one problem that names the draws."""
        bad = [str(i) for i, verdict in enumerate(verdicts) if not good(verdict)]
        if bad:
            self.proof.problems.append(
                f"{what} {words} on {len(bad)} of {len(self.draws)} draws (first: draw {bad[0]})"
            )
        return not bad

    def right_answers(self) -> None:
        """The model answer and every alternative get full marks and no diagnosis."""
        model = self.model()
        conventions = [(c.name, c.applied(model)) for c in self.exercise.conventions]
        others = [(a.name, a.code) for a in self.exercise.alternatives]
        for name, code in [("the model answer", model), *conventions, *others]:
            if code == model and name != "the model answer":
                self.proof.problems.append(f"{name!r} does not change the model answer")
            full = self.check(name, self.judged(code), full_marks, "loses points")
            self.proof.accepted += full and (name, code) in others
        self.proof.alternatives = len(self.exercise.alternatives)
        if self.proof.alternatives < 6:
            self.proof.problems.append(f"has {self.proof.alternatives} alternatives; at least 6 are asked for")

    def wrong_answers(self) -> None:
        """Every misconception loses points and is named; a blank cell earns nothing."""
        for m in self.exercise.misconceptions:
            self.proof.misconceptions += 1
            verdicts = list(self.judged(m.code))
            self.proof.caught += self.check(
                m.id, iter(verdicts), lambda v: v.points is not None and v.points < 1.0, "gets full marks"
            )
            self.proof.named += self.check(m.id, iter(verdicts), named_as(m.id), "is not named as itself")
        self.check("the released stub", self.judged(self.stub()), unanswered, "is not 'not answered' with 0 points")

    def no_answers(self) -> None:
        """Answers that need no idea at all earn nothing: zeros, ones, an echo, noise, NaN, a raised ValueError."""
        self.kernel.run(self.model(), SECONDS)
        answers = [replies for _, replies, _ in self.answers()]
        if any(reply.answer is None for replies in answers for reply in replies):
            self.proof.problems.append("the model answer gave no answer, so no null answer could be made from it")
            return
        for name, null in NULLS.items():
            verdicts = (
                self.judge(
                    variant,
                    [CaseAnswer(null(r.answer, case)) for r, case in zip(replies, self.cases(variant), strict=True)],
                )
                for variant, replies in zip(self.draws, answers, strict=True)
            )
            self.proof.nulls += 1
            self.proof.nulls_refused += self.check(
                f"the null answer {name!r}", verdicts, lambda v: v.points == 0.0, "earns points"
            )

        near = [
            (variant, [CaseAnswer(nearly_right(r.answer)) for r in replies])
            for variant, replies in zip(self.draws, answers, strict=True)
        ]
        verdicts = (self.judge(*mine, common=second) for mine, second in zip(near, near[1:] + near[:1], strict=True))
        self.check("the model answer times 1.0001", verdicts, lambda v: not v.diagnoses, "is told a wrong idea")

    def other_conventions(self) -> None:
        """Every misconception is named under every convention, too, but where the convention takes it away."""
        for m in self.exercise.misconceptions:
            for convention in self.exercise.under(m.id)[1:]:
                what, code = f"{m.id} under the convention {convention[1:]}", self.exercise.code(m.id + convention, "")
                self.check(what, self.judged(code), named_or_right(m.id), "is not named as itself")

    def with_stand_ins(self) -> None:
        """With a stand-in for an earlier exercise right code is right, and every wrong idea is caught and named."""
        exercises = list(self.lab.exercises)
        others = [*(a.code for a in self.exercise.alternatives), *(m.code for m in self.exercise.misconceptions)]
        words = set(re.findall(r"\w+", "\n".join([self.model(), *others])))
        given = {name for case in self.cases(self.draws[0]) for name in case.names}
        for earlier in exercises[: exercises.index(self.exercise)]:
            if not (words | given) & set(self.lab.stand_in_names(earlier.id)):
                continue
            own = self.reference.code(earlier.id)
            self.define({earlier.id: f"{own}\n\n{self.lab.stand_in(earlier.id)}"})
            self.proof.pairs += 1
            self.proof.pairs_hold += self._holds(Circumstances(stand_ins=(earlier.id,)), earlier.id)
        self.define({})

    def _holds(self, around: Circumstances, earlier: str) -> bool:
        """Whether the exam does all that it must with this stand-in."""
        model, known = self.model(), len(self.proof.problems)
        rights = [("the model answer", model), *((a.name, a.code) for a in self.exercise.alternatives)]
        rights += [(c.name, c.applied(model)) for c in self.exercise.conventions]
        for name, code in rights:
            self.check(f"{name}, with a stand-in for {earlier},", self.judged(code, around), full_marks, "loses points")
        for m in self.exercise.misconceptions:
            verdicts, what = list(self.judged(m.code, around)), f"{m.id}, with a stand-in for {earlier},"
            self.check(what, iter(verdicts), lambda v: v.points is not None and v.points < 1.0, "gets full marks")
            self.check(what, iter(verdicts), explained_by(m.id), "is not named as itself")
        return len(self.proof.problems) == known

    def cases(self, variant: Variant) -> list[Case]:
        """The exercise's cases on a draw."""
        return self.reference.cases(self.exercise, variant)

    def model(self) -> str:
        """The solution cell's code."""
        return next(without_marks(cell.source) for cell in self.lab.cells if cell.grade_id == self.exercise.id)

    def stub(self) -> str:
        """The solution cell as students get it."""
        source = next(cell.source for cell in self.lab.cells if cell.grade_id == self.exercise.id)
        cell = new_code_cell(source, metadata={"nbgrader": {"solution": True}})
        clear = ClearSolutions(code_stub={"python": STUB})
        return clear.preprocess_cell(cell, {"language": "python"}, 0)[0].source


def named_as(id: str) -> Callable[[Verdict], bool]:
    """Whether a verdict names this misconception, and no other, behind the whole answer."""
    return lambda verdict: [d.misconception for d in verdict.diagnoses if d.whole] == [id]


def explained_by(id: str) -> Callable[[Verdict], bool]:
    """Whether this misconception explains every wrong case: with a stand-in another one may give the same numbers."""
    return lambda verdict: all(
        case.right or id in case.matches or case.note.startswith(LITTLE) for case in verdict.cases
    )


def named_or_right(id: str) -> Callable[[Verdict], bool]:
    """The same, or that nothing is wrong."""
    named = named_as(id)
    return lambda verdict: named(verdict) or full_marks(verdict)


def full_marks(verdict: Verdict) -> bool:
    """Whether a verdict takes no points and names nothing."""
    return verdict.points == 1.0 and not verdict.diagnoses


def unanswered(verdict: Verdict) -> bool:
    """Whether a verdict says "not answered", without points and without a diagnosis."""
    return verdict.points == 0.0 and verdict.status == NOT_ANSWERED and not verdict.diagnoses


def operations(reference: Reference, exercise: Exercise, variant: Variant, code: str) -> list[str]:
    """The tensor operations that a code calls on the first case, as torch's dispatcher names them."""
    seen: set[str] = set()

    class Trace(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.add(str(function).removeprefix("aten.").split(".")[0])
            return function(*args, **(kwargs or {}))

    case = reference.cases(exercise, variant)[0]
    namespace = reference.namespace([(exercise.id, code)])
    with Trace():
        ask(namespace[case.target], case, namespace=namespace)
    return sorted(seen)


def table(proofs: list[Proof]) -> str:
    """The proofs as a table, and the problems in words under it."""
    head = (
        "exam",
        "misconceptions",
        "caught",
        "named",
        "alternatives",
        "accepted",
        "nulls refused",
        "with stand-ins",
        "draws",
    )
    rows = [
        (p.exam, str(p.misconceptions), str(p.caught), str(p.named), str(p.alternatives), str(p.accepted),
         f"{p.nulls_refused} of {p.nulls}", f"{p.pairs_hold} of {p.pairs}", str(p.draws))
        for p in proofs
    ]  # fmt: skip
    problems = [f"{p.exam}: {problem}" for p in proofs for problem in p.problems]
    return "\n".join([format_table(head, rows, rule=False), *problems])


def alternatives(proofs: list[Proof]) -> str:
    """For each alternative the tensor operations that it calls, as they were traced."""
    lines = []
    for proof in proofs:
        lines.append(f"{proof.exam}: operations of its alternatives")
        lines += [f"  {name}: {' '.join(operations)}" for name, operations in proof.operations.items()]
    return "\n".join(lines)


def write_json(proofs: list[Proof], path: Path) -> None:
    """The proofs as a JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(proof) for proof in proofs], indent=1) + "\n", encoding="utf-8")
