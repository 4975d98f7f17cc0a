"""Debian's chromium, without a window and without a network, and one page of files in it.

A page is opened anew for each check, and whatever it asks for and complains of is kept.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

# A page without a font shows nothing.
PACKAGES = ("chromium", "poppler-utils", "fonts-dejavu-core")
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


class Windows:
    """Windows of the browser: one for each kind of reader, used again, because a new one takes longer than a page."""

    def __init__(self, browser: Browser):
        self.version = browser.version
        self._browser = browser
        self._windows: dict[tuple[str, bool], Page] = {}

    def of(self, scheme: str, scripts: bool) -> Page:
        """The window of a reader who prefers a scheme, and whose scripts run or not."""
        if (scheme, scripts) not in self._windows:
            context = self._browser.new_context(
                color_scheme=scheme, java_script_enabled=scripts, reduced_motion="reduce", offline=True
            )
            self._windows[scheme, scripts] = context.new_page()
        return self._windows[scheme, scripts]


@contextmanager
def launched(folder: Path) -> Iterator[Windows]:
    """The browser, with everything that it writes in ``folder``."""
    folder.mkdir()
    os.environ["TMPDIR"] = str(folder)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS, env=os.environ | {"HOME": str(folder)}
        )
        try:
            yield Windows(browser)
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

    def __init__(self, windows: Windows, path: Path, folder: Path):
        self.windows = windows
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
        page = self.windows.of(scheme, scripts)
        listeners = {
            "request": lambda request: self._request(request.url),
            "websocket": lambda socket: self.asked_for.append(socket.url),
            "popup": lambda popup: self.asked_for.append(popup.url),
            "pageerror": lambda error: self.said.append(str(error)),
            "console": lambda message: self._message(message.type, message.text),
        }
        page.set_viewport_size({"width": width, "height": HEIGHT})
        # No medium of its own, or the page would be printed as it is on the screen.
        page.emulate_media(media="null", color_scheme=scheme, reduced_motion="reduce")
        for event, listener in listeners.items():
            page.on(event, listener)
        try:
            page.goto(self.path.as_uri())
            if unfolded:
                page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
            yield page
            # Nothing of it goes on in the next visit.
            page.goto("about:blank")
        finally:
            for event, listener in listeners.items():
                page.remove_listener(event, listener)

    def _request(self, address: str) -> None:
        if address not in (self.path.as_uri(), "about:blank") and not address.startswith("data:"):
            self.asked_for.append(address)

    def _message(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.said.append(text)
