"""Debian's chromium, without a window and without a network, and one page of files in it.

A page is opened anew for each check, and whatever it asks for and complains of is kept.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

PACKAGES = ("chromium", "poppler-utils")
PROGRAMS = ("chromium", "pdftoppm", "pdftotext")

# No name is resolved: what a page would load from somewhere fails, and is seen.
FLAGS = (
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

WIDE, NARROW, NARROWEST = 1280, 390, 320
"""Widths in CSS pixels: of a small notebook, of a telephone, and the least that WCAG 2 asks for (1.4.10)."""

HEIGHT = 900


@contextmanager
def launched(folder: Path) -> Iterator[Browser]:
    """The browser, with everything that it writes in ``folder``."""
    folder.mkdir()
    os.environ["TMPDIR"] = str(folder)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS, env=os.environ | {"HOME": str(folder)}
        )
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page file, and what was noticed in the browser whenever it was open.

    Attributes
    ----------
    path
        Of the page.
    folder
        For what a check makes of the page.
    asked_for
        Addresses that the page asked for, besides its own and data within it.
    said
        Errors and warnings of the browser's console.
    notes
        What a check found worth telling, but no fault.
    """

    def __init__(self, browser: Browser, path: Path, folder: Path):
        self.browser = browser
        self.path = path.resolve()
        self.folder = folder
        self.asked_for: list[str] = []
        self.said: list[str] = []
        self.notes: list[str] = []

    @contextmanager
    def opened(
        self, width: int = WIDE, scheme: str = "light", scripts: bool = True, unfolded: bool = True
    ) -> Iterator[Page]:
        """The page as a reader sees it.

        Parameters
        ----------
        width
            Of the window, in CSS pixels.
        scheme
            What the reader prefers: light or dark.
        scripts
            Whether the page's scripts run.
        unfolded
            Whether everything that is folded is opened first.
        """
        context = self.browser.new_context(
            viewport={"width": width, "height": HEIGHT},
            color_scheme=scheme,
            java_script_enabled=scripts,
            reduced_motion="reduce",
            offline=True,
        )
        try:
            page = context.new_page()
            page.on("request", lambda request: self._request(request.url))
            page.on("websocket", lambda socket: self.asked_for.append(socket.url))
            page.on("popup", lambda popup: self.asked_for.append(popup.url))
            page.on("pageerror", lambda error: self.said.append(str(error)))
            page.on("console", lambda message: self._message(message.type, message.text))
            page.goto(self.path.as_uri())
            if unfolded:
                page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
            yield page
        finally:
            context.close()

    def _request(self, address: str) -> None:
        if address != self.path.as_uri() and not address.startswith("data:"):
            self.asked_for.append(address)

    def _message(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.said.append(text)
