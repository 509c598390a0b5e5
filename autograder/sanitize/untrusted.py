"""Everything that comes from a submission is untrusted text; these functions make it showable.

Each takes a value of any type and never raises, so that one strange submission cannot stop the
page, the table, or the export of a class.
"""

from __future__ import annotations

import html as entities
import math
import re
import secrets
import unicodedata
import warnings
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import bleach
from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning, Tag, XMLParsedAsHTMLWarning

from autograder.sanitize import pictures, styles

try:
    from bleach.css_sanitizer import CSSSanitizer
except ImportError:  # without tinycss2 no style can be checked, so none is let through
    CSSSanitizer = None
# Terminal escapes: CSI (colours, cursor), OSC, DCS and their like (titles, links, clipboard), the rest.
ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Control characters but tab and newline; marks that reorder, or vanish from, what a reader sees.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
SURROGATES = re.compile("[\ud800-\udfff]")
FORMULA = "=+-@\t\r"  # what makes a spreadsheet compute a cell instead of showing it
CUT = " ..."
MAX_KNOWN = 50_000  # characters of an output that is kept, in case another one is the same
MAX_MARKUP = 2_000_000  # characters of one output; embedded pictures count
MAX_TAGS = 20_000  # tags and entities of one output: what a parser is slow at
MAX_STYLE = 1000  # characters of one tag's style
MAX_DEPTH = 100  # of JSON
MAX_NESTING = 200  # open tags: parsers take quadratic time
TAGS = frozenset(
    "p br hr h1 h2 h3 h4 h5 h6 ul ol li dl dt dd blockquote pre code kbd samp var em strong b i u s del ins sub sup"
    " small span div table thead tbody tfoot tr th td caption img figure figcaption details summary".split()
)
REMOVED = (
    "script style svg math template iframe object embed noscript textarea title head select canvas audio video form"
)
PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=\s]+")
PLACEHOLDER = re.compile(r"data:image/(?:png|jpeg);base64,[0-9a-f]{32}")  # for an attached picture
# Commands of MathJax that make links, names, styles or files; a formula with one of these is shown as its source.
COMMANDS = (
    "href url require style class cssId data html[A-Za-z]* mmlToken bbox unicode includegraphics action[A-Za-z]*"
    " toggle mathtip texttip"
).split()
FORMULAS = re.compile(rf"\\(?=(?:{'|'.join(COMMANDS)})(?![A-Za-z]))")
TAG = re.compile(r"""(<(?:[^<>"']|"[^"]*"|'[^']*')*>)""")
ATTRIBUTES = ("src", "alt", "width", "height", "style", "colspan", "rowspan", "scope")
STYLES = (
    "color background-color font-weight font-style font-family font-size text-align text-decoration vertical-align"
    " white-space width max-width height padding padding-top padding-right padding-bottom padding-left"
    " border border-top border-right border-bottom border-left border-color border-style border-width"
    " border-collapse border-radius line-height display"
).split()


def text(value: Any, limit: int = 2000) -> str:
    """Plain text: no control characters or terminal escapes, at most `limit` characters."""
    value = _string(value)[: 4 * limit + 100]  # escapes may shrink it, so cut once before and once after
    value = CONTROLS.sub("", ESCAPES.sub("", value.replace("\r\n", "\n").replace("\r", "\n")))
    value = SURROGATES.sub("\ufffd", re.sub("[\u2028\u2029]", "\n", value))
    return value if len(value) <= limit else value[: max(limit - len(CUT), 0)] + CUT[:limit]


def terminal(value: Any, limit: int = 2000) -> str:
    """One line of plain text for a terminal."""
    return " ".join(text(value, limit).split())


def shown(name: Any, limit: int = 300) -> str:
    """A name on one line as it is; in quotes where a reader would not see all of it, such as a blank at its end."""
    name = _string(name)
    plain = terminal(name, limit)
    return plain if plain == name else terminal(repr(name), limit)


def csv_field(value: Any) -> str | int | float:
    """A field no spreadsheet takes for a formula: numbers as numbers, texts on one line."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value if math.isfinite(value) else ""
    if value is None:
        return ""
    if _string(value)[:1] in tuple(FORMULA):
        return "'" + terminal(value)
    value = terminal(value)
    # Some spreadsheets take the full-width signs too, and look past blanks.
    return "'" + value if unicodedata.normalize("NFKC", value[:1]) in tuple(FORMULA) else value


def json_safe(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Plain JSON that every database and parser takes: NUL, lone surrogates, NaN and infinities replaced."""
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {json_safe(_string(key)): json_safe(entry, depth - 1) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(entry, depth - 1) for entry in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= 63 else None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return SURROGATES.sub("\ufffd", _string(value).replace("\x00", "\ufffd"))


def html(markup: Any, attachments: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """Markup that shows text, tables and PNG or JPEG pictures, embedded or attached, and does nothing else.

    Scripts, SVG, frames and forms go with their contents; links become their text; other tags and
    attributes are dropped, inline styles are reduced to a harmless subset.

    Args:
        attachments: of the cell, as pictures.attached() has checked them.
    """
    markup = _string(markup)
    if attachments:
        return _clean(markup, attachments)
    return (_html if len(markup) <= MAX_KNOWN else _html.__wrapped__)(markup)


@lru_cache(maxsize=256)
def _html(markup: str) -> str:
    """The same; verdicts and short answers are alike in many submissions."""
    return _clean(markup, {})


def _clean(markup: str, attachments: Mapping[str, Mapping[str, str]]) -> str:
    tags = max(markup.count("<") + markup.count("&"), markup.count(">"))
    if len(markup) > MAX_MARKUP or tags > MAX_TAGS or _nesting(markup) > MAX_NESTING:
        return f"<p>[an output of {len(markup)} characters is too large, or nested too deeply, to be shown]</p>"
    placeholders: dict[str, str] = {}  # addresses of attached pictures, put in last: they may be long
    try:
        markup = _cleaner().clean(_without_tags(markup, REMOVED.split(), attachments, placeholders))
    except Exception:  # parsers give up in all kinds of ways: "<![x" is an error of its own in BeautifulSoup
        return f"<pre>{entities.escape(text(markup, 20_000))}</pre>"
    parts = TAG.split(markup)
    parts[::2] = [FORMULAS.sub(r"\\<span></span>", part) for part in parts[::2]]
    return PLACEHOLDER.sub(lambda found: placeholders.get(found[0], found[0]), "".join(parts))


def _nesting(markup: str) -> int:
    """How many tags are open at once, at most; a closing tag counts only for an open one of its name."""
    still: Counter[str] = Counter()
    deepest = now = 0
    for closing, name in re.findall(r"<(/?)([a-zA-Z][^\s/>]*)", markup):
        name = name.lower()
        if closing and still[name]:
            still[name] -= 1
            now -= 1
        elif not closing and name not in ("br", "hr", "img", "col", "wbr", "input", "meta", "link"):
            still[name] += 1
            now += 1
            deepest = max(deepest, now)
    return deepest


def _without_tags(
    markup: str, tags: list[str], attachments: Mapping[str, Mapping[str, str]], placeholders: dict[str, str]
) -> str:
    """The markup without the contents of `tags`; a picture that is not shown becomes a sentence."""
    with warnings.catch_warnings():
        for doubt in (MarkupResemblesLocatorWarning, XMLParsedAsHTMLWarning):  # about what a student wrote
            warnings.simplefilter("ignore", doubt)
        soup = BeautifulSoup(SURROGATES.sub("\ufffd", CONTROLS.sub("", markup)), "html.parser")
    for found in soup.find_all(tags):
        if not found.decomposed:
            found.decompose()
    for found in soup.find_all(True):  # the parser behind this one takes quadratic time for the attributes of a tag
        found.attrs = {name: value for name, value in found.attrs.items() if name in ATTRIBUTES}
    times: Counter[str] = Counter()
    for picture in soup.find_all("img"):
        src = str(picture.get("src", "")).strip()
        if src.lower().startswith("attachment:"):
            name = pictures.find(src[len("attachment:") :], attachments)
            if name is None:
                named = terminal(pictures.key(src[len("attachment:") :]), 80)
                _replace_by(picture, f"[the picture {named} is not shown: it is missing, or of a kind that is refused]")
                continue
            times[name] += 1
            if times[name] > pictures.MAX_TIMES:  # else a small file could become a page of gigabytes
                _replace_by(picture, f"[the picture {terminal(name, 80)} again]")
                continue
            mime, data = next(iter(attachments[name].items()))
            picture["src"] = src = f"data:{mime};base64,{secrets.token_hex(16)}"
            placeholders[src] = f"data:{mime};base64,{data}"
        elif not PICTURE.fullmatch(src):
            _replace_by(picture, _not_shown(src))
            continue
        elif large := pictures.too_large(pictures.decoded(src.partition(",")[2])):
            _replace_by(picture, f"[a picture is not shown: {large}]")
            continue
        if not picture.get("alt"):
            picture["alt"] = "a picture without a description"
    return str(soup)


def _replace_by(picture: Tag, sentence: str) -> None:
    """Make a picture a sentence, where it stands: to take it out takes time for each of its neighbours."""
    picture.name, picture.attrs = "span", {}
    picture.string = sentence


def _not_shown(src: str) -> str:
    if src.lower().startswith("data:"):
        return f"[a picture is not shown: {pictures.WANTED}]"
    return "[a picture from elsewhere is not shown]"


def _cleaner() -> bleach.Cleaner:
    def picture(_tag: str, name: str, value: str) -> bool:
        if name in ("width", "height"):
            return re.fullmatch(r"\s*\d{1,4}(?:px|%)?\s*", value) is not None
        return name == "alt" or (name == "src" and PICTURE.fullmatch(value.strip()) is not None)

    def style(_tag: str, name: str, value: str) -> bool:
        if name != "style" or CSSSanitizer is None or len(value) > MAX_STYLE:
            return False
        return not re.search(r"url|expression|[\\@]|/\*", value, re.I)

    def cell(tag: str, name: str, value: str) -> bool:
        if name in ("colspan", "rowspan"):
            return re.fullmatch(r"\s*\d{1,3}\s*", value) is not None
        return name == "scope" or style(tag, name, value)

    return bleach.Cleaner(
        tags=TAGS,
        attributes={"img": picture, "td": cell, "th": cell, "*": style},
        protocols={"data"},
        strip=True,
        css_sanitizer=_styles(),
    )


@lru_cache(maxsize=1)
def _styles() -> Any:
    """The check of styles, of which a table has hundreds that are the same; None where there is none."""
    if CSSSanitizer is None:
        return None
    sanitizer = CSSSanitizer(allowed_css_properties=STYLES)
    check = sanitizer.sanitize_css

    def modest(style: str) -> str:
        return " ".join(f"{kept.strip()};" for kept in check(style).split(";") if styles.modest(kept))

    known = lru_cache(maxsize=1024)(modest)
    sanitizer.sanitize_css = lambda style: (known if len(style) < 300 else modest)(style)
    return sanitizer


def _string(value: Any) -> str:
    try:
        return value if type(value) is str else str(value)
    except Exception:  # an object whose __str__ raises, an int too long to print
        return ""
