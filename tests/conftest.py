"""The built book in a real browser: the fixtures that the tests of the pages share.

What uses them is run by ``make browse``.
"""

import contextlib
import functools
import os
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import browser as installed  # of book/_ext
import pytest
from filelock import FileLock
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
OWN = ("data:", "blob:", "about:")  # addresses that reach no host


@pytest.fixture(scope="session")
def chromium():
    """Where the installed Chromium is."""
    try:
        return installed.find()
    except SystemExit as nothing_found:
        pytest.fail(str(nothing_found))


@pytest.fixture(scope="session")
def book(chromium):
    """The folder of the book's pages, built on mnist-5k: once for all workers, with the session's store of Runs."""
    folder = Path(os.environ["LABCODE_CACHE"], "book")
    pages, built = folder / "_build" / "html", folder / "built"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not built.exists():
            command = Path(sys.executable).with_name("jupyter-book")
            result = subprocess.run(
                [command, "build", ROOT, "--path-output", folder],
                env={**os.environ, "LABCODE_DATASET": "mnist-5k"},
                capture_output=True,
                text=True,
            )
            assert result.returncode == 0, result.stdout + result.stderr
            built.touch()
    return pages


@pytest.fixture(scope="session")
def served(book):
    """The address at which the pages are served."""
    handler = functools.partial(QuietHandler, directory=book)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder and logs nothing."""

    def log_message(self, *args):
        """Called for each request."""


@pytest.fixture(scope="module")  # not longer: as long as Playwright is started, no other event loop can run here
def browser(chromium):
    """A running Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=installed.FLAGS, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, book, served):
    """A function that opens an empty page, with Playwright's options of a context: ``viewport``, ``has_touch``, ...

    At the end of the test it fails for each error in a page's console (a missing file is one), each exception and each
    request to another host.
    """
    faults, own = [], (book.as_uri(), served, *OWN)

    def note_error(message):
        if message.type == "error":
            faults.append(f"{message.text} ({message.location['url']})")

    with contextlib.ExitStack() as contexts:

        def open_one(**options):
            context = contexts.enter_context(browser.new_context(**{"reduced_motion": "reduce", **options}))
            context.on("console", note_error)
            context.on("weberror", lambda error: faults.append(str(error.error)))
            context.on("request", lambda request: request.url.startswith(own) or faults.append(request.url))
            return context.new_page()

        yield open_one
    assert faults == [], "\n".join(faults)


@pytest.fixture
def page(open_page):
    """An empty page, 1440 pixels wide, in the light theme; it fails the test as ``open_page`` says."""
    return open_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
