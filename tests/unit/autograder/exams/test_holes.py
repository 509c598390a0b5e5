"""Wrong code that once got full marks: it loses points on every variant."""

import pytest

from autograder.judging.judge import CaseAnswer, judge
from autograder.judging.reference_answers import Reference
from autograder.judging.verdict import GRADED, Verdict
from autograder.labs.exam import changed
from autograder.labs.lab import find_lab, solution_cells
from autograder.labs.variants import VARIANTS, Variant
from vitedu.probe.ask import ask

ATTENTION = """
def scaled_dot_product_attention(q, k, v, mask=None):
    scores = q @ k.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, -100.0)
    return (scores / k.shape[-1] ** 0.5).softmax(-1) @ v
"""
COUNTING = """
def count_parameters(model, trainable_only=False):
    return sum(p.numel() for m in model.modules() for n in ("weight", "bias")
               if isinstance(p := getattr(m, n, None), nn.Parameter) and (p.requires_grad or not trainable_only))
"""
LAB2, LAB3 = solution_cells("lab2_tokens"), solution_cells("lab3_vit")
HOLES = {
    "forbidden scores of -100, in wide heads": ("lab1", "scaled_dot_product_attention", ATTENTION),
    "a batch of one loses its axis": (
        "lab2", "patch_embeddings",
        changed(LAB2["patch_embeddings"], (".flatten(2).transpose(1, 2)", ".flatten(2).squeeze().transpose(-2, -1)")),
    ),
    "the first batch's size is kept": (
        "lab2", "TokenEmbedding",
        changed(LAB2["TokenEmbedding"], (
            "cls = self.cls_token.expand(len(images), -1, -1)",
            'self.batch = getattr(self, "batch", None) or len(images)\n'
            "        cls = self.cls_token.expand(self.batch, -1, -1)",
        )),
    ),
    "class token and positions are not counted": (
        "lab3", "parameter_counts", COUNTING + LAB3["parameter_counts"].partition("\n\n\n")[2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("hole", HOLES)
def test_it_loses_points_on_every_variant(hole):
    key, id, code = HOLES[hole]
    reference = Reference(find_lab(key))
    exercise, namespace = reference.lab.exercise(id), reference.namespace([(id, code)])
    for number in range(VARIANTS):
        variant = Variant(b"a secret for tests", id, number)
        asked = reference.cases(exercise, variant)
        answers = [CaseAnswer(ask(namespace[case.target], case, namespace=namespace)) for case in asked]
        verdict = judge(reference, exercise, variant, answers, Verdict(id, f"exam-{id}", GRADED, 0.0, 1.0))
        assert 0 < verdict.points < 1, number
