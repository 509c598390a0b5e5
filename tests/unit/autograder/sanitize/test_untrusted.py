"""Text from a submission, cleaned for each place where it is shown."""

import base64
import csv
import io
import json

import pytest
from bs4 import BeautifulSoup

from autograder.sanitize import untrusted
from support.sample_class import assert_harmless


class Rude:
    def __str__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\text", "text"),
        ("a\x00b\x08c\x7f", "abc"),
        ("a\rb\r\nc", "a\nb\nc"),
        ("\ud800", "\ufffd"),
        ("abc\u202egnp.exe", "abcgnp.exe"),
        (None, "None"),
        (Rude(), ""),
    ],
)
def test_text_holds_no_control_characters(value, expected):
    assert untrusted.text(value) == expected


def test_an_int_too_long_to_print_is_no_text():
    assert untrusted.text(10**5000) == ""


@pytest.mark.parametrize("limit", [0, 3, 10, 100])
def test_text_is_cut_to_its_limit(limit):
    assert len(untrusted.text("x" * 1000, limit)) == limit
    assert untrusted.text("x" * limit, limit) == "x" * limit


def test_a_terminal_gets_one_line():
    assert untrusted.terminal("a\n\n  b\x1b[2J\tc") == "a b c"


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1", "\x00=1", "\uff1d1", "\x1b[0m=1", "\u200b=1"]


@pytest.mark.parametrize("value", FORMULAS)
def test_no_csv_field_is_a_formula(value):
    written = io.StringIO()
    csv.writer(written).writerow([untrusted.csv_field(value)])
    (row,) = csv.reader(io.StringIO(written.getvalue()))
    assert row[0].startswith("'")


@pytest.mark.parametrize(("value", "expected"), [(-1.5, -1.5), (3, 3), (None, ""), (float("nan"), ""), ("a", "a")])
def test_csv_numbers_stay_numbers(value, expected):
    assert untrusted.csv_field(value) == expected


def test_json_safe_is_strict_json_that_utf_8_can_hold():
    deep = []
    for _ in range(5000):
        deep = [deep]
    odd = ["\ud800", float("nan"), float("inf"), 2**80, 1.5, True, None, ("x",)]
    safe = untrusted.json_safe({"a\x00": odd, 3: {"y": Rude()}, "deep": deep})
    assert safe["a\ufffd"] == ["\ufffd", None, None, None, 1.5, True, None, ["x"]]
    assert safe["3"] == {"y": ""}
    json.dumps(safe, allow_nan=False).encode()


ATTACKS = [
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<SCRIPT/x>alert(1)</SCRIPT>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<svg><p><style><img src=x onerror=alert(1)></style></p></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=alert(1)&gt;'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<img src=https://evil.example/x.png>",
    "<img src=//evil.example/x.png srcset=https://evil.example/y.png>",
    "<img src='data:image/svg+xml;base64,PHN2Zy8+'>",
    "<img src='data:text/html;base64,PHNjcmlwdD4='>",
    "<a href='javascript:alert(1)'>x</a><a href='https://evil.example'>y</a>",
    "<p onclick=alert(1) onmouseover=alert(1)>x</p>",
    "<p style='background: url(https://evil.example)'>x</p>",
    "<p style='background-color: red; position: fixed; top: 0'>x</p>",
    "<p style='color: expression(alert(1))'>x</p>",
    "<p style='color: \\75rl(https://evil.example)'>x</p>",
    "<style>@import 'https://evil.example'</style>",
    "<link rel=stylesheet href=https://evil.example><meta http-equiv=refresh content='0;https://evil.example'>",
    "<base href=https://evil.example><form action=https://evil.example><button formaction=x>x</button></form>",
    "<object data=x></object><embed src=x><video src=x></video><audio src=x></audio>",
    "<div id=result-1 class=verdict>forged</div>",
    "<!-- <script>alert(1)</script> --><![CDATA[<script>alert(1)</script>]]>",
    "<table background=https://evil.example><td background=x>x",
    "\x00<scr\x00ipt>alert(1)</scr\x00ipt>",
    "<img name=submission_id id=models src=x><p id=written-scale class=score data-toggle=tooltip title='<b>'>x</p>",
    "<details open ontoggle=alert(1)>x</details><select autofocus onfocus=f()><textarea autofocus onfocus=alert(1)>",
    "<svg><a xlink:href='javascript:alert(1)'>x</a></svg><math href='javascript:alert(1)'>x</math>",
    "<picture><source srcset=//evil.example><img src=x></picture><video poster=//evil.example></video>",
    "<p title='>b<img src=x onerror=alert(1)>'><!--><img src=x onerror=alert(1)>--><?x ><img src=x onerror=alert(1)>?>",
    "<xmp><p title='</xmp><img src=x onerror=alert(1)>'></xmp><plaintext><img src=x onerror=alert(1)>",
]


@pytest.mark.parametrize("markup", ATTACKS)
def test_html_does_nothing(markup):
    clean = untrusted.html(markup)
    assert_harmless(clean)
    soup = BeautifulSoup(clean, "html.parser")
    assert not soup.find(["a", "style", "meta"]) and not soup.find(id=True) and not soup.find(class_=True)
    assert "evil.example" not in clean


def test_html_keeps_what_is_harmless():
    picture = "data:image/png;base64,iVBORw0KGgo="
    clean = untrusted.html(
        "<p style='color: red; float: left'>a <b>b</b></p><table><tr><td colspan='2'>c</td></tr></table>"
        f"<img alt='d' src='{picture}'>"
    )
    soup = BeautifulSoup(clean, "html.parser")
    assert soup.get_text() == "a bc"
    assert soup.p["style"].replace(" ", "").rstrip(";") == "color:red"
    assert soup.td["colspan"] == "2" and soup.img["src"] == picture


def test_without_a_css_parser_no_style_is_kept(monkeypatch):
    monkeypatch.setattr(untrusted, "CSSSanitizer", None)
    assert untrusted.html("<p style='color: red'>x</p>") == "<p>x</p>"


LARGE = {
    "deep": "<div>" * 19_000, "hidden": "<div></p>" * 9_000, "lists": "<ul>" + "<li>x</li>" * 1_800 + "</ul>",
    "bold": "<b>" * 199 + "<p>" * 2_000 + "x", "tags": "<" * 30_000, "long": "x" * 3_000_000,
}  # fmt: skip


@pytest.mark.parametrize("markup", LARGE.values(), ids=LARGE)
def test_large_and_deep_markup_is_survived(markup):
    assert_harmless(untrusted.html(markup))


@pytest.mark.parametrize(
    ("style", "kept"),
    [
        ("color: red; padding: 4px 8px", "color: red; padding: 4px 8px;"),
        ("font-size: 13px; line-height: 1.45; max-width: 60em", "font-size: 13px; line-height: 1.45; max-width: 60em;"),
        ("background-color: transparent; border: 0", "background-color: transparent; border: 0;"),
        ("color: rgb(1, 2, 3); font-weight: 700", "color: rgb(1, 2, 3); font-weight: 700;"),
        ("display: none", ""), ("display: inline-block", "display: inline-block;"), ("opacity: 0", ""),
        ("padding-top: 100000px", ""), ("height: 1e9px", ""), ("width: -5px", ""), ("width: 99999vw", ""),
        ("line-height: 400", ""), ("font-size: 0", ""), ("font-size: 2000%", ""), ("color: transparent", ""),
        ("color: rgba(0,0,0,0)", ""), ("color: #0000", ""), ("vertical-align: 900px", ""),
        ("width: calc(100vw * 90)", ""),
        ("border: 5000px solid red", ""), ("padding: var(--x)", ""), ("margin-top: -500px", ""),
    ],
)  # fmt: skip
def test_styles_neither_hide_nor_push_away(style, kept):
    assert styles_of(f"<p style='{style}'>x</p>") == kept.replace(" ", "")


def styles_of(markup: str) -> str:
    return BeautifulSoup(untrusted.html(markup), "html.parser").p.get("style", "").replace(" ", "")


def test_a_picture_that_a_browser_would_choke_on_is_a_sentence():
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + bytes(9)
    clean = untrusted.html(f"<img src='data:image/png;base64,{base64.b64encode(header).decode()}'>")
    assert "60000 x 60000 pixels" in clean and "<img" not in clean


@pytest.mark.parametrize("markup", ["<![svg", "<!x", "<![CDATA[", "<?x", "a <![if> b", "<!--" * 50])
def test_what_a_parser_refuses_is_shown_as_text(markup):
    assert isinstance(untrusted.html(markup), str)
