"""Prints the report as one PDF, ``_build/pdf/mnist-report.pdf``: ``make pdf``.

Sphinx joins the pages (its builder ``singlehtml``), which keeps the figures' numbers and turns links between pages into
links within one. An installed Chromium prints them twice, for only the first print tells on which page a section is,
as the contents of the second then say.
"""

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path

import browser
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent


def main(folder):
    """Build the joined pages in ``folder/_build`` and print them there."""
    browser.find()  # before a build that takes minutes
    command = Path(sys.executable).with_name("jupyter-book")
    build = subprocess.run([command, "build", ROOT, "--path-output", folder, "--builder", "singlehtml"])
    if build.returncode:
        sys.exit("the report could not be built, as said above; nothing was printed")
    joined = folder / "_build" / "singlehtml"
    # Sphinx writes the page where the first chapter lies, but its links to pictures and styles from the folder above.
    shutil.copy(joined / "book" / "index.html", joined / "report.html")
    target = folder / "_build" / "pdf" / "mnist-report.pdf"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(printed(joined / "report.html"))
    print(f"printed {target}: {len(PdfReader(target).pages)} pages")


def printed(path):
    """The PDF of a joined page, as bytes."""
    with browser.page() as page:
        page.goto(path.as_uri())
        page.evaluate((HERE / "pdf.js").read_text("utf-8"))
        page.add_style_tag(path=HERE / "pdf.css")
        options = {"prefer_css_page_size": True, "outline": True, "tagged": True}
        numbers = heading_pages(page.pdf(**options))
        page.evaluate("numbers => fillContents(numbers)", numbers)
        return page.pdf(**options)


def heading_pages(content):
    """The numbers of the pages on which the headings of a PDF are, in their order, from 1."""
    reader = PdfReader(io.BytesIO(content))

    def flat(outline):
        for item in outline:
            if isinstance(item, list):
                yield from flat(item)
            else:
                yield reader.get_destination_page_number(item) + 1

    return list(flat(reader.outline))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the report as one PDF.")
    parser.add_argument("--path-output", type=Path, default=ROOT, help="the folder that has or gets _build")
    main(parser.parse_args().path_output.resolve())
