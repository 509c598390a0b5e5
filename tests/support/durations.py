"""How long each file of tests takes: durations.csv, by which a run begins with the longest; `--durations-record`.

Processor seconds are those of the process that runs the tests and of all that it started and saw end.
"""

from __future__ import annotations

import csv
import resource
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from support.places import ROOT, TESTS

RECORD = TESTS / "durations.csv"
COLUMNS = ("file", "tests", "seconds", "processor_seconds")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--durations-record", action="store_true", help="write tests/durations.csv anew from this run")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Processor(), "processor-seconds")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, new ones before them, so that no process is left with one at the end."""
    known = {ROOT / row["file"]: float(row["seconds"]) for row in _read()}
    items.sort(key=lambda item: -known.get(item.path, float("inf")))


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not config.getoption("--durations-record"):
        return
    found: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(COLUMNS[1:], 0.0))
    for report in _reports(terminalreporter):
        row = found[report.nodeid.partition("::")[0]]
        row["tests"] += report.when == "call"
        row["seconds"] += report.duration
        row["processor_seconds"] += dict(report.user_properties).get("processor", 0.0)
    kept = {row["file"]: row for row in _read() if (ROOT / row["file"]).exists()}
    kept |= {file: {"file": file} | {name: f"{row[name]:.0f}" for name in row} for file, row in found.items()}
    with RECORD.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(kept.values(), key=lambda row: (-float(row["seconds"]), row["file"])))


class _Processor:
    """Notes on each report the processor seconds since the last one."""

    def __init__(self) -> None:
        self.before = _spent()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[Any]:
        report = yield
        now = _spent()
        report.user_properties.append(("processor", now - self.before))
        self.before = now
        return report


def _spent() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in usage)


def _reports(terminalreporter: Any) -> Iterable[pytest.TestReport]:
    for reports in terminalreporter.stats.values():
        yield from (report for report in reports if isinstance(report, pytest.TestReport))


def _read() -> list[dict[str, str]]:
    if not RECORD.exists():
        return []
    with RECORD.open(newline="") as file:
        return list(csv.DictReader(file))
