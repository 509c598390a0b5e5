"""Lab 1 handed in from Colab, Kaggle and VS Code, and from an earlier release: graded as the notebook itself."""

import nbformat
import pytest

from autograder.authoring.sample_class import Student, hand_in
from autograder.cli import main
from autograder.storage.atomic_files import write_atomically
from support import round_trips
from support.course_fixture import HEAD, LAB, MAX, solved

ZERO = f"class {HEAD}:\n    pass"


@pytest.mark.long
@pytest.mark.usefixtures("walls")
def test_they_are_graded_as_the_notebook_itself(released_course, tmp_path, capsys):
    course = released_course.copy(tmp_path / "course")
    nb = hand_in(course.released, Student("", "", solved() | {HEAD: ZERO}))
    given = {trip.__name__: trip(nb) for trip in (*round_trips.TRIPS, round_trips.colab_without_metadata)}
    given |= {"itself": nbformat.writes(nb), "earlier": nbformat.writes(round_trips.earlier_release(nb))}
    for name, content in given.items():
        write_atomically(course.submission(name), content)
    assert main(["grade", LAB.assignment, "--course", str(course.root), "--workers", "1"]) == 0
    expected = course.points("itself")
    assert expected == MAX | {HEAD: 0.0}
    for name in given:
        assert course.points(name) == expected, name
        verdicts, own = course.verdicts(name), course.verdicts("itself")
        assert {id: v["status"] for id, v in verdicts.items()} == {id: v["status"] for id, v in own.items()}
        said = course.record(name)["mended"]
        assert len(said) == (name == "colab_without_metadata"), said
