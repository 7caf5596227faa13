"""Every page of the book in a browser: it loads from disk and served, tells what it shows, and its downloads arrive."""

import hashlib
import io
import json
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(path.stem for path in (ROOT / "book").glob("*.ipynb"))
PAGES = [*CHAPTERS, "references"]
LOADED = {"src", "srcset", "data", "poster", "action", "background"}  # attributes that make a browser ask for something
ADDRESS = re.compile(r"(?:https?:|wss?:|ftp:)?//[\w.-]+\.\w")


class Tags(HTMLParser):
    """Collects the tags of a page, pairs of a name and its attributes."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        """Called for each tag."""
        self.found.append((tag, dict(attrs)))


def tags(path):
    """The tags of a page's file."""
    return Tags(path.read_text("utf-8")).found


@pytest.mark.parametrize(("base", "width"), [("disk", 360), ("served", 1440)])
def test_every_page_fits_and_loads_without_an_error_and_from_no_other_host(base, width, open_page, book, served):
    page, start = open_page(viewport={"width": width, "height": 800}), book.as_uri() if base == "disk" else served
    paths = [f"/book/{name}.html" for name in PAGES] + ["/search.html?q=digit"]
    for path in paths:
        page.goto(start + path, wait_until="load")
        assert page.title()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.wait_for_load_state("networkidle")


def addresses(book):
    """What the pages and their files would have a browser fetch from elsewhere: pairs of a file and an address."""
    for path in book.rglob("*.html"):
        for tag, attributes in tags(path):
            names = LOADED | ({"href"} if tag == "link" else set())
            yield from ((path.name, attributes[name]) for name in names & attributes.keys() if attributes[name])
    for path in book.rglob("*.css"):
        yield from ((path.name, url) for url in re.findall(r"url\(([^)]*)\)|@import +(\S+)", path.read_text("utf-8")))
    own = {path.name for path in (ROOT / "book" / "_static").glob("*.js")}
    for path in (path for path in book.rglob("*.js") if path.name in own):
        yield from ((path.name, text) for text in re.findall(r"""["'`](.*?)["'`]""", path.read_text("utf-8")))


def test_no_page_names_another_host_to_load_from(book):
    assert [(name, found) for name, found in addresses(book) if ADDRESS.match("".join(found).strip("'\" "))] == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_describes_its_figures_and_names_its_parts(name, book):
    found = tags(book / "book" / f"{name}.html")
    notebook = nbformat.read(book / "_sources" / "book" / f"{name}.ipynb", as_version=4)
    figures = [
        (output.metadata["labcode"], cell.source)
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    shown = [attributes.get("alt") for tag, attributes in found if tag == "img"]
    assert shown == [figure["alt"] for figure, _ in figures], "each figure with the text that this build gave it"
    for figure, source in figures:
        assert numbers(figure["alt"]) - numbers(source), f"no number that its cell computes: {figure['alt']}"
        assert figure["alt"] != figure["caption"] and not re.match(r"Fig(ure|\.) ?\d", figure["alt"]), "no description"
    levels = [int(tag[1]) for tag, _ in found if re.fullmatch("h[1-6]", tag)]
    levels = levels[len(levels) - levels[::-1].index(1) - 1 :]  # the theme repeats the title and contents for print
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), levels
    assert [attributes.get("lang") for tag, attributes in found if tag == "html"] == ["en"]


def test_a_number_stays_on_the_line_of_its_sign_and_unit(book):
    pages = [(book / "book" / f"{name}.html").read_text("utf-8").partition("<article")[2] for name in CHAPTERS]
    text = re.sub("<pre.*?</pre>|<[^>]*>", "", "".join(pages), flags=re.S)
    assert re.findall(r"≈ [-+\d].{5}|.{5}\d (?:%|pp\b)", text) == []
    assert len(re.findall("≈\N{NO-BREAK SPACE}[-+\\d.]+\N{NO-BREAK SPACE}(?:%|pp)", text)) > 20


def numbers(text):
    """The numbers in a text, as they are written."""
    return set(re.findall(r"\d+(?:[.,]\d+)*", text))


STYLES = """[...document.querySelectorAll("body *")].map((each) => ["color", "background-color", "font", "margin",
    "padding", "border", "display", "position", "width", "height"].map((key) => getComputedStyle(each)[key]).join())"""
WITH_THEIRS = """(sheets) => Promise.all(sheets.map((sheet) => new Promise((loaded) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: sheet, onload: loaded });
    document.querySelector('link[href$="pages.css"]').before(link);
}))).then(() => document.querySelector('link[href$="pages.css"]').remove())"""
THEIRS = ["styles/theme", "styles/pydata-sphinx-theme", "pygments", "styles/sphinx-book-theme", "togglebutton"]
THEIRS += ["copybutton", "mystnb.*", "sphinx-thebe", "sphinx-design.min", "report"]


@pytest.mark.parametrize("name", ["05_predictions", "references"])
def test_the_one_stylesheet_shows_a_page_as_all_of_the_theme_s_do(name, page, book):
    sheets = [next((book / "_static").glob(f"{sheet}.css")).as_uri() for sheet in THEIRS]
    page.goto(f"{book.as_uri()}/book/{name}.html")
    page.wait_for_function("document.querySelector('svg[data-icon]') && !document.querySelector('i[class*=fa-]')")
    of_one = page.evaluate(STYLES)
    page.evaluate(WITH_THEIRS, sheets)
    assert len(of_one) > 200 and page.evaluate(STYLES) == of_one


def test_little_comes_before_the_text(book):
    for name in CHAPTERS:
        head = (book / "book" / f"{name}.html").read_text("utf-8").partition("</head>")[0]
        found = Tags(head).found
        sheets = [attributes["href"] for tag, attributes in found if attributes.get("rel") == "stylesheet"]
        assert sheets == ["../_static/styles/pages.css"]
        awaited = [found["src"] for tag, found in found if tag == "script" and "src" in found and "defer" not in found]
        assert sum((book / "book" / source.partition("?")[0]).stat().st_size for source in awaited) < 10_000
    assert (book / "_static" / "styles" / "pages.css").stat().st_size < 200_000


@pytest.mark.parametrize("base", ["disk", "served"])
def test_downloads_arrive(base, open_page, book, served):
    page, arrived = open_page(accept_downloads=True), {}
    page.goto(f"{book.as_uri() if base == 'disk' else served}/book/index.html")
    for link in page.locator("main a[download]").all():
        with page.expect_download() as download:
            link.click()
        name, content = download.value.suggested_filename, Path(download.value.path()).read_bytes()
        arrived |= unzipped(content) if name.endswith(".zip") else {name: content}
    assert sorted(arrived) == ["cnn.json", "cnn.npz", "fc.json", "fc.npz", "index.ipynb", "results.json"]
    for name in ("fc", "cnn"):
        manifest = json.loads(arrived[f"{name}.json"])
        assert hashlib.sha256(arrived[f"{name}.npz"]).hexdigest() == manifest["sha256"]
        with np.load(io.BytesIO(arrived[f"{name}.npz"]), allow_pickle=False) as arrays:
            assert {path: list(arrays[path].shape) for path in arrays.files} == manifest["shapes"]
    assert json.loads(arrived["results.json"])["claims"]
    executed = nbformat.reads(arrived["index.ipynb"].decode(), as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    assert "papermill" not in {key for part in (executed, *executed.cells) for key in part.metadata}


def unzipped(content):
    """The files of a zip, a dict name: content."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_themes_button_serves_the_executed_notebook(book):
    name = "02_fully_connected"
    (link,) = (found for _, found in tags(book / "book" / f"{name}.html") if "source-button" in found.get("class", ""))
    (content,) = unzipped((book / "book" / link["href"]).read_bytes()).values()
    executed = nbformat.reads(content.decode(), as_version=4)
    source = nbformat.read(ROOT / "book" / f"{name}.ipynb", as_version=4)
    tagged = [cell.metadata.get("tags", []) for cell in executed.cells]
    assert tagged.count(["injected-parameters"]) == 1, "with the parameters of this build"
    executed.cells.pop(tagged.index(["injected-parameters"]))
    assert [cell.source for cell in executed.cells] == [cell.source for cell in source.cells]
    assert any("image/png" in output.get("data", {}) for cell in executed.cells for output in cell.get("outputs", []))


def test_the_first_page_says_within_one_screen_what_came_out_and_where_to_go(page, book):
    page.goto(f"{book.as_uri()}/book/index.html")
    for text in ("96.89 %", "98.55 %", "claims reproduced", "what remains of the report"):
        assert page.locator("article").get_by_text(text).first.bounding_box()["y"] < 880


def test_a_keyboard_reaches_the_text_first_and_scrolls_what_is_wide(open_page, book):
    page = open_page(viewport={"width": 360, "height": 780})
    page.goto(f"{book.as_uri()}/book/04_cnn.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Skip to main content"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    wide = page.locator(".pst-scrollable-table-container").last
    assert wide.evaluate("table => table.scrollWidth > table.clientWidth")
    wide.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("table => table.scrollLeft > 0", arg=wide.element_handle())


def test_who_wants_less_motion_gets_none(page, book):
    page.goto(f"{book.as_uri()}/book/index.html")
    moving = """[...document.querySelectorAll('*')].filter(each => {
        const style = getComputedStyle(each);
        return parseFloat(style.transitionDuration) > 0.01 || parseFloat(style.animationDuration) > 0.01;
    }).map(each => each.className)"""
    assert page.evaluate(moving) == []


LOOK = """(each) => ["filter", "color", "background-color"].map((key) => getComputedStyle(each)[key])"""


def test_figures_are_turned_round_in_the_dark_and_paper_is_white_in_either_theme(open_page, book):
    page = open_page(color_scheme="dark")
    page.goto(f"{book.as_uri()}/book/04_cnn.html")
    figure = page.locator("figure img").first
    assert figure.evaluate(LOOK)[0] == "invert(1) hue-rotate(180deg) brightness(1.1)"
    page.emulate_media(media="print")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert figure.evaluate(LOOK)[0] == "none"
    assert page.locator("body").evaluate(LOOK)[2] == "rgb(255, 255, 255)"
    for name in ("p", "a", "td", "pre span", "figcaption"):
        look = page.locator(f"article {name}").first.evaluate(LOOK)
        assert look[1:] == ["rgb(0, 0, 0)", "rgba(0, 0, 0, 0)"], name
    page.emulate_media(media="print", color_scheme="light")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    assert figure.evaluate(LOOK)[0] == "none"
