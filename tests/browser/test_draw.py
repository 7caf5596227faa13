"""The drawing page in a browser: it computes what Keras does and answers to every way of drawing.

``prepare`` is what ``book/_static/network.js`` does to a drawing, written a second time, in NumPy.
"""

import base64

import numpy as np
import pytest

from labcode import data, fitting, models, training, web

PEN = 0.045
STROKES = {
    "seven": [[[0.2, 0.2], [0.8, 0.2], [0.4, 0.9]], [[0.35, 0.5], [0.7, 0.5]]],
    "small four in a corner": [[[0.05, 0.05], [0.02, 0.2], [0.15, 0.2]], [[0.12, 0.03], [0.13, 0.3]]],
    "dot": [[[0.6, 0.3]]],
    "dot drawn twice": [[[0.5, 0.5], [0.5, 0.5]]],
    "line from edge to edge": [[[0, 0.97], [1, 1]]],
    "heavy left, thin right": [[[0.1, y / 20] for y in range(20)], [[0.15, y / 20] for y in range(20)], [[0.9, 0.5]]],
    "heavy right, thin left": [[[0.9, y / 20] for y in range(20)], [[0.85, y / 20] for y in range(20)], [[0.1, 0.5]]],
    "heavy below, thin above": [[[x / 20, 0.9] for x in range(20)], [[x / 20, 0.85] for x in range(20)], [[0.5, 0.1]]],
    "scribble": np.random.default_rng(0).random((4, 50, 2)).tolist(),
    "spiral": [[[0.5 + t / 200 * np.cos(t / 7), 0.5 + t / 200 * np.sin(t / 7)] for t in range(99)]],
}


def prepare(strokes):
    """The image (28, 28) float32 of a drawing."""
    points = np.array([point for stroke in strokes for point in stroke])
    low, high = points.min(axis=0) - PEN, points.max(axis=0) + PEN
    scale = 160 / (high - low).max()
    at = np.stack(np.meshgrid(*[np.arange(160) + 0.5] * 2), axis=-1)
    ink = np.zeros((160, 160), bool)
    for stroke in strokes:
        scaled = (np.array(stroke) - low) * scale
        for start, end in zip([scaled[0], *scaled], scaled, strict=False):
            way = end - start
            length = way[0] * way[0] + way[1] * way[1]
            along = ((at - start) * way).sum(axis=-1) / length if length else np.zeros((160, 160))
            off = at - start - np.clip(along, 0, 1)[..., np.newaxis] * way
            ink |= (off * off).sum(axis=-1) <= (PEN * scale) ** 2
    grey = ink.reshape(20, 8, 20, 8).mean(axis=(1, 3))
    centre = [grey.sum(axis=axis) @ (np.arange(20) + 0.5) / grey.sum() for axis in (1, 0)]
    width, height = (int(min(20, np.ceil(size * scale / 8))) for size in high - low)
    top, left = (int(np.clip(14 - np.floor(c), 0, 28 - size)) for c, size in zip(centre, (height, width), strict=True))
    image = np.zeros((28, 28), np.float32)
    image[top : top + height, left : left + width] = grey[:height, :width]
    return image


@pytest.fixture(scope="module")
def digits():
    return data.load("mnist-5k")


@pytest.fixture(scope="module")
def runs(book, digits):
    """The Runs whose networks the page has: the build of the book has trained them."""
    return {name: training.train(training.RECIPES[name], digits, 0) for name in ("fc", "cnn")}


@pytest.fixture(scope="module")
def networks(runs):
    """The rounded networks by name, in Keras."""
    networks = {name: models.BUILDERS[name]() for name in runs}
    for name, network in networks.items():
        network.set_weights(web.rounded(runs[name].weights))
    return networks


@pytest.fixture(scope="module")
def rounded(networks):
    """What the rounded networks answer to images, computed by Keras: a function of the name and the images."""
    return lambda name, images: networks[name].predict(images, batch_size=fitting.PREDICT_BATCH, verbose=0)


def settle(page):
    """Wait until all that is scheduled for the next frame of the screen is shown."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def wait_until_said(page, beginning):
    page.wait_for_function("(text) => document.getElementById('draw-said').innerText.startsWith(text)", arg=beginning)


def bring_into_sight(page):
    """Scroll to the drawing area, which then reads the weights."""
    page.locator("#draw-paper").scroll_into_view_if_needed()
    wait_until_said(page, "Nothing is drawn yet.")


@pytest.fixture
def drawing(page, book):
    """The drawing page, opened from disk, with its drawing area in sight."""
    page.goto(f"{book.as_uri()}/book/10_draw.html")
    bring_into_sight(page)
    return page


PREDICT_ALL = """([name, text]) => {
    const { networks } = labcodeNetwork.load(labcodeWeights, labcodeWeights.checksum);
    const pixels = Float32Array.from(atob(text), (letter) => letter.charCodeAt(0) / 255);
    const answers = [], times = [];
    for (let at = 0; at < pixels.length; at += 784) {
        const begun = performance.now();
        answers.push(...labcodeNetwork.forward(networks[name], pixels.slice(at, at + 784)).probabilities.values);
        times.push(performance.now() - begun);
    }
    return [answers, times.sort((a, b) => a - b)[times.length >> 1]];
}"""


@pytest.mark.parametrize("name", ["fc", "cnn"])
def test_a_thousand_test_images_get_keras_s_probabilities(name, drawing, digits, runs, rounded):
    pixels = base64.b64encode(np.rint(255 * digits.test_images).astype(np.uint8).tobytes()).decode()
    answers, median = drawing.evaluate(PREDICT_ALL, [name, pixels])
    computed, original = np.reshape(answers, (1000, 10)), runs[name].probabilities
    expected = rounded(name, digits.test_images)
    assert np.abs(computed - expected).max() < 1e-4, "the same arithmetic"
    assert np.array_equal(computed.argmax(axis=1), expected.argmax(axis=1))
    _, _, other_answers, by_rounding = web.agreement(original, expected, digits.test_labels)
    assert np.abs(computed - original).max() < by_rounding + 1e-4 and by_rounding < 0.05, "off by rounding alone"
    assert (computed.argmax(axis=1) != original.argmax(axis=1)).sum() == other_answers <= 3
    assert median < 50, "milliseconds"


def test_the_preparation_is_python_s(drawing):
    for name, strokes in STROKES.items():
        found = drawing.evaluate("(strokes) => Array.from(labcodeNetwork.prepare(strokes))", strokes)
        assert np.array_equal(np.reshape(found, (28, 28)), prepare(strokes)), name
    assert drawing.evaluate("labcodeNetwork.prepare([])") is None


@pytest.mark.parametrize("name", STROKES)
def test_a_drawing_is_prepared_as_the_digits_of_the_data_set_are(name, digits):
    image = prepare(STROKES[name])
    for picture in (image, digits.test_images[0, ..., 0]):
        inked = [np.flatnonzero(picture.any(axis=axis)) for axis in (0, 1)]
        assert max(np.ptp(each) + 1 for each in inked) == 20
        centre = [picture.sum(axis=axis) @ (np.arange(28) + 0.5) / picture.sum() for axis in (0, 1)]
        for at, ink in zip(centre, inked, strict=True):
            assert int(at) == 14 or {0, 27} & set(ink), "or as near as the edge lets it"


def points_on(paper):
    """The seven's strokes in the window's coordinates: a list of (x, y) for each stroke."""
    paper.scroll_into_view_if_needed()
    box = paper.bounding_box()
    return [[(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in each] for each in STROKES["seven"]]


def draw_with_mouse(page, paper, kind="mouse"):
    session = page.context.new_cdp_session(page)
    for stroke in points_on(paper):
        for (x, y), event in zip(
            [*stroke, stroke[-1]], ["Pressed", *["Moved"] * (len(stroke) - 1), "Released"], strict=True
        ):
            fields = {"x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1, "pointerType": kind}
            session.send("Input.dispatchMouseEvent", {"type": f"mouse{event}", **fields})


def draw_with_pen(page, paper):
    draw_with_mouse(page, paper, "pen")


def draw_with_finger(page, paper):
    session = page.context.new_cdp_session(page)
    for stroke in points_on(paper):
        for (x, y), event in zip([*stroke, stroke[-1]], ["Start", *["Move"] * (len(stroke) - 1), "End"], strict=True):
            points = [] if event == "End" else [{"x": x, "y": y}]
            session.send("Input.dispatchTouchEvent", {"type": f"touch{event}", "touchPoints": points})


def draw_with_keys(page, paper):
    """Two strokes from the middle: a bar, and from its right end down."""
    paper.focus()
    keys = ["ArrowUp"] * 8 + ["ArrowLeft"] * 6 + ["Space"] + ["ArrowRight"] * 12 + ["Space", "Space"]
    for key in keys + ["ArrowDown", "ArrowLeft", "ArrowDown"] * 6 + ["Space"]:
        paper.press(key)
    settle(page)
    assert page.locator("#draw-place").inner_text() == "Pen up, row 19, column 15."


WAYS = {"mouse": draw_with_mouse, "pen": draw_with_pen, "finger": draw_with_finger, "keys": draw_with_keys}


def shown(page):
    """What the page shows: the answer and confidence of each network on its card, and the table's two columns."""
    cards = {name: page.locator(f"p.draw-{name}").inner_text().split("\n") for name in ("fc", "cnn")}
    return cards, {name: page.locator(f"td.draw-{name} .draw-number").all_inner_texts() for name in cards}


# what is painted, in grey levels, 0 to 255: on the canvas of this name, and on that of the prepared picture
PAINTED = """((name) => {
    const canvas = document.getElementById(`draw-${name}`);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return Array.from(data).filter((_, i) => i % 4 === 0);
})"""
SEEN = f"{PAINTED}('seen')"


def percents(probabilities):
    return [f"{100 * probability:.1f} %" for probability in probabilities]


@pytest.mark.parametrize("width", [360, 1440])
def test_both_networks_answer_to_each_way_of_drawing(width, open_page, book, served, rounded):
    page = open_page(viewport={"width": width, "height": 700}, has_touch=True)
    page.goto(f"{book.as_uri() if width == 360 else served}/book/10_draw.html")
    said, paper = page.locator("#draw-said"), page.locator("#draw-paper")
    settle(page)
    assert said.inner_text() == "", "out of sight, the page does not spend time on the weights"
    bring_into_sight(page)
    assert paper.bounding_box()["width"] >= 250, "room for a thumb"
    for way, draw in WAYS.items():
        assert shown(page)[0] == {"fc": ["FC", "–"], "cnn": ["CNN", "–"]}, way
        draw(page, paper)
        wait_until_said(page, "Your drawing")
        before = assert_both_answer(page, rounded)
        page.get_by_role("button", name="Undo").click()
        page.wait_for_function(f"(before) => ({SEEN}).join() !== before.join()", arg=before)
        assert said.inner_text().startswith("Your drawing"), "of the first stroke"
        page.get_by_role("button", name="Undo" if way == "mouse" else "Clear").click()
        wait_until_said(page, "Nothing is drawn yet.")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out"


def assert_both_answer(page, rounded):
    """Hold what the page says to what the networks answer to the prepared picture; return the picture."""
    image = page.evaluate(SEEN)
    assert 30 < np.sum(image) / 255 < 250, "ink as of a digit"
    said, (cards, columns) = page.locator("#draw-said").inner_text(), shown(page)
    for name, column in columns.items():
        of_picture = rounded(name, np.reshape(image, (1, 28, 28, 1)).astype(np.float32) / 255)[0]
        page_says = np.array([float(text.split()[0]) for text in column]) / 100
        assert np.abs(page_says - of_picture).max() < 0.02, "the picture on the page has whole grey levels"
        largest = int(page_says.argmax())
        assert cards[name] == [name.upper(), str(largest), column[largest]]
        assert f"{name.upper()} reads {largest}, {column[largest]}" in said
    return image


def test_test_digits_can_be_taken_with_the_keyboard(drawing, digits, runs, rounded):
    picked = web.choose_digits(digits.test_labels, *(run.probabilities for run in runs.values()))
    buttons = drawing.get_by_role("group", name="Test digits").get_by_role("button")
    assert buttons.count() == len(picked) > 10
    expected = {name: rounded(name, digits.test_images[picked]) for name in runs}
    for number in (0, 9, len(picked) - 1):
        label = digits.test_labels[picked[number]]
        buttons.nth(number).focus()
        drawing.keyboard.press("Enter")
        drawing.wait_for_function(
            "(label) => document.getElementById('draw-said').innerText.includes(`labelled ${label}.`)", arg=int(label)
        )
        cards, _ = shown(drawing)
        for name, probabilities in expected.items():
            answer = probabilities[number].argmax()
            assert cards[name] == [name.upper(), str(answer), percents(probabilities[number])[answer]]
            assert (answer == label) == (name == "cnn" or number < 10)


BLOCKS = ("pool_1", "pool_2", "pool_3")
BLOCKS_ANSWER = """(digit) => {
    const { networks, digits } = labcodeNetwork.load(labcodeWeights, labcodeWeights.checksum);
    const answers = labcodeNetwork.forward(networks.cnn, digits[digit].image);
    return ["pool_1", "pool_2", "pool_3"].map((block) => Array.from(answers[block].values));
}"""


def tiles(maps):
    """Maps (height, width, n) side by side as the page has them, in grey levels: six in a row, or 32 of one value."""
    height, width, count = maps.shape
    across, gap = (32, 0) if count > 12 else (6, 1)
    rows = [
        np.hstack([np.pad(maps[..., i], ((0, gap), (0, gap))) for i in range(first, first + across)])
        for first in range(0, count, across)
    ]
    tiled = np.vstack(rows)
    return 255 * tiled[: len(tiled) - gap, : tiled.shape[1] - gap] / tiled.max()


@pytest.mark.parametrize("number", [3, 7])
def test_the_maps_are_what_keras_s_blocks_answer_to_the_picture_seen(number, drawing, digits, runs, networks):
    picked = web.choose_digits(digits.test_labels, *(run.probabilities for run in runs.values()))
    expected = fitting.feature_maps(networks["cnn"], digits.test_images[picked[number]][np.newaxis], BLOCKS)
    drawing.get_by_role("group", name="Test digits").get_by_role("button").nth(number).click()
    wait_until_said(drawing, "A test digit")
    chosen = drawing.evaluate("JSON.parse(labcodeWeights.description).maps")
    computed = drawing.evaluate(BLOCKS_ANSWER, number)
    for block, values, (maps,) in zip(BLOCKS, computed, expected, strict=True):
        assert np.abs(np.reshape(values, maps.shape) - maps).max() < 1e-3, block
        painted = drawing.evaluate(PAINTED, block)
        assert np.abs(painted - tiles(maps[..., chosen[block]]).ravel()).max() <= 1, block
        assert np.max(painted) == 255, block


def test_everything_follows_the_pen_while_it_is_down(drawing):
    paper = drawing.locator("#draw-paper")
    (first, *_), *_ = strokes = points_on(paper)
    names = ["paper", "seen", *BLOCKS]
    everything = f"[{', '.join(f'{PAINTED}({name!r}).join()' for name in names)}]"

    def look():
        settle(drawing)
        cards, table = shown(drawing)
        return [*drawing.evaluate(everything), cards, table]

    looks = [look()]
    drawing.mouse.move(*first)
    drawing.mouse.down()
    for point in strokes[0]:
        drawing.mouse.move(*point)  # at first nowhere: a dot
        looks.append(look())
        assert drawing.locator("#draw-said").inner_text() == "You are drawing."
    for before, after in zip(looks, looks[1:], strict=False):
        same = [name for name, a, b in zip([*names, "cards", "table"], before, after, strict=True) if a == b]
        assert same == [], "something stood still while the pen moved"
    drawing.mouse.up()
    wait_until_said(drawing, "Your drawing")
    assert look() == looks[-1], "lifting the pen changes nothing but the words"


def test_the_bars_are_as_long_as_the_probabilities(drawing):
    drawing.get_by_role("group", name="Test digits").get_by_role("button").last.click()
    wait_until_said(drawing, "A test digit")
    for name, column in shown(drawing)[1].items():
        bars = drawing.locator(f"td.draw-{name} .draw-bar")
        widths = bars.evaluate_all("bars => bars.map((bar) => bar.getBoundingClientRect().width)")
        heights = bars.evaluate_all("bars => bars.map((bar) => bar.getBoundingClientRect().height)")
        probabilities = np.array([float(text.split()[0]) for text in column]) / 100
        full = widths[probabilities.argmax()] / probabilities.max()
        assert full > 50 and min(heights) > 5 and np.abs(widths - full * probabilities).max() < 1
        assert bars.first.evaluate("bar => getComputedStyle(bar).background.includes('rgb(')")
        assert bars.first.evaluate("bar => getComputedStyle(bar).forcedColorAdjust") == "none"


def test_what_changes_is_said_and_what_it_is_worth(drawing):
    for name in ("said", "place"):
        assert drawing.locator(f"#draw-{name}").get_attribute("aria-live") == "polite"
    warning = drawing.locator(".admonition.warning").inner_text()
    assert "What you draw is not from MNIST." in warning
    assert "accuracy measured on MNIST's test images says nothing about yours" in warning.replace("’", "'")
    assert "and a high confidence no more" in warning


def test_the_pen_s_place_is_never_stale(drawing):
    said, place, paper = (drawing.locator(f"#draw-{name}") for name in ("said", "place", "paper"))

    def text_of(locator, expected):
        settle(drawing)
        assert locator.inner_text() == expected

    def pen_down():
        paper.focus()
        paper.press("Space")
        text_of(place, "Pen down, row 15, column 15.")
        text_of(said, "You are drawing.")

    for way_out in (
        lambda: paper.press("Tab"),
        lambda: drawing.get_by_role("button", name="Undo").click(),
        lambda: drawing.get_by_role("button", name="Clear").click(),
        lambda: drawing.get_by_role("group", name="Test digits").get_by_role("button").first.click(),
        lambda: drawing.mouse.click(*points_on(paper)[0][0]),
    ):
        drawing.keyboard.press("Tab")
        pen_down()
        way_out()
        text_of(place, "")
        assert said.inner_text() != "You are drawing."
    paper.blur()
    drawing.keyboard.press("Shift+Tab")
    pen_down()
    for key in ("Control+ArrowLeft", "Alt+ArrowUp", "Meta+ArrowDown", "Control+Space"):
        paper.press(key)
        text_of(place, "Pen down, row 15, column 15.")
    paper.press("Space")
    text_of(place, "Pen up, row 15, column 15.")


def test_undo_takes_back_a_digit_and_a_clearing_too(drawing):
    undo, clear = (drawing.get_by_role("button", name=name) for name in ("Undo", "Clear"))
    buttons = drawing.get_by_role("group", name="Test digits").get_by_role("button")

    def pictures_after(*actions):
        for act in actions:
            act()
            settle(drawing)
            pressed = buttons.evaluate_all("all => all.map((each) => each.getAttribute('aria-pressed'))")
            yield drawing.evaluate(SEEN), [i for i, state in enumerate(pressed) if state == "true"]

    draw_with_mouse(drawing, drawing.locator("#draw-paper"))
    acts = [lambda: None, buttons.nth(2).click, buttons.nth(4).click, clear.click, clear.click]
    drawn, two, four, nothing, still = pictures_after(*acts)
    assert [each[1] for each in (drawn, two, four, nothing)] == [[], [2], [4], []]
    assert sum(nothing[0]) == 0 and still == nothing
    assert list(pictures_after(undo.click, undo.click, undo.click)) == [four, two, drawn]
    *_, empty, more = pictures_after(undo.click, undo.click, undo.click)
    assert empty == more == nothing, "nothing is left to undo"


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1440, 900)])
def test_what_changes_is_in_sight_while_one_draws(width, height, open_page, book):
    page = open_page(viewport={"width": width, "height": height})
    page.goto(f"{book.as_uri()}/book/10_draw.html")
    bring_into_sight(page)
    names = ["#draw-paper", "p.draw-fc", "p.draw-cnn", "#draw-seen", "#draw-pool_1", "#draw-pool_2"]
    others = ["#draw-pool_3", "#draw-table", ".draw-digits"]
    boxes = {name: page.locator(name).bounding_box() for name in [*names, *others]}
    top = {name: box["y"] - boxes["#draw-paper"]["y"] for name, box in boxes.items()}
    bottom = {name: top[name] + box["height"] for name, box in boxes.items()}
    below_header = height - page.locator(".bd-header-article").bounding_box()["height"]
    in_sight = names if width == 1440 else names[:5]
    assert all(top[name] >= 0 and bottom[name] <= below_header for name in in_sight), bottom
    assert bottom["#draw-pool_3"] <= top[".draw-digits"]
    if width == 360:
        assert max(bottom[name] for name in names[:4]) <= top["#draw-table"]
    assert page.locator("#draw-paper").evaluate("paper => getComputedStyle(paper).imageRendering") == "auto"


def test_without_scripts_and_in_print_a_sentence_and_a_figure_stand_in_its_place(open_page, book):
    page = open_page(java_script_enabled=False, viewport={"width": 1440, "height": 900})
    page.goto(f"{book.as_uri()}/book/10_draw.html")
    area, fault, elsewhere = (page.locator(each) for each in ("#draw", ".draw-fault", ".draw-elsewhere"))
    assert "switched off here" in area.inner_text() and not elsewhere.is_visible()
    assert fault.bounding_box()["width"] == area.bounding_box()["width"]
    style = "fault => [getComputedStyle(fault).borderTopWidth, getComputedStyle(fault).borderTopStyle]"
    assert fault.evaluate(style) == ["2px", "solid"]
    assert page.locator("#fig-picked img").is_visible()
    page.emulate_media(media="print")
    assert not area.is_visible() and page.locator("#fig-picked img").is_visible()
    assert elsewhere.is_visible() and elsewhere.inner_text().startswith("In the HTML version one draws a digit here.")
    assert "above" not in page.locator("#fig-picked figcaption").inner_text()


def test_the_page_weighs_at_most_two_megabytes(page, served):
    responses = []
    page.on("response", lambda response: responses.append(response))
    page.goto(f"{served}/book/10_draw.html", wait_until="networkidle")
    sizes = {response.url: len(response.body()) for response in responses}
    assert f"{served}/draw-weights.js" in sizes
    assert page.locator("svg.svg-inline--fa").count() > 5 and page.locator(".missing").count() == 0, (
        "all icons are there"
    )
    assert sum(sizes.values()) <= 2_000_000, sorted(sizes.items(), key=lambda item: -item[1])[:10]
