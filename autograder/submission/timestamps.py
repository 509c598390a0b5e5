"""When a submission came in: the file timestamp.txt beside it, read without trust, and what is wrong with it."""

from __future__ import annotations

import codecs
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import dateutil.parser
import dateutil.tz

from autograder.sanitize.untrusted import terminal

FILE = "timestamp.txt"
MOST = 1000  # bytes
EXPECTED = "expected a time such as 2026-11-30 12:00:00 UTC"
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
AHEAD = timedelta(days=1)  # clocks and time zones may be wrong by as much
# "03.04.2026" is read as March here and as April there.
EITHER_WAY = re.compile(r"\b\d{1,2}[./-]\d{1,2}[./-]\d{4}\b")
YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d")
CLOCK = re.compile(r"\d:\d\d|T\d{4}")


@dataclass(frozen=True)
class Timestamp:
    """When a submission came in.

    Attributes:
        time: UTC, without a time zone, as nbgrader keeps it; None where nothing says when.
        problem: a sentence on a file that is there and says nothing, or something odd; "" where all is well.
    """

    time: datetime | None = None
    problem: str = ""


def read_timestamp(folder: Path) -> Timestamp:
    """What timestamp.txt in a submission's folder says; without one, the submission counts as on time."""
    path = Path(folder) / FILE
    try:
        info = os.lstat(path)
    except OSError:
        return Timestamp()
    if not stat.S_ISREG(info.st_mode):
        return _unread("is not a regular file but a link or a folder")
    if info.st_size > MOST:
        return _unread(f"has {info.st_size} bytes")
    try:
        written = _decoded(path.read_bytes())
    except (OSError, UnicodeError) as error:
        return _unread(f"cannot be read ({type(error).__name__})")
    if not written:
        return _unread("is empty")
    time = _time(written)
    if time is None:
        return _unread(f"says {terminal(written, 60)!r}")
    if time > datetime.now(UTC).replace(tzinfo=None) + AHEAD:
        ahead = f"{FILE} says {terminal(written, 60)!r}, which lies in the future; see whether it is right."
        return Timestamp(time, ahead)
    return Timestamp(time)


def _unread(what: str) -> Timestamp:
    return Timestamp(None, f"{FILE} {what}, {EXPECTED}; until it is mended, this counts as handed in on time.")


def _decoded(content: bytes) -> str:
    """The text on one line: editors write byte order marks, and some of them UTF-16."""
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    return " ".join(content.decode(encoding).replace("\0", "").split())


def _time(written: str) -> datetime | None:
    """The time in UTC; None for a text that is none, that is not whole, or that can be read in two ways.

    nbgrader's own parse_utc takes "+0200" for 200 seconds, and drops "PM".
    """
    if EITHER_WAY.search(written) or not (YEAR.search(written) and CLOCK.search(written)):
        return None
    text, _, last = written.rpartition(" ")
    zone = dateutil.tz.gettz(last) if "/" in last else None  # such as Europe/Berlin, which the parser does not know
    try:
        time: datetime = dateutil.parser.parse(text if zone else written, tzinfos=_zone)
        time = time.replace(tzinfo=zone) if zone else time
        return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    except Exception:  # dateutil has many ways to fail on a text that is no time
        return None


def _zone(name: str | None, offset: int | None) -> tzinfo | None:
    """The time zone that a text names, for the parser.

    Raises:
        ValueError: nobody knows it; without this it would be left out.
    """
    zone: tzinfo | None = dateutil.tz.gettz(name) if offset is None else dateutil.tz.tzoffset(name, offset)
    if zone is None:
        raise ValueError(f"there is no time zone {name}")
    return zone
