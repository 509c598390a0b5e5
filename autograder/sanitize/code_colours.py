"""Python code as HTML in the colours of nbconvert's pages, in time that grows with its length and not faster.

Pygments is what nbconvert uses, and some code of a few kilobytes keeps it busy for hours: long runs of blanks, a
percent sign before zeros, `match` before `a.a.a`. A submission could so hang the page that shows it. The one pattern
below never goes back over what it has read: each of its parts ends at the first character that does not belong to
it, and a string that nobody closes ends at its line's end, or the text's.
"""

from __future__ import annotations

import builtins
import html
import keyword
import re

MAX_COLOURED = 20_000  # characters of one cell; a longer one is shown as plain text
_TOKEN = re.compile(
    r"""
      (?P<c1> \#[^\n]*+ )
    | (?P<s2> (?:[rRbBuUfFtT]{1,2})? (?:
          \"{3} (?: [^"\\] | \\. | \"(?!\"\") )*+ (?: \"{3} | \\? \Z )
        | '{3} (?: [^'\\] | \\. | '(?!'') )*+ (?: '{3} | \\? \Z )
        | " (?: [^"\\\n] | \\. )*+ "?
        | ' (?: [^'\\\n] | \\. )*+ '?
      ) )
    | (?P<mi> \.?\d (?: [eE][+-](?=\d) | [\w.] )*+ )
    | (?P<nd> ^[ \t]{0,200}+ @ [\w.]*+ )
    | (?P<name> [^\W\d]\w*+ )
    | (?P<o> [-+*/%@&|^~<>=!:.?]++ )
    | [^\w"'\#\n@+*/%&|^~<>=!:.?-]++ | \n | .
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_CONSTANTS = frozenset({"True", "False", "None"})
_KEYWORDS = frozenset(keyword.kwlist) - _CONSTANTS
_BUILTINS = frozenset(name for name in dir(builtins) if not name.startswith("_"))
_WORDS = frozenset({"and", "or", "not", "in", "is"})  # operators


def coloured(source: str, plain: bool = False) -> str:
    """Code as an HTML block, its tokens in spans with the classes that Pygments' style sheets know.

    Args:
        plain: in one colour, as code is that is longer than MAX_COLOURED.
    """
    source = source.strip("\n")
    inside = html.escape(source) if plain or len(source) > MAX_COLOURED else _spans(source)
    return f'<div class="highlight hl-ipython3"><pre><span></span>{inside}\n</pre></div>\n'


def _spans(source: str) -> str:
    parts: list[str] = []
    before = ""  # the last token that is not blank
    for token in _TOKEN.finditer(source):
        kind, written = token.lastgroup or "", html.escape(token[0])
        if kind == "name":
            kind = _kind_of_name(token[0], before)
        parts.append(f'<span class="{kind}">{written}</span>' if kind else written)
        if not token[0].isspace():
            before = token[0]
    return "".join(parts)


def _kind_of_name(name: str, before: str) -> str:
    """The class of a name, by what stands before it; "" for a plain one."""
    if before in ("def", "class"):
        return "nf" if before == "def" else "nc"
    if before == ".":
        return ""
    if name in _CONSTANTS:
        return "kc"
    if name in _WORDS:
        return "ow"
    if name in _KEYWORDS:
        return "kn" if name in ("import", "from") else "k"
    return "nb" if name in _BUILTINS else ""
