"""The report's figures. Each function draws on the Axes it is given and returns them; ``show`` ends a figure.

One thing has one look throughout, and no meaning hangs on colour alone: from the table of looks every figure takes its
colours and its second marks. The colours are made after Okabe and Ito's, which colour-blind readers can tell apart, and
of middle lightness, for the dark theme shows figures with their lightness turned round.
"""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from IPython.core.pylabtools import print_figure
from IPython.display import display
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.legend_handler import HandlerTuple
from matplotlib.ticker import LogFormatter, NullLocator, PercentFormatter, StrMethodFormatter


class Look(NamedTuple):
    """How one thing is drawn: its name in a legend, its colour, and the second mark of its points, lines and areas."""

    name: str
    colour: str
    marker: str  # of predictions, the sign in a title
    dash: str = "-"
    hatch: str = ""


NEUTRAL = "#777777"  # of what has no meaning of its own
TRAIN = Look("training images", "#009E73", "o")
TEST = Look("test images", "#CC79A7", "s", "--", "///")
FC = Look("FC", "#BF7A00", "^", "-.", "///")
CNN = Look("CNN", "#5540C8", "v")
RIGHT = Look("right", "#0072B2", "✓")
WRONG = Look("wrong", "#D55E00", "✗")
REPORTED = Look("the report", "#000000", "x", ":")
FC_SLOW = Look("learning rate 0.01", NEUTRAL, "P", "--")
TEST_DROPOUT = Look("1,000 images, dropout", TEST.colour, "X", "-.")  # test images once more, after a remedy
TEST_MORE = Look("4,000 images", TEST.colour, "*")
OURS = Look("the fast way", "#A3123F", "h")
KERAS = Look("Keras fit", "#3C9DD0", "p", "--")
WIDTH = 5  # inches of every figure, so that its text can still be read where it is 330 pixels wide, on a phone

plt.rcParams.update(
    {
        "figure.dpi": 200,
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "font.size": 10,
        "legend.frameon": False,
    }
)


def panels(rows=1, columns=1, height=3):
    """Return a new figure, ``WIDTH`` by ``height`` inches, and its Axes, as ``plt.subplots`` does."""
    return plt.subplots(rows, columns, figsize=(WIDTH, height))


def show(figure, name, caption, alt):
    """Put a figure on the page and close it.

    Args:
        figure: a matplotlib Figure.
        name: by which the text refers to it; unique in the book, it begins with ``fig-``.
        caption: states the finding; shown below the figure with its number. A number of this build follows ``≈``.
        alt: says what the figure shows, for those who do not see it.

    The three travel with the output, and the book's extension hands them to MyST-NB. The caption is also the output's
    plain text, which nbval compares.
    """
    shown = {"image/png": print_figure(figure, base64=True), "text/plain": caption}
    display(shown, raw=True, metadata={"labcode": {"name": name, "caption": caption, "alt": alt}})
    plt.close(figure)


def picture(ax, pixels, title="", lowest=0, limit=None):
    """Draw pixels (height, width) or (height, width, 1) as a picture without axes, digits black on white.

    Args:
        lowest: the value that is drawn as paper, white; one below 0 gets a frame, for paper does not show its edge.
        limit: the value that is drawn as ink, black; by default the largest.
    """
    ax.imshow(np.reshape(pixels, pixels.shape[:2]), cmap="gray_r", vmin=lowest, vmax=limit, interpolation="nearest")
    ax.set_axis_off()
    if lowest < 0:
        ax.add_patch(plt.Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, color=NEUTRAL, linewidth=1.5))
    if title:
        ax.set_title(title, fontsize=9)
    return ax


def square(ax, side, look):
    """Outline, on a picture, the square of so many pixels from its top left corner."""
    ax.add_patch(plt.Rectangle((-0.5, -0.5), side, side, fill=False, color=look.colour, linewidth=2))
    return ax


def pictures(axes, many, titles=None, **options):
    """Draw each of (n, height, width) pixels on its own Axes; what is left of the Axes stays empty."""
    axes = np.ravel(axes)
    for ax in axes:
        ax.set_axis_off()
    for ax, pixels, title in zip(axes, many, titles or [""] * len(many), strict=False):
        picture(ax, pixels, title, **options)
    return axes


def class_balance(ax, train_labels, test_labels):
    """Draw the share of each digit among training and among test labels, (n,) each, as bars side by side."""
    shares = [np.bincount(labels, minlength=10) / len(labels) for labels in (train_labels, test_labels)]
    grouped_bars(ax, range(10), (TRAIN, TEST), shares)
    ax.set(xlabel="digit", ylabel="share of the images")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


def accuracy_curve(ax, accuracies, look, label=None):
    """Draw an accuracy in [0, 1] after each epoch, (epochs,), in percent; its label is by default its look's name."""
    return _curve(ax, 100 * np.asarray(accuracies), look, label, "accuracy in %")


def loss_curve(ax, losses, look, label=None):
    """Draw a loss after each epoch, (epochs,), in nats; its label is by default its look's name."""
    return _curve(ax, losses, look, label, "loss in nats")


def _curve(ax, values, look, label, unit):
    epochs = np.arange(1, len(values) + 1)
    label, every = look.name if label is None else label, max(1, len(values) // 8)  # many markers hide the line
    ax.plot(epochs, values, label=label, color=look.colour, marker=look.marker, linestyle=look.dash, markevery=every)
    ax.set(xlabel="epoch", ylabel=unit)
    if len(values) <= 10:
        ax.set_xticks(epochs)
    ax.legend()
    return ax


def train_and_test_curves(axes, history):
    """Draw loss and accuracy, on two Axes, after each epoch on training and test images, from a Run's history."""
    for key, look in (("train", TRAIN), ("val", TEST)):
        loss_curve(axes[0], history[f"{key}_loss"], look)
        accuracy_curve(axes[1], history[f"{key}_accuracy"], look)
    return axes


def step_losses(ax, losses, smoothed):
    """Draw the loss of every step (steps,), on its training images, on a logarithmic axis, raw and smoothed."""
    steps = np.arange(1, len(losses) + 1)
    ax.semilogy(steps, losses, color=NEUTRAL, alpha=0.4, linewidth=0.5, label="each batch")
    ax.semilogy(steps, smoothed, color=TRAIN.colour, linestyle=TRAIN.dash, linewidth=1.8, label="smoothed")
    ax.set(xlabel="step", ylabel="loss in nats, logarithmic")
    plt.setp(ax.legend().get_lines(), linewidth=1.8, alpha=1)
    return ax


def prediction(picture_ax, bars_ax, image, probabilities, label):
    """Draw an image beside its ten probabilities (10,), in percent; right in blue with ✓, wrong in orange with ✗."""
    predicted = int(probabilities.argmax())
    look = RIGHT if predicted == label else WRONG
    picture(picture_ax, image)
    mark = look.marker if look is RIGHT else f"{look.marker} ({label})"
    picture_ax.set_title(f"{predicted} {100 * probabilities[predicted]:.0f} % {mark}", color=look.colour, fontsize=9)
    bars = bars_ax.bar(range(10), 100 * probabilities, color=NEUTRAL)
    bars[predicted].set_color(look.colour)
    bars_ax.set(xticks=range(10), yticks=(0, 50, 100), ylim=(0, 100))
    bars_ax.tick_params(labelsize=6, length=0)
    bars_ax.grid(False, axis="x")
    return picture_ax, bars_ax


def confusion(ax, matrix):
    """Draw a confusion matrix (10, 10); the colours show the errors alone, for the diagonal would outshine them."""
    errors = np.where(np.eye(10, dtype=bool), 0, matrix)
    colours = LinearSegmentedColormap.from_list("errors", ["white", WRONG.colour])
    ax.imshow(errors, cmap=colours, vmin=0, vmax=max(1, errors.max()))
    for row, column in np.ndindex(10, 10):
        if matrix[row, column]:
            ax.text(column, row, matrix[row, column], ha="center", va="center", fontsize=8)
    ax.set(xlabel="predicted digit", ylabel="true digit", xticks=range(10), yticks=range(10))
    ax.grid(False)
    return ax


def confidence(ax, confidences, look):
    """Draw how often predictions have which confidence (n,), as shares of all n; only wrong ones' area is filled."""
    shares, edges = np.histogram(confidences, np.linspace(0, 1, 21))
    label, filled = f"{look.name} ({len(confidences)} images)", look is WRONG
    ax.stairs(shares / max(1, len(confidences)), edges, fill=filled, color=look.colour, linewidth=2, label=label)
    ax.set(xlabel="confidence (the largest of the ten probabilities)", ylabel="share", xlim=(0, 1), ylim=(0, 1))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="upper left")
    return ax


def grouped_bars(ax, groups, looks, values):
    """Draw values (looks, groups) as bars side by side in each group."""
    width = 0.8 / len(looks)
    for i, (look, row) in enumerate(zip(looks, values, strict=True)):
        at = np.arange(len(groups)) + (i - (len(looks) - 1) / 2) * width
        ax.bar(at, row, width, label=look.name, color=look.colour, hatch=look.hatch)
    ax.set_xticks(range(len(groups)), groups)
    ax.legend()
    return ax


def seeds(ax, rows, unit):
    """Draw one dot a seed, a row for each recipe, with what was reported and what this build measured.

    Args:
        rows: (look, values of the seeds (n,), this build's value, reported value or None) of each row.
        unit: of the values; the label of the axis.
    """
    for place, (look, values, here, reported) in enumerate(rows):
        spread = 0.25 * np.random.default_rng(0).uniform(-1, 1, len(values))  # sideways, so that dots do not hide dots
        ax.scatter(values, place + spread, s=18, color=look.colour, marker=look.marker, alpha=0.6, linewidth=0)
        this_build(ax, here, place, look)
        if reported is not None:
            ax.plot([reported] * 2, [place - 0.4, place + 0.4], color=REPORTED.colour, linestyle=REPORTED.dash)
    names = [look.name for look, *_ in rows]
    ax.set(xlabel=unit, yticks=range(len(rows)), yticklabels=names, ylim=(-0.6, len(rows) - 0.4))
    seeds_of = tuple(plt.Line2D([], [], marker=look.marker, color=look.colour, linestyle="") for look, *_ in rows)
    handles = {
        "recorded seeds": seeds_of,
        "this build": plt.Line2D([], [], marker="D", color="w", markeredgecolor="k", linestyle=""),
        REPORTED.name: plt.Line2D([], [], color=REPORTED.colour, linestyle=REPORTED.dash),
    }
    if all(reported is None for *_, reported in rows):
        del handles[REPORTED.name]
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 1.2), "ncols": 3}
    ax.legend(handles.values(), handles, handler_map={tuple: HandlerTuple(None)}, **place)
    return ax


def this_build(ax, x, y, look, label=None):
    """Draw one value of this build among recorded ones of the same look."""
    ax.plot(x, y, marker="D", color=look.colour, markeredgecolor="k", linestyle="", zorder=3, label=label)
    return ax


def interval(ax, low, high, place):
    """Draw an interval as a bar in a row of ``seeds``."""
    ax.plot([low, high], [place, place], color="k", linewidth=1.5)
    return ax


def reliability_diagram(ax, confidences, accuracies, look):
    """Draw the accuracy in each bin minus its mean confidence, (bins,) each, in pp; below zero confidence is too high.

    The bins stand side by side, from the least sure to the surest: over their confidence most of them would hide each
    other, just below 100 %.
    """
    bins = np.arange(1, len(confidences) + 1)
    ax.axhline(0, color=NEUTRAL, linestyle=":", linewidth=1)
    above = 100 * (np.asarray(accuracies) - confidences)
    ax.plot(bins, above, color=look.colour, marker=look.marker, linestyle=look.dash, label=look.name)
    ax.set(xlabel="bin, from the least sure predictions to the surest", ylabel="accuracy minus confidence in pp")
    ax.set_xticks(bins)
    ax.legend()
    return ax


def seconds_to_accuracy(ax, curves, ours):
    """Draw test accuracy over seconds of training: a curve for each recipe by epochs, and ours by length of training.

    Args:
        curves: (look, seconds of each epoch (epochs,), accuracies (epochs,)) of each.
        ours: (label, marker, lengths) of each; the lengths are (seconds (n,), accuracies (n,)) of n trainings each.
    """
    for look, seconds, accuracies in curves:
        by_fit = {"color": look.colour, "marker": look.marker, "linestyle": look.dash}
        ax.plot(np.cumsum(seconds), 100 * np.asarray(accuracies), label=f"{look.name} by Keras fit", **by_fit)
    for label, marker, lengths in ours:
        middles = [(np.median(seconds), 100 * np.mean(accuracies)) for seconds, accuracies in lengths]
        ax.plot(*zip(*middles, strict=True), color=OURS.colour, marker=marker, label=f"ours: {label}")
        for seconds, accuracies in lengths:
            ax.plot(seconds, 100 * np.asarray(accuracies), marker, color=OURS.colour, markersize=3, alpha=0.5)
    ax.set(xlabel="seconds of training, logarithmic", ylabel="accuracy on test images in %", xscale="log")
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.legend(fontsize=8)
    return ax


def rates(ax, names, achieved, possible):
    """Draw achieved rates (n,) in GFLOP/s as bars, each over an outlined one of the possible rate (n,)."""
    places = np.arange(len(names))
    ax.barh(places, possible, color="none", edgecolor=NEUTRAL, hatch="///", label="matrix product")
    ax.barh(places, achieved, 0.5, color=OURS.colour, label="training steps")
    ax.set(xlabel="rate in GFLOP/s", yticks=places, yticklabels=names)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.25), ncols=2)
    return ax


def waterfall(ax, names, amounts, unit):
    """Draw amounts (n,) as bars below each other, each beginning where the one above it ends."""
    ax.barh(names, amounts, left=np.cumsum(amounts) - amounts, color=OURS.colour)
    ax.invert_yaxis()
    ax.set(xlabel=unit)
    return ax


def growth(ax, series, xlabel, ylabel):
    """Draw how a cost grows, both axes logarithmic: (look, x (n,), y (n, rounds)) of each series.

    A point is the median of its rounds; a line through it reaches from the smallest to the largest.
    """
    for look, x, y in series:
        middle, low, high = np.median(y, axis=1), np.min(y, axis=1), np.max(y, axis=1)
        ax.loglog(x, middle, color=look.colour, marker=look.marker, linestyle=look.dash, label=look.name)
        ax.vlines(x, low, high, color=look.colour)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_xticks(x, [f"{each:,}" for each in x])
    ax.xaxis.set_minor_locator(NullLocator())
    for set_formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        set_formatter(LogFormatter())  # 500, not 5 times a power of ten
    if len(series) > 1:
        ax.legend()
    return ax
