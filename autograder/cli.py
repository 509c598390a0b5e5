"""`autograder`: what nbgrader lacks. Everything else is nbgrader's own commands, with our configuration."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn, cast

from autograder.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Run one command; a mistake of the user's is one sentence and exit status 2."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except UserError as error:
        print(f"autograder: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "autograder: stopped; what was finished is kept, and the same command goes on from there.", file=sys.stderr
        )
        return 130
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(
            f"autograder: the system said: {error.strerror or error}{where}; mend that and run the command again.",
            file=sys.stderr,
        )
        return 2


def program() -> NoReturn:
    """The command `autograder`: as `main`, but it ends at once. Taking everything down in order takes half a second."""
    status = main()  # an exception, argparse's too, takes Python's own way out
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a closed pipe, a full disk
            status = status or 120  # as Python itself says it
    os._exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="autograder", description=__doc__.split(":", 1)[1].strip())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "verify", help="prove the exams: wrong ideas caught and named, right answers accepted"
    )
    command.add_argument("labs", nargs="*", metavar="LAB", help="such as lab1, or lab2/patchify; none: all")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON, too")
    command.add_argument("--workers", type=_count, default=2, help="exams proven at a time (default 2)")
    command.add_argument("--secrets", type=int, choices=(1, 2, 3), default=3, help="how many (default 3)")
    several = range(1, 17)
    command.add_argument("--variants", type=int, choices=several, default=16, metavar="N", help="of each (default 16)")
    paired = "variants for pairs of an earlier exercise's stand-in and this one (default: all)"
    command.add_argument("--pairs", type=_count, default=48, metavar="N", help=paired)
    mutants = "instead: change right code by machine, a little at a time, and see that every change loses points"
    command.add_argument("--mutants", action="store_true", help=mutants)
    command.add_argument("--limit", type=_count, metavar="N", help="of the mutants only so many, always the same")
    command.add_argument("--all-alternatives", action="store_true", help="not only twenty mutants of them an exercise")
    command.set_defaults(run=_verify)

    command = commands.add_parser("new-exercise", help="write the skeleton of an exercise: cells, exam and test")
    command.add_argument("lab", metavar="LAB", help="such as lab1")
    command.add_argument("name", metavar="NAME", help="such as attention_entropy, or AttentionHead for a module")
    command.add_argument("--before", default="", metavar="CELL", help="the grade_id of the cell that follows it")
    command.set_defaults(run=_new_exercise)

    command = commands.add_parser("build", help="rebuild what is older than the sources: notebooks, data of the checks")
    command.add_argument("labs", nargs="*", metavar="LAB", help="such as lab1; none: all")
    command.add_argument("--anew", action="store_true", help="also what is up to date")
    command.set_defaults(run=_build)

    command = commands.add_parser("demo", help="the whole cycle on a sample class, in .run/demo")
    command.add_argument("labs", nargs="*", metavar="LAB", help="such as lab1_attention; none: labs 1 and 2")
    command.add_argument("--all", action="store_true", help="every lab that there is")
    command.add_argument("--folder", type=Path, default=Path(".run/demo"), help="where (default .run/demo)")
    command.add_argument("--no-sandbox", action="store_true", help="run submissions as yourself; the report says so")
    command.set_defaults(run=_demo)

    command = commands.add_parser("new-course", help="make a course folder: settings, manual, .gitignore, CI")
    command.add_argument("folder", metavar="FOLDER", type=Path, help="a new folder, or an empty one")
    command.set_defaults(run=_new_course)

    command = commands.add_parser("handout", help="the zip for students: released notebook, how to start, their wheel")
    command.add_argument("lab", metavar="LAB", help="such as lab1_attention; it must be released")
    command.add_argument("--course", type=Path, default=Path("."), help="the course folder (default: this folder)")
    command.add_argument("--to", type=Path, metavar="FILE.zip", help="default: handout-LAB.zip in the course folder")
    command.add_argument("--wheel", type=Path, metavar="FILE", help="the students' wheel (default: the one in dist/)")
    command.set_defaults(run=_handout)

    command = commands.add_parser("grade", help="grade what was handed in, write feedback and the report")
    command.add_argument("lab", metavar="LAB")
    command.add_argument("--course", type=Path, default=Path("."), help="the course folder (default: this folder)")
    command.add_argument("--student", action="append", metavar="ID", help="only this student; may be given again")
    command.add_argument("--regrade", action="store_true", help="grade again what is graded already")
    command.add_argument("--workers", type=_count, metavar="N", help="submissions at a time (default: one a processor)")
    command.add_argument("--scheduler", default="", metavar="ADDR", help="the workers of this Dask scheduler do it")
    command.add_argument("--profile", action="store_true", help="print where the time went")
    command.add_argument("--no-sandbox", action="store_true", help="run submissions as yourself; the report says so")
    command.set_defaults(run=_grade)

    command = commands.add_parser("sandbox", help="does the sandbox work here, and if not, what would make it work?")
    command.add_argument(
        "--kernelspec", action="store_true", help="install the kernel vitedu-sandbox for nbclient, nbgrader, nbval, ..."
    )
    command.set_defaults(run=_sandbox)

    command = commands.add_parser("train", help="train a model of the reports, or the course's own, by name")
    command.add_argument("name", metavar="NAME", help="such as pairs; a wrong name lists all")
    command.add_argument("--epochs", type=_count, metavar="N", help="instead of the configuration's")
    command.add_argument("--data", metavar="DATA", help="such as fashion-mnist or folder:PHOTOS, instead of its own")
    command.add_argument("--folder", type=Path, default=Path(".run/train"), help="for results (default .run/train)")
    command.add_argument("--device", default="auto", help="such as cpu or cuda (default: the fastest that is there)")
    command.set_defaults(run=_train)

    command = commands.add_parser("report", help="write the report of a lab, or of the course, and print its table")
    command.add_argument("lab", nargs="?", metavar="LAB", help="such as lab1_attention; none: all that is graded")
    command.add_argument("--course", type=Path, default=Path("."), help="the course folder (default: this folder)")
    command.set_defaults(run=_report)
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


# The imports stand in the commands: torch and nbgrader take seconds, `--help` should not.


def _verify(args: argparse.Namespace) -> int:
    from autograder.authoring.prove_exams import alternatives, exams, table, verify, write_json

    chosen = exams(args.labs)
    if args.json:  # a file that cannot be written shows now, not after minutes
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.open("a").close()
    if args.mutants:
        return _verify_mutants(args)
    proofs = verify(chosen, args.workers, args.secrets, args.variants, args.pairs)
    print(alternatives(proofs))
    print(table(proofs))
    if args.json:
        write_json(proofs, args.json)
    problems = sum(len(proof.problems) for proof in proofs)
    print(f"{problems} problems." if problems else "Every exam holds.")
    return 1 if problems else 0


def _verify_mutants(args: argparse.Namespace) -> int:
    from autograder.authoring.mutation import report
    from autograder.authoring.mutation.hunt import hunt, select
    from autograder.authoring.prove_exams import exams

    chosen, known = exams(args.labs), report.equivalents()
    outcomes = report.explained(hunt(select(chosen, args.all_alternatives, args.limit), args.workers), known)
    print(report.table(outcomes))
    if args.json:
        report.write_json(outcomes, args.json)
    for sentence in report.stale(known, select(chosen, all_alternatives=True), outcomes):
        print(sentence)
    left = sum(outcome.state == "survived" for outcome in outcomes)
    if left:
        print(report.survivors(outcomes))
    print(f"{left} mutants survive." if left else "Every mutant is killed or explained.")
    return 1 if left else 0


def _new_exercise(args: argparse.Namespace) -> int:
    from autograder.authoring.new_exercise import new_exercise
    from autograder.labs.lab import ROOT, find_lab

    lab = find_lab(args.lab)
    for path in new_exercise(lab, args.name, args.before):
        print(f"wrote {path.relative_to(ROOT)}")
    print(
        f"autograder verify {lab.key}/{args.name} says what to fill in; autograder build {lab.key} builds the notebook."
    )
    return 0


def _build(args: argparse.Namespace) -> int:
    from autograder.authoring.build import build_all

    build_all(args.labs, args.anew)
    return 0


def _demo(args: argparse.Namespace) -> int:
    _one_thread()
    from autograder.authoring.demo import demo
    from autograder.labs.lab import all_labs, find_lab

    labs = all_labs() if args.all else [find_lab(name) for name in args.labs or ("lab1", "lab2")]
    return demo(args.folder.resolve(), labs, sandbox=not args.no_sandbox)


def _new_course(args: argparse.Namespace) -> int:
    from autograder.teaching.new_course import new_course

    for path in new_course(args.folder):
        print(f"wrote {path}")
    print(f"Next: cd {shlex.quote(str(args.folder))}, and do what its README.md says.")
    return 0


def _handout(args: argparse.Namespace) -> int:
    from autograder.labs.lab import find_lab
    from autograder.storage.course_folder import Course
    from autograder.teaching.handout import handout

    made = handout(Course(args.course.resolve()), find_lab(args.lab), args.to, args.wheel)
    print(f"Handout: {made.path}")
    if made.without_wheel:
        print(made.without_wheel)
    return 0


def _one_thread() -> None:
    """One thread for each of many processes; those that numpy begins would also stand in the way of forks."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))


def _start_quickly() -> None:
    """Leave out what takes long to load and is of no use here: a grammar of web addresses, and a way to GPUs."""
    for name in ("rfc3987_syntax", "cuda"):  # jsonschema and torch do without them
        sys.modules.setdefault(name, cast(ModuleType, None))  # so Python is told that there is none


def _grade(args: argparse.Namespace) -> int:
    from autograder import interrupts
    from autograder.execution import preload
    from autograder.sandbox.scratch import sweep

    _one_thread()
    _start_quickly()
    sweep()  # first of all: a command that is killed while it still imports would else leave more each time
    # It imports what kernels need while this process imports what grading needs.
    with interrupts.heard(), preload.early(args.lab, not (args.no_sandbox or args.scheduler)) as template:
        from autograder.grading.grade_class import grade

        gc.freeze()  # what is imported stays: neither this process nor its forks look through it again
        try:
            return grade(
                args.course.resolve(), args.lab, args.student, args.regrade, not args.no_sandbox, args.workers,
                args.scheduler, args.profile, template,
            )  # fmt: skip
        finally:
            gc.freeze()  # looking through everything at the end takes a second


def _sandbox(args: argparse.Namespace) -> int:
    from autograder.execution.preload import PACKAGES
    from autograder.sandbox.bubblewrap import unavailable
    from autograder.sandbox.provisioner import install

    if reason := unavailable(PACKAGES):
        raise UserError(reason)
    print("The sandbox works here.")
    if args.kernelspec:
        print(f"Kernel vitedu-sandbox: {install(Path(sys.prefix), PACKAGES)}")
    return 0


def _train(args: argparse.Namespace) -> int:
    from autograder.reproduction.train import train

    return train(args.name, args.epochs, args.data, args.folder.resolve(), args.device)


def _report(args: argparse.Namespace) -> int:
    from autograder.labs.lab import find_lab
    from autograder.nbgrader_integration.instructor_config import read_config
    from autograder.reporting.class_results import read_course
    from autograder.reporting.course_report import text_overview, write_overview
    from autograder.reporting.lab_report import write_report
    from autograder.reporting.terminal_table import text_table
    from autograder.storage.course_folder import Course

    root, lab = args.course.resolve(), find_lab(args.lab) if args.lab else None
    course, db_url = Course(root), read_config(root).CourseDirectory.get("db_url")
    results = read_course(root, [lab.assignment] if lab else [], db_url)
    if lab:
        path = course.report(lab)
        write_report(results, lab.assignment, path)
        print(text_table(results, lab.assignment))
    else:
        path = course.overview
        write_overview(results, path)
        print(text_overview(results))
    print(f"Report: {path}")
    return 0


if __name__ == "__main__":
    program()
