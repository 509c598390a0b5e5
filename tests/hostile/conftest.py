"""The classes behind the walls, graded once each, and the table at the end of a full run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autograder.labs.lab import ROOT
from autograder.sandbox.bubblewrap import unavailable
from autograder.storage.atomic_files import write_atomically
from hostile import baselines
from hostile.attack import Attack, Seen
from hostile.harness import all_attacks, classes, walled
from support.skipping import missing


@pytest.fixture(scope="session")
def again(request: pytest.FixtureRequest) -> bool:
    """Whether all attacks are run without walls, whatever is recorded of them."""
    return request.config.getoption("--baselines")


@pytest.fixture(scope="session")
def behind_walls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, Attack], Seen]]:
    """(class, attack) -> what was seen of it; the class is graded when it is first asked for."""
    if why := unavailable():
        missing(why)
    folder, graded = tmp_path_factory.mktemp("walled"), {}

    def seen(name: str, attack: Attack) -> Seen:
        if name not in graded:
            graded[name] = {}  # a class that cannot be graded fails once, and the rest with a KeyError
            graded[name] = walled(classes()[name], folder / name)
        return graded[name][attack.name]

    yield seen
    shutil.rmtree(folder, ignore_errors=True)  # some submissions are large


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """After a run of the whole set: what each attack gained without walls, and whether they held; .run/hostile.json.

    With --baselines the record is written, too, of what was run.
    """
    found, recorded, contained = {}, {}, {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for key, value in getattr(report, "user_properties", ()):
                if key == "baseline" and report.when == "call" and report.passed:
                    found[value[0]] = value[1]
                if key == "recorded" and report.when == "call":
                    recorded[value[0]] = value[1]
                if key == "contained" and report.when == "call":
                    contained[value] = report.passed
    attacks = all_attacks()
    if found and terminalreporter.config.getoption("--baselines"):
        baselines.keep(found, [attack for attack in attacks if attack.shown_by != "harmless"])
    if not found | recorded or contained.keys() != {attack.name for attack in attacks}:
        return
    write_atomically(ROOT / ".run" / "hostile.json", json.dumps(contained, indent=1) + "\n")
    terminalreporter.section(f"{len(attacks)} hostile submissions, {sum(contained.values())} contained")
    terminalreporter.write_line(
        f"without walls: {len(found)} run, {len(recorded)} known from tests/hostile/baselines.json"
    )
    for attack in attacks:
        held = "contained" if contained[attack.name] else "NOT CONTAINED"
        without = f"{attack.shown_by}: {(found | recorded).get(attack.name, 'nothing gained')}"
        terminalreporter.write_line(f"{attack.name:32} {held:14} {without}")
