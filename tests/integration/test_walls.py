"""The rules behind SECURITY.md, each with the tests that would go red without it."""

from __future__ import annotations

import ast
import base64
from contextlib import nullcontext
from pathlib import Path

import nbformat
import pytest

from autograder.authoring.sample_class import Student, hand_in, model_codes
from autograder.execution.examiner import examine
from autograder.execution.preload import PACKAGES
from autograder.execution.student_kernel import StudentKernel
from autograder.execution.submission_task import Task
from autograder.judging.reference_answers import Reference
from autograder.sandbox import bubblewrap
from autograder.sandbox.forked_kernel import ForkServer
from autograder.submission.parse_notebook import read_submission
from autograder.submission.rebuild import rebuild
from support.course_fixture import LAB
from support.places import TESTS
from support.skipping import missing
from vitedu.probe import serialization

SECRET = bytes(range(32))

RULES = {
    "scores come from the judge's verdicts, never from an output": [
        "test_cycle.py::test_a_muddled_notebook_is_mended_and_told",
        "test_feedback.py::test_the_judges_words_stand_in_the_exams_place_and_nobody_elses",
    ],
    "no message reaches into another cell": ["test_kernel.py::test_a_later_cell_cannot_change_an_earlier_one"],
    "messages are read defensively, with limits on size, number, depth and type": [
        "test_kernel.py::test_too_much_output_is_cut_and_the_cell_goes_on",
        "test_kernel.py::test_a_message_beyond_the_limit_costs_its_own_cell_only",
        "test_kernel.py::test_a_malformed_message_is_no_output",
        "test_kernel.py::test_malformed_streams_errors_and_states_are_read_as_text",
        "test_kernel.py::test_a_parent_that_is_no_text_is_nobodys",
        "test_kernel.py::test_a_message_of_millions_of_objects_is_not_parsed",
        "test_kernel.py::test_a_flood_waits_in_the_kernel_while_the_grader_does_something_else",
    ],
    "an answer carries its question's nonce, and the first counts": [
        "test_kernel.py::test_answers_with_another_nonce_are_ignored_and_the_first_counts",
        "test_kernel.py::test_a_thread_of_an_earlier_cell_cannot_answer_for_a_later_one",
    ],
    "a forged end ends only its own exercise": [
        "test_kernel.py::test_an_announced_end_ends_only_its_own_exercise",
    ],
    "answers are data: measured before they are unpacked, never executed": [
        "test_wire.py::test_anything_else_is_refused",
        "test_wire.py::test_more_bytes_than_allowed_are_refused",
        "test_judge.py::test_no_forged_answer_stops_the_judge_or_earns_what_it_does_not_know",
    ],
    "shape, dtype and finiteness come before values, without broadcasting": [
        "test_judge.py::test_shape_and_dtype_are_checked_before_values_and_without_broadcasting",
    ],
    "null answers earn nothing": ["test_judge.py::test_no_answer_is_no_points"],
    "no verdict enters the kernel: questions do not depend on answers": [
        "test_walls.py::test_questions_do_not_depend_on_answers",
    ],
    "an expected error counts only beside right numbers": [
        "test_judge.py::test_an_expected_error_counts_only_beside_right_numbers",
    ],
    "each exercise is judged alone: one that was not right costs nothing elsewhere, and gains nothing": [
        "test_pairs.py::test_one_that_is_not_right_costs_nothing_elsewhere",
        "test_judge.py::test_answers_are_never_read_in_one_way_here_and_in_another_there",
    ],
    "a library that does the work gets a remark": ["test_judge.py::test_a_library_that_does_the_work_is_remarked"],
    "labels and what they are drawn from never enter the student's process": [
        "test_trained_exam.py::test_neither_labels_nor_entropy_enter_the_kernel",
        "test_learn.py::test_nothing_of_the_hidden_labels_is_in_a_request",
    ],
    "trained weights must give the logits that came with them": [
        "test_accuracy.py::test_logits_that_the_weights_do_not_give_wait_for_a_person",
    ],
    "autograder cannot be imported inside, however it is installed": [
        "test_sandbox.py::test_neither_grader_nor_its_environment_is_inside",
        "test_wheels.py::test_behind_the_walls_nothing_tells_of_the_grader",
        "test_sandbox.py::test_of_our_distributions_name_and_version_are_told_and_nothing_else",
        "test_sandbox.py::test_a_clone_that_lies_in_what_is_shown_shows_no_answer",
    ],
    "inside are the environment and two empty folders, and only these can be written to": [
        "test_sandbox.py::test_only_the_environment_and_two_empty_folders_are_inside",
        "test_sandbox.py::test_nothing_can_be_written_but_scratch",
    ],
    "no other process, no network": ["test_sandbox.py::test_there_is_no_other_process_and_no_network"],
    "system calls that go round the limits are refused": [
        "test_sandbox.py::test_system_calls_that_go_round_the_limits_are_refused",
    ],
    "limits hold for all processes together, and cannot be raised": [
        "test_sandbox.py::test_no_limit_can_be_raised_again",
        "test_sandbox.py::test_memory_of_one_process_and_of_many",
        "test_sandbox.py::test_shared_memory_counts",
        "test_sandbox.py::test_memory_that_no_process_shows_counts_too",
        "test_sandbox.py::test_sockets_hold_little",
        "test_sandbox.py::test_processes_files_and_disk",
        "test_sandbox.py::test_cpu_time_of_all_together_and_of_what_has_ended",
    ],
    "nobody waits for a submission without a limit": [
        "test_kernel.py::test_whatever_a_kernel_does_to_itself_the_grader_goes_on",
        "test_kernel.py::test_a_hanging_cell_is_interrupted_and_the_kernel_stays_intact",
        "test_batch.py::test_one_that_no_limit_ends_is_named_and_the_others_go_on",
        "test_batch.py::test_work_that_hangs_in_a_worker_elsewhere_ends_the_worker",
        "test_batch.py::test_what_takes_too_long_in_the_grader_itself_is_ended",
        "test_cycle.py::test_nbgraders_own_command_ends_what_no_limit_ends",
        "test_colours.py::test_code_keeps_its_text_and_takes_time_by_its_length",
        "test_rebuild.py::test_thousands_of_blank_lines_are_not_kept",
    ],
    "who ends a kernel is to blame, and nobody else; own cells cost nothing": [
        "test_own_cells.py::test_an_own_cell_that_ends_the_kernel_costs_nothing_and_is_named",
        "test_own_cells.py::test_any_number_of_them_costs_nothing",
        "test_own_cells.py::test_answers_that_kill_cost_their_own_exercise",
        "test_own_cells.py::test_what_a_cell_that_kills_defines_is_there_though_others_have_left_threads",
        "test_own_cells.py::test_who_takes_the_kernel_away_from_later_cells_without_ending_it_is_named",
        "test_own_cells.py::test_own_cells_have_a_time_of_their_own",
        "test_own_cells.py::test_traps_that_no_thread_shows_cost_nothing_and_are_named",
        "test_own_cells.py::test_an_answer_that_dies_by_itself_costs_one_kernel_more_where_own_cells_are",
        "test_own_cells.py::test_an_answer_that_dies_is_to_blame_though_answers_stand_in_another_cell",
        "test_own_cells.py::test_a_cell_that_makes_what_an_answer_needs_is_no_trap",
        "test_own_cells.py::test_an_answers_cell_that_ends_the_kernel_costs_the_same_whatever_stands_above",
        "test_kernel.py::test_exit_ends_its_cell_and_nothing_else",
        "test_kernel.py::test_what_would_end_a_process_ends_its_own_case_only",
    ],
    "nothing outlives its kernel, and no kernel its grader": [
        "test_sandbox.py::test_nothing_outlives_the_kernel",
        "test_sandbox.py::test_it_ends_with_the_grader",
        "test_warm.py::test_all_end_with_their_grader",
        "test_warm.py::test_a_kernel_ends_with_its_worker_though_the_template_stays",
    ],
    "a kernel that is forked from a preloaded process finds what a cold one finds": [
        "test_warm.py::test_a_notebook_finds_what_it_finds_in_a_cold_kernel",
        "test_warm.py::test_where_namespaces_are_refused_it_starts_cold",
    ],
    "what one kernel leaves, the next does not find": [
        "test_warm.py::test_nothing_is_open_but_the_kernels_own",
        "test_warm.py::test_no_memory_is_shared_that_can_be_written",
        "test_warm.py::test_siblings_have_their_own_namespaces",
        "test_warm.py::test_nothing_that_one_leaves_is_there_for_the_next",
        "test_warm.py::test_accomplices_would_find_what_they_leave_if_it_were_there",
        "test_warm.py::test_chance_is_not_the_same",
    ],
    "nobody inside reaches the preloaded process, and it learns nothing": [
        "test_warm.py::test_process_1_is_out_of_reach",
        "test_warm.py::test_no_rights_are_left",
        "test_warm.py::test_no_key_passes_through_the_template",
    ],
    "root starts the sandbox as nobody": ["test_sandbox.py::test_root_starts_it_as_nobody"],
    "arguments and mounts show no student's name": ["test_walls.py::test_no_name_stands_inside"],
    "text of a student's is cleaned wherever it is shown": [
        "test_untrusted.py::test_html_does_nothing",
        "test_untrusted.py::test_no_csv_field_is_a_formula",
        "test_untrusted.py::test_a_terminal_gets_one_line",
        "test_feedback.py::test_nothing_hostile_survives",
        "test_feedback.py::test_formgraders_page_is_sanitised_but_the_verdict_stays",
        "test_feedback.py::test_what_markdown_makes_of_a_text_is_cleaned",
        "test_feedback.py::test_commands_of_formulas_that_make_links_are_broken",
        "test_untrusted.py::test_styles_neither_hide_nor_push_away",
        "test_export.py::test_names_are_not_computed_by_a_spreadsheet",
    ],
    "pages that show a submission run none of its scripts": [
        "test_formgrader.py::test_nothing_that_a_submission_plants_runs",
        "test_formgrader.py::test_the_policy_names_what_may_run_and_nothing_more",
        "test_formgrader.py::test_every_page_works_and_nothing_is_refused",
        "test_formgrader.py::test_every_button_does_its_work",
        "test_feedback.py::test_nothing_hostile_survives",
    ],
    "what a submission wrote is shown in a time that grows with its length, and a page has an end": [
        "test_colours.py::test_code_keeps_its_text_and_takes_time_by_its_length",
        "test_colours.py::test_markdown_that_a_renderer_is_slow_at",
        "test_colours.py::test_markup_that_a_cleaner_is_slow_at",
        "test_colours.py::test_a_page_has_an_end_however_many_cells_there_are",
        "test_colours.py::test_outputs_hold_as_many_pictures_as_a_page_does",
    ],
    "pictures in answers are PNG or JPEG of a sane size, and nothing else": [
        "test_pasted_pictures.py::test_what_is_refused_and_why",
        "test_pasted_pictures.py::test_pictures_arrive_in_formgrader_and_feedback",
        "test_untrusted.py::test_a_picture_that_a_browser_would_choke_on_is_a_sentence",
    ],
    "nobody who hands in vanishes, whatever command looks": [
        "test_arrivals.py::test_the_one_that_can_be_meant_is_graded",
        "test_arrivals.py::test_what_cannot_be_graded_has_no_score_and_a_sentence",
        "test_arrivals.py::test_names_that_cannot_be_are_named",
        "test_arrivals.py::test_a_folder_for_a_section_is_named_and_so_is_everybody_in_it",
        "test_arrivals.py::test_a_class_of_odd_arrivals",
        "test_arrivals.py::test_nbgraders_own_commands_find_the_same",
        "test_exchange.py::test_one_submission_in_the_exchange_costs_no_other",
    ],
    "of a submitted folder only the notebook is read, and only a regular file": [
        "test_arrivals.py::test_links_and_bombs_are_not_followed",
        "test_arrivals.py::test_what_is_read_of_one_student_has_bounds",
        "test_exchange.py::test_one_submission_in_the_exchange_costs_no_other",
        "test_cycle.py::test_files_beside_the_notebook_have_no_effect",
        "test_rebuild.py::test_links_are_not_followed",
    ],
    "locked cells, points and tags come from the release": [
        "test_rebuild.py::test_locked_cells_come_back",
        "test_rebuild.py::test_answers_stay_and_points_come_from_the_gradebook",
        "test_rebuild.py::test_foreign_metadata_is_dropped",
        "test_rebuild.py::test_every_changed_copy_runs_in_order_and_no_stub_below_them",
    ],
    "what was added to a locked cell changes nothing in it": [
        "test_rebuild.py::test_a_released_definition_is_not_replaced_and_what_only_shows_is_not_run",
        "test_rebuild.py::test_what_was_added_to_a_locked_cell",
        "test_odd_notebooks.py::test_it_earns_what_its_own_run_defines",
    ],
    "a TODO undoes no answer, and to see that there is one calls nothing of the student's": [
        "test_rebuild.py::test_a_stub_undoes_nothing_and_stands_where_there_is_nothing",
        "test_rebuild.py::test_no_name_of_the_students_is_called_to_look_whether_a_stub_is_needed",
        "test_odd_notebooks.py::test_it_earns_what_its_own_run_defines",
    ],
    "changed is decided after normalising": [
        "test_rebuild.py::test_line_ends_and_trailing_blanks_are_no_change",
        "test_rebuild.py::test_unicode_composition_is_no_change",
    ],
    "our own failure is tried twice and is no zero": [
        "test_cycle.py::test_our_own_failure_is_no_zero_and_is_made_good",
        "test_cycle.py::test_a_replay_that_does_not_start_is_our_failure_too",
    ],
    "cells that only display bind no names": ["test_notebooks.py::test_cells_that_only_display_bind_no_names"],
    "trained answers are kept by notebook, exam, variant and environment": [
        "test_accuracy.py::test_the_key_of_stored_answers",
        "test_trained_exam.py::test_a_training_is_kept_and_judged_again_without_another_one",
    ],
}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_its_tests(rule):
    for name in RULES[rule]:
        file, test = name.split("::")
        nodes = ast.walk(ast.parse(next(TESTS.rglob(file)).read_text()))
        assert test in {node.name for node in nodes if isinstance(node, ast.FunctionDef)}, name


@pytest.fixture(scope="module")
def reference() -> Reference:
    if why := bubblewrap.unavailable():
        missing(why)
    return Reference(LAB)


def notebook(codes: dict[str, str], folder: Path) -> nbformat.NotebookNode:
    released = Path(LAB.source).parents[2] / "notebooks" / LAB.assignment / f"{LAB.notebook}.ipynb"
    release = nbformat.read(released, as_version=4)
    nbformat.write(hand_in(release, Student("s", "", codes)), folder / "handed_in.ipynb")
    points = {c.metadata.nbgrader.grade_id: 1.0 for c in release.cells if "points" in c.metadata.nbgrader}
    return rebuild(read_submission(folder / "handed_in.ipynb"), release, points)[0]


def test_questions_do_not_depend_on_answers(reference, tmp_path, monkeypatch):
    """Right code and wrong code are asked the same, in the same order, but for the nonces."""
    asked: list[list] = []
    put = StudentKernel.put

    def noted(self, entry, make, *args, **kwargs):
        header, tensors = serialization.unpack(make("nonce"), max_bytes=2**28, max_tensors=4096)
        asked[-1].append((entry, header, {name: base64.b64encode(t.numpy().tobytes()) for name, t in tensors.items()}))
        return put(self, entry, make, *args, **kwargs)

    monkeypatch.setattr(StudentKernel, "put", noted)
    right = model_codes(LAB)
    wrong = {e.id: reference.code(e.id, e.misconceptions[0].id) for e in LAB.exercises}
    points = []
    for codes in (right, wrong, {}):
        asked.append([])
        done = examine(Task(LAB.assignment, "s", secret=SECRET), notebook(codes, tmp_path), reference)
        points.append(sum(verdict.points for verdict in done.verdicts))
    assert points[0] > points[1] > points[2] == 0
    assert len(asked[0]) == 2 * len(LAB.exercises)  # the student's own variant, and the one of all
    first = len(asked[0])  # what follows is asked in a second kernel, with stand-ins
    assert asked[0] == asked[1][:first] == asked[2][:first]


@pytest.mark.parametrize("way", ["cold", "warm"])
def test_no_name_stands_inside(way, reference, tmp_path):
    files = ("/proc/2/cmdline", "/proc/self/mountinfo", "/proc/2/environ", "/run/connection.json")
    look = "\n".join(f"print(open({file!r}).read())" for file in files)
    student = "zebedee-the-student"
    folder = tmp_path / student
    folder.mkdir()
    codes = {"scaled_dot_product_attention": look}
    with ForkServer([], PACKAGES) if way == "warm" else nullcontext() as template:
        address = template.address if template else ""
        task = Task(LAB.assignment, student, secret=SECRET, template=address)
        done = examine(task, notebook(codes, folder), reference)
    seen = str(done.outputs)
    assert (
        ("fork_server" if way == "warm" else "kernel_main.py") in seen
        and student not in seen
        and str(tmp_path) not in seen
        and SECRET.hex() not in seen
    )
