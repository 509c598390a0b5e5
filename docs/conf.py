"""How Sphinx builds the site: `make site` writes it to .run/site/, without a network.

The address of a published repository is not known here. Where the environment variable VITEDU_REPOSITORY names one
(OWNER/NAME on GitHub), pages of labs get buttons for Colab, Kaggle and Binder, and the site links to the repository;
VITEDU_BRANCH is its branch, "main" if it is not set.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

project = "vitedu"
author = "The vitedu authors"
copyright = author
(release,) = re.findall(r'^__version__ = "(.*)"$', (ROOT / "vitedu/__init__.py").read_text("utf-8"), re.MULTILINE)
version = release

repository = os.environ.get("VITEDU_REPOSITORY", "").removeprefix("https://github.com/").strip("/")
repository_branch = os.environ.get("VITEDU_BRANCH", "main")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "bundled_mathjax",
    "lab_pages",
    "repository_links",
]
exclude_patterns = ["_build", "_ext"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", r".*")]  # annotations name torch, numpy and types of ours that have no page

# Pages and notebooks. What a notebook shows is stored in it: nothing is run.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # else the scripts of live widgets would come from elsewhere; no notebook stores any
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
# A fenced block without a language in a notebook is pseudocode.
highlight_language = "python"
suppress_warnings = [
    "myst.header",  # a page of the repository that is shown inside another one begins with its own heading
]

default_role = "code"  # a name in backquotes, in docstrings
autodoc_mock_imports = ["timm", "transformers"]  # seconds to import, and an extra that a site does not need
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

# No request leaves the reader's machine: MathJax and the theme's fonts and scripts come from installed packages.
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}  # the menu could load parts from elsewhere

html_theme = "sphinx_book_theme"
html_title = "vitedu"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_use_index = html_domain_indices = False
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "use_download_button": False,
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the search field stands in the sidebar
    "show_toc_level": 2,
}
if repository:
    html_theme_options |= {"repository_url": f"https://github.com/{repository}", "use_repository_button": True}

linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False
