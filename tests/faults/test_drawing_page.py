"""The drawing page without its weights, or with wrong ones: a message in its place, and no answer."""

import re
import shutil

import numpy as np
import pytest

from labcode import models, web

FAULTS = {
    "missing": (lambda script, other: None, "missing or cut short"),
    "empty": (lambda script, other: b"", "missing or cut short"),
    "cut": (lambda script, other: script[:-1000], "missing or cut short"),
    "a weight altered": (lambda script, other: re.sub(rb'("bytes": ".{1000})(.)', alter, script), "damaged"),
    "no base64": (lambda script, other: re.sub(rb'("bytes": ".{1000}).', rb"\1-", script), "damaged"),
    "an activation altered": (lambda script, other: script.replace(b"relu", b"none", 1), "damaged"),
    "names swapped": (lambda script, other: swap(script, b'\\"fc\\"', b'\\"cnn\\"'), "damaged"),
    "another format": (lambda script, other: script.replace(b'"format": 2', b'"format": 1'), "format 1"),
    "another build": (lambda script, other: other, "another build"),
}


def swap(script, one, other):
    """The script with two texts in each other's place."""
    return script.replace(one, b"#").replace(other, one).replace(b"#", other)


def alter(match):
    """Another letter in place of the last one."""
    return match[1] + (b"A" if match[2] != b"A" else b"B")


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_without_this_build_s_weights_there_is_a_message_and_no_answer(fault, browser, book, tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "_static").symlink_to(book / "_static")
    shutil.copy(book / "book" / "10_draw.html", tmp_path / "book")
    script = (book / "draw-weights.js").read_bytes()
    other, _ = web.script({"fc": models.build_fc()}, {}, np.zeros((0, 28, 28, 1)), [])
    make, expected = FAULTS[fault]
    faulty = make(script, other)
    assert faulty != script
    if faulty is not None:
        (tmp_path / "draw-weights.js").write_bytes(faulty)
    page = browser.new_page()
    page.goto(f"{tmp_path.as_uri()}/book/10_draw.html")
    page.locator("#draw").scroll_into_view_if_needed()
    message = page.locator("#draw").get_by_role("alert").inner_text()
    assert message.startswith("The networks cannot answer here. The file draw-weights.js") and expected in message
    assert page.locator("#draw > *").count() == 1, "nothing to draw on, no answer"
    page.close()
