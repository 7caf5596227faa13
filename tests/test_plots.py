"""What a figure promises, read off its Axes."""

import ast
import re
from base64 import b64decode
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.pylabtools import select_figure_formats
from IPython.utils.capture import capture_output
from matplotlib.colors import to_rgb, to_rgba
from traitlets.config import Config

from labcode import plots


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.fixture
def two_axes():
    figure, axes = plt.subplots(1, 2)
    yield axes
    plt.close(figure)


@pytest.fixture
def shell():
    """An IPython that draws figures as a notebook does."""
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    select_figure_formats(shell, {"png"})
    yield shell
    InteractiveShell.clear_instance()


def line(ax, label):
    """The one line with that label."""
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


BOOK = Path(__file__).resolve().parents[1] / "book"
LOOKS = [value for value in vars(plots).values() if isinstance(value, plots.Look)]
MARKS = {
    "color",
    "colour",
    "c",
    "marker",
    "linestyle",
    "ls",
    "style",
    "hatch",
    "cmap",
    "colours",
}  # how matplotlib names them


def test_each_thing_has_a_look_of_its_own_and_its_second_mark_tells_it_apart():
    names = {name for name, value in vars(plots).items() if isinstance(value, plots.Look)}
    assert {"TRAIN", "TEST", "FC", "CNN", "RIGHT", "WRONG", "REPORTED"} <= names
    for one, other in combinations(LOOKS, 2):
        assert one.marker != other.marker, (one, other)
        assert one.colour != other.colour or one.dash != other.dash, (one, other)
    main = {
        to_rgb(getattr(plots, name).colour) for name in ("TRAIN", "TEST", "FC", "CNN", "RIGHT", "WRONG", "REPORTED")
    }
    assert len(main | {to_rgb(plots.NEUTRAL)}) == 8
    for one, other in ((plots.TRAIN, plots.TEST), (plots.FC, plots.CNN)):
        assert one.dash != other.dash and one.hatch != other.hatch, "lines without markers, and bars"
    red, green, blue = to_rgb(plots.RIGHT.colour)
    assert blue > max(red, green), "right ones in blue"


def calls(path):
    """The calls in a chapter's cells."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [node for cell in cells for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", sorted(BOOK.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_chapter_chooses_a_look_by_itself(path):
    assert [ast.unparse(call) for call in calls(path) if MARKS & {keyword.arg for keyword in call.keywords}] == []


def test_the_pages_draw_with_the_same_colours():
    sheets = {path.stem: path.read_text("utf-8") for path in (BOOK / "_static").glob("*.css")}
    light = re.search(r":root \{(.*?)\}", sheets["report"])[1]
    expected = {"fc": plots.FC.colour, "cnn": plots.CNN.colour, "wrong": plots.WRONG.colour}
    assert dict(re.findall(r"--(\w+): (#\w+);", light)) == expected
    assert [name for name in ("draw", "mistakes") if re.search(r"#[0-9a-fA-F]{6}\b", sheets[name])] == []


@pytest.mark.parametrize(
    ("label", "colour", "title"), [(3, plots.RIGHT.colour, "3 70 % ✓"), (8, plots.WRONG.colour, "3 70 % ✗ (8)")]
)
def test_prediction_marks_right_and_wrong_by_colour_and_sign(two_axes, label, colour, title):
    probabilities = np.full(10, 0.3 / 9)
    probabilities[3] = 0.7
    picture, bars = plots.prediction(*two_axes, np.eye(28), probabilities, label)
    assert picture.get_title() == title
    assert to_rgba(picture.title.get_color()) == to_rgba(colour)
    assert [bar.get_height() for bar in bars.patches] == pytest.approx(100 * probabilities), "percent"
    assert bars.get_ylim() == (0, 100)
    coloured = [i for i, bar in enumerate(bars.patches) if bar.get_facecolor() != to_rgba(plots.NEUTRAL)]
    assert coloured == [3] and bars.patches[3].get_facecolor() == to_rgba(colour)


def test_picture_draws_ink_dark_on_white(ax):
    image = plots.picture(ax, np.eye(28)[..., None]).images[0]
    assert np.array_equal(image.get_array(), np.eye(28))
    paper, ink = image.cmap(image.norm(0.0)), image.cmap(image.norm(1.0))
    assert paper[:3] == (1, 1, 1) and ink[:3] == (0, 0, 0)


def test_picture_of_weights_draws_zero_midway_and_a_frame(ax):
    image = plots.picture(ax, np.linspace(-1, 1, 9).reshape(3, 3), lowest=-1, limit=1).images[0]
    assert [image.cmap(image.norm(weight))[0] for weight in (-1, 0, 1)] == pytest.approx([1, 0.5, 0], abs=0.01)
    assert len(ax.patches) == 1 and not ax.patches[0].get_fill()


def test_step_losses_draws_both_lines_on_a_logarithmic_axis(ax):
    plots.step_losses(ax, [4.0, 1.0, 2.0], [4.0, 3.0, 2.5])
    assert ax.get_yscale() == "log" and ax.get_xscale() == "linear"
    assert legend(ax) == ["each batch", "smoothed"]
    assert line(ax, "each batch").get_xydata().tolist() == [[1, 4], [2, 1], [3, 2]]
    assert line(ax, "smoothed").get_xydata().tolist() == [[1, 4], [2, 3], [3, 2.5]]
    assert (ax.get_xlabel(), "nats" in ax.get_ylabel()) == ("step", True)


def test_confusion_has_true_digits_as_rows_and_colours_only_errors(ax):
    matrix = np.diag(np.arange(90, 100))
    matrix[2, 7], matrix[4, 9] = 5, 3
    plots.confusion(ax, matrix)
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("true digit", "predicted digit")
    written = {tuple(map(int, text.get_position())): int(text.get_text()) for text in ax.texts}
    assert written == {(column, row): matrix[row, column] for row, column in np.argwhere(matrix)}
    image = ax.images[0]
    assert np.array_equal(image.get_array(), matrix - np.diag(np.diag(matrix)))
    assert image.norm(5) == 1, "the most frequent error is darkest"
    assert image.get_extent()[2] > image.get_extent()[3], "row 0 on top"


def test_confusion_without_an_error_can_be_drawn(ax):
    plots.confusion(ax, np.diag([7] * 10))
    assert not ax.images[0].get_array().any()


def test_accuracy_curve_is_in_percent_by_epoch(ax):
    plots.accuracy_curve(ax, [0.5, 0.75], plots.FC)
    assert line(ax, "FC").get_xydata().tolist() == [[1, 50], [2, 75]]
    drawn = line(ax, "FC")
    assert (drawn.get_color(), drawn.get_marker(), drawn.get_linestyle()) == plots.FC[1:4]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "accuracy in %")


def test_loss_curve_is_in_nats(ax):
    plots.loss_curve(ax, [0.5, 0.25], plots.FC, "small")
    assert line(ax, "small").get_ydata().tolist() == [0.5, 0.25]
    assert ax.get_ylabel() == "loss in nats"


def test_train_and_test_curves_take_each_from_its_history(two_axes):
    history = {"train_loss": [0.2], "val_loss": [0.3], "train_accuracy": [0.8], "val_accuracy": [0.7]}
    loss, accuracy = plots.train_and_test_curves(two_axes, history)
    for look, of_loss, of_accuracy in ((plots.TRAIN, 0.2, 80), (plots.TEST, 0.3, 70)):
        assert line(loss, look.name).get_ydata().tolist() == [of_loss]
        assert line(accuracy, look.name).get_ydata() == pytest.approx([of_accuracy])
        for ax in two_axes:
            assert (line(ax, look.name).get_color(), line(ax, look.name).get_linestyle()) == (look.colour, look.dash)


def test_class_balance_draws_the_share_of_each_digit(ax):
    plots.class_balance(ax, np.array([1]), np.array([0, 0, 0, 9]))
    train, test = ax.patches[:10], ax.patches[10:]
    assert [bar.get_height() for bar in train] == [0, 1, *[0] * 8]
    assert [bar.get_height() for bar in test] == [0.75, *[0] * 8, 0.25]
    assert [round(bar.get_x() + bar.get_width() / 2 - 0.2) for bar in test] == list(range(10))
    for bar, look in ((train[0], plots.TRAIN), (test[0], plots.TEST)):
        assert (to_rgb(bar.get_facecolor()), bar.get_hatch() or "") == (to_rgb(look.colour), look.hatch)
    assert ax.yaxis.get_major_formatter()(0.25) == "25%"


def test_seeds_draws_a_dot_a_seed_this_build_and_the_report(ax):
    rows = [(plots.FC, [96.1, 96.3, 96.2], 96.5, 96.89), (plots.CNN, [98.1, 98.4], 98.2, None)]
    plots.seeds(ax, rows, "test accuracy in %")
    for place, (look, values, *_) in enumerate(rows):
        x, y = ax.collections[place].get_offsets().T
        assert x.tolist() == values and np.abs(y - place).max() < 0.4
        assert to_rgb(ax.collections[place].get_facecolor()[0]) == to_rgb(look.colour)
    assert len(ax.collections) == 2
    here = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "D"]
    reported = [list(line.get_xdata()) for line in ax.lines if line.get_color() == plots.REPORTED.colour]
    assert here == [[[96.5, 0]], [[98.2, 1]]] and reported == [[96.89, 96.89]]
    assert ax.get_xlabel() == "test accuracy in %"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["FC", "CNN"]
    assert legend(ax) == ["recorded seeds", "this build", "the report"]


def test_confidence_draws_shares_of_all(ax):
    plots.confidence(ax, np.array([0.52, 0.97, 0.98, 0.99]), plots.RIGHT)
    (stairs,) = ax.patches
    assert legend(ax) == ["right (4 images)"] and not stairs.get_fill(), "an outline, over the area of wrong ones"
    shares, edges, _ = stairs.get_data()
    assert shares.sum() == pytest.approx(1) and shares[-1] == 0.75
    assert (edges[0], edges[-1]) == (0, 1)


def test_reliability_diagram_draws_what_accuracy_is_above_confidence_bin_by_bin(ax):
    plots.reliability_diagram(ax, np.array([0.5, 0.9, 0.999]), np.array([0.6, 0.85, 0.999]), plots.CNN)
    np.testing.assert_allclose(line(ax, "CNN").get_xydata(), [[1, 10], [2, -5], [3, 0]], atol=1e-9)
    assert "in pp" in ax.get_ylabel() and legend(ax) == ["CNN"]


def test_show_hands_over_name_caption_and_alt_and_closes_the_figure(shell):
    figure, _ = plt.subplots()
    with capture_output() as captured:
        plots.show(figure, "fig-a", "It *falls*.", "A falling line.")
    (output,) = captured.outputs
    assert output.metadata["labcode"] == {"name": "fig-a", "caption": "It *falls*.", "alt": "A falling line."}
    assert b64decode(output.data["image/png"]).startswith(b"\x89PNG")
    assert output.data["text/plain"] == "It *falls*.", "nbval compares it"
    assert not plt.fignum_exists(figure.number)
