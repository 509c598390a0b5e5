"""formgrader's pages under a Content-Security-Policy that runs none of a submission's scripts.

nbgrader's templates hold scripts of their own. Each gets a nonce, new for every page, when its *template* is read:
what a submission wrote comes in later, as a value, and never gets one. The few handlers in attributes are allowed by
their hashes. No template is copied, and a course without our configuration is shown as ever.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import secrets
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader
from jinja2.ext import Extension
from markupsafe import Markup
from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode
from nbgrader.server_extensions.formgrader import handlers
from nbgrader.server_extensions.formgrader.base import BaseHandler
from traitlets.config import Config

SECTION = "ViteduFormgrader"
MATHJAX = "mathjax.html.j2"  # nbconvert's
_exporters: list[tuple[Config, SubmissionPage]] = []
_nonce: ContextVar[str] = ContextVar("nonce", default="")
_SCRIPT = re.compile(r"(<script\b)([^>]*>)(.*?)(</script>)", re.DOTALL | re.IGNORECASE)
_VALUE = re.compile(r"\{\{\s*((?:resources\.)?\w+|cell\.metadata\.nbgrader\.grade_id)\s*\}\}")
_HANDLER = re.compile(r"""\son[a-z]+="([^"{]*)\"""", re.IGNORECASE)
NONCE = ' nonce="{{ csp_nonce() }}"'
_PLAIN = ("css", "super")  # what stands in a page as it is


class Nonces(Extension):
    """Gives every script in formgrader's own templates the page's nonce, and writes values so that they stay values."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals["csp_nonce"] = _nonce.get
        environment.filters["in_script"] = in_script
        environment.filters["in_markup"] = in_markup

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """A template's text, before it is compiled; of others than formgrader's only the one that loads MathJax."""
        path = Path(filename or "")
        if path.name == MATHJAX:
            return _SCRIPT.sub(rf"\1{NONCE}\2\3\4", _configured_early(source))
        if Path(handlers.template_path) not in path.parents:
            return source
        done, end = [], 0
        for script in _SCRIPT.finditer(source):
            done += [_values(source[end : script.start()], "in_markup"), script[1], NONCE]
            done += [_values(script[2], "in_markup"), _values(script[3], "in_script"), script[4]]
            end = script.end()
        return "".join([*done, _values(source[end:], "in_markup")])


def _configured_early(source: str) -> str:
    """The template that loads MathJax, its configuration as a script that runs when MathJax asks for it.

    A script of the type text/x-mathjax-config is evaluated as a text by MathJax, which the policy forbids.
    """
    scripts = list(_SCRIPT.finditer(source))
    settings = next((script for script in scripts if "text/x-mathjax-config" in script[2]), None)
    if settings is None:
        return source
    hook = f'MathJax.Hub.Register.StartupHook("End Config", function () {{{settings[3]}}});'
    early = f"<script>window.MathJax = {{AuthorInit: function () {{{hook}}}}};</script>\n"
    without = source[: settings.start()] + source[settings.end() :]
    return without[: scripts[0].start()] + early + without[scripts[0].start() :]


def _values(source: str, how: str) -> str:
    return _VALUE.sub(lambda m: m[0] if m[1] in _PLAIN else f"{{{{ {m[1]} | {how} }}}}", source)


def in_markup(value: Any) -> Any:
    """A value in the text or an attribute of a page."""
    return value if isinstance(value, Markup | int | float) else Markup.escape(str(value))


def in_script(value: Any) -> Any:
    """A value between the quotes of a script's text."""
    written = json.dumps(str(value))[1:-1]
    return Markup(re.sub("[<>&'\u2028\u2029]", lambda m: f"\\u{ord(m[0]):04x}", written))


@lru_cache(maxsize=1)
def _handlers() -> str:
    """The hashes of the handlers that stand in attributes of formgrader's templates, as a policy names them."""
    paths = [path for suffix in ("*.tpl", "*.j2") for path in sorted(Path(handlers.template_path).rglob(suffix))]
    found = dict.fromkeys(code for path in paths for code in _HANDLER.findall(path.read_text("utf-8")))
    digests = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in found]
    return " ".join(["'unsafe-hashes'", *(f"'sha256-{digest}'" for digest in digests)]) if digests else ""


def policy(nonce: str) -> str:
    """The policy of one page: its own scripts and styles, MathJax, and this server; nothing else from anywhere."""
    mathjax = urlsplit(HTMLExporter().mathjax_url)
    there = f"{mathjax.scheme}://{mathjax.netloc}{mathjax.path.rpartition('/')[0]}/"
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'nonce-{nonce}' {there} {_handlers()}".strip(),
            f"style-src 'self' 'unsafe-inline' {there}",
            f"font-src 'self' data: {there}",
            f"img-src 'self' data: {there}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


class SubmissionPage(HTMLExporter):
    """nbgrader's page of a submission, its scripts with nonces; what is cleaned is configured in feedback_page.py."""

    def __init__(self, config: Config) -> None:
        super().__init__(config=config, template_name="formgrade", extra_template_basedirs=[handlers.template_path])

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **kw: Any) -> tuple[Any, dict[str, Any]]:
        """As every exporter with a template; HTMLExporter would parse the page anew, which takes minutes for some."""
        return super(HTMLExporter, self).from_notebook_node(nb, self._init_resources(resources), **kw)

    def _create_environment(self) -> Environment:
        environment = super()._create_environment()
        environment.add_extension(Nonces)
        return environment


@lru_cache(maxsize=1)
def _pages() -> Environment:
    """formgrader's other pages."""
    return Environment(loader=FileSystemLoader([handlers.template_path]), extensions=[Nonces])


def configure(c: Config) -> None:
    """Switch the policy on for courses that have this configuration."""
    c[SECTION].policy = True  # what tells our courses: formgrader can be led to another one while it runs


def is_ours(handler: BaseHandler) -> bool:
    """Whether a page is of a course that has this configuration."""
    formgrader = handler.settings.get("nbgrader_formgrader")
    return formgrader is not None and bool(dict.get(formgrader.config, SECTION))


def nonce_of(handler: BaseHandler) -> str:
    """The nonce of the page that a handler is about to send."""
    handler.__dict__.setdefault("_vitedu_nonce", secrets.token_urlsafe(18))
    return handler.__dict__["_vitedu_nonce"]


def exporter_of(handler: BaseHandler) -> HTMLExporter:
    """What makes the page of a submission; the last one stays, its templates are compiled."""
    _nonce.set(nonce_of(handler))
    config = handler.settings["nbgrader_formgrader"].config
    if not _exporters or _exporters[0][0] != config:
        _exporters[:] = [(copy.deepcopy(config), SubmissionPage(config))]
    return _exporters[0][1]


def rendered(handler: BaseHandler, name: str, **values: Any) -> str:
    """One of formgrader's other pages."""
    _nonce.set(nonce_of(handler))
    return _pages().get_template(name).render(**values)
