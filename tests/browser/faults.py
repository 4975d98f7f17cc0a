"""A page without a fault, and its faults: each is put into it, and must be found by the check that is there for it."""

from collections.abc import Iterator
from pathlib import Path

STAND_IN = Path(__file__).with_name("stand_in.html")

# Check that must find it, what is replaced in the page, by what, and a part of what the check must say.
FAULTS = (
    ("stands alone", "<p>Whoever", '<img alt="x" src="picture.png"><p>Whoever', "<img src=picture.png>"),
    ("stands alone", "body {", "body { background-image: url(http://example.org/x.png);", "url(http://example.org/x"),
    ("stands alone", "</main>", f"<!-- {'x' * 5_000_000} --></main>", "more than 5 MB"),
    ("is well formed", '<section id="more">', '<section id="numbers">', "'numbers' is given 2 times"),
    ("is well formed", 'href="#more"', 'href="#less"', "#less is referred to"),
    ("is well formed", "<h2>More", "<h4>More", "ends <h4>"),
    ("is well formed", "<h2>More</h2>", "<h4>More</h4>", "(h4) follows an h2"),
    ("is well formed", "<h1>A page that stands in for the report</h1>", "", "0 first headings"),
    ("is well formed", ' lang="en"', "", "language is ''"),
    ("is well formed", "<title>A page that stands in for the report</title>", "", "no title"),
    ("is well formed", "<p>Whoever", "<p><div>x</div></p><p>Whoever", "the browser mends it"),
    ("needs no script", "</section>\n</main>", "</section>\n<script>document.write('late')</script></main>", "late"),
    ("is accessible", "--ink: #222; }\n@media (prefers", "--ink: #bbb; }\n@media (prefers", "color-contrast, serious"),
    ("is accessible", "--ink: #eee", "--ink: #555", "dark, 390 px"),
    ("works by keyboard", ":focus-visible { outline: 3px solid currentColor; }", ":focus { outline: 0; }", "not seen"),
    ("works by keyboard", "nav aria", 'nav style="position: fixed; inset: 0" aria', "is under something"),
    ("works by keyboard", '<a href="#content">Skip to the content</a>', "", "not to a link over the navigation"),
    ("works by keyboard", 'href="#content"', 'href="#content" tabindex="-1"', "the first Tab leads to"),
    ("works by keyboard", '<a href="#more">', '<a href="#more" tabindex="3">', "not go in the order"),
    (
        "works by keyboard",
        '"use strict";',
        'document.querySelector("summary").addEventListener("keydown", (event) => event.preventDefault());',
        "does not get out",
    ),
    ("unfolds", "<summary>", '<summary onkeydown="event.preventDefault()">', "is open or not"),
    ("figures show", ' aria-label="A line that rises"', "", "no text that stands for it"),
    ("figures show", '<path d="M10 90 L190 10" stroke="#036" stroke-width="6"/>', "", "shows nothing"),
    ("figures show", "<figcaption>", '<img alt="gone" src="data:image/png;base64,xx"><figcaption>', "cannot be shown"),
    ("figures show", "background: #fff; }\n@media print", "}\n@media print", "hardly seen in the dark"),
    ("tables sort", 'return sign * (isNaN(difference)', "return sign * (true", "not in order"),
    ("tables sort", '=== "ascending" ? "descending"', '=== "ascending" ? "ascending"', "headings say"),
    ("tables sort", "body.append(...[...body.rows].sort", "void ([...body.rows].sort", "not in order"),
    ("tables sort", "const button =", "continue; const button =", "does not sort"),
    ("tables sort", "body.append(...", "body.rows[0].remove(); body.append(...", "other rows than before"),
    ("tables sort", "body.append(...", "body.rows[0].cells[0].textContent = 'x'; body.append(...", "changed its cells"),
    ("fits small screens", ".scroll { overflow-x: auto; }", "", "stick out"),
    ("fits small screens", ' tabindex="0" role="group"', "", "have no name, no role or no focus"),
    ("fits small screens", ".scroll { overflow-x: auto; }", ".scroll { overflow-x: hidden; }", "are cut off"),
    ("prints", "details::details-content", "details::before", "are not on paper: Whoever unfolds it"),
    ("prints", "@media print {\n  :root { --paper: #fff; --ink: #222; }", "@media print {", "gets another print"),
    ("prints", "{\n  :root { --paper: #fff;", "{\n  :root { --paper: #567;", "not printed on white"),
    ("prints", ".wide { width: auto; }", "", "on paper"),
    ("is quiet", '"use strict";', 'console.error("told");', "the console says: told"),
    ("is quiet", '"use strict";', "undefined.x;", "the console says: Cannot read"),
    ("is quiet", '"use strict";', 'fetch("http://example.org/");', "it asks for http://example.org/"),
    ("is quiet", "</main>", '<img alt="x" loading="lazy" src="http://example.org/x.png"></main>', "it asks for http"),
)  # fmt: skip


def faulty_pages(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """The page with each fault in turn: the check that must find it, the file, a part of what must be said."""
    text = STAND_IN.read_text(encoding="utf-8")
    for place, (check, before, after, said) in enumerate(FAULTS):
        if text.count(before) == 0:
            raise ValueError(f"the stand-in page has no {before!r}, so the fault for {check!r} cannot be put into it")
        path = folder / f"fault_{place}.html"
        path.write_text(text.replace(before, after, 1), encoding="utf-8")
        yield check, path, said
