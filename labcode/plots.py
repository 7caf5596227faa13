"""The report's figures. Each function draws on the Axes it is given and returns them; ``show`` ends a figure.

One colour means one thing throughout; the palette is made after Okabe and Ito's, which colour-blind readers can tell
apart, and no meaning hangs on colour alone. The colours are of middle lightness, for the dark theme shows figures with
their lightness turned round.
"""

import matplotlib.pyplot as plt
import numpy as np
from IPython.core.pylabtools import print_figure
from IPython.display import display
from matplotlib.ticker import PercentFormatter

TRAIN, TEST = "#009E73", "#CC79A7"
FC, CNN = "#BF7A00", "#5540C8"
RIGHT, WRONG = "#0072B2", "#D55E00"
REPORTED, NEUTRAL = "#000000", "#777777"
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


def picture(ax, pixels, title="", colours="gray_r", limit=None):
    """Draw pixels (height, width) or (height, width, 1) as a picture without axes.

    Args:
        colours: a matplotlib colour map; the default draws digits black on white.
        limit: the value that is drawn darkest; for a map of two colours, also the negative of the lightest.
    """
    lowest = 0 if colours == "gray_r" else -limit if limit else None
    ax.imshow(np.reshape(pixels, pixels.shape[:2]), cmap=colours, vmin=lowest, vmax=limit, interpolation="nearest")
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=9)
    return ax


def pictures(axes, many, titles=None, **options):
    """Draw each of (n, height, width) pixels on its own Axes; what is left of the Axes stays empty."""
    axes = np.ravel(axes)
    for ax in axes:
        ax.set_axis_off()
    for ax, pixels, title in zip(axes, many, titles or [""] * len(many), strict=False):
        picture(ax, pixels, title, **options)
    return axes


def class_balance(ax, labels, name, colour, offset):
    """Draw the share of each digit among labels (n,) as bars, moved sideways by ``offset`` bar widths."""
    shares = np.bincount(labels, minlength=10) / len(labels)
    ax.bar(np.arange(10) + 0.4 * offset, shares, 0.4, label=name, color=colour, hatch="" if offset < 0 else "///")
    ax.set(xlabel="digit", ylabel="share of the images", xticks=range(10))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


def accuracy_curve(ax, accuracies, name, colour, marker="o", style="-"):
    """Draw an accuracy in [0, 1] after each epoch, (epochs,), in percent."""
    return _curve(ax, 100 * np.asarray(accuracies), name, colour, marker, style, "accuracy in %")


def loss_curve(ax, losses, name, colour, marker="o", style="-"):
    """Draw a loss after each epoch, (epochs,), in nats."""
    return _curve(ax, losses, name, colour, marker, style, "loss in nats")


def _curve(ax, values, name, colour, marker, style, unit):
    epochs = np.arange(1, len(values) + 1)
    marker = marker if len(values) <= 10 else ""  # many markers hide the line
    ax.plot(epochs, values, label=name, color=colour, marker=marker, linestyle=style)
    ax.set(xlabel="epoch", ylabel=unit)
    if len(values) <= 10:
        ax.set_xticks(epochs)
    ax.legend()
    return ax


def train_and_test_curves(axes, history):
    """Draw loss and accuracy, on two Axes, after each epoch on training and test images, from a Run's history."""
    for key, name, colour, marker, style in (
        ("train", "training images", TRAIN, "o", "-"),
        ("val", "test images", TEST, "s", "--"),
    ):
        loss_curve(axes[0], history[f"{key}_loss"], name, colour, marker, style)
        accuracy_curve(axes[1], history[f"{key}_accuracy"], name, colour, marker, style)
    return axes


def step_losses(ax, losses, smoothed):
    """Draw the loss of every step (steps,) on a logarithmic axis, raw and smoothed."""
    steps = np.arange(1, len(losses) + 1)
    ax.semilogy(steps, losses, color=NEUTRAL, alpha=0.4, linewidth=0.5, label="each batch")
    ax.semilogy(steps, smoothed, color=CNN, linewidth=1.8, label="smoothed")
    ax.set(xlabel="step", ylabel="loss in nats, logarithmic")
    ax.legend()
    return ax


def prediction(picture_ax, bars_ax, image, probabilities, label):
    """Draw an image beside its ten probabilities (10,); right in blue with ✓, wrong in orange with ✗."""
    predicted = int(probabilities.argmax())
    right = predicted == label
    colour = RIGHT if right else WRONG
    picture(picture_ax, image)
    mark = "✓" if right else f"✗ ({label})"
    picture_ax.set_title(f"{predicted} {100 * probabilities[predicted]:.0f} % {mark}", color=colour, fontsize=9)
    bars = bars_ax.bar(range(10), probabilities, color=NEUTRAL)
    bars[predicted].set_color(colour)
    bars_ax.set(xticks=range(10), yticks=[], ylim=(0, 1))
    bars_ax.tick_params(labelsize=6, length=0)
    bars_ax.grid(False)
    return picture_ax, bars_ax


def confusion(ax, matrix):
    """Draw a confusion matrix (10, 10); the colours show the errors alone, for the diagonal would outshine them."""
    errors = np.where(np.eye(10, dtype=bool), 0, matrix)
    ax.imshow(errors, cmap="Oranges", vmin=0, vmax=max(1, errors.max()))
    for row, column in np.ndindex(10, 10):
        if matrix[row, column]:
            on_dark = errors[row, column] > 0.6 * errors.max()
            ax.text(
                column, row, matrix[row, column], ha="center", va="center", fontsize=8, color="w" if on_dark else "k"
            )
    ax.set(xlabel="predicted digit", ylabel="true digit", xticks=range(10), yticks=range(10))
    ax.grid(False)
    return ax


def confidence(ax, confidences, name, colour, filled):
    """Draw how often predictions have which confidence (n,), as shares of all n; as bars, or only their outline."""
    shares, edges = np.histogram(confidences, np.linspace(0, 1, 21))
    ax.stairs(shares / max(1, len(confidences)), edges, fill=filled, color=colour, linewidth=2, label=name)
    ax.set(xlabel="confidence (the largest of the ten probabilities)", ylabel="share", xlim=(0, 1), ylim=(0, 1))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="upper left")
    return ax


def grouped_bars(ax, groups, names, values, colours):
    """Draw values (names, groups) as bars side by side in each group."""
    width = 0.8 / len(names)
    for i, (name, row, colour) in enumerate(zip(names, values, colours, strict=True)):
        at = np.arange(len(groups)) + (i - (len(names) - 1) / 2) * width
        ax.bar(at, row, width, label=name, color=colour, hatch="///" if i % 2 else "")
    ax.set_xticks(range(len(groups)), groups)
    ax.legend()
    return ax


def seeds(ax, rows, unit):
    """Draw one dot a seed, a row for each recipe, with what was reported and what this build measured.

    Args:
        rows: (name, colour, values of the seeds (n,), this build's value, reported value or None) of each row.
        unit: of the values; the label of the axis.
    """
    for place, (_, colour, values, here, reported) in enumerate(rows):
        spread = 0.25 * np.random.default_rng(0).uniform(-1, 1, len(values))  # sideways, so that dots do not hide dots
        ax.scatter(values, place + spread, s=18, color=colour, alpha=0.6, linewidth=0)
        ax.plot(here, place, marker="D", color=colour, markeredgecolor="k", linestyle="")
        if reported is not None:
            ax.plot([reported] * 2, [place - 0.4, place + 0.4], color=REPORTED)
    ax.set(xlabel=unit, yticks=range(len(rows)), yticklabels=[row[0] for row in rows], ylim=(-0.6, len(rows) - 0.4))
    handles = [
        plt.Line2D([], [], marker="o", color=NEUTRAL, linestyle="", label="recorded seeds"),
        plt.Line2D([], [], marker="D", color="w", markeredgecolor="k", linestyle="", label="this build"),
        plt.Line2D([], [], color=REPORTED, label="the report"),
    ]
    reported = any(row[4] is not None for row in rows)
    ax.legend(handles=handles if reported else handles[:2], loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3)
    return ax


def reliability_diagram(ax, confidences, accuracies, name, colour, marker):
    """Draw the accuracy in each bin minus its mean confidence, (bins,) each, in pp; below zero confidence is too high.

    The bins stand side by side, from the least sure to the surest: over their confidence most of them would hide each
    other, just below 100 %.
    """
    bins = np.arange(1, len(confidences) + 1)
    ax.axhline(0, color=NEUTRAL, linestyle=":", linewidth=1)
    ax.plot(bins, 100 * (np.asarray(accuracies) - confidences), color=colour, marker=marker, label=name)
    ax.set(xlabel="bin, from the least sure predictions to the surest", ylabel="accuracy minus confidence in pp")
    ax.set_xticks(bins)
    ax.legend()
    return ax
