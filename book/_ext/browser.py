"""The installed Chromium, as the commands that print and photograph the pages use it."""

import contextlib
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-lcd-text")


def find():
    """The path of an installed Chromium; where there is none the program ends with a message."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        sys.exit(f"expected an installed Chromium, found none of {', '.join(NAMES)} on PATH; install one")
    return found


@contextlib.contextmanager
def page(**options):
    """A page in the light theme without motion, with Playwright's options of a context: ``viewport``, ..."""
    executable = find()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS, chromium_sandbox=False)
        yield browser.new_page(color_scheme="light", reduced_motion="reduce", **options)
        browser.close()
