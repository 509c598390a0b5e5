"""pyproject.toml, constraints.txt and environment.yml agree, install, and name nobody's machine."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, is_normalized_name
from packaging.version import Version
from rattler import MatchSpec

from support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
PIP_PART = next(d["pip"] for d in CONDA["dependencies"] if isinstance(d, dict))


def constraint_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pins() -> dict[str, Version]:
    return {name: Version(version) for name, version in (line.split("==") for line in constraint_lines())}


def tracked_files() -> list[Path]:
    """Every file of the repository that git does not ignore (new ones included), relative to its root."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [Path(n) for n in names if n and (ROOT / n).is_file()]


def copy_of_repo(target: Path) -> Path:
    for path in tracked_files():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target / path)
    return target


def run(*command: str | Path, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, **kwargs)


# --- constraints.txt


def test_constraints_are_names_and_versions_in_order():
    lines = constraint_lines()
    for line in lines:
        name, _, version = line.partition("==")
        assert is_normalized_name(name), line
        assert re.fullmatch(r"\d+(\.\d+)*(\.?post\d+)?", version), f"{line}: expected name==1.2.3 and nothing more"
    names = [line.split("==")[0] for line in lines]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("requirement", [Requirement(r) for r in REQUIREMENTS], ids=str)
def test_every_requirement_is_met_by_its_pin(requirement):
    name = canonicalize_name(requirement.name)
    assert name in pins(), f"constraints.txt does not pin {name}"
    assert pins()[name] in requirement.specifier


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("vitedu", ["libraries"]),
        ("autograder", ["instructor", "cluster"]),
        ("tests", ["instructor", "libraries", "test"]),
    ],
)
def test_every_import_is_a_declared_requirement(folder, extras):
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][e] for e in extras)]
    declared = {canonicalize_name(Requirement(r).name) for requirements in lists for r in requirements}
    declared |= {"vitedu"} if folder == "vitedu" else {"vitedu", "autograder"}
    providers = importlib.metadata.packages_distributions()
    beside = {p.stem for f in ("tests", "benchmarks") for p in (ROOT / f).iterdir()} if folder == "tests" else set()
    for path in (p for p in tracked_files() if p.parts[0] == folder and p.suffix == ".py"):
        for module in imported_modules(path) - sys.stdlib_module_names - beside:
            packages = {canonicalize_name(d) for d in providers.get(module, [module])}
            assert packages & declared, f"{path} imports {module}: declare {packages} in pyproject.toml"


def test_a_students_installation_needs_no_extra():
    """Only Lab 5's zoo imports a library of the extra when it is imported; it says so after `need`."""
    files = (p.relative_to(ROOT).with_suffix("") for p in (ROOT / "vitedu").rglob("*.py") if p.stem != "zoo")
    names = sorted(".".join(p.parts).removesuffix(".__init__") for p in files)
    code = """
import importlib, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("timm", "transformers"):
            raise ImportError(f"no {name} here")
sys.meta_path.insert(0, Missing())
for name in sys.argv[1:]:
    importlib.import_module(name)
try:
    import vitedu.labs.lab5.zoo
except ImportError:
    print("done")
"""
    done = run(sys.executable, "-c", code, *names)
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr[-2000:]


def imported_modules(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports."""
    nodes = list(ast.walk(ast.parse((ROOT / path).read_text())))
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module and not n.level]
    return {name.split(".")[0] for name in names}


def installed_closure() -> dict[str, Version]:
    """Name and installed version of all that the project and its extras ask for, directly or through others."""
    found: dict[str, Version] = {}
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(r) for r in REQUIREMENTS]
    while todo:
        wanted = todo.pop()
        package = importlib.metadata.distribution(wanted.name)
        found[canonicalize_name(wanted.name)] = Version(package.version)
        for extra in {"", *wanted.extras} - {e for name, e in seen if name == wanted.name}:
            seen.add((wanted.name, extra))
            needs = [Requirement(r) for r in package.requires or []]
            todo += [r for r in needs if r.marker is None or r.marker.evaluate({"extra": extra})]
    return found


@pytest.mark.skipif(
    (sys.platform, sys.version_info[:2]) != ("linux", (3, 11)),
    reason="other systems and Pythons need a few packages more or less: held against Linux with Python 3.11",
)
def test_the_oldest_packages_that_compat_installs_are_the_lower_bounds():
    lines = (ROOT / "packaging" / "compat" / "oldest.txt").read_text().splitlines()
    oldest = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [Requirement(r) for r in (*project["dependencies"], *project["optional-dependencies"]["libraries"])]
    assert {r.name: Version(v) for r in asked for v in [str(r.specifier).removeprefix(">=")]} == {
        name: Version(version) for name, version in oldest.items()
    }


def test_constraints_are_what_is_installed_and_nothing_else():
    assert pins() == installed_closure()


@pytest.mark.parametrize(
    ("document", "count"), [("README.md", 1), ("docs/guides/student.md", 2), ("packaging/vitedu/README.md", 2)]
)
def test_install_commands_name_the_wheel_and_its_extras(document, count):
    named = re.findall(r"(vitedu-[\w.]+-py3-none-any\.whl)\[([\w,]+)\]", (ROOT / document).read_text())
    assert len(named) >= count
    version = importlib.metadata.version("vitedu")
    for file, extras in named:
        assert file == f"vitedu-{version}-py3-none-any.whl"
        assert set(extras.split(",")) <= {"lab", "libraries"}


# --- environment.yml


@pytest.mark.parametrize("spec", [d for d in CONDA["dependencies"] if isinstance(d, str)])
def test_conda_dependencies_are_strict_match_specs(spec):
    assert MatchSpec(spec, strict=True).name is not None


def test_strict_parsing_can_fail():
    with pytest.raises(Exception, match=r"(?i)invalid|version|parse|spec"):
        MatchSpec("python>=>3.11", strict=True)


def test_conda_python_is_one_that_pyproject_accepts():
    spec = next(d for d in CONDA["dependencies"] if isinstance(d, str) and d.startswith("python"))
    conda, ours = SpecifierSet(spec.removeprefix("python")), SpecifierSet(PROJECT["requires-python"])
    versions = [Version(f"3.{minor}.{patch}") for minor in range(6, 30) for patch in range(15)]
    accepted = [v for v in versions if v in conda]
    assert accepted and all(v in ours for v in accepted)
    assert min(accepted) == min(v for v in versions if v in ours), "both begin at the same Python"


def test_pip_part_of_environment_agrees_with_pyproject():
    """It asks for this project and for nothing that the project does not: one list of requirements, one of pins."""
    assert PIP_PART[0] == "-c constraints.txt"
    for entry in PIP_PART[1:]:
        project = re.fullmatch(r"-e \.\[([\w,-]+)\]", entry)
        if project:
            assert set(project[1].split(",")) <= set(PROJECT["optional-dependencies"])
        else:
            requirement = Requirement(entry)
            assert pins()[canonicalize_name(requirement.name)] in requirement.specifier
            assert canonicalize_name(requirement.name) in {canonicalize_name(Requirement(r).name) for r in REQUIREMENTS}
    assert any(entry.startswith("-e .") for entry in PIP_PART)
    assert any(d == "pip" or str(d).startswith("pip>") for d in CONDA["dependencies"]), "conda warns without pip itself"


@pytest.fixture
def clean_venv(tmp_path) -> Iterator[Path]:
    """A virtual environment with pip and nothing else; removed afterwards (torch takes 6 GB)."""
    free = shutil.disk_usage(tmp_path).free / 1e9
    assert free > 8, f"installing torch a second time needs 8 GB in {tmp_path} and {free:.1f} are free: set TMPDIR"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    yield tmp_path / "venv"
    shutil.rmtree(tmp_path / "venv")


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_pip_part_of_environment_installs_and_imports(clean_venv, tmp_path):
    """As conda does: the lines in a requirements file beside environment.yml, pip run in that folder."""
    repo = copy_of_repo(tmp_path / "repo")
    (repo / "condaenv.requirements.txt").write_text("\n".join(PIP_PART) + "\n")
    python = clean_venv / "bin" / "python"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    options = ("-q", "-U", "--no-compile", "-r", "condaenv.requirements.txt")
    done = run(python, "-m", "pip", "install", *options, cwd=repo, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    done = run(python, "-m", "pip", "check", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout
    found = "import nbgrader, torchvision, autograder, vitedu; print(autograder.__file__, vitedu.__file__, sep='\\n')"
    done = run(python, "-c", found, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_relative_to(repo) for line in done.stdout.split()), done.stdout
    done = run(clean_venv / "bin" / "autograder", "--help", cwd=tmp_path, env=env)
    assert done.returncode == 0 and "verify" in done.stdout, done.stderr
    listed = run(python, "-m", "pip", "list", "--format=freeze", cwd=tmp_path, env=env).stdout.split()
    versions = {canonicalize_name(n): Version(v) for n, _, v in (line.partition("==") for line in listed)}
    pinned = pins()
    assert {n: v for n, v in versions.items() if n in pinned} == {n: v for n, v in pinned.items() if n in versions}
    assert set(versions) - set(pinned) <= {"pip", "vitedu"}, "a package came in that constraints.txt does not pin"


def test_the_repository_itself_is_no_distribution(tmp_path):
    """A wheel of it would hold both packages under the name of the students' one."""
    repo = copy_of_repo(tmp_path / "repo")
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=repo)
    assert done.returncode != 0 and "make wheels" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.whl"))


# --- nothing of the machine where it was written

HOSTS = ["pypi|org", "pythonhosted|org", "npmjs|org", "conda.anaconda|org", "download.pytorch|org"]
FORBIDDEN = [
    *(re.escape(host.replace("|", ".")) for host in HOSTS),
    r"index-url[= ]+\S*//",
    r"(?<![\w.~$}*-])/(?:work|Users|home)/(?!student\b)[\w.-]+",  # tests may invent a /home/student
    r"/tmp/ipykernel_",
    r"/opt/(?:pypi|wheels)",
]


def test_no_file_names_a_registry_or_a_developers_path():
    pattern = re.compile("|".join(FORBIDDEN))
    found = []
    for path in tracked_files():
        data = (ROOT / path).read_bytes()
        if b"\0" in data or path.name == Path(__file__).name:  # pictures, tensors; the list above
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if hit := pattern.search(line):
                found.append(f"{path}:{number}: {hit[0]}")
    assert not found, "\n".join(found)
