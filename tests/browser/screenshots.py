"""Pictures of a page: its first screen in both schemes and on a telephone, and its first sheet of paper."""

import subprocess
from pathlib import Path

from chromium import NARROW, WIDE, Visit

LOOKS = {"light": (WIDE, "light"), "dark": (WIDE, "dark"), "narrow": (NARROW, "light")}
"""Width in CSS pixels and scheme of each picture."""


def name_of(page: Path) -> str:
    """What the pictures of a page are called: by its folder, and by its file unless that is the folder's index."""
    folder = page.resolve().parent.name
    return folder if page.stem == "index" else f"{folder}_{page.stem}"


def take(visit: Visit, folder: Path) -> list[Path]:
    """Take the pictures of a page, as PNG.

    Parameters
    ----------
    visit
        The page.
    folder
        Where they are written; it is made if needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = name_of(visit.path)
    taken = []
    for look, (width, scheme) in LOOKS.items():
        with visit.opened(width, scheme, unfolded=False) as page:
            taken.append(folder / f"{name}_{look}.png")
            page.screenshot(path=taken[-1])
    sheets = visit.folder / "sheets.pdf"
    with visit.opened(unfolded=False) as page:
        page.pdf(path=sheets, format="A4", print_background=True, prefer_css_page_size=True)
    taken.append(folder / f"{name}_print.png")
    first = ["-png", "-r", "75", "-singlefile", sheets, taken[-1].with_suffix("")]
    subprocess.run(["pdftoppm", *first], check=True, capture_output=True)
    return taken
