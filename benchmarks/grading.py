"""Our grading against stock nbgrader and otter-grader, in turn, on the same class; and how ours grows with the class.

    python benchmarks/grading.py [--submissions 30] [--rounds 3] [--workers 2] [--curve 30,100,300,1000 | none]

Whole commands are measured, start-up and all. nbgrader has no workers; the other two have as many.
An opponent that cannot be had is named, and so is one that gives wrong marks: that round has no ratio to it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import psutil
from bench_class import class_of, graded_wrongly
from opponents import LAB, CannotRun, Otter, Ours, Stock, environment, otter_python
from tqdm import tqdm
from watched import Watched, share, watched

from autograder.execution.limits import Limits
from autograder.execution.preload import PACKAGES, modules_of
from autograder.execution.student_kernel import StudentKernel
from autograder.sandbox.bubblewrap import unavailable
from autograder.sandbox.forked_kernel import ForkServer

ROOM, RESULT = Path(".run/bench/grading"), Path(".run/bench/grading.json")
Runs = list[dict[str, Any]]


def run(system: Ours | Stock | Otter, count: int, memory: bool = False) -> dict[str, Any]:
    """Grade a fresh class once.

    Raises:
        CannotRun: it failed, or gave marks that are wrong.
    """
    folder, members = (ROOM / "class").resolve(), class_of(count)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        system.hand_in(folder, members)
        done: Watched = watched(system.command(folder), folder, environment(ROOM.resolve()), memory)
        if done.status:
            raise CannotRun(f"{system.name} ended with status {done.status}: {done.said}")
        if wrong := graded_wrongly(members, system.scores(folder)):
            raise CannotRun(f"{system.name} gave wrong marks: {wrong}")
        cpu = students_cpu(folder, count) if type(system) is Ours else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = {"submissions": count, "seconds": done.seconds, "cpu": cpu}
    if memory:
        found |= {"command_bytes": done.own, "worker_bytes": done.worker, "together_bytes": done.together}
    return found


def students_cpu(course: Path, count: int) -> float | None:
    """CPU seconds of the students' own code, cells and probes; None when not every record tells them."""
    records = [json.loads(path.read_text()) for path in course.glob("verdicts/*/*/*.json")]
    told = [record["cpu"] for record in records if "cpu" in record]
    return sum(told) if len(told) == count else None


def warm_memory(kernels: int = 4) -> float | None:
    """Bytes of one more warm kernel, beside the process that all are forked from; None where there are none.

    A page that several share counts once, divided among them.
    """
    if unavailable():
        return None
    with ForkServer(modules_of(LAB.source), PACKAGES) as template, ExitStack() as stack:
        sizes = []
        for _ in range(kernels):
            kernel = stack.enter_context(StudentKernel(Limits(), template=template.address))
            kernel.run("import torch, matplotlib.pyplot", 60)
            family = psutil.Process(template.process.pid).children(recursive=True)
            sizes.append(sum(share(process) for process in family))
        return (sizes[-1] - sizes[0]) / (kernels - 1)


def figures(ours: Runs, stock: Runs, otter: Runs, curve: Runs, workers: int) -> dict[str, Any]:
    """What the runs say; None where they do not.

    Time that a submission takes beyond its own code's CPU time, by the clock on the wall and, `_of_workers`, as time
    of all workers together: the first can be below zero where many work, the second cannot.
    """
    spent = [(r["seconds"] * workers, r["cpu"], r["submissions"]) for r in ours if r["cpu"]]
    return {
        "ratio_to_nbgrader": middle(ratios(ours, stock)),
        "ratio_to_otter": middle(ratios(ours, otter)),
        "overhead_seconds_per_submission": middle([(wall / workers - cpu) / count for wall, cpu, count in spent]),
        "overhead_of_workers": middle([(wall - cpu) / count for wall, cpu, count in spent]),
        "overhead_of_workers_steady": steady(curve, workers),
        "limit_ratio": middle([wall / cpu for wall, cpu, _ in spent]),
    }


def ratios(ours: Runs, theirs: Runs) -> list[float]:
    """How many times longer they took, round by round; rounds in which they failed are left out."""
    took = {run["round"]: run["seconds"] for run in theirs}
    return [took[run["round"]] / run["seconds"] for run in ours if run["round"] in took]


def middle(values: list[float]) -> float | None:
    """The median; None of nothing."""
    return median(values) if values else None


def steady(curve: Runs, workers: int) -> float | None:
    """All workers' time for one more submission, beyond its own: the slope from the smallest class to the largest."""
    ends = sorted((r for r in curve if r["cpu"]), key=lambda r: r["submissions"])
    if len(ends) < 2 or ends[0]["submissions"] == ends[-1]["submissions"]:
        return None
    first, last = ((r["submissions"], r["seconds"] * workers - r["cpu"]) for r in (ends[0], ends[-1]))
    return (last[1] - first[1]) / (last[0] - first[0])


def table(found: dict[str, Any]) -> str:
    """The comparison, the overhead, and the growth, as text."""
    count, samples = found["submissions"], found["samples"]
    lines = [f"{count} submissions of Lab 1, {found['workers']} workers, {len(samples['ours'])} rounds in turn, whole "
             "commands", f"{'system':20} {'median s':>9} {'s each':>7} {'a minute':>9}  ours is faster by"]  # fmt: skip
    for key, system in (("ours", Ours), ("stock", Stock), ("otter", Otter)):
        if not samples[key]:
            lines.append(f"{system.name:20} not measured: {found['not_measured'].get(key, 'no round has ended')}")
            continue
        seconds, times = median(r["seconds"] for r in samples[key]), ratios(samples["ours"], samples[key])
        spread = "" if key == "ours" else f"  {median(times):.1f} times ({min(times):.1f} to {max(times):.1f})"
        spread += f"; {found['not_measured'][key]}" if key in found["not_measured"] else ""
        lines.append(f"{system.name:20} {seconds:9.1f} {seconds / count:7.2f} {60 * count / seconds:9.1f}{spread}")
    lines += [
        "",
        "a submission, beyond the student code's own CPU time: "
        f"{_number(found['overhead_seconds_per_submission'])} s of wall time; "
        f"{_number(found['overhead_of_workers'])} s of all workers' time, "
        f"{_number(found['overhead_of_workers_steady'])} s for each further one",
        f"wall time times workers over the student code's own CPU time: {_number(found['limit_ratio'])}",
    ]
    if found.get("memory_per_warm_worker"):
        lines.append(f"memory of one more warm kernel: {found['memory_per_warm_worker'] / 1e6:.0f} MB")
    if found["curve"]:
        heads = f"{'submissions':>11} {'wall s':>8} {'s each':>7} {'command MB':>11} {'worker MB':>10} {'all MB':>7}"
        lines += ["", heads]
    for r in found["curve"]:
        sizes = [r[f"{what}_bytes"] / 1e6 for what in ("command", "worker", "together")]
        lines.append(f"{r['submissions']:11} {r['seconds']:8.1f} {r['seconds'] / r['submissions']:7.3f} "
                     f"{sizes[0]:11.0f} {sizes[1]:10.0f} {sizes[2]:7.0f}")  # fmt: skip
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def measure(submissions: int, rounds: int, workers: int, curve: list[int]) -> dict[str, Any]:
    """All runs, in turn; the file is written after each."""
    shutil.rmtree(ROOM, ignore_errors=True)
    ROOM.mkdir(parents=True)
    found: dict[str, Any] = {
        "submissions": submissions, "workers": workers, "memory_per_warm_worker": warm_memory(),
        "samples": {"ours": [], "stock": [], "otter": []}, "not_measured": {}, "curve": [],
    }  # fmt: skip
    samples, systems = found["samples"], {"ours": Ours((ROOM / "ours").resolve(), workers)}
    makers: dict[str, Callable[[], Stock | Otter]] = {
        "stock": lambda: Stock((ROOM / "stock").resolve()),
        "otter": lambda: Otter((ROOM / "otter").resolve(), workers, otter_python(Path(".run/bench/otter").resolve()),
                               systems["ours"].notebook),
    }  # fmt: skip
    with tqdm(total=rounds * 3 + len(curve), unit="run", file=sys.stderr) as bar:
        for key, make in makers.items():
            bar.set_postfix_str(f"setting up {key}")
            try:
                systems[key] = make()
            except CannotRun as error:
                found["not_measured"][key] = str(error)
        for number in range(rounds):
            for key in samples:
                bar.set_postfix_str(f"round {number + 1}, {key}")
                if key in systems:
                    try:
                        samples[key].append(run(systems[key], submissions) | {"round": number})
                    except CannotRun as error:
                        if key == "ours":
                            raise
                        found["not_measured"][key] = f"round {number + 1}: {error}"
                bar.update()
                write(found)
        for count in curve:
            bar.set_postfix_str(f"{count} submissions")
            found["curve"].append(run(systems["ours"], count, memory=True))
            bar.update()
            write(found)
    return found


def write(found: dict[str, Any]) -> None:
    """The figures of what is measured so far, and all samples."""
    runs = found["samples"]
    found |= figures(runs["ours"], runs["stock"], runs["otter"], found["curve"], found["workers"])
    found["medians"] = {key: middle([r["seconds"] for r in many]) for key, many in runs.items()}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    unfinished = RESULT.with_suffix(".part")
    unfinished.write_text(json.dumps(found, indent=1))
    unfinished.replace(RESULT)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"grading.py: {message}\n")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def _counts(text: str) -> list[int]:
    return [] if text == "none" else [_count(part) for part in text.split(",")]


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write the file."""
    parser = _Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--submissions", type=_count, default=30)
    parser.add_argument("--rounds", type=_count, default=3)
    parser.add_argument("--workers", type=_count, default=2)
    parser.add_argument("--curve", type=_counts, default=[30, 100, 300, 1000], help="class sizes, or none")
    given = parser.parse_args(argv)
    try:
        print(table(measure(given.submissions, given.rounds, given.workers, given.curve)))
    except CannotRun as error:
        print(f"grading.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"grading.py: stopped; what was measured is in {RESULT}.", file=sys.stderr)
        return 130
    print(f"\nAll samples: {RESULT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
