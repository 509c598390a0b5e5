"""make sets itself up or says what is missing; .ci/run and the workflow end in `make test`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.places import ROOT


def run(*command: str | Path, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, **kwargs)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/guides/author.md"])
def test_make_targets_that_the_documents_name_exist(document):
    text = (ROOT / document).read_text()
    named = set(re.findall(r"(?:`|^\s*(?:\$ )?)make (?:[A-Z]+=\S+ )*([a-z-]+)", text, flags=re.MULTILINE))
    assert named, f"{document} names no make target"
    assert named <= make_targets()


def test_make_help_lists_every_target():
    shown = run("make", "-s", cwd=ROOT).stdout
    assert make_targets() == {line.split()[0] for line in shown.splitlines() if line.startswith("  ")}


@pytest.fixture
def shell(tmp_path) -> Path:
    """The files that setting up reads, in a folder whose name holds a blank."""
    folder = tmp_path / "a course"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def fake_python(folder: Path, script: str) -> Path:
    path = folder / "fakepython"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def make_demo(folder: Path, python: Path | str, **env: str) -> str:
    """What `make demo` says when it must fail at setting up."""
    done = run("make", "-s", f"PYTHON={python}", "demo", cwd=folder, env={**os.environ, **env})
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_make_says_when_there_is_no_python(shell):
    assert "needs Python 3.11 or newer and found no 'python-of-nowhere'" in make_demo(shell, "python-of-nowhere")


def test_make_says_when_python_is_too_old(shell):
    old = f'exec "{sys.executable}" -c "import sys; sys.version_info = (3, 9, 2); exec(sys.argv[1])" "$2"'
    assert "needs Python 3.11 or newer and" in (said := make_demo(shell, fake_python(shell.parent, old)))
    assert "is 3.9.2" in said


def test_make_says_when_python_has_no_venv(shell):
    bare = f'case "$*" in *ensurepip*) exit 1;; esac; exec "{sys.executable}" "$@"'
    assert "apt-get install python3-venv" in make_demo(shell, fake_python(shell.parent, bare))


def test_make_says_when_pip_reaches_nothing(shell):
    said = make_demo(shell, sys.executable, PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
    assert "pip cannot reach a package index" in said
    assert not (shell / ".venv" / "ready").exists(), "the next make must try again"


def test_make_nbval_runs_what_the_tests_run(tmp_path):
    """The same options, on copies of the solutions as they are, and of released notebooks without promised numbers."""
    for kind in ("solutions", "notebooks"):
        for lab in ("lab1_attention", "lab2_tokens"):
            (tmp_path / kind / lab).mkdir(parents=True)
            (tmp_path / kind / lab / "a.ipynb").write_text("# NBVAL_CHECK_OUTPUT")
    called = tmp_path / ".venv" / "bin" / "python"
    called.parent.mkdir(parents=True)
    called.write_text('#!/bin/sh\necho "$@" >called\n')
    called.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "ready").touch()  # newer than what it is made from

    def nbval(*words: str) -> set[str]:
        done = run("make", "-s", "nbval", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return {str(path.parent.relative_to(tmp_path / ".run/nbval")) for path in tmp_path.glob(".run/nbval/*/*/*")}

    tests = (ROOT / "tests/integration/test_notebooks.py").read_text()
    given = re.findall(r'"(--nbval-[^"]+)"', tests)
    assert nbval("LABS=lab2") == {"solutions/lab2_tokens", "notebooks/lab2_tokens"}
    assert len(given) == 3 and set(given) <= set((tmp_path / "called").read_text().split())
    assert len(nbval()) == 4 and nbval("LABS=lab1_attention lab2") == nbval()
    copies = {
        kind: (tmp_path / f".run/nbval/{kind}/lab1_attention/a.ipynb").read_text()
        for kind in ("solutions", "notebooks")
    }
    assert copies == {"solutions": "# NBVAL_CHECK_OUTPUT", "notebooks": "# NBVAL_IGNORE_OUTPUT"}
    done = run("make", "-s", "nbval", "LABS=lab9", cwd=tmp_path)
    assert done.returncode != 0 and "There is no lab 'lab9'; name some of: lab1_attention lab2_tokens" in done.stderr


# --- CI


@pytest.fixture
def machine(tmp_path) -> Path:
    """A folder to stand for PATH: what .ci/run calls, each program only noting down how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "dirname", "env"):
        (folder / name).symlink_to(shutil.which(name))
    for name in ("apt-get", "make", "sudo"):
        last = 'exec "$@"' if name == "sudo" else ""
        (folder / name).write_text(f'#!{folder}/bash\necho "{name} $* CI=$CI"\n{last}\n')
        (folder / name).chmod(0o755)
    return folder


def ci_run(machine: Path, user: int, **env: str) -> subprocess.CompletedProcess:
    (machine / "id").write_text(f"#!{machine}/bash\necho {user}\n")
    (machine / "id").chmod(0o755)
    return run(machine / "bash", ROOT / ".ci" / "run", env={"PATH": str(machine), **env})


@pytest.mark.parametrize("user", [0, 1000])
def test_ci_run_installs_packages_then_tests_then_proves(machine, user):
    done = ci_run(machine, user)
    assert done.returncode == 0, done.stderr
    *before, tests, hostile, proofs = done.stdout.splitlines()
    assert (tests, hostile, proofs) == ("make test CI=true", "make test-hostile CI=true", "make proofs CI=true")
    installed = [line.split() for line in before if line.startswith("apt-get install")]
    assert len(installed) == 1 and {"chromium", "bubblewrap", "python3-venv"} <= set(installed[0])
    assert any(line.startswith("sudo") for line in before) == (user != 0)


def test_ci_run_takes_a_browser_that_is_there(machine):
    (machine / "google-chrome").symlink_to(machine / "make")
    assert " chromium" not in ci_run(machine, 0).stdout


@pytest.mark.parametrize("gone", ["sudo", "apt-get"])
def test_ci_run_says_what_it_lacks(machine, gone):
    (machine / gone).unlink()
    done = ci_run(machine, 1000)
    assert done.returncode != 0 and gone in done.stderr and len(done.stderr.splitlines()) == 1
    assert "make test" not in done.stdout


def test_workflow_does_what_ci_run_does():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert {"push", "pull_request"} <= set(workflow[True])  # YAML 1.1 reads the key `on` as true
    steps = {name: job["steps"] for name, job in workflow["jobs"].items()}
    for name in ("test", "debian"):
        assert steps[name][-1]["run"] == "bash .ci/run"
    assert workflow["jobs"]["debian"]["container"] == "debian:12"
    conda = next(s for s in steps["conda"] if "setup-micromamba" in s.get("uses", ""))
    assert (ROOT / conda["with"]["environment-file"]).samefile(ROOT / "environment.yml")


def test_workflow_tries_the_wheel_where_students_are():
    """Windows and macOS run the checks with the wheel; only a tag publishes, and never what holds the answers."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "wheels.yml").read_text())["jobs"]
    systems = jobs["student"]["strategy"]["matrix"]["system"]
    assert {name.split("-")[0] for name in systems} == {"windows", "macos", "ubuntu"}
    ran = {name: "\n".join(step.get("run", "") for step in job["steps"]) for name, job in jobs.items()}
    assert "make wheels" in ran["build"] and "make compat" in ran["compat"]
    program = re.search(r"(packaging/\S+\.py) checks", ran["student"])[1]
    assert (ROOT / program).is_file() and "autograder" not in (ROOT / program).read_text()
    assert "refs/tags/" in jobs["publish"]["if"] and set(jobs["publish"]["needs"]) == {"build", "student", "compat"}
    assert "rm dist/vitedu_autograder-*.whl" in ran["publish"]
