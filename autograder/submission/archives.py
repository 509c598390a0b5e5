"""Notebooks in a zip, a tar or a gz, read in memory: nothing is unpacked to disk, nothing without a limit."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from pathlib import PurePosixPath

from autograder.submission.parse_notebook import MAX_FILE, Unreadable

ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"
TAR = b"ustar"  # at byte 257
# 7z, rar, xz, bzip2, zstd, lzip: nobody looks into these.
CLOSED = (b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ", b"BZh", b"\x28\xb5\x2f\xfd", b"LZIP")
ENTRY = b"PK\x01\x02"  # of a zip's list of contents, before each member
MEMBERS = 20_000  # of one archive
UNPACKED = 2 * MAX_FILE  # bytes of a tar
NAMES = ("", ".json", ".txt")  # endings that a browser or a mail program gives a notebook, beside .ipynb itself
LEFT_OVER = ("__MACOSX", "Thumbs.db", "desktop.ini")  # by systems, beside everything whose name starts with a dot
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, KeyError, ValueError, OSError, RuntimeError)


def is_packed(start: bytes) -> bool:
    """Whether a file that starts so is an archive that can be looked into."""
    return start.startswith((ZIP, GZIP)) or start[257:262] == TAR


def is_archive(start: bytes) -> bool:
    """Whether a file that starts so is an archive of any kind."""
    return is_packed(start) or start.startswith(CLOSED)


def members(content: bytes) -> dict[str, int]:
    """Name -> size of the members that may be notebooks; none where the archive cannot be read.

    The size is what the archive claims, of which no more is ever unpacked.
    """
    try:
        if content.startswith(ZIP):
            found = _in_zip(content)
        elif (tar := _tar(content)) is not None:
            found = _in_tar(tar)
        else:
            return {"": MAX_FILE} if content.startswith(GZIP) else {}
    except BROKEN:
        return {}
    return {name: size for name, size in sorted(found.items()) if _may_be_notebook(name)}


def unpacked(content: bytes, member: str, name: str) -> bytes:
    """A member's content.

    Args:
        member: its name; "" for the one file in a gz.
        name: the archive's, for messages.

    Raises:
        Unreadable: it is damaged, encrypted, packed in a way that is not read, or too large.
    """
    what = f"{member} in {name}" if member else name
    try:
        if content.startswith(ZIP):
            found = _from_zip(content, member)
        elif member:
            with tarfile.open(fileobj=io.BytesIO(_tar(content) or b""), mode="r:") as archive:
                file = archive.extractfile(member)
                found = file.read(MAX_FILE + 1) if file else b""
        else:
            found = _ungzipped(content, MAX_FILE)
    except BROKEN as error:
        # RuntimeError: encrypted; NotImplementedError, one of its kind: a compression that is not read
        reason = "it is encrypted" if "encrypted" in str(error) or "password" in str(error) else type(error).__name__
        raise Unreadable(f"{what} cannot be unpacked ({reason})") from None
    if len(found) > MAX_FILE:
        raise Unreadable(f"{what} has more than the {MAX_FILE} bytes that a notebook may have")
    return found


def _in_zip(content: bytes) -> dict[str, int]:
    if content.count(ENTRY) > MEMBERS:  # Python would read all of them
        return {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        plain = [i for i in archive.infolist() if not i.is_dir() and not stat.S_ISLNK(i.external_attr >> 16)]
        return {info.filename: info.file_size for info in plain}


def _from_zip(content: bytes, member: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if archive.getinfo(member).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotImplementedError  # others unpack a lot at once, whatever limit is asked for
        with archive.open(member) as file:
            return file.read(MAX_FILE + 1)


def _tar(content: bytes) -> bytes | None:
    """The tar in a file that may be compressed; None where it holds none."""
    content = _ungzipped(content, UNPACKED) if content.startswith(GZIP) else content
    return content if content[257:262] == TAR else None


def _in_tar(content: bytes) -> dict[str, int]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for _ in range(MEMBERS):
            if (info := archive.next()) is None:
                break
            if info.isreg():
                found[info.name] = info.size
    return found


def _ungzipped(content: bytes, most: int) -> bytes:
    """At most a byte more than `most`, of which the last one tells that there is more."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        return file.read(most + 1)


def _may_be_notebook(name: str) -> bool:
    """By its name, and not what a system or Jupyter left beside the real one."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if any((part.startswith(".") and part not in (".", "..")) or part in LEFT_OVER for part in parts):
        return False
    return ".ipynb" in name.lower() or PurePosixPath(name.lower()).suffix in NAMES
