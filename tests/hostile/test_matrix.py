"""Each hostile submission gains something without walls, and nothing behind them.

What one gains without walls stands in baselines.json, and is found out again where it, or what it runs on, has changed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace

import pytest

from autograder.labs.lab import find_lab
from hostile import baselines
from hostile.asked import ASKED
from hostile.attack import COURSE_SECRET, GRADEBOOK_MARK, NEIGHBOUR_MARK, SOLUTION_MARK, Attack, OwnPoints, Seen
from hostile.harness import MODULES, all_attacks, attacks_of, baseline, classes

ATTACKS = all_attacks()
COUNTED = [attack for attack in ATTACKS if attack.shown_by != "harmless"]


def shown(seen: Seen) -> str:
    """What a run without walls showed, in a few words."""
    told = [f"{seen.earned:g} points"] if seen.earned else []
    told += ["the command hung"] if seen.exit == -9 else [f"exit {seen.exit}"] if seen.exit not in (0, 1) else []
    told += ["a neighbour without points"] if seen.harmed else []
    told += ["rows of the gradebook changed"] if seen.gradebook_changed else []
    told += [f"{len(seen.changed)} files changed"] if seen.changed else []
    told += [f"{len(seen.left)} processes left"] if seen.left else []
    return ", ".join(told) or "something came out"


def faults(attack: Attack, seen: Seen) -> list[str]:
    """What the walls let through."""
    lab, found = find_lab(attack.lab), []
    unread = re.search("Nothing could be graded|nothing in the notebook belongs", attack.says) is not None
    if unread and (set(seen.points.values()) != {None} or seen.total):
        found.append(f"expected no points until somebody has looked, found {seen.points}, in all {seen.total}")
    for exercise, points in () if unread else seen.points.items():
        full = lab.points(exercise)
        least = full if exercise in attack.honest else 0.0
        most = full if exercise in (*attack.honest, *attack.loses) else 0.0
        if points is None or not least <= points <= most:
            found.append(f"{exercise}: expected {least:g} to {most:g} points, found {points}")
    if not seen.points.keys() <= seen.status.keys():  # extras have a status and no points
        found.append(f"verdicts on {sorted(seen.status)} only")
    if attack.gained(seen):
        found.append("it gained what it tried to")
    for secret in (COURSE_SECRET, NEIGHBOUR_MARK, GRADEBOOK_MARK, SOLUTION_MARK, *attack.environ.values()):
        if secret in seen.text:
            found.append(f"{secret} came out")
    if attack.says and not re.search(attack.says, seen.own):
        found.append(f"nothing in the record, the feedback or the report says {attack.says!r}")
    if seen.harmed:
        found.append(f"neighbours without the points that they earned: {sorted(seen.harmed)}")
    if seen.gradebook_changed or seen.changed:
        found.append(f"changed: {sorted(seen.changed)}, rows of the gradebook: {seen.gradebook_changed}")
    if seen.exit not in (0, 1):
        found.append(f"the command ended with {seen.exit}")
    if seen.left:
        found.append(f"left behind: {seen.left}")
    return found


def gaining(attacks: list[Attack]) -> type:
    """Tests that these gain something without walls."""

    graded: dict[str, Seen] = {}

    @pytest.mark.hostile
    @pytest.mark.timeout(1200)  # the first one of a class grades them all
    class Gaining:
        @pytest.mark.parametrize("attack", attacks, ids=lambda attack: attack.name)
        def test_it_gains_something_without_walls(self, attack, again, tmp_path, record_property):
            if known := not again and baselines.recorded(attack):
                record_property("recorded", (attack.name, known))
                return
            if attack.name not in graded:
                new = [each for each in attacks if again or not baselines.recorded(each)]
                together = [each for each in new if isinstance(each.gained, OwnPoints)]
                graded.update(baseline(together if attack in together else [attack], tmp_path / "course"))
            seen = graded[attack.name]
            record_property("baseline", (attack.name, shown(seen)))
            gained = attack.gained(seen)
            shutil.rmtree(tmp_path, ignore_errors=True)  # some submissions are large
            assert gained, seen.own[-3000:]

    return Gaining


def contained(name: str, attacks: list[Attack]) -> type:
    """Tests that these, graded as one class, gain nothing."""

    @pytest.mark.timeout(3600)  # the first one grades them all
    class Contained:
        @pytest.mark.parametrize("attack", attacks, ids=lambda attack: attack.name)
        def test_it_is_contained(self, attack, behind_walls, record_property):
            record_property("contained", attack.name)
            seen = behind_walls(name, attack)
            assert not faults(attack, seen), seen.own[-3000:]

    return Contained if name.startswith("fast") else pytest.mark.hostile(Contained)


# One class of tests for each class of submissions: a parallel run (--dist loadscope) gives it to one process.
for name, attacks in classes().items():
    globals()[f"TestContained-{name}"] = contained(name, attacks)
for module in MODULES:
    if found := [attack for attack in attacks_of(module) if attack.shown_by != "harmless"]:
        globals()[f"TestGaining-{module}"] = gaining(found)


def test_names_are_unique_and_fit_for_a_folder():
    names = Counter(attack.name for attack in ATTACKS)
    assert not [name for name, count in names.items() if count > 1 or not re.fullmatch(r"[a-z0-9-]+", name)]
    assert all(attack.tries and "\n" not in attack.tries for attack in ATTACKS)


def test_a_key_is_of_the_attack_its_functions_and_its_versions(monkeypatch):
    """Else a record would outlive what it is about."""

    def mends(mark: str) -> Attack:
        return Attack("a", "b", "stock", lambda seen: mark in seen.text, {"x": "1"}, mend=lambda nb: nb.update(m=mark))

    same, others = mends("m"), [mends("n"), replace(mends("m"), codes={"x": "2"}), replace(mends("m"), patience=1.0)]
    others += [replace(mends("m"), mend=lambda nb: nb.update(m="m", n=1)), replace(mends("m"), shown_by="unwalled")]
    assert baselines.key(same) == baselines.key(mends("m"))
    assert len({baselines.key(each) for each in (same, *others)}) == 1 + len(others)
    before = baselines.key(same)
    monkeypatch.setattr(baselines, "versions", lambda: ("nbgrader 99",))
    assert baselines.key(same) != before


def test_the_record_knows_no_attack_that_is_not_there():
    kept = json.loads(baselines.RECORD.read_text())
    assert kept.keys() <= {attack.name for attack in COUNTED} and all(row["gained"] for row in kept.values())


def test_every_attack_has_a_known_baseline():
    assert {attack.shown_by for attack in ATTACKS} <= {"stock", "unwalled", "harmless"}


def test_there_are_enough_that_count():
    assert len(COUNTED) >= 45


@pytest.mark.parametrize("what", ASKED)
def test_what_a_hostile_student_would_try_is_tried(what):
    assert ASKED[what] and set(ASKED[what]) <= {attack.name for attack in ATTACKS}
