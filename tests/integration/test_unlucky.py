"""Unlucky is not hostile: noisy, slow, oddly saved and oddly arranged notebooks with right code get full marks."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.authoring.sample_class import model_codes
from autograder.grading.grade_class import grade
from autograder.sandbox import bubblewrap
from support.course_fixture import ATTENTION, EINSUM, EXERCISES, HEAD, LAB, MAX, WEIGHTS, WRITTEN, Course
from support.inline import Here

MODEL = model_codes(LAB)
# The first test grades the class, once.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800), pytest.mark.xdist_group("unlucky")]

ONE, TWO = {WEIGHTS: MODEL[WEIGHTS]}, {WEIGHTS: MODEL[WEIGHTS], ATTENTION: MODEL[ATTENTION]}


@dataclass(frozen=True)
class Unlucky:
    """A submission and what it deserves.

    Attributes:
        codes: exercise -> code of its cell; the others stay TODO.
        mend: what else happened to the notebook; rewrite: to its bytes.
        less: exercises that do not earn full marks -> (points, status, what must be told of it).
        full: exercises with full marks besides those of `codes`.
        told: what the feedback must show.
    """

    name: str
    codes: dict[str, str] = field(default_factory=lambda: ONE)
    mend: Callable[[NotebookNode], None] = lambda nb: None
    rewrite: Callable[[bytes], bytes] = lambda data: data
    less: dict[str, tuple[float, str, str]] = field(default_factory=dict)
    full: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def inside(exercise: str, *lines: str, first: str = "") -> str:
    """The model answer with lines put in at the start of its body (and a cell's beginning before it)."""
    code = MODEL[exercise]
    head, quotes, body = code.rpartition('"""\n')
    indent = body[: len(body) - len(body.lstrip())]
    return first + head + quotes + "".join(f"{indent}{line}\n" for line in lines) + body


def at(nb: NotebookNode, grade_id: str) -> int:
    return next(i for i, cell in enumerate(nb.cells) if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def own_cells(*sources: str, after: str = "imports") -> Callable[[NotebookNode], None]:
    """Insert cells of the student's own behind a released one."""

    def mend(nb: NotebookNode) -> None:
        place = at(nb, after) + 1
        nb.cells[place:place] = [new_code_cell(source) for source in sources]

    return mend


def each(*mends: Callable[[NotebookNode], None]) -> Callable[[NotebookNode], None]:
    return lambda nb: [mend(nb) for mend in mends] and None


def plain(change: Callable[[dict], None]) -> Callable[[bytes], bytes]:
    """Change a notebook's JSON as a tool would that is not nbformat."""

    def rewrite(data: bytes) -> bytes:
        nb = json.loads(data)
        change(nb)
        return json.dumps(nb, ensure_ascii=False).encode()

    return rewrite


# --- noise ---

BAR = (
    "import warnings, logging\nfrom tqdm.auto import tqdm\nwarnings.warn('a warning of the cell')\n"
    "try:\n    from rich.progress import track\nexcept ImportError:\n    track = tqdm\n"
    "for _ in tqdm(range(3)): pass\nfor _ in track(range(3)): pass\n"
)
NOISY = {
    WEIGHTS: inside(WEIGHTS, "warnings.warn('again'); list(tqdm(range(3))); print('printed')", first=BAR),
    ATTENTION: inside(
        ATTENTION, "logging.getLogger('mine').debug('shape %s', q.shape)", "logging.error('no error')",
        first="logging.basicConfig(level=logging.DEBUG, force=True)\n",
    ),
    EINSUM: inside(EINSUM, "import sys; print('to stderr', file=sys.stderr); sys.stdout.write('no line end')"),
}  # fmt: skip
SLOW = TWO | {
    HEAD: MODEL[HEAD].replace("        return scaled", "        import time; time.sleep(1)\n        return scaled")
}
LARGE = {
    WEIGHTS: MODEL[WEIGHTS] + "\nprint('x' * 2**20)\nprint('many lines\\n' * 2**17)",
    ATTENTION: inside(ATTENTION, "print('y' * 100_000)"),
}
FIGURE = (
    "import matplotlib.pyplot as plt\nplt.figure(figsize=(30, 30), dpi=100)\n"
    "plt.imshow(torch.rand(1000, 1000)); plt.show()"
)

# --- what students add ---

HELPED = {
    WEIGHTS: "def attention_weights(q, k):\n    return helper(q, k).softmax(-1)",
    ATTENTION: "def scaled_dot_product_attention(q, k, v, mask=None):\n    return late(q, k, v, mask)",
}
STARS = "from torch.nn import *\nfrom torch.nn.functional import *\nfrom math import *"
HELPER = "def helper(q, k):\n    return q @ k.mT / sqrt(q.shape[-1])"
LATE = MODEL[ATTENTION].replace("def scaled_dot_product_attention", "def late")
MAGICS = {WEIGHTS: "%%time\n" + MODEL[WEIGHTS], ATTENTION: "%matplotlib inline\n" + MODEL[ATTENTION] + "\n!ls"}
MAGIC_CELLS = (
    "%matplotlib inline", "%load_ext autoreload\n%autoreload 2", "!ls -la", "files = !ls",
    "%timeit -n1 -r1 torch.rand(3)", "%%bash\necho hello", "%pip install --quiet --no-index no-such-package-here",
    "%config InlineBackend.figure_format = 'svg'", "torch.softmax?",
)  # fmt: skip


def in_own_cells(nb: NotebookNode) -> None:
    """Answers in inserted cells: below the stub, above the stub, and at the very end; the stubs stay."""
    nb.cells.insert(at(nb, WEIGHTS) + 1, new_code_cell(MODEL[WEIGHTS]))
    nb.cells.insert(at(nb, ATTENTION), new_code_cell(MODEL[ATTENTION]))
    nb.cells.append(new_code_cell(MODEL[EINSUM]))


SETTINGS = (
    "torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\ntorch.manual_seed(7)\n"
    "import numpy as np, random\nnp.random.seed(7); random.seed(7)\ntorch.set_num_threads(2)\n"
    "torch.set_printoptions(precision=2)\ntorch.use_deterministic_algorithms(True)"
)
SURROUNDINGS = (
    "import warnings\nwarnings.simplefilter('error')",
    "import os, sys, pathlib\npathlib.Path('work').mkdir(exist_ok=True)\nos.chdir('work')\nsys.path.insert(0, '..')",
    "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\nplt.figure(); plt.plot([1, 2])",
    "device = 'cuda' if torch.cuda.is_available() else 'cpu'\nx = torch.zeros(3, device=device)",
)
FAILING = (
    "name = input('Your name? ')", "from jaxtyping import Float  # not installed", "open('C:\\\\data\\\\mine.csv')",
    "path = 'C:\\Users\\me'  # no such escape", "torch.zeros(3, device='cuda:7')", "x = ", "%no_such_magic",
    "import asyncio\nawait asyncio.sleep(0.01)\nasync def coming():\n    return 1\nawaited = await coming()",
    "assert awaited == 1",
)  # fmt: skip
NAMES = (
    "class Tensor: pass\nclass nn: pass\nclass examine: pass\nF = 'a figure'\nprobe = vitedu = list = dict = None",
    "größe, π, 变量 = 3, 3.14, '🙂 emoji \\N{SNOWMAN}'\nprint(变量, '\\u2603')",
)
ANNOTATED = (
    "from __future__ import annotations\n"
    "def attention_weights(q: Float[Tensor, '*B N K'], k: Float[Tensor, '*B M K']) -> Float[Tensor, '*B N M']:\n"
    "\treturn (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)   \n\t\n   "
)
FILES = {
    WEIGHTS: "from mine import attention_weights",
    ATTENTION: "%%writefile attention.py\n" + MODEL[ATTENTION],
}

# --- how notebooks are saved ---


def older(nb: dict) -> None:
    """JupyterLab 2: format 4.4, no cell ids, sources as single texts."""
    nb["nbformat_minor"] = 4
    for cell in nb["cells"]:
        cell.pop("id", None)
        cell["source"] = "".join(cell["source"])


def newer(nb: dict) -> None:
    """A format of tomorrow: another minor, fields that nobody knows yet."""
    nb.update(nbformat_minor=9, signature={"by": "somebody"})
    for cell in nb["cells"]:
        cell["state"] = {"collapsed": True}
        cell["metadata"]["execution"] = {"iopub.status.busy": "2030-01-01T00:00:00Z"}


def colab(nb: dict) -> None:
    """Google Colab: format 4.0, ids in the metadata, its own notebook metadata, tables as HTML with scripts."""
    nb["nbformat_minor"] = 0
    nb["metadata"] = {
        "colab": {"provenance": [], "gpuType": "T4", "toc_visible": True}, "accelerator": "GPU",
        "kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"a1": {"model_name": "HBoxModel"}}},
    }  # fmt: skip
    table = '<div id="df-1" class="colab-df-container"><script>alert(1)</script><table><td>1</td></table></div>'
    for i, cell in enumerate(nb["cells"]):
        cell.pop("id", None)
        cell["metadata"] |= {"id": f"Xy{i}", "colab": {"base_uri": "https://localhost:8080/"}, "outputId": f"o{i}"}
        if cell["cell_type"] == "code":
            cell["outputs"] = [{"output_type": "execute_result", "execution_count": 7, "metadata": {},
                                "data": {"text/html": [table], "application/vnd.google.colaboratory.intrinsic+json":
                                         {"type": "dataframe"}}}]  # fmt: skip
            cell["execution_count"] = 7


def vscode(nb: dict) -> None:
    """VS Code: format 4.2, no ids, its own metadata in each cell."""
    nb["nbformat_minor"] = 2
    nb["metadata"] |= {"orig_nbformat": 4, "vscode": {"interpreter": {"hash": "31f2aee4"}}}
    for cell in nb["cells"]:
        cell.pop("id", None)
        cell["metadata"] |= {"vscode": {"languageId": "python"}, "notebookRunGroups": {"groupValue": "1"}}
        cell["source"] = "".join(cell["source"]).splitlines(keepends=True)


def classic(data: bytes) -> bytes:
    """The notebook format 3 of IPython: worksheets, `input`, headings as cells of their own."""
    return nbformat.writes(nbformat.convert(nbformat.reads(data.decode(), 4), 3), version=3).encode()


def windows(nb: dict) -> None:
    """Line ends of Windows, in some cells of an old Mac."""
    for i, cell in enumerate(nb["cells"]):
        cell["source"] = "".join(cell["source"]).replace("\n", "\r" if i % 5 == 0 else "\r\n")


def cleared(nb: dict) -> None:
    """A tool that keeps nothing but the text."""
    nb["metadata"] = {}
    for cell in nb["cells"]:
        cell["metadata"] = {}
        cell.pop("id", None)


def ids_lost(nb: dict) -> None:
    """Some of nbgrader's metadata gone, and one cell id for all."""
    for i, cell in enumerate(nb["cells"]):
        cell["id"] = "same"
        if i % 2:
            cell["metadata"].pop("nbgrader")


def kernel(**spec: str) -> Callable[[bytes], bytes]:
    return plain(lambda nb: nb.update(metadata={"kernelspec": spec} if spec else {}))


WROTE = dict.fromkeys(WRITTEN, "Because the variance of a sum of K products is K.")
PATHS = own_cells("path = r'C:\\Users\\me\\vit'\nfolder = 'D:\\\\data'")
WRITE = "%%writefile mine.py\nimport math\n" + MODEL[WEIGHTS].replace(": Tensor", "").replace(" -> Tensor", "")
CLASS = [
    Unlucky("noisy", NOISY, told=("a warning of the cell",)),
    Unlucky("slow", SLOW),
    Unlucky("large", LARGE, own_cells(FIGURE), told=("was cut here",)),
    Unlucky(
        "helpers", HELPED,
        each(own_cells(STARS), own_cells(HELPER, after=WEIGHTS), own_cells(LATE, after="playground")),
        less={ATTENTION: (0, "error", "'late' is not defined")},  # nor is it when the notebook is run from the top
        told=("late is defined below the check of this exercise",),
    ),
    Unlucky("magics", MAGICS, own_cells(*MAGIC_CELLS)),
    Unlucky(
        "own-cells", {}, in_own_cells, full=(WEIGHTS, ATTENTION, EINSUM),
        told=(f"The answer to {ATTENTION} stood above", f"{EINSUM} is answered below its check"),
    ),
    Unlucky("settings", TWO | {HEAD: MODEL[HEAD]}, own_cells(SETTINGS)),
    Unlucky("surroundings", TWO, own_cells(*SURROUNDINGS)),
    Unlucky("failing-cells", TWO, own_cells(*FAILING[:-1], "assert awaited == 1\nprint('it was awaited')"),
            told=("it was awaited",)),
    Unlucky("names", TWO, own_cells(*NAMES, after=ATTENTION)),
    Unlucky("annotated", {WEIGHTS: ANNOTATED}),
    Unlucky("files", FILES, own_cells(WRITE), less={ATTENTION: (0, "not answered", "")}),  # it only wrote a file
    Unlucky("older", rewrite=plain(older)),
    Unlucky("newer", rewrite=plain(newer)),
    Unlucky("colab", rewrite=plain(colab)),
    Unlucky("vscode", rewrite=plain(vscode)),
    Unlucky("classic", ONE | WROTE, rewrite=classic),
    Unlucky("windows", TWO | WROTE, PATHS, rewrite=lambda data: b"\xef\xbb\xbf" + plain(windows)(data)),
    Unlucky("cleared", TWO | WROTE, own_cells("mine = 1"), plain(cleared), told=("had lost their ids",)),
    Unlucky("ids-lost", TWO | WROTE, rewrite=plain(ids_lost), told=("had lost their ids",)),
    Unlucky("conda", rewrite=kernel(name="conda-env-vit-py", display_name="Python [conda env:vit]", language="python")),
    Unlucky("no-kernel", rewrite=kernel()),
]  # fmt: skip


@pytest.fixture(scope="module")
def graded(released_course, tmp_path_factory) -> Course:
    course = released_course.copy(tmp_path_factory.mktemp("unlucky") / "course")
    for unlucky in CLASS:
        codes = copy.deepcopy(unlucky.codes)
        path = course.hand_in(unlucky.name, codes, unlucky.mend)
        path.write_bytes(unlucky.rewrite(path.read_bytes()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", open(os.devnull, "w"))
        assert grade(course.root, LAB.assignment, workers=Here(), sandbox=not bubblewrap.unavailable()) == 0
    return course


@pytest.mark.parametrize("unlucky", CLASS, ids=str)
def test_it_gets_what_it_deserves(graded, unlucky):
    points, verdicts = graded.points(unlucky.name), graded.verdicts(unlucky.name)
    for exercise in ({*unlucky.codes, *unlucky.full} & set(EXERCISES)) - unlucky.less.keys():
        assert points[exercise] == MAX[exercise], verdicts[exercise]
        assert verdicts[exercise]["status"] == "graded" and not verdicts[exercise]["diagnoses"]
    for exercise, (least, status, told) in unlucky.less.items():
        assert (points[exercise], verdicts[exercise]["status"]) == (least, status)
        assert told in json.dumps(verdicts[exercise])
    feedback = graded.feedback(unlucky.name)
    for words in unlucky.told:
        assert words in feedback
    answered = {entry["grade_id"]: entry["answered"] for entry in graded.record(unlucky.name)["written"]}
    assert answered == {id: id in unlucky.codes for id in WRITTEN}
