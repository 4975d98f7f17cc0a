"""The documentation builds without a warning and without a network, is complete, and its links lead somewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from markdown_it import MarkdownIt

from faceneuro import tables
from running import OFFLINE, ROOT

# As in running.py: a library tries at its import whether this machine has IPv6, by a socket that goes nowhere.
SPHINX = "import socket, sys; socket.has_ipv6 = False; from sphinx.cmd.build import main; sys.exit(main(sys.argv[1:]))"
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]

FOLDERS = ("", "docs", "docs/reference", "docs/reference/api", "config", "profiles", "benchmarks")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "embed": "src", "object": "data"}
"""Elements of a page that a browser loads something for, and the attribute that says what; beside links of styles."""


class Page(HTMLParser):
    """What a page shows in code, and what a browser loads for it."""

    def __init__(self, path: Path):
        super().__init__()
        self.codes: set[str] = set()
        self.loads: list[str] = []
        self.text = ""
        self._code: list[str] | None = None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "code":
            self._code = []
        if tag == "link" and given.get("rel") not in ("index", "search", "next", "prev", "canonical"):
            self.loads.append(given["href"])
        if given.get(LOADED.get(tag, "")):
            self.loads.append(given[LOADED[tag]])

    def handle_data(self, data):
        self.text += data
        if self._code is not None:
            self._code.append(data)

    def handle_endtag(self, tag):
        if tag == "code":
            self.codes.add("".join(self._code))
            self._code = None


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", "docs", "--doctree-dir", str(folder / "d")]
    call = [*OFFLINE, sys.executable, "-c", SPHINX, *options, ".", str(folder / "html")]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def reference(built: Path, name: str) -> Page:
    return Page(built / "docs" / "reference" / f"{name}.html")


def keys(schema: dict, definitions: dict, path: str) -> Iterator[str]:
    """The keys below a key of the configuration, by their full names."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    for part in [schema, *schema.get("allOf", [])]:
        while "$ref" in part:
            part = definitions[part["$ref"].rpartition("/")[2]]
        for key, below in part.get("properties", {}).items():
            yield f"{path}{key}"
            yield from keys(below, definitions, f"{path}{key}.")
        if isinstance(part.get("additionalProperties"), dict):
            yield from keys(part["additionalProperties"], definitions, f"{path}<name>.")


def test_every_key_of_the_configuration_is_in_the_reference_with_its_default_and_meaning(built):
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    page = reference(built, "configuration")
    names = [key for block, below in schema["properties"].items() for key in keys(below, schema["$defs"], f"{block}.")]
    kinds = [schema["$defs"][kind] for kind in ("virtual", "own_videos")]
    names += [f"cohorts.<name>.{key}" for kind in kinds for key in kind["required"]]
    assert len(names) > 200
    assert set(names) - page.codes == set()
    text = " ".join(page.text.split())
    entry = text[text.index("studies.als.training.joint_units") :]
    assert re.match(
        r"studies\.als\.training\.joint_units ?integer, at least 1; default 64 Units of the dense layer", entry
    )


def test_every_rule_of_the_workflow_is_in_the_reference(built, tmp_path):
    listed = subprocess.run([*SNAKEMAKE, "--list-rules"], cwd=tmp_path, capture_output=True, text=True, check=True)
    names = {line.split()[0] for line in listed.stdout.splitlines() if re.match(r"\w+$|\w+\s", line)}
    assert {"all", "train_als_fold", "sample_augmentation"} <= names
    assert names - reference(built, "rules").codes - reference(built, "commands").codes == set()


def test_every_table_and_column_is_in_the_reference(built):
    page = reference(built, "tables")
    schemas = {name: value for name, value in vars(tables).items() if isinstance(value, pa.Schema)}
    assert len(schemas) > 20
    headings = {re.sub(r"\W", "", line) for line in page.text.splitlines()}
    assert {name.lower().replace("_", "") for name in schemas} - headings == set()
    assert {column for schema in schemas.values() for column in schema.names} - page.codes == set()


def test_every_module_is_in_the_reference(built):
    text = "".join(Page(path).text for path in built.glob("docs/reference/api/*.html"))
    modules = [path.relative_to(ROOT / "src").with_suffix("") for path in ROOT.glob("src/faceneuro/**/*.py")]
    names = {".".join(path.parts).removesuffix(".__init__") for path in modules}
    assert {name for name in names if name not in text} == set()


def test_no_page_loads_anything_from_a_network(built):
    loaded = {(path.name, what) for path in built.rglob("*.html") for what in Page(path).loads}
    assert loaded
    assert {pair for pair in loaded if re.match(r"(\w+:)?//", pair[1])} == set()
    styles = {path.name: path.read_text() for path in built.rglob("*.css")}
    assert {name for name, text in styles.items() if re.search(r"url\([\"']?(\w+:)?//|@import", text)} == set()


def slug(heading: str) -> str:
    """The anchor that a heading has on the usual hosts."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links_and_anchors(path: Path) -> tuple[list[str], set[str]]:
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    inline = [child for token in tokens for child in token.children or ()]
    links = [child.attrGet("href") or child.attrGet("src") for child in inline if child.type in ("link_open", "image")]
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return links, {slug(re.sub(r"[`*]", "", heading)) for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(path):
    dead = []
    for link in links_and_anchors(path)[0]:
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in links_and_anchors(there)[1]):
            dead.append(link)
    assert dead == []
