"""What must hold of every page that the workflow writes: each check is a function that returns what it found wrong."""

import io
import re
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from chromium import NARROW, NARROWEST, WIDE, Visit
from PIL import Image
from playwright.sync_api import Page

LARGEST = 5_000_000
"""Bytes of a page."""

SERIOUS = ("serious", "critical")

PAPER = 680
"""CSS pixels that are printed across: A4 between margins of 1.5 cm."""

Check = Callable[[Visit], list[str]]


def shortened(texts: Sequence[str], most: int = 4) -> str:
    shown = "; ".join(" ".join(text.split())[:120] for text in texts[:most])
    return shown if len(texts) <= most else f"{shown}; and {len(texts) - most} more"


# --- The file


class _Source(HTMLParser):
    """The elements as they are written, and what of them names something outside of the file."""

    EMPTY = frozenset(
        ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
    )
    LOADING = frozenset(["action", "background", "data", "formaction", "manifest", "poster", "src", "srcset"])
    LOADS = re.compile(r"""@import|url\(\s*["']?(?!["']?\s*(?:data:|#))[^)]*""", re.IGNORECASE)

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.open: list[tuple[str, int]] = []
        self.loads: list[str] = []
        self.faults: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> of line {line} is never closed" for tag, line in self.open]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag not in self.EMPTY:
            self.open.append((tag, self.getpos()[0]))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attributes]
        if len(set(names)) < len(names):
            self.faults.append(f"<{tag}> in line {self.getpos()[0]} has an attribute twice")
        for name, value in attributes:
            loading = name in self.LOADING or (name in ("href", "xlink:href") and tag not in ("a", "area"))
            if loading and value and not value.startswith(("data:", "#")):
                self.loads.append(f"<{tag} {name}={value[:60]}>")
            if name == "style" and value:
                self.loads += self.LOADS.findall(value)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1][0] == tag:
            self.open.pop()
        else:
            inside = self.open[-1] if self.open else ("nothing", 0)
            self.faults.append(f"</{tag}> in line {self.getpos()[0]} ends <{inside[0]}> of line {inside[1]}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][0] == "style":
            self.loads += self.LOADS.findall(data)


def stands_alone(visit: Visit) -> list[str]:
    """One file, not too large, that names nothing to be loaded from elsewhere."""
    found = [f"it loads {load}" for load in _Source(visit.path.read_text(encoding="utf-8")).loads]
    size = visit.path.stat().st_size
    visit.notes.append(f"{size / 1e6:.2f} MB")
    if size > LARGEST:
        found.append(f"it has {size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f} MB")
    return found


def is_quiet(visit: Visit) -> list[str]:
    """Nothing is asked for, and the console says nothing, from the first line to the last and on paper."""
    with visit.opened() as page:
        page.evaluate(
            "async () => { for (let y = 0; y < document.body.scrollHeight; y += 800) { scrollTo(0, y);"
            " await new Promise(requestAnimationFrame); } }"
        )
        page.emulate_media(media="print")
    # Of all the other checks too: this one is the last.
    asked, said = sorted(set(visit.asked_for)), sorted(set(visit.said))
    return [f"it asks for {address}" for address in asked] + [f"the console says: {text}" for text in said]


STRUCTURE = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const ids = all("[id]").map((element) => element.id);
  const naming = ["for", "aria-labelledby", "aria-describedby", "aria-controls", "aria-owns", "headers"];
  return {
    tags: all("*").map((element) => element.localName),
    ids,
    places: all("[href^='#']").map((element) => decodeURIComponent(element.getAttribute("href").slice(1))),
    named: naming.flatMap((name) => all(`[${name}]`).flatMap((element) => element.getAttribute(name).split(/\\s+/))),
    painted: all("svg *").flatMap((element) => [...element.attributes])
      .flatMap((attribute) => [...attribute.value.matchAll(/url\\(["']?#([^"')]+)/g)].map((match) => match[1])),
    headings: all("h1, h2, h3, h4, h5, h6")
      .map((element) => [Number(element.localName[1]), element.textContent.trim()]),
    language: document.documentElement.lang,
    title: document.title.trim(),
    mode: document.compatMode,
    encoding: document.characterSet,
  };
}"""


def is_well_formed(visit: Visit) -> list[str]:
    """Elements are nested as they are written, ids are unique, links lead somewhere, headings are in order."""
    source = _Source(visit.path.read_text(encoding="utf-8"))
    with visit.opened(scripts=False) as page:
        seen = page.evaluate(STRUCTURE)
    found = source.faults[:5]
    for written, made in zip([*source.tags, "the end"], [*seen["tags"], "the end"], strict=False):
        if written != made.lower():
            found.append(f"the browser mends it: it makes <{made}> where <{written}> is written")
            break
    ids = Counter(seen["ids"])
    found += [f"the id {name!r} is given {times} times" for name, times in ids.items() if times > 1]
    for what in ("places", "named", "painted"):
        found += [f"#{name} is referred to, and is nowhere" for name in sorted(set(seen[what])) if name not in ids]
    levels = [level for level, _ in seen["headings"]]
    if levels.count(1) != 1:
        found.append(f"it has {levels.count(1)} first headings (h1), not one")
    if levels and levels[0] != 1:
        found.append(f"its first heading is an h{levels[0]}")
    for (above, _), (below, text) in pairwise(seen["headings"]):
        if below > above + 1:
            found.append(f"the heading {text!r} (h{below}) follows an h{above}")
    found += [f"the heading of an h{level} is empty" for level, text in seen["headings"] if not text]
    wanted = {"language": "en", "mode": "CSS1Compat", "encoding": "UTF-8"}
    found += [f"its {name} is {seen[name]!r}, not {value!r}" for name, value in wanted.items() if seen[name] != value]
    if not seen["title"]:
        found.append("it has no title")
    return found


TEXTS = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.nodeValue.trim(), parent = walker.currentNode.parentElement;
    if (text && parent.checkVisibility()) texts.push(text);
  }
  return {texts, pictures: [...document.images].filter((picture) => picture.naturalWidth).length};
}"""


def needs_no_script(visit: Visit) -> list[str]:
    """Everything that is there with scripts is there without."""
    with visit.opened(scripts=True) as page:
        with_scripts = page.evaluate(TEXTS)
    with visit.opened(scripts=False) as page:
        without = page.evaluate(TEXTS)
    missing = list((Counter(with_scripts["texts"]) - Counter(without["texts"])).elements())
    found = [f"without scripts {len(missing)} texts are missing: {shortened(missing)}"] if missing else []
    if without["pictures"] != with_scripts["pictures"]:
        found.append(f"without scripts {without['pictures']} of {with_scripts['pictures']} pictures show")
    return found


# --- For everybody


ALIKE = """() => {
  const seen = new Set();
  for (const row of document.querySelectorAll("tbody tr")) {
    const parts = [row.closest("table"), row, ...row.querySelectorAll("*")];
    const build = parts.map((part) => `${part.localName}.${part.className}`).join(" ");
    if (seen.has(build)) row.remove();
    seen.add(build);
  }
}"""


def is_accessible(visit: Visit) -> list[str]:
    """axe finds nothing serious, in either scheme, on a wide and on a narrow screen."""
    found, minor = [], set()
    for width in (WIDE, NARROW):
        for scheme in ("light", "dark"):
            with visit.opened(width, scheme) as page:
                # Of rows that are built alike one is enough: contrast is reckoned for every single word.
                page.evaluate(ALIKE)
                options = {"resultTypes": ["violations"]}
                if scheme == "dark":
                    # The schemes differ in colours alone.
                    options["runOnly"] = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
                violations = Axe().run(page, options=options).response["violations"]
            for violation in violations:
                places = [" ".join(map(str, node["target"])) for node in violation["nodes"]]
                text = f"axe: {violation['help']} ({violation['id']}, {violation['impact']}): {shortened(places)}"
                if violation["impact"] in SERIOUS:
                    found.append(f"{text}, {scheme}, {width} px")
                else:
                    minor.add(text)
    visit.notes += sorted(minor)
    return found


FOCUSABLE = """() => {
  const able = "a[href], button, input, select, textarea, summary, [tabindex]";
  window.reachable = [...document.querySelectorAll(able)]
    .filter((element) => element.tabIndex >= 0 && !element.disabled && element.checkVisibility());
  return window.reachable.map((element) => element.outerHTML.slice(0, 100));
}"""

FOCUSED = """() => {
  const element = document.activeElement, style = getComputedStyle(element), box = element.getBoundingClientRect();
  const left = element === document.body || element === document.documentElement;
  const middle = (from, to, end) => (Math.max(from, 0) + Math.min(to, end)) / 2;
  const x = middle(box.left, box.right, innerWidth), y = middle(box.top, box.bottom, innerHeight);
  const above = document.elementFromPoint(x, y);
  return {
    left,
    place: window.reachable.indexOf(element),
    html: element.outerHTML.slice(0, 100),
    marked: (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none",
    onScreen: box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0
      && box.left < innerWidth && box.top < innerHeight,
    uncovered: !above || above.contains(element) || element.contains(above),
    link: element.localName === "a" ? element.getAttribute("href") : null,
    in_navigation: Boolean(element.closest("nav")),
    in_main: Boolean(element.closest("main")),
  };
}"""


def works_by_keyboard(visit: Visit) -> list[str]:
    """Tab leads through everything in the order of the page, first to the skip link, and out again; focus is seen."""
    found = []
    with visit.opened() as page:
        reachable = page.evaluate(FOCUSABLE)
        steps = []
        for _ in range(len(reachable) + 200):
            page.keyboard.press("Tab")
            step = page.evaluate(FOCUSED)
            if step["left"] or (steps and step["place"] == steps[0]["place"]):
                break
            steps.append(step)
        else:
            found.append(f"the focus does not get out of {steps[-1]['html']}")
        order = [step["place"] for step in steps if step["place"] >= 0]
        missed = [reachable[place] for place in sorted(set(range(len(reachable))) - set(order))]
        if missed:
            found.append(f"Tab does not reach {len(missed)} of {len(reachable)} parts: {shortened(missed)}")
        elif order != list(range(len(reachable))):
            found.append("Tab does not go in the order of the page")
        seen = {"marked": "is not seen", "onScreen": "is off the screen", "uncovered": "is under something else"}
        for what, fault in seen.items():
            faulty = [step["html"] for step in steps if not step[what]]
            if faulty:
                found.append(f"the focus {fault} on {len(faulty)} parts: {shortened(faulty)}")
    with visit.opened() as page:
        page.evaluate(FOCUSABLE)
        page.keyboard.press("Tab")
        first = page.evaluate(FOCUSED)
        page.keyboard.press("Tab")
        second = page.evaluate(FOCUSED)
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        skipped_to = page.evaluate(FOCUSED)
    if first["in_navigation"] or not (first["link"] or "").startswith("#"):
        found.append(f"the first Tab leads to {first['html']}, not to a link over the navigation")
    elif not skipped_to["in_main"]:
        found.append(f"behind the link over the navigation, Tab leads to {skipped_to['html']}, not into the content")
    if not second["in_navigation"]:
        found.append(f"the second Tab leads to {second['html']}, not into the navigation")
    visit.notes.append(f"{len(steps)} parts by Tab")
    return found


def unfolds(visit: Visit) -> list[str]:
    """What is folded opens by Enter, closes by the space bar, and opens by a click."""
    found = []
    with visit.opened(unfolded=False) as page:
        summaries = page.locator("summary").all()
        for place, summary in enumerate(summaries):
            folded = summary.locator("..")
            states = [folded.evaluate("(part) => part.open")]
            for act in ("Enter", "Space", "click"):
                if act == "click":
                    summary.click()
                else:
                    summary.press(act)
                states.append(folded.evaluate("(part) => part.open"))
                # Some of them are for all, one is for each way.
                if place and states[-1]:
                    break
            if any(before == after for before, after in pairwise(states)):
                found.append(f"{summary.inner_text()!r} is open or not: {states}, by Enter, space bar and click")
    visit.notes.append(f"{len(summaries)} folded parts")
    return found


# --- Figures

FIGURES = """() => {
  const hidden = (element) => element.closest("[aria-hidden=true]") || element.getAttribute("role") === "presentation";
  const text = (element) => (element.getAttribute("alt") || element.getAttribute("aria-label")
    || (element.getAttribute("aria-labelledby") || "").split(" ")
         .map((id) => document.getElementById(id)?.textContent ?? "").join(" ")
    || element.querySelector(":scope > title")?.textContent || "").trim();
  return [...document.querySelectorAll("img, svg, canvas, object, embed, video")]
    .filter((element) => !element.parentElement.closest("svg") && !hidden(element))
    .map((element) => {
      const box = element.getBoundingClientRect();
      return {
        kind: element.localName,
        role: element.getAttribute("role"),
        text: text(element),
        box: [box.left, box.top + scrollY, box.right, box.bottom + scrollY].map(Math.round),
        loaded: element.localName !== "img" || (element.complete && element.naturalWidth > 0),
      };
    });
}"""

ALONE = """() => {
  for (const part of document.querySelectorAll("header, nav, footer, table, p, ul, ol, dl, pre, h2, h3, h4, h5"))
    if (!part.querySelector("img, svg") && !part.closest("svg, figure")) part.remove();
}"""

STRIP = 3000
"""CSS pixels of a page that are looked at together: more than any figure is high."""


def pictures(page: Page, boxes: Sequence[Sequence[int]]) -> list[Image.Image]:
    """What is seen in boxes (left, top, right, bottom, in CSS pixels) of a page; many from each screenshot."""
    page.set_viewport_size({"width": WIDE, "height": STRIP})
    strip, seen, start = None, [], 0
    for left, top, right, bottom in boxes:
        if strip is None or top < start or bottom > start + STRIP:
            start = page.evaluate("(top) => { scrollTo(0, top); return scrollY; }", top)
            strip = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        seen.append(strip.crop((left, top - start, max(right, left + 1), max(bottom, top + 1) - start)))
    return seen


def inked(picture: Image.Image) -> float:
    """Share of pixels that stand out from the commonest colour by a contrast of 1.5 or more, as WCAG reckons it."""
    pixels = np.asarray(picture, float) / 255
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    luminance = (linear @ [0.2126, 0.7152, 0.0722]).round(3)
    values, times = np.unique(luminance, return_counts=True)
    ground = values[times.argmax()]
    contrast = (np.maximum(luminance, ground) + 0.05) / (np.minimum(luminance, ground) + 0.05)
    return float((contrast >= 1.5).mean())


def figures_show(visit: Visit) -> list[str]:
    """Each figure has a size, a text for those who do not see it, and as much to see in the dark as in the light."""
    found, ink = [], {}
    for scheme in ("light", "dark"):
        with visit.opened(scheme=scheme) as page:
            # Closer together they are seen in fewer screenshots.
            page.evaluate(ALONE)
            figures = page.evaluate(FIGURES)
            ink[scheme] = [inked(picture) for picture in pictures(page, [figure["box"] for figure in figures])]
    for place, figure in enumerate(figures):
        name = f"figure {place + 1} ({figure['text'][:60] or figure['kind']})"
        if not figure["text"]:
            found.append(f"{name} has no text that stands for it")
        if figure["kind"] == "svg" and figure["role"] != "img":
            found.append(f"{name} is drawn in the page without the role of an image")
        if not figure["loaded"]:
            found.append(f"{name} cannot be shown")
        elif ink["light"][place] < 0.001:
            left, top, right, bottom = figure["box"]
            found.append(f"{name} shows nothing in {right - left} x {bottom - top} pixels")
        elif ink["dark"][place] < ink["light"][place] / 2:
            found.append(f"{name} is hardly seen in the dark scheme")
    visit.notes.append(f"{len(figures)} figures")
    return found


# --- Tables

READ_TABLE = """(table) => {
  table.rowsBefore = [...table.tBodies].flatMap((body) => [...body.rows]);
  table.buttons = [...table.querySelectorAll("thead th button")];
  table.state = () => ({
    order: [...table.tBodies].flatMap((body) => [...body.rows]).map((row) => table.rowsBefore.indexOf(row)),
    ways: [...table.querySelectorAll("thead th")].map((heading) => heading.getAttribute("aria-sort")),
  });
  return {
    headings: table.buttons.map((button) => button.textContent.trim()),
    columns: table.buttons.map((button) => button.closest("th").cellIndex),
    rows: table.rowsBefore.map((row) => [...row.cells].map((cell) => cell.textContent.trim())),
  };
}"""

STATE = "(table) => table.state()"

SORT_OTHERS = """(table) => table.buttons.slice(1).map((button) => [1, 2].map(() => {
  button.click();
  return table.state();
}))"""

ROWS = """(table) => [...table.tBodies].flatMap((body) => [...body.rows])
  .map((row) => [...row.cells].map((cell) => cell.textContent.trim()))"""

NUMBER = re.compile(r"[<>≤≥~≈±]?\s*([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w.-])", re.IGNORECASE)
ABSENT = frozenset(["", "-", "\u2013", "\u2014", "n/a"])


def number(text: str) -> float | None:
    """The number that a cell begins with; other numbers may follow."""
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text.replace("\u2212", "-"))
    found = NUMBER.match(plain)
    return float(found[1]) if found else None


MARKS = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$"
"""In the order of the Unicode collation of CLDR, before digits and letters."""


def alphabetical(text: str) -> list[tuple[int, int, str]]:
    """As in a dictionary: white space, marks, digits by their value, letters whatever their case and accents."""
    parts = re.findall(r"\d+|\D", unicodedata.normalize("NFKD", " ".join(text.casefold().split())))
    return [
        (1, int(part), "") if part.isdecimal() else (0, MARKS.index(part), "") if part in MARKS else (2, 0, part)
        for part in parts
        if not unicodedata.combining(part[0])
    ]


def in_order(cells: Sequence[str], descending: bool) -> bool:
    """Whether a column is sorted as its reader expects; what is no number among numbers stands together at one end."""
    numbers = [number(cell) for cell in cells]
    of_numbers = 2 * sum(value is not None for value in numbers) >= sum(cell not in ABSENT for cell in cells)
    counts = [
        value is not None if of_numbers else cell not in ABSENT for cell, value in zip(cells, numbers, strict=True)
    ]
    if sum(before != after for before, after in pairwise(counts)) > 1:
        return False
    values = [value if of_numbers else alphabetical(cell) for cell, value in zip(cells, numbers, strict=True)]
    values = [value for value, counted in zip(values, counts, strict=True) if counted]
    return values == sorted(values, reverse=descending)


def tables_sort(visit: Visit) -> list[str]:
    """Each button in a heading sorts, first up and then down, as a sort in Python does, and the heading says so."""
    found, sortable, sorts = [], 0, 0
    with visit.opened() as page:
        tables = page.locator("table").element_handles()
        for place, table in enumerate(tables, 1):
            before = table.evaluate(READ_TABLE)
            if not before["columns"]:
                if len(before["rows"]) > 2:
                    found.append(f"table {place}, of {len(before['rows'])} rows, does not sort")
                continue
            sortable += 1
            # The first column by hand: with the mouse, and with the keyboard.
            first = table.query_selector("thead th button")
            first.click()
            by_mouse = table.evaluate(STATE)
            first.press("Enter")
            by_keyboard = table.evaluate(STATE)
            states = [(by_mouse, by_keyboard), *table.evaluate(SORT_OTHERS)]
            for heading, column, both in zip(before["headings"], before["columns"], states, strict=True):
                for way, state in zip(("ascending", "descending"), both, strict=True):
                    name = f"table {place}, column {heading!r}, {way}"
                    sorts += 1
                    if sorted(state["order"]) != list(range(len(before["rows"]))):
                        found.append(f"{name}: other rows than before the sort")
                        continue
                    cells = [before["rows"][row][column] for row in state["order"]]
                    if not in_order(cells, way == "descending"):
                        found.append(f"{name}: not in order: {shortened(cells, 8)}")
                    said = {place: said for place, said in enumerate(state["ways"]) if said not in (None, "none")}
                    if said != {column: way}:
                        found.append(f"{name}: its headings say {state['ways']}")
            if sorted(table.evaluate(ROWS)) != sorted(before["rows"]):
                found.append(f"table {place}: the sorts changed its cells")
    visit.notes.append(f"{sortable} of {len(tables)} tables sort, {sorts} sorts")
    return found


# --- Small screens and paper

STICKING_OUT = """(width) => {
  const scrolls = (element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
  const described = (element) => element.outerHTML.slice(0, 100);
  const inside = [...document.body.querySelectorAll("*")].filter((element) => element.checkVisibility());
  const scrollers = inside.filter((element) => scrolls(element) && element.scrollWidth > element.clientWidth);
  return {
    page: document.scrollingElement.scrollWidth,
    out: inside.filter((element) => {
      if (element.getBoundingClientRect().right <= width + 1 || element.closest("svg svg, svg *")) return false;
      for (let part = element.parentElement; part !== document.body; part = part.parentElement)
        if (scrolls(part)) return false;
      return true;
    }).map(described),
    cut: inside.filter((element) => ["hidden", "clip"].includes(getComputedStyle(element).overflowX)
      && element.clientWidth > 1 && element.scrollWidth > element.clientWidth + 1).map(described),
    scrollers: scrollers.map(described),
    dumb: scrollers.filter((element) => element.tabIndex < 0 || !element.getAttribute("role")
      || !(element.getAttribute("aria-label") || element.getAttribute("aria-labelledby"))).map(described),
  };
}"""


def _stays_within(page: Page, width: int, where: str) -> tuple[list[str], dict]:
    seen = page.evaluate(STICKING_OUT, width)
    found = []
    if seen["page"] > width:
        found.append(f"{where} the page is {seen['page']} pixels wide")
    if seen["out"]:
        found.append(f"{where} {len(seen['out'])} parts stick out: {shortened(seen['out'])}")
    if seen["cut"]:
        found.append(f"{where} {len(seen['cut'])} parts are cut off: {shortened(seen['cut'])}")
    return found, seen


def fits_small_screens(visit: Visit) -> list[str]:
    """The page never scrolls sideways; what is wider scrolls by itself, with the keyboard too, and has a name."""
    found = []
    for width in (NARROW, NARROWEST):
        with visit.opened(width) as page:
            faults, seen = _stays_within(page, width, f"at {width} pixels")
        found += faults
        if seen["dumb"]:
            found.append(
                f"at {width} pixels {len(seen['dumb'])} parts scroll sideways, but have no name, no role or no focus: "
                f"{shortened(seen['dumb'])}"
            )
    return found


def squeezed(text: str) -> str:
    """Letters alone: neither their case nor the breaks between lines matter."""
    return re.sub(r"[\s\u00ad\u200b]", "", unicodedata.normalize("NFKC", text)).casefold()


def printed(page: Page, path: Path, sheets: str = "") -> list[np.ndarray]:
    """Print the page, or some sheets of it; what comes out, in grey from 0 to 255."""
    page.pdf(path=path, format="A4", print_background=True, prefer_css_page_size=True, page_ranges=sheets)
    subprocess.run(["pdftoppm", "-r", "36", "-gray", path, path.with_suffix("")], check=True, capture_output=True)
    sheets = sorted(path.parent.glob(f"{path.stem}-*.pgm"))
    return [np.asarray(Image.open(sheet), float) for sheet in sheets]


CONTENT_TEXTS = """() => {
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!parent.closest("svg, script, style") && walker.currentNode.nodeValue.trim())
      texts.push(walker.currentNode.nodeValue.trim());
  }
  return texts;
}"""


def prints(visit: Visit) -> list[str]:
    """On paper is all of the text, also what is folded, on white whatever the screen's scheme, and within the sheet."""
    found = []
    folder = visit.folder
    with visit.opened(unfolded=False) as page:
        texts = page.evaluate(CONTENT_TEXTS)
        light = printed(page, folder / "print_light.pdf")
    if not light:
        return ["nothing is printed"]
    with visit.opened(scheme="dark", unfolded=False) as page:
        dark = printed(page, folder / "print_dark.pdf", f"1-{min(len(light), 10)}")
    visit.notes.append(f"{len(light)} sheets")
    found += [f"sheet {place + 1} is empty" for place, sheet in enumerate(light) if sheet.min() > 250]
    if np.median([np.median(sheet) for sheet in light]) < 250:
        found.append("it is not printed on white")
    if max(np.abs(some - other).mean() for some, other in zip(light, dark, strict=False)) > 1:
        found.append("whoever reads it in the dark scheme gets another print")
    text = subprocess.run(
        ["pdftotext", "-raw", folder / "print_light.pdf", "-"], check=True, capture_output=True, text=True
    ).stdout
    on_paper = squeezed(text)
    missing = [text for text in texts if squeezed(text) not in on_paper]
    if missing:
        found.append(f"{len(missing)} of {len(texts)} texts are not on paper: {shortened(missing)}")
    with visit.opened(PAPER) as page:
        page.emulate_media(media="print")
        found += _stays_within(page, PAPER, "on paper")[0]
    return found


CHECKS: dict[str, Check] = {
    "stands alone": stands_alone,
    "is well formed": is_well_formed,
    "needs no script": needs_no_script,
    "is accessible": is_accessible,
    "works by keyboard": works_by_keyboard,
    "unfolds": unfolds,
    "figures show": figures_show,
    "tables sort": tables_sort,
    "fits small screens": fits_small_screens,
    "prints": prints,
    "is quiet": is_quiet,
}
"""What is checked, by name. The last one tells of all the others."""
