"""How the documentation is built: ``make docs``.

The source folder is the repository, so that links between its Markdown files work here as they do in a checkout. Pages
of the reference hold comments such as ``<!-- from code: rules -->``, which give way to what the code says when the
pages are built.
"""

import os
import pkgutil
import re
import sys
from pathlib import Path

from pygments.lexers.special import TextLexer

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "src")]

from from_code import MAKERS  # noqa: E402

from faceneuro import __version__  # noqa: E402

project = "faceneuro"
author = copyright = "The faceneuro authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
PAGES = {"docs", "config", "profiles", "benchmarks"}
# Folders that hold no page are not even looked through: some of them are large.
exclude_patterns = [name for name in os.listdir(ROOT) if name not in PAGES] + ["docs/_*", "config/presets"]

# Two hyphens begin an option.
smartquotes = False
myst_enable_extensions = ["attrs_inline", "deflist"]
myst_heading_anchors = 4

# Every function, module and constant that a docstring names must be there; types are only names to look up.
nitpicky = True
nitpick_ignore_regex = [("py:(class|obj|exc|attr)", ".*")]
suppress_warnings = ["ref.python"]
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# A page's contents are its modules; with every function among them they are too long to read, and slow to build.
toc_object_entries = False
python_use_unqualified_type_names = True
napoleon_use_ivar = True
napoleon_attr_annotations = False

html_theme = "furo"
html_title = f"faceneuro {version}"
html_copy_source = False
templates_path = ["_templates"]
# The start page is in docs/; who opens the folder is sent there.
html_additional_pages = {"index": "to_start.html"}


def fill(app, docname, source):
    """Put what the code says in the place of the comments that ask for it."""
    source[0] = re.sub(r"<!-- from code: (\w+) ?(\S*) -->", lambda found: MAKERS[found[1]](found[2]), source[0])


def returns_in_words(app, what, name, obj, options, lines):
    """What is returned is told in sentences here, where napoleon looks for a type in the first line."""
    text = re.sub(
        r"^(?:Returns|Yields)\n-+\n((?:.+(?:\n|$))+)",
        lambda found: "\n\n:returns: " + found[1].strip().replace("\n", "\n  ") + "\n",
        "\n".join(lines),
        flags=re.MULTILINE,
    )
    lines[:] = text.split("\n")


def is_there(app, env, node, contnode):
    """A constant without a description, or what another package offers, has no place to lead to, but must exist."""
    if node["reftype"] not in ("data", "func", "meth", "mod"):
        return None
    for name in (f"{node.get('py:module')}.{node['reftarget']}", node["reftarget"]):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError, ValueError):
            continue
        return contnode
    return None


def setup(app):
    app.connect("source-read", fill)
    # Before napoleon, which is called with 500.
    app.connect("autodoc-process-docstring", returns_in_words, priority=400)
    app.connect("missing-reference", is_there)
    app.add_lexer("csv", TextLexer)
