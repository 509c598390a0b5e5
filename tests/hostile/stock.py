"""Lab 1 as an instructor without our autograder would grade it: stock nbgrader, hidden tests in the graded cells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat

from autograder.labs.lab import SOLUTIONS, find_lab
from hostile.attack import STOCK_TESTS_MARK

LAB = find_lab("lab1_attention")

# What an instructor would write: the student's object on fixed inputs, held against torch's own.
TESTS = {
    "attention_weights": """
torch.manual_seed(1)
q, k = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
expected = (q @ k.transpose(-2, -1) / math.sqrt(4)).softmax(dim=-1)
assert attention_weights(q, k).shape == (2, 3, 5)
assert torch.allclose(attention_weights(q, k), expected, atol=1e-5)
""",
    "scaled_dot_product_attention": """
torch.manual_seed(2)
q, k, v = torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6)
mask = torch.ones(3, 5, dtype=torch.bool).tril()
for m in (None, mask):
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=m)
    assert torch.allclose(scaled_dot_product_attention(q, k, v, m), expected, atol=1e-5)
""",
    "AttentionHead": """
torch.manual_seed(3)
head, x = AttentionHead(6, 4), torch.randn(2, 5, 6)
expected = F.scaled_dot_product_attention(head.to_q(x), head.to_k(x), head.to_v(x))
assert torch.allclose(head(x), expected, atol=1e-5)
""",
    "MultiHeadAttention": """
torch.manual_seed(4)
mine, theirs, x = MultiHeadAttention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True), torch.randn(2, 5, 12)
with torch.no_grad():
    theirs.in_proj_weight.copy_(torch.cat([mine.to_q.weight, mine.to_k.weight, mine.to_v.weight]))
    theirs.in_proj_bias.copy_(torch.cat([mine.to_q.bias, mine.to_k.bias, mine.to_v.bias]))
    theirs.out_proj.load_state_dict(mine.to_out.state_dict())
assert torch.allclose(mine(x), theirs(x, x, x)[0], atol=1e-5)
""",
    "multi_head_attention_einsum": """
torch.manual_seed(5)
x, w_out = torch.randn(2, 5, 6), torch.randn(3, 4, 6)
w_q, w_k, w_v = (torch.randn(3, 6, 4) for _ in range(3))
heads = [F.scaled_dot_product_attention(x @ w_q[h], x @ w_k[h], x @ w_v[h]) @ w_out[h] for h in range(3)]
assert torch.allclose(multi_head_attention_einsum(x, w_q, w_k, w_v, w_out), sum(heads), atol=1e-4)
""",
}


def release(root: Path) -> None:
    """Write the course's source notebook and release it with `nbgrader generate_assignment`."""
    nb = nbformat.read(SOLUTIONS / LAB.assignment / f"{LAB.notebook}.ipynb", as_version=4)
    nb.cells = [cell for cell in nb.cells if cell.metadata.vitedu.role != "display"]  # pictures only take time
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if cell.metadata.vitedu.role == "playground":
            cell.source = "# when_ready would draw a picture here."
        if cell.metadata.vitedu.role == "exam":
            tests = TESTS[cell.metadata.vitedu.exercise].strip()
            cell.source = (
                "# Your answer is compared with torch's own here.\n"
                f"### BEGIN HIDDEN TESTS\n# {STOCK_TESTS_MARK}\n{tests}\n### END HIDDEN TESTS"
            )
    source = root / "source" / LAB.assignment / f"{LAB.notebook}.ipynb"
    source.parent.mkdir(parents=True)
    nbformat.write(nb, source)
    command = [sys.executable, "-P", "-m", "nbgrader", "generate_assignment", LAB.assignment]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def command(assignment: str) -> list[str]:
    """What an instructor types: grade the class, then write its feedback; the exit status of the first."""
    nbgrader = f"'{sys.executable}' -P -m nbgrader"
    return ["sh", "-c", f"{nbgrader} autograde {assignment}; status=$?; {nbgrader} generate_feedback {assignment}; "
                        "exit $status"]  # fmt: skip
