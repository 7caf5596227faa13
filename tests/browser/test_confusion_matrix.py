"""The confusion matrix to click, on the page opened from disk."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib import image as picture_file

from labcode import data, evaluation, training

MATRIX = "[...document.querySelectorAll('.mistakes tbody button')].map((cell) => Number(cell.textContent))"
CONFIDENCE = re.compile(r"(\w+): (\d), ([\d.]+) %, (right|wrong)\.")


@pytest.fixture(scope="module")
def dataset():
    return data.load("mnist-5k")


@pytest.fixture(scope="module")
def probabilities(dataset):
    """Of the test images, by network: from the Runs that the book was built with."""
    return {name: training.train(training.RECIPES[name.lower()], dataset).probabilities for name in ("CNN", "FC")}


@pytest.fixture
def chapter(page, book):
    page.goto((book / "book" / "05_predictions.html").as_uri())
    page.locator(".mistakes").scroll_into_view_if_needed()
    return page


def said(page):
    """What the live region says: the digit, then of each network its answer, confidence in percent, right or wrong."""
    first, *answers = page.locator(".mistakes [aria-live=polite]").inner_text().splitlines()
    found = [CONFIDENCE.fullmatch(answer).groups() for answer in answers]
    return first, {name: (int(digit), float(confidence), verdict) for name, digit, confidence, verdict in found}


def most_confused(dataset, probabilities):
    """The off-diagonal cell with most errors, and its test images, the most confident first."""
    predicted = probabilities.argmax(axis=1)
    errors = evaluation.confusion_matrix(dataset.test_labels, predicted) * (1 - np.eye(10, dtype=int))
    true, guessed = map(int, np.unravel_index(errors.argmax(), errors.shape))
    members = np.flatnonzero((dataset.test_labels == true) & (predicted == guessed))
    return true, guessed, members[np.argsort(-probabilities[members].max(axis=1), kind="stable")]


def cell(page, true, guessed):
    return page.get_by_role("button", name=f"{true} read as {guessed}:")


def test_the_counts_are_those_of_the_runs(chapter, dataset, probabilities):
    for name, values in probabilities.items():
        chapter.get_by_label(name, exact=True).check()
        expected = evaluation.confusion_matrix(dataset.test_labels, values.argmax(axis=1))
        assert chapter.evaluate(MATRIX) == expected.ravel().tolist()
        wrong = expected.sum() - np.trace(expected)
        assert f"{name} misreads {wrong:,} of {expected.sum():,} test images" in chapter.content()


def test_a_click_shows_each_digit_of_a_cell_with_both_answers(chapter, dataset, probabilities):
    true, guessed, members = most_confused(dataset, probabilities["CNN"])
    cell(chapter, true, guessed).click()
    for place, image in enumerate(members, start=1):
        first, answers = said(chapter)
        assert first == f"{true} read as {guessed} by CNN: {place} of {len(members)}. Test image {image}."
        for name, values in probabilities.items():
            digit, confidence, verdict = answers[name]
            assert digit == values[image].argmax()
            assert confidence == pytest.approx(100 * values[image].max(), abs=0.006)
            assert verdict == ("right" if digit == true else "wrong")
        assert_picture(chapter, dataset.test_images[image])
        assert_table(chapter, {name: values[image] for name, values in probabilities.items()}, true)
        chapter.get_by_role("button", name="Next").click()
    assert f"1 of {len(members)}" in said(chapter)[0], "after the last comes the first"


@pytest.mark.parametrize("forced", [False, True], ids=["the page's colours", "the reader's colours"])
def test_colours_and_bars_show_the_counts_and_probabilities(forced, chapter, dataset, probabilities):
    colour = "(button) => getComputedStyle(button).backgroundColor"
    matrix = evaluation.confusion_matrix(dataset.test_labels, probabilities["CNN"].argmax(axis=1))
    true, guessed, members = most_confused(dataset, probabilities["CNN"])
    few = np.argwhere(matrix == 1)[0]
    if forced:
        chapter.emulate_media(forced_colors="active")
    cells = [(true, guessed), few, *np.argwhere(matrix == 0)[:2]]
    fullest, small, empty, also_empty = (cell(chapter, *place).evaluate(colour) for place in cells)
    assert len({fullest, small, empty}) == 3 and empty == also_empty
    cell(chapter, *few).click()
    cell(chapter, true, guessed).click()
    current = chapter.locator(".mistakes [aria-current=true]")
    assert current.get_attribute("aria-label").startswith(f"{true} read as {guessed}:")
    mark = current.evaluate("(button) => [getComputedStyle(button).outlineStyle, getComputedStyle(button).boxShadow]")
    assert mark[0] == "solid" if forced else mark[1] != "none"
    for name, values in probabilities.items():
        bars = chapter.locator(f".mistakes .digit td.{name.lower()}").evaluate_all(BAR)
        assert bars == pytest.approx((100 * values[members[0]]).tolist(), abs=0.006), "percent of the field's width"


# how wide a bar is: the size of a picture that fills the field's height
BAR = """(fields) => fields.map((field) => {
    const style = getComputedStyle(field);
    return style.backgroundImage.includes("gradient") ? parseFloat(style.backgroundSize) : NaN;
})"""


def assert_picture(page, pixels):
    address = page.locator(".mistakes canvas").evaluate("canvas => canvas.toDataURL()")
    drawn = picture_file.imread(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    np.testing.assert_allclose(drawn[..., 0], 1 - pixels[..., 0], atol=1e-6)  # black on white


def assert_table(page, values, true):
    rows = page.locator(".mistakes .digit tbody tr").all_inner_texts()
    for digit, row in enumerate(rows):
        head, *fields = row.split("\t")
        assert head == (f"{digit}, true" if digit == true else str(digit))
        for field, of_network in zip(fields, values.values(), strict=True):
            assert float(re.search(r"[\d.]+", field)[0]) == pytest.approx(100 * of_network[digit], abs=0.006)
            expected = "" if digit != of_network.argmax() else "✓" if digit == true else "✗"
            assert re.sub(r"[\d.% ]", "", field) == expected


def test_keys_alone_open_a_cell_step_and_lead_back(chapter, dataset, probabilities):
    true, guessed, members = most_confused(dataset, probabilities["CNN"])
    chapter.get_by_label("CNN", exact=True).focus()
    chapter.keyboard.press("Tab")
    assert focused(chapter).startswith("0 read as 0:"), "one stop for all hundred cells"
    for key in ["ArrowUp", "ArrowLeft"] + ["ArrowDown"] * true + ["ArrowRight"] * guessed:
        chapter.keyboard.press(key)
    assert focused(chapter).startswith(f"{true} read as {guessed}:")
    chapter.keyboard.press("Enter")
    assert focused(chapter) == "The digits of the cell"
    assert f"1 of {len(members)}. Test image {members[0]}." in said(chapter)[0]
    chapter.keyboard.press("ArrowRight")
    assert f"2 of {len(members)}. Test image {members[1]}." in said(chapter)[0]
    for _ in range(2):
        chapter.keyboard.press("ArrowLeft")
    assert f"{len(members)} of {len(members)}. Test image {members[-1]}." in said(chapter)[0]
    chapter.keyboard.press("Escape")
    assert focused(chapter).startswith(f"{true} read as {guessed}:")
    chapter.keyboard.press("Shift+Tab")
    assert chapter.evaluate("document.activeElement.type") == "radio"


def focused(page):
    return page.evaluate("document.activeElement.getAttribute('aria-label') ?? ''")


def test_the_order_can_be_turned(chapter, dataset, probabilities):
    true, guessed, members = most_confused(dataset, probabilities["CNN"])
    cell(chapter, true, guessed).click()
    chapter.get_by_role("button", name="Least confident first").click()
    assert f"1 of {len(members)}. Test image {members[-1]}." in said(chapter)[0]
    chapter.get_by_role("button", name="Most confident first").click()
    assert f"1 of {len(members)}. Test image {members[0]}." in said(chapter)[0]


def test_the_diagonal_says_that_it_is_a_sample(chapter, dataset, probabilities):
    count = ((dataset.test_labels == 3) & (probabilities["FC"].argmax(axis=1) == 3)).sum()
    chapter.get_by_label("FC", exact=True).check()
    cell(chapter, 3, 3).click()
    assert f"1 of 12, a sample: the first 12 of {count} in the test set." in said(chapter)[0]


def test_an_empty_cell_says_so(chapter, dataset, probabilities):
    matrix = evaluation.confusion_matrix(dataset.test_labels, probabilities["CNN"].argmax(axis=1))
    true, guessed = np.argwhere(matrix == 0)[0]
    cell(chapter, true, guessed).click()
    assert chapter.get_by_text(f"CNN reads no {true} as {guessed}.").is_visible()
    assert chapter.locator(".mistakes canvas").is_hidden()


@pytest.mark.parametrize("width", [360, 1440])
def test_it_fits_the_window(open_page, book, width):
    page = open_page(viewport={"width": width, "height": 800})
    page.goto((book / "book" / "05_predictions.html").as_uri())
    cell(page, 0, 0).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    within = "[...document.querySelectorAll('.mistakes *')].map((e) => e.getBoundingClientRect().right)"
    assert max(page.evaluate(within)) <= width
    sizes = "[...document.querySelectorAll('.mistakes button')].map((e) => Math.min(e.offsetWidth, e.offsetHeight))"
    assert min(page.evaluate(sizes)) >= 28, "large enough for a finger"
    assert cell(page, 0, 0).evaluate("button => parseFloat(getComputedStyle(button).fontSize)") >= 11
    longest = cell(page, 1, 1)
    longest.evaluate("button => button.textContent = 1135")
    assert longest.evaluate("button => button.scrollWidth <= button.clientWidth"), "all of MNIST has 1,135 ones"


def test_a_tap_leads_to_the_digits_and_a_button_back(open_page, book):
    page = open_page(viewport={"width": 360, "height": 640}, has_touch=True)
    page.goto((book / "book" / "05_predictions.html").as_uri())
    cell(page, 0, 0).tap()
    assert is_within(page.locator(".mistakes canvas"), 640) and not is_within(cell(page, 0, 0), 640)
    page.get_by_role("button", name="Back to the matrix").tap()
    assert is_within(cell(page, 0, 0), 640)
    assert focused(page).startswith("0 read as 0:")


def is_within(place, height):
    """Whether an element is in the window, and below the theme's bar."""
    box = place.bounding_box()
    return box["y"] >= 48 and box["y"] + box["height"] <= height


def test_the_picture_stays_on_paper_and_without_scripts(open_page, book):
    address = (book / "book" / "05_predictions.html").as_uri()
    page = open_page()
    page.goto(address)
    picture = page.locator("#fig-confusion img")
    assert picture.is_hidden()
    page.emulate_media(media="print")
    assert picture.is_visible() and page.locator(".mistakes").is_hidden()
    plain = open_page(java_script_enabled=False)
    plain.goto(address)
    assert plain.locator("#fig-confusion img").is_visible() and plain.locator(".mistakes").count() == 0


def test_the_page_s_own_weight(book):
    """What the page adds to the theme: its text, pictures, scripts and the digits."""
    text = (book / "book" / "05_predictions.html").read_text("utf-8")
    named = set(re.findall(r'(?:src|href)="(\.\./(?:_images/[^"]*|mistakes-data\.js|_static/mistakes\.\w+))"', text))
    assert len(named) > 4
    assert len(text) + sum((book / "book" / name).stat().st_size for name in named) < 1_000_000
