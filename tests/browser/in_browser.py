#!/usr/bin/env python
"""The pages that the workflow writes, in a real browser: shown, used by mouse and keyboard, on a telephone, on paper.

Run by hand: ``.venv/bin/python tests/browser/in_browser.py`` for the report, the comparison and the scored recordings
of this checkout, or with other pages. Where Debian's chromium is missing, ``--yes`` or ``FACENEURO_TEST_BROWSER=1``
lets it be installed, as root; else it says so and leaves with exit code 2.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import chromium
import faults
from chromium import Visit, Windows
from page_checks import CHECKS
from screenshots import take

import debian_packages

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "results" / "report" / "index.html"

OPT_IN = "FACENEURO_TEST_BROWSER"

WHAT_IT_DOES = f"""\
This test needs {", ".join(chromium.PROGRAMS)}, and one of them is not here. With --yes, or {OPT_IN}=1, it installs them
as root, on Debian or Ubuntu (packages {", ".join(chromium.PACKAGES)}; they stay).
Nothing was tested."""

START = time.monotonic()


class Failed(Exception):
    """A page, or a check, is not as it should be."""


def say(text: str) -> None:
    print(f"[{time.monotonic() - START:4.0f} s] {text}", flush=True)


def check_checks(windows: Windows, folder: Path) -> list[str]:
    """What the checks find in a page without a fault, and what they do not find in pages with one."""
    wrong = []
    visit = Visit(windows, faults.STAND_IN, folder)
    for name, check in CHECKS.items():
        wrong += [f"in a page without a fault, {name!r} found: {fault}" for fault in check(visit)]
    for name, path, said in faults.faulty_pages(folder):
        told = CHECKS[name](Visit(windows, path, folder))
        if not any(said in fault for fault in told):
            wrong.append(f"{name!r} should have said {said!r} of {path.name}, and said {told}")
    return wrong


def check_page(visit: Visit) -> int:
    """How many faults the checks find in a page; each is told."""
    say(f"{visit.path}:")
    found = 0
    for name, check in CHECKS.items():
        told = check(visit)
        notes = f" ({'; '.join(visit.notes)})" if visit.notes else ""
        visit.notes.clear()
        say(f"  {'FAILED' if told else 'ok'}: {name}{notes}")
        for fault in told:
            print(f"           {fault}")
        found += len(told)
    return found


def test(pages: list[Path], screenshots: Path, folder: Path) -> None:
    with chromium.launched(folder / "browser") as windows:
        say(f"chromium {windows.version}, without a network")
        wrong = check_checks(windows, new(folder / "faults"))
        if wrong:
            raise Failed("the checks themselves do not find what they should:\n" + "\n".join(wrong))
        say(f"each of {len(faults.FAULTS)} faults of a page that stands in was found, and none where there is none")
        found = 0
        for place, page in enumerate(pages, 1):
            visit = Visit(windows, page, new(folder / f"page_{place}"))
            found += check_page(visit)
            taken = take(visit, screenshots)
            say("  pictures: " + ", ".join(f"{path.name} ({path.stat().st_size / 1000:.0f} KB)" for path in taken))
        if found:
            raise Failed(f"{found} faults in {len(pages)} pages, told above")


def new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path, help="default: all that the workflow made in results/")
    parser.add_argument("--yes", action="store_true", help="install what is missing of chromium and poppler")
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="write the pictures of the pages here")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a new folder to work in, kept afterwards")
    arguments = parser.parse_args()
    others = (ROOT / "results" / "comparison" / "index.html", *sorted(ROOT.glob("results/score/*/report.html")))
    pages = arguments.pages or [REPORT, *(page for page in others if page.is_file())]
    for page in pages:
        if not page.is_file():
            print(f"{page} is not there, and `snakemake --cores all report` makes the report; nothing was tested.")
            return 2
    if not all(shutil.which(program) for program in chromium.PROGRAMS):
        if not arguments.yes and os.environ.get(OPT_IN) != "1":
            print(WHAT_IT_DOES)
            return 2
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            print("Chromium is installed as root by apt-get (Debian, Ubuntu), and one is missing; nothing was tested.")
            return 2
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="faceneuro-browser-"))
    folder.mkdir(parents=True, exist_ok=arguments.keep is None)
    try:
        installed = debian_packages.install(chromium.PACKAGES, chromium.PROGRAMS)
        say(f"packages: {'installed ' + ', '.join(installed) if installed else 'all here'}")
        test(pages, arguments.screenshots or folder / "screenshots", folder.resolve())
    except (Failed, RuntimeError) as error:
        print(f"FAILED: {error}")
        return 1
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(
        f"PASSED: {len(pages)} {'pages' if len(pages) > 1 else 'page'} in chromium: complete without network and "
        "without scripts, accessible (axe: nothing serious), used by keyboard, tables sorted, figures seen in light "
        "and dark, fit for a telephone and for paper."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
