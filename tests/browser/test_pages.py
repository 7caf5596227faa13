"""Every page of the book in a browser: from disk and served."""

import pytest


@pytest.mark.parametrize("base", ["disk", "served"])
def test_every_page_loads(base, page, book, served):
    start = book.as_uri() if base == "disk" else served
    for path in sorted(book.glob("book/*.html")):
        page.goto(f"{start}/book/{path.name}")
        assert page.title()
