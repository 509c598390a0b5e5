"""`vitedu.case`: what goes into a public case, and what comes out of it, are what the check sees."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from torch import nn

import vitedu
from autograder.judging.reference_answers import Reference
from autograder.labs.lab import find_lab
from vitedu.checks import fingerprint_file
from vitedu.checks.public_case import PublicCase
from vitedu.probe.comparison import close


@pytest.fixture(scope="module")
def solutions():
    """The model answers of a lab by name."""
    known = {}

    def of(lab: str) -> dict:
        if lab not in known:
            known[lab] = Reference(find_lab(lab)).namespace([])
        return known[lab]

    return of


def every_case(lab: str):
    for exercise, fingerprint in fingerprint_file.load(lab).items():
        for i, expected in enumerate(fingerprint.expected):
            asked = fingerprint.cases[i]
            yield PublicCase(f"{lab}/{exercise}", i + 1, asked), asked, expected  # as vitedu.case makes it


@pytest.mark.parametrize("lab", ["lab1", "lab2", "lab4", "lab6"])
def test_right_code_gives_what_the_check_expects(lab, solutions):
    names = solutions(lab)
    for case, asked, expected in every_case(lab):
        targets = [names[name] for name in case.targets]
        if asked.scoring.raises is not None:
            with pytest.raises(ValueError):
                case.run(*targets)
            continue
        found = case.run(*targets)
        for name, wanted in expected.values.items():
            if asked.scoring.random:
                continue
            name = re.sub(r"^grad\.(\d+)$", lambda m: f"grad.argument {int(m[1]) + 1}", name)
            name = name.removeprefix("out.").replace("grad.", "gradient of ", name.startswith("grad."))
            got = found["result" if name == "out" else name]
            assert close(got.double(), wanted.double(), 1e-5), (case, name)


@pytest.mark.parametrize("lab", ["lab1", "lab3", "lab5", "lab7"])
def test_every_case_describes_itself(lab):
    before = torch.get_rng_state()
    for case, asked, _ in every_case(lab):
        lines = repr(case).split("\n")
        assert lines[0] == f'vitedu.case("{case.exam_id}", {case.number}): {asked.name}'
        assert lines[1].strip() == case.line and case.line.count(asked.target) == 1
        assert f"case.run({', '.join(asked.names)})" in lines[-1] and all(len(line) < 250 for line in lines)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_line_makes_the_call(solutions):
    for exam_id, number in (
        ("lab1/attention_weights", 1), ("lab1/AttentionHead", 1), ("lab3/attention_maps", 1), ("lab4/fit", 2),
        ("lab4/train_one_epoch", 1), ("lab6/freeze_all_but", 1), ("lab3/parameter_counts", 1),
    ):  # fmt: skip
        case = vitedu.case(exam_id, number)
        eval(case.line, dict(solutions(exam_id.partition("/")[0])) | {"case": case})


def test_what_goes_in_is_new_each_time_and_in_float64():
    case = vitedu.case("lab4/fit", 2)
    model, again = case.model, case.model
    assert model is not again and all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))
    model.head.weight.data.zero_()
    assert case.model.head.weight.abs().sum() > 0 and case.model.head.weight.dtype == torch.float64
    assert list(inspect.signature(case.args[3].__class__).parameters)[:2] == ["params", "lr"], "an optimizer"
    assert case.kwargs.keys() == {"scheduler", "on_epoch"} and case.args[4] == case.settings["epochs"]
    assert case.batches.keys() == {"train_loader", "val_loader"}
    assert [len(labels) for _, labels in case.batches["train_loader"]] == list(case.settings["batches"])
    images, labels = case.batches["val_loader"][0]
    assert images.dtype == torch.float64 and labels.dtype == torch.int64 and len(images) == len(labels)
    x = vitedu.case("lab1/attention_weights", 1).args[0]
    x += 1
    assert not torch.equal(vitedu.case("lab1/attention_weights", 1).args[0], x)


def test_a_module_is_made_as_the_check_makes_it(solutions):
    case = vitedu.case("lab1/AttentionHead", 1)
    made = case.module(solutions("lab1")["AttentionHead"])
    assert isinstance(made, nn.Module) and not made.training
    assert all(torch.equal(made.state_dict()[key], value) for key, value in case.weights.items())
    assert case.init == (made.to_q.in_features, made.to_q.out_features) and case.init_kwargs == {}
    with pytest.raises(RuntimeError, match="to_q"):
        case.module(lambda dim, head_dim: nn.Linear(dim, head_dim))
    with pytest.raises(ValueError, match=r"Case 1 of lab1/attention_weights makes no module; write case.run\(att"):
        vitedu.case("lab1/attention_weights", 1).module(nn.Linear)


def test_an_error_of_the_students_code_keeps_its_traceback():
    def attention_weights(q, k):
        return q @ k

    with pytest.raises(RuntimeError) as error:
        vitedu.case("lab1/attention_weights", 1).run(attention_weights)
    assert error.traceback[-1].name == "attention_weights"


def test_code_in_float32_runs_as_in_the_check(solutions):
    right = solutions("lab1")["attention_weights"]
    found = vitedu.case("lab1/attention_weights", 1).run(lambda q, k: right(q.float(), k.float()))
    assert found["result"].dtype == torch.float32


def test_what_is_seen_besides_the_result_has_a_name(solutions):
    found = vitedu.case("lab1/AttentionHead", 1).run(solutions("lab1")["AttentionHead"])
    assert {"result", "result of a second call", "gradient of argument 1", "gradient of to_q.weight"} <= found.keys()
    assert "argument 1 afterwards" in found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lab9/fit", 1), "There are no checks for 'lab9': the labs with checks are lab1,"),
        (("lab4/nothing", 1), "lab4 has no check 'nothing', so it has no cases; write one of lab4/build_model,"),
        (("lab4/fit", 0), "Expected the number of one of the 5 cases of lab4/fit, found 0; count from 1 to 5,"),
        (("lab4/fit", 6), "found 6; count from 1 to 5"),
        (("lab4/fit", "2"), "found '2'; count from 1 to 5"),
        (("lab4/fit", True), "found True; count from 1 to 5"),
    ],
)
def test_a_wrong_call_is_one_clear_sentence(arguments, said):
    with pytest.raises(ValueError) as error:
        vitedu.case(*arguments)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ((), "found nothing; write case.run(save_checkpoint, load_checkpoint)."),
        ((print,), "found builtin_function_or_method; write case.run(save_checkpoint, load_checkpoint)."),
        ((print, 3), "Expected save_checkpoint, load_checkpoint themselves, found builtin_function_or_method, int;"),
    ],
)
def test_run_says_what_it_needs(targets, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        vitedu.case("lab4/checkpoints", 1).run(*targets)
