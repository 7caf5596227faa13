"""What is concluded from predictions and from repeated runs."""

import numpy as np
from scipy import stats


def confusion_matrix(labels, predicted_labels):
    """Count images by true label (row) and predicted label (column).

    Args:
        labels, predicted_labels: (n,) int64 in 0..9 each.

    Returns:
        (10, 10) int64.

    Raises:
        ValueError: a label is not in 0..9.
    """
    for digits in (labels, predicted_labels):
        if np.min(digits) < 0 or np.max(digits) > 9:
            raise ValueError(f"labels from {np.min(digits)} to {np.max(digits)}: expected digits from 0 to 9")
    matrix = np.zeros((10, 10), np.int64)
    np.add.at(matrix, (labels, predicted_labels), 1)
    return matrix


def wilson_interval(correct, count, level=0.95):
    """The interval of accuracies that ``correct`` right ones of ``count`` images leave open (Wilson 1927): (low, high).

    It is about sampling test images: it says nothing about another seed.
    """
    interval = stats.binomtest(correct, count).proportion_ci(level, method="wilson")
    return interval.low, interval.high


def prediction_interval(values, level, together=1):
    """The interval in which one further value lies with that probability, from earlier ones: (low, high).

    Student's t for a normal sample, the spread widened for the further value itself (Hahn and Meeker 1991).

    Args:
        values: (n,) floats with n at least 2, or (n, k) for k intervals; then low and high are (k,) each.
        level: in (0, 1).
        together: how many intervals hold all at once with that probability (Bonferroni).

    Raises:
        ValueError: there are fewer than 2 values, or the level is not in (0, 1).
    """
    values = np.asarray(values, float)
    count = len(values)
    if not 0 < level < 1:
        raise ValueError(f"level {level!r}: expected a probability between 0 and 1")
    if count < 2:
        raise ValueError(f"{count} values: expected at least 2, for one value has no spread")
    reach = stats.t.ppf(1 - (1 - level) / 2 / together, count - 1) * np.sqrt(1 + 1 / count)
    middle, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
    return middle - reach * spread, middle + reach * spread


def smooth(values, factor=0.95):
    """Exponential smoothing, as the lab draws its loss: ``factor`` of the old mean and the rest of the new value.

    Args:
        values: (n,) floats, n at least 1; the first is where the mean starts.
        factor: in [0, 1).

    Returns:
        (n,) float64.

    Raises:
        ValueError: there is no value, or the factor is not in [0, 1).
    """
    if not 0 <= factor < 1 or len(values) == 0:
        raise ValueError(
            f"factor {factor!r} and {len(values)} values: expected one from 0 to below 1, and at least one"
        )
    smoothed = np.empty(len(values))
    mean = values[0]
    for i, value in enumerate(values):
        mean = factor * mean + (1 - factor) * value
        smoothed[i] = mean
    return smoothed


def tenths(values):
    """The means of ten equal parts of (n,) values: (10,) float64.

    Raises:
        ValueError: there are fewer than 10 values.
    """
    if len(values) < 10:
        raise ValueError(f"{len(values)} values: expected at least 10")
    return np.array([part.mean() for part in np.array_split(np.asarray(values, float), 10)])


def first_to_reach(accuracies, costs, target):
    """What it had cost when the accuracy first reached the target; infinity where it never does.

    Args:
        accuracies, costs: (epochs,) after each epoch; costs are of one epoch each, in any unit.
        target: in [0, 1].

    Raises:
        ValueError: there are not as many costs as accuracies.
    """
    if len(accuracies) != len(costs):
        raise ValueError(f"{len(costs)} costs: expected one for each of {len(accuracies)} accuracies")
    reached = np.flatnonzero(np.asarray(accuracies) >= target)
    return float(np.cumsum(costs)[reached[0]]) if len(reached) else float("inf")


def split_spread(correct):
    """Split the spread of test accuracy over seeds (Jordan 2023, the estimator of distribution-wise variance).

    Networks of one recipe differ on a test set for two reasons: which of its images each happens to get right, which
    would even out over ever more images, and how good they are. The covariance of two different images over the seeds
    is left by the second alone.

    Args:
        correct: (seeds, n) bool, which image each seed's network got right.

    Returns:
        The standard deviation of the accuracy over seeds on this test set, and of the accuracy on endlessly many
        images (0 where the estimate of its variance is below); not a number each where there are fewer than 2 seeds.
    """
    seeds, count = correct.shape
    if seeds < 2:
        return float("nan"), float("nan")
    on_test_set = correct.mean(axis=1).var(ddof=1)
    of_images = correct.var(axis=0, ddof=1).sum() / count**2
    return float(np.sqrt(on_test_set)), float(np.sqrt(max(0, count / (count - 1) * (on_test_set - of_images))))


def spread_interval(*samples, level=0.95):
    """The interval of a standard deviation that normal samples leave open: (low, high).

    By the chi-square distribution (Hahn and Meeker 1991). Of several independent samples it is that of the sum of one
    value of each, whose variances add, with Satterthwaite's degrees of freedom (1946).

    Args:
        samples: (n,) floats each, n at least 2 and not all equal.
        level: in (0, 1).
    """
    variances = np.array([np.var(sample, ddof=1) for sample in samples])
    freedom = variances.sum() ** 2 / sum(variances**2 / [len(sample) - 1 for sample in samples])
    most, least = stats.chi2.interval(level, freedom)[::-1]
    return float(np.sqrt(variances.sum() * freedom / most)), float(np.sqrt(variances.sum() * freedom / least))


def paired_test(correct, other):
    """McNemar's exact test of two networks on the same images (McNemar 1947).

    Args:
        correct, other: (n,) bool, which image each got right.

    Returns:
        How many images only the first got right, how many only the second, and the two-sided p value: how often chance
        alone parts these images at least so unevenly.
    """
    from mlxtend.evaluate import mcnemar  # here, for it takes a second and most chapters do not need it

    table = np.array([[np.sum(correct & other), np.sum(correct & ~other)], [np.sum(~correct & other), 0]])
    _, p = mcnemar(table, exact=True)
    return int(table[0, 1]), int(table[1, 0]), min(1.0, float(p))


def paired_difference(correct, other, level=0.95):
    """The interval of the difference of two networks' accuracies that the choice of test images leaves: (low, high).

    Student's t (1908) for the mean of the differences image by image, which are the same images for both.

    Args:
        correct, other: (n,) bool, which image each got right; or other values that stand in pairs.
    """
    interval = stats.ttest_1samp(correct.astype(float) - other, 0).confidence_interval(level)
    return float(interval.low), float(interval.high)


def difference_on_new_images(correct, other, level=0.95):
    """The interval of the difference of accuracies of one further network of each recipe on as many new images.

    A prediction interval (Hahn and Meeker 1991) of all that varies: how good the two networks are, the new images, and
    the mean of the recorded seeds and of these images, around which it lies. Student's t with one degree of freedom
    less than the smaller sample has seeds, which is rather too wide than too narrow.

    Args:
        correct, other: (seeds, n) bool each, of the same images, at least 2 seeds; their numbers may differ.
        level: in (0, 1).

    Returns:
        low, high.
    """
    seeds, count = min(len(correct), len(other)), correct.shape[1]
    pairs = correct[:seeds].astype(np.float32) - other[:seeds]
    means = correct.mean(axis=0) - other.mean(axis=0)
    of_networks = sum(split_spread(each)[1] ** 2 * (1 + 1 / len(each)) for each in (correct, other))
    of_images = (pairs.var(axis=1, ddof=1).mean() + means.var(ddof=1)) / count
    reach = stats.t.ppf((1 + level) / 2, seeds - 1) * np.sqrt(of_networks + of_images)
    return float(means.mean() - reach), float(means.mean() + reach)


def mean_difference(values, other, level=0.95):
    """The difference of the means of (n,) and (m,) values, n and m at least 2, and its interval: (value, low, high).

    Welch's, which does not take the two spreads for equal (Welch 1947).
    """
    interval = stats.ttest_ind(values, other, equal_var=False).confidence_interval(level)
    return float(np.mean(values) - np.mean(other)), float(interval.low), float(interval.high)


def wins_in_pairs(accuracies, others, level=0.95):
    """How often the first of a pair of runs has the higher accuracy, in pairs that share no run.

    Args:
        accuracies, others: (n,) and (m,), paired in their order as far as both go.

    Returns:
        wins, pairs, and the lowest probability of a win that they leave open (Clopper and Pearson 1934, one-sided).
    """
    pairs = list(zip(accuracies, others, strict=False))
    wins = sum(bool(accuracy > other) for accuracy, other in pairs)
    interval = stats.binomtest(wins, len(pairs), alternative="greater").proportion_ci(level, method="exact")
    return wins, len(pairs), float(interval.low)


def bootstrap_comparison(correct, other, resamples=1000, level=0.95):
    """Compare two recipes over seeds and images, both drawn anew with replacement (Efron and Tibshirani 1993).

    Args:
        correct, other: (seeds, n) bool each, of the same images; the numbers of seeds may differ.

    Returns:
        A dict of (value, low, high): ``beats``, the probability that a network of the first recipe has the higher
        accuracy on these images than one of the second; ``difference``, that of their mean accuracies.
    """
    random = np.random.default_rng(0)
    count = correct.shape[1]
    bits, others = correct.astype(np.float32), other.astype(np.float32)

    def compare(numbers, other_numbers):  # of right images: whole numbers, so that equal accuracies are equal
        beats = (numbers[:, np.newaxis] > other_numbers).mean()
        return beats, (numbers.mean(dtype=float) - other_numbers.mean(dtype=float)) / count

    draws = []
    for _ in range(resamples):
        weights = random.multinomial(count, np.full(count, 1 / count)).astype(np.float32)
        seeds, other_seeds = (random.integers(len(each), size=len(each)) for each in (bits, others))
        draws.append(compare((bits @ weights)[seeds], (others @ weights)[other_seeds]))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    values = compare(bits.sum(axis=1), others.sum(axis=1))
    names = ("beats", "difference")
    return {name: (float(values[i]), float(low[i]), float(high[i])) for i, name in enumerate(names)}
