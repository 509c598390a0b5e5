"""When a submission came in, from the many ways in which people and editors write it."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from autograder.submission.timestamps import Timestamp, read_timestamp

NOON = datetime(2026, 11, 20, 12, 0)
NAMED = "until it is mended, this counts as handed in on time"


@pytest.mark.parametrize(
    "content",
    [
        b"2026-11-20 12:00:00 UTC",
        b"2026-11-20 12:00:00.000000 UTC\n",
        b"\xef\xbb\xbf2026-11-20 12:00:00 UTC\r\n",
        "\ufeff2026-11-20 12:00:00 UTC".encode("utf-16-le"),
        "\ufeff2026-11-20 12:00:00 UTC".encode("utf-16-be"),
        b"  2026-11-20   12:00:00 \t UTC  ",
        b"2026-11-20T12:00:00Z",
        b"20261120T120000Z",
        b"2026-11-20 12:00",
        b"2026-11-20T13:00:00+01:00",
        b"2026-11-20 14:00:00 +0200",
        b"2026-11-20 14:00:00 +02:00",
        b"2026-11-20 07:00:00 EST",
        b"2026-11-20 13:00:00 Europe/Berlin",
        b"2026-11-20 12:00 PM",
        b"Fri Nov 20 12:00:00 UTC 2026",
        b"Nov 20, 2026 12:00 PM UTC",
        b"20 November 2026, 12:00",
    ],
)
def test_read(tmp_path, content):
    (tmp_path / "timestamp.txt").write_bytes(content)
    assert read_timestamp(tmp_path) == Timestamp(NOON)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xef\xbb\xbf\n", b"yesterday", b"5", b"2026", b"2026-11-20", b"12:00:00", b"1764504000",
        b"03.04.2026 12:00", b"3/4/2026 12:00", b"2026-11-20 12:00:00 XYZ", b"2026-11-20 12:00:00 Mars/Olympus",
        b"2026-13-20 12:00:00", b"2026-11-20 25:00:00", b"\xff\xfe\x00", b"\xff\x01", b"2026-11-20 12:00:00 UTC" * 100,
    ],
)  # fmt: skip
def test_what_says_no_time_is_named_and_counts_as_on_time(tmp_path, content):
    (tmp_path / "timestamp.txt").write_bytes(content)
    found = read_timestamp(tmp_path)
    assert found.time is None
    assert found.problem.startswith("timestamp.txt ") and NAMED in found.problem


def test_none_is_no_problem(tmp_path):
    assert read_timestamp(tmp_path) == read_timestamp(tmp_path / "nowhere") == Timestamp()


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("2026-11-20 12:00:00 UTC")
    os.symlink("elsewhere", tmp_path / "timestamp.txt")
    assert read_timestamp(tmp_path).time is None and "link" in read_timestamp(tmp_path).problem


def test_a_time_to_come_counts_and_is_named(tmp_path):
    soon, later = (datetime.now(UTC).replace(tzinfo=None, microsecond=0) + timedelta(days=days) for days in (0.5, 2))
    (tmp_path / "timestamp.txt").write_text(f"{soon} UTC")
    assert read_timestamp(tmp_path) == Timestamp(soon)
    (tmp_path / "timestamp.txt").write_text(f"{later} UTC")
    found = read_timestamp(tmp_path)
    assert found.time == later and "lies in the future" in found.problem
