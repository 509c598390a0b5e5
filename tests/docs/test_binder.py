"""binder/ follows repo2docker's rules, and installs what students need and nothing of the grader."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rattler import MatchSpec

import vitedu
from support.places import ROOT

BINDER = ROOT / "binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((BINDER / "environment.yml").read_text())
SPECS = {str(MatchSpec(text, strict=True).name.normalized): text for text in CONDA["dependencies"]}
# Names that conda-forge has for the same, and what repo2docker's own environment has: JupyterLab brings ipython.
RENAMED = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}
THERE = {"ipython"}


def test_the_folder_holds_what_repo2docker_reads():
    assert {path.name for path in BINDER.iterdir()} == {"environment.yml", "postBuild"}
    script = BINDER / "postBuild"
    assert os.access(script, os.X_OK), "repo2docker runs it as a program"
    assert script.read_text().startswith("#!/bin/bash\n") and b"\r" not in script.read_bytes()
    subprocess.run(["bash", "-n", script], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "-s", "binder/postBuild"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert not listed or listed.startswith("100755")


def test_conda_brings_what_the_student_package_asks_for():
    asked = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["libraries"]]
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        if name not in THERE:
            conda = RENAMED.get(name, name)
            assert SPECS[conda] == f"{conda}{requirement.specifier}"
    known = {RENAMED.get(canonicalize_name(r.name), canonicalize_name(r.name)) for r in asked}
    assert SPECS.keys() - known == {"python", "pip"}, "and nothing else: no grader"


def test_python_is_one_that_the_package_accepts():
    minor = SPECS["python"].removeprefix("python=")
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(f"{minor}.5")


def post_build(folder: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run postBuild in a repository where `python` only says how it was called."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run([BINDER / "postBuild"], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("wheels", "installed"),
    [
        ((), "./packaging/vitedu"),
        (("vitedu-0.1.0-py3-none-any.whl", "vitedu_autograder-0.1.0-py3-none-any.whl"),
         "dist/vitedu-0.1.0-py3-none-any.whl"),
    ],
)  # fmt: skip
def test_one_package_is_installed(tmp_path, wheels, installed):
    repo = tmp_path / "repo"
    (repo / "dist").mkdir(parents=True)
    for name in wheels:
        (repo / "dist" / name).touch()
    done = post_build(repo, tmp_path)
    assert done.stdout == f"-m pip install --no-cache-dir {installed}\n" and done.returncode == 0


def test_of_two_wheels_none_is_installed(tmp_path):
    (tmp_path / "dist").mkdir()
    for version in ("0.1.0", "0.2.0"):
        (tmp_path / "dist" / f"vitedu-{version}-py3-none-any.whl").touch()
    done = post_build(tmp_path, tmp_path)
    assert done.returncode == 1 and "keep the newest" in done.stderr and done.stdout == ""


@pytest.mark.slow
def test_pip_finds_all_that_postbuild_asks_for(tmp_path):
    """pip resolves it here, where everything is installed, and would install the student package alone."""
    copied = subprocess.run(["git", "ls-files", "vitedu", "packaging"], cwd=ROOT, capture_output=True, text=True).stdout
    for name in (*copied.split(), "pyproject.toml", "binder/postBuild"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    options = {"PIP_DRY_RUN": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_FORCE_REINSTALL": "0"}
    environment = os.environ | options | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [tmp_path / "binder" / "postBuild"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (would,) = [line for line in done.stdout.splitlines() if line.startswith("Would install")]
    assert would.split()[2:] == [f"vitedu-{vitedu.__version__}"]
