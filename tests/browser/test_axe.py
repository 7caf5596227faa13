"""axe-core finds nothing in what is ours, on any page, in either theme."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(path.stem for path in (ROOT / "book").glob("*.ipynb")), "references"]
OPTIONS = {"preload": False, "resultTypes": ["violations"]}  # a page opened from a file may not fetch its styles
OF_COLOURS = ["color-contrast", "link-in-text-block"]  # all that the other theme can change

# What axe-core finds in what is not ours, and why it stays.
THEIRS = {
    "region": "sphinx-book-theme puts the book's title in the sidebar outside of any landmark",
    "aria-required-children": "docutils puts the links to citations among the items of the list of references",
    "aria-allowed-role": "docutils gives each reference a role that only a list item may have",
    "aria-deprecated-role": "docutils gives each reference the role doc-biblioentry, which ARIA has given up",
}


@pytest.mark.parametrize(("scheme", "width", "rules"), [("light", 360, None), ("dark", 1440, OF_COLOURS)])
def test_axe_finds_nothing_in_our_content(scheme, width, rules, open_page, book):
    page, faults = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme), []
    options = OPTIONS | ({"runOnly": rules} if rules else {})
    for name in PAGES:
        page.goto(f"{book.as_uri()}/book/{name}.html")
        for violation in Axe().run(page, options=options).response["violations"]:
            faults += [(name, violation["id"], node["html"][:200]) for node in violation["nodes"]]
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert [fault for fault in faults if fault[1] not in THEIRS] == []
