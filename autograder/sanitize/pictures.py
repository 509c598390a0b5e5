"""Pictures in a student's Markdown: attached ones and embedded ones, PNG and JPEG, checked before anybody sees them.

A picture is shown in the reader's browser, which decodes it: so its header must be what it claims, and its size
in pixels, not only in bytes, must be sane. SVG is a program for a browser, and never passes.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from PIL import Image

Attachments = dict[str, dict[str, str]]  # as notebooks keep them: name -> type -> base64
MAX_BYTES = 5 * 2**20  # of one picture
MAX_SIDE = 16_000  # pixels
MAX_PIXELS = 50_000_000  # of one picture: a large photograph
MAX_CELL_PIXELS = 150_000_000  # of all pictures of a cell
MAX_NUMBER = 20  # pictures of a cell
MAX_TIMES = 3  # that a text shows one of them
MAX_ALL = {"pictures": 100, "MiB": 20, "million pixels": 400}  # of a notebook
MAX_NAME = 200  # characters
MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG"}
DAMAGED = "its data are damaged"
WANTED = "only PNG and JPEG pictures are shown"
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_EMBEDDED = re.compile(
    r"data:image/([\w.+-]{1,30})(?:;[\w=-]{1,40}){0,3};base64,([A-Za-z0-9+/=]{16,}(?:\n[A-Za-z0-9+/=]+)*)"
    r"(?=\n?[\"')>]|[ \t]+[\"'(/>])",
    re.I,
)
_NAMED = re.compile(r"attachment:([^\s)>\"']+)")


def kind_of(content: bytes) -> str:
    """The type that the first bytes tell, "image/png" or "image/jpeg"; "" for all others."""
    return next((mime for magic, mime in MAGIC.items() if content.startswith(magic)), "")


def decoded(value: Any) -> bytes:
    """The bytes of a picture as notebooks keep it: base64, perhaps in several lines; b"" for anything else."""
    value = "".join(map(str, value)) if isinstance(value, list) else value
    if not isinstance(value, str) or len(value) > 2 * MAX_BYTES:
        return b""
    try:
        return base64.b64decode("".join(value.split()).encode("ascii", "replace"), validate=True)
    except (binascii.Error, ValueError):
        return b""


@lru_cache(maxsize=8)
def size_of(content: bytes) -> tuple[int, int] | None:
    """Width and height in pixels by a PNG's or JPEG's header, without decoding it; None where it has none."""
    if kind_of(content) == "image/png":
        header = content[12:24]
        return struct.unpack(">II", header[4:]) if header.startswith(b"IHDR") and len(header) == 12 else None
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            return image.size
    except Image.DecompressionBombError:
        return MAX_SIDE + 1, MAX_SIDE + 1
    except Exception:  # whatever a damaged file makes the reader raise
        return None


def too_large(content: bytes) -> str:
    """What is too large about a picture; "" for nothing, and for the first bytes of a PNG, which nobody can show."""
    if len(content) > MAX_BYTES:
        return f"it has {len(content) / 2**20:.1f} MiB, and a picture may have {MAX_BYTES // 2**20}"
    size = size_of(content)
    if size is None:
        return "" if kind_of(content) == "image/png" else DAMAGED
    if max(size) > MAX_SIDE or size[0] * size[1] > MAX_PIXELS:
        return f"it has {size[0]} x {size[1]} pixels, and a picture may have {MAX_PIXELS // 10**6} million"
    return ""


@lru_cache(maxsize=8)
def refusal(content: bytes) -> str:
    """Why a picture is not shown, as the end of a sentence; "" for one that is.

    Sizes are looked at before anything is decoded, and of a PNG the checksums are, which needs no decoding.
    """
    if not content:
        return DAMAGED
    if not kind_of(content):
        return WANTED
    if large := too_large(content):
        return large
    if 0 in (size_of(content) or (0, 0)):
        return DAMAGED
    if kind_of(content) == "image/png":
        try:
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                image.verify()
        except Exception:
            return DAMAGED
    return ""


def attached(value: Any) -> tuple[Attachments, list[str]]:
    """The pictures among a cell's attachments, each under its true type, and a sentence for each that is refused.

    Args:
        value: a cell's attachments as they were handed in: anything.
    """
    kept: Attachments = {}
    refused, pixels = [], 0
    entries = list(value.items()) if isinstance(value, dict) else []
    for name, data in entries[: 10 * MAX_NUMBER]:
        name = _UNSAFE.sub("\ufffd", str(name))[:MAX_NAME]
        found = [content for content in map(decoded, _candidates(data)) if content]
        content = next((content for content in found if not refusal(content)), found[0] if found else b"")
        reason = refusal(content) if found or not _candidates(data) else DAMAGED
        width, height = (size_of(content) or (0, 0)) if not reason else (0, 0)
        if not reason and (len(kept) == MAX_NUMBER or pixels + width * height > MAX_CELL_PIXELS):
            reason = f"a cell may have {MAX_NUMBER} pictures of {MAX_CELL_PIXELS // 10**6} million pixels in all"
        if reason:
            refused.append(f"The picture {name} is not shown: {reason}.")
            continue
        pixels += width * height
        kept[name] = {kind_of(content): base64.b64encode(content).decode()}
    return kept, refused


def _candidates(data: Any) -> list[Any]:
    """The forms of one attachment that may be pictures, those with a declared type that we show first."""
    if not isinstance(data, dict):
        return []
    return sorted(data.values(), key=lambda value: value not in [data.get(mime) for mime in FORMATS])


def embedded_as_attachments(source: str, attachments: Attachments) -> tuple[str, Attachments, list[str]]:
    """A text whose embedded pictures (data: addresses) have become attachments, so that the text stays short.

    Returns:
        The text, all attachments, and a sentence for each picture that is refused.
    """
    found: dict[str, Any] = {}
    names: dict[str, str] = {}  # by what stands in the text

    def name(match: re.Match[str]) -> str:
        if match[0] not in names and len(names) == 10 * MAX_NUMBER:  # as many as attached() looks at
            return "attachment:more"
        if match[0] not in names:
            new = f"embedded-{len(names) + 1}.{match[1].lower().partition('+')[0]}"
            while new in attachments:
                new = f"another-{new}"
            names[match[0]], found[new] = new, {f"image/{match[1].lower()}": match[2]}
        return f"attachment:{names[match[0]]}"

    source = _EMBEDDED.sub(name, source)
    if not found:
        return source, attachments, []
    kept, refused = attached(attachments | found)
    return source, kept, refused


class Budget:
    """What the pictures of one notebook may have together: a page shows them all."""

    def __init__(self) -> None:
        self._left = {what: float(most) for what, most in MAX_ALL.items()}

    def take(self, attachments: Attachments) -> tuple[Attachments, list[str]]:
        """The pictures of one more cell for which there is room, and a sentence for each of the others."""
        kept, refused = {}, []
        for name, data in attachments.items():
            content = decoded(next(iter(data.values())))
            width, height = size_of(content) or (0, 0)
            needs = dict(zip(MAX_ALL, (1, len(content) / 2**20, width * height / 10**6), strict=True))
            if any(needs[what] > left for what, left in self._left.items()):
                most = ", ".join(f"{most} {what}" for what, most in MAX_ALL.items())
                refused.append(f"The picture {name} is not shown: a notebook may have {most} in all.")
                continue
            self._left = {what: left - needs[what] for what, left in self._left.items()}
            kept[name] = data
        return kept, refused


def key(name: str) -> str:
    """A name as it is compared: editors write blanks and accents in several ways."""
    return unicodedata.normalize("NFC", unquote(name)).strip()


def find(name: str, attachments: Mapping[str, Mapping[str, str]]) -> str | None:
    """The attachment that a text means by a name; None where there is none."""
    if name in attachments:
        return name
    return next((known for known in attachments if key(known) == key(name)), None)


def referenced(source: str, attachments: Attachments) -> Attachments:
    """The attachments that a text names."""
    known = {key(name): name for name in attachments}
    names = {known.get(key(name)) for name in set(_NAMED.findall(source) if known else ())}
    names |= {name for name in attachments if f"attachment:{name}" in source}
    return {name: data for name, data in attachments.items() if name in names}


def joined(parts: Sequence[tuple[str, Attachments]]) -> tuple[str, Attachments]:
    """Several texts as one; where two have different pictures of the same name, the later one gets another name."""
    texts: list[str] = []
    together: Attachments = {}
    for source, attachments in parts:
        for name, data in attachments.items():
            new = name
            while new in together and together[new] != data:
                new = f"another-{new}"
            together[new] = data
            if new != name:
                spelled = "|".join(re.escape(form) for form in {name, quote(name), unquote(name)})
                source = re.sub(rf"attachment:(?:{spelled})(?![\w.%-])", f"attachment:{quote(new)}", source)
        texts.append(source)
    # The same text twice is a copy that was left over.
    texts = list(dict.fromkeys(text.strip("\n") for text in texts))
    return "\n\n".join(text for text in texts if text.strip()), together
