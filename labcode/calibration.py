"""How far a confidence can be taken for the probability of being right."""

import numpy as np


def reliability(confidences, right, bins=10):
    """Hold confidence against accuracy, in bins of equally many predictions (Nixon et al. 2019).

    Args:
        confidences: (n,) in [0, 1].
        right: (n,) bool.

    Returns:
        mean confidence and accuracy of each bin, (bins,) each, and the expected calibration error, their mean distance.
    """
    parts = np.array_split(np.argsort(confidences, kind="stable"), bins)
    of_bins = np.array([(confidences[part].mean(), right[part].mean()) for part in parts])
    sizes = np.array([len(part) for part in parts])
    error = np.average(np.abs(of_bins[:, 0] - of_bins[:, 1]), weights=sizes)
    return of_bins[:, 0], of_bins[:, 1], float(error)


def errors_if_calibrated(confidences, bins=10, draws=200):
    """The calibration errors that chance alone leaves at this n, if each is right with its confidence: (draws,).

    Right and wrong are drawn anew for the same confidences (Bröcker and Smith 2007).

    Args:
        confidences: (n,) in [0, 1].
    """
    random = np.random.default_rng(0)
    chance = (random.random(len(confidences)) < confidences for _ in range(draws))
    return np.array([reliability(confidences, right, bins)[2] for right in chance])


def finding(error, most, confidence, accuracy):
    """What a calibration error says, in words.

    Args:
        error: as ``reliability`` returns it.
        most: how large an error chance alone leaves.
        confidence, accuracy: the means over all predictions.
    """
    if error <= most:
        return "as calibrated as so many images can tell"
    return "too sure" if confidence > accuracy else "not sure enough"


def brier_score(probabilities, labels):
    """The mean squared distance of probabilities (n, 10) from the one-hot labels (n,): 0 to 2 (Brier 1950)."""
    return float(((probabilities - np.eye(10)[labels]) ** 2).sum(axis=1).mean())
