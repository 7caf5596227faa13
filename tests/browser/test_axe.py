"""axe-core finds nothing in what is ours, on any page, in either theme."""

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(path.stem for path in (ROOT / "book").glob("*.ipynb")), "references"]
OPTIONS = {"preload": False, "resultTypes": ["violations"]}  # a page opened from a file may not fetch its styles
OF_COLOURS = ["color-contrast", "link-in-text-block"]  # all that the other theme can change

# What axe-core finds in what is not ours, and why it stays: by rule, in which elements.
THEIRS = {
    "region": (".navbar-brand, .sidebar-header-items *", "the theme puts the book's title outside of any landmark"),
    "aria-required-children": (".citation-list, [role=list]", "docutils puts links among the items of the references"),
    "aria-allowed-role": (".citation", "docutils gives each reference a role that only a list item may have"),
    "aria-deprecated-role": (".citation", "docutils gives each reference the role doc-biblioentry, which is given up"),
}

# The contrast of some thousand pieces of coloured code takes most of the time: of each kind one is kept, on all pages
# together. A single letter axe-core does not judge.
ONE_OF_EACH = """(seen) => {
    for (const piece of document.querySelectorAll("pre span[class]")) {
        const kind = `${piece.className} ${piece.closest(".cell_output") ? "output" : "source"}`;
        if (seen.includes(kind) || piece.textContent.trim().length < 2) piece.replaceWith(...piece.childNodes);
        else seen.push(kind);
    }
    document.querySelectorAll("pre").forEach((code) => code.normalize());
    return seen;
}"""


def put_to_use(page):
    """Show what shows only to a reader who uses the page: folded code, a cell's digits, a digit's answers."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    if page.locator(".mistakes").count():
        page.evaluate("document.querySelector('.mistakes tbody button:not(.empty)').click()")
        assert page.locator(".mistakes .viewer").is_visible()
    if page.locator("#draw").count():
        page.locator("#draw-paper").scroll_into_view_if_needed()
        page.get_by_role("group", name="Test digits").get_by_role("button").first.click()
        page.wait_for_function("document.getElementById('draw-said').innerText.includes('labelled')")


def is_theirs(page, rule, node):
    """Whether an element with which axe-core finds fault is one that the theme or docutils makes so."""
    selector, _ = THEIRS.get(rule, (None, None))
    return selector and page.locator(node["target"][0]).evaluate("(each, selector) => each.matches(selector)", selector)


def faults_on(page, **options):
    """What axe-core finds on a page as it is, in what is ours: pairs of a rule and an element."""
    for violation in Axe().run(page, options=OPTIONS | options).response["violations"]:
        for node in violation["nodes"]:
            if not is_theirs(page, violation["id"], node):
                yield violation["id"], node["target"], node["html"][:200]


def test_axe_finds_nothing_in_our_content(open_page, book):
    page, seen, faults = open_page(), [], []
    for name in PAGES:
        page.set_viewport_size({"width": 360, "height": 900})
        page.emulate_media(color_scheme="light")
        page.goto(f"{book.as_uri()}/book/{name}.html")
        put_to_use(page)
        seen = page.evaluate(ONE_OF_EACH, seen)
        assert page.locator("html").get_attribute("data-theme") == "light"
        faults += [(name, "light", *fault) for fault in faults_on(page)]
        page.set_viewport_size({"width": 1440, "height": 900})
        page.emulate_media(color_scheme="dark")
        page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
        faults += [(name, "dark", *fault) for fault in faults_on(page, runOnly=OF_COLOURS)]
    assert len(seen) > 15 and faults == []
