"""The report as one PDF, printed from the book that the tests build."""

import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import nbformat
import pytest
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, ROOT / "book" / "_ext" / "pdf.py"]


@pytest.fixture(scope="module")
def reader(book):
    folder = book.parent.parent
    environment = {**os.environ, "LABCODE_DATASET": "mnist-5k"}
    command = [*COMMAND, "--path-output", folder]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return PdfReader(folder / "_build" / "pdf" / "mnist-report.pdf")


@pytest.fixture(scope="module")
def texts(reader):
    """The words of each page; a ligature counts as its letters."""
    return [" ".join(unicodedata.normalize("NFKC", page.extract_text()).split()) for page in reader.pages]


def titles():
    """The titles of the pages of the book, in order."""
    names = re.findall(r"(?:root|file): *(\S+)", (ROOT / "_toc.yml").read_text("utf-8"))
    for name in names:
        path = ROOT / f"{name}.ipynb"
        text = nbformat.read(path, 4).cells[0].source if path.exists() else (ROOT / f"{name}.md").read_text("utf-8")
        yield re.search(r"^# (.*)", text, re.M)[1]


def outline(reader):
    """The title and page, from 0, of each entry of the outline."""

    def flat(entries):
        for entry in entries:
            yield from flat(entry) if isinstance(entry, list) else [entry]

    return [(entry.title, reader.get_destination_page_number(entry)) for entry in flat(reader.outline)]


def test_every_page_has_its_number_and_more(texts):
    assert len(texts) > 20
    assert [text.split()[0] for text in texts] == [str(number) for number in range(1, len(texts) + 1)]
    *pages, _ = texts  # the last one holds what is left of the references
    assert min(len(text.split()) for text in pages) > 60, "a page has little more than its number"


def test_outline_and_contents_lead_to_every_chapter(reader, texts):
    found = dict(outline(reader))
    contents = next(text for text in texts if text.split()[1] == "Contents")
    first, *chapters = titles()
    assert found[first] == 0
    for title in chapters:
        page = found[title]
        assert title in texts[page] and f"{title} {page + 1}" in contents
    assert len({found[title] for title in chapters}) == len(chapters), "each chapter begins on a page of its own"


def test_sections_are_on_the_pages_that_the_contents_name(texts):
    lines = re.findall(r"(2\.[123] [A-Z][\w ]*?) (\d+)(?= )", next(text for text in texts if "Contents" in text))
    assert len(lines) == 3
    for title, page in lines:
        assert title in texts[int(page) - 1]


def test_it_holds_every_figure_and_says_what_it_was_built_on(book, texts, reader):
    pages = [path.read_text("utf-8") for path in book.glob("book/*.html")]
    numbers = {int(number) for page in pages for number in re.findall(r'caption-number">Figure (\d+)', page)}
    captions = {int(number) for text in texts for number in re.findall(r"\bFigure (\d+) [A-Z0-9]", text)}
    assert numbers == set(range(1, len(numbers) + 1)) <= captions
    objects = [each.get_object() for page in reader.pages for each in page["/Resources"].get("/XObject", {}).values()]
    assert sum(each["/Subtype"] == "/Image" for each in objects) >= len(numbers)
    assert "This copy was built on mnist-5k" in texts[0]


def test_links_lead_into_the_document_or_to_the_web(reader):
    links = [link.get_object() for page in reader.pages for link in page.get("/Annots", [])]
    inner = [link["/Dest"] for link in links if "/Dest" in link]
    outer = [link["/A"]["/URI"] for link in links if "/A" in link]
    assert len(inner) > 80 and set(inner) <= set(reader.named_destinations)
    assert outer and all(address.startswith("https://") for address in outer)
    cited = [name for name in inner if name.startswith("/reference-")]
    references = dict(outline(reader))["References"]
    pages = {reader.get_destination_page_number(reader.named_destinations[name]) for name in cited}
    assert len(cited) > 8 and min(pages) == references


def test_fonts_are_embedded(reader):
    fonts = [font.get_object() for page in reader.pages for font in page["/Resources"].get("/Font", {}).values()]
    assert fonts
    for font in fonts:
        described = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
        descriptor = described.get("/FontDescriptor", {})
        assert font["/Subtype"] == "/Type3" or {"/FontFile", "/FontFile2", "/FontFile3"} & set(descriptor)


def test_without_a_browser_it_says_what_is_missing(tmp_path):
    command = [*COMMAND, "--path-output", tmp_path]
    result = subprocess.run(command, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True)
    assert result.returncode == 1 and list(tmp_path.iterdir()) == []
    assert "expected an installed Chromium, found none of chromium, " in result.stderr
