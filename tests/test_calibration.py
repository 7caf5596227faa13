"""Confidence against accuracy, held against sums by hand and against predictions whose calibration is known."""

import numpy as np
import pytest

from labcode import calibration


@pytest.fixture(scope="module")
def calibrated():
    """20,000 confidences, and predictions that are right as often as they say."""
    random = np.random.default_rng(0)
    confidences = random.uniform(0.5, 1, 20_000)
    return confidences, random.random(20_000) < confidences


def test_bins_and_error_are_those_computed_by_hand():
    confidences, right = np.array([0.6, 0.9, 0.7, 0.8]), np.array([False, True, True, False])
    of_bins, accuracies, error = calibration.reliability(confidences, right, bins=2)
    assert of_bins.tolist() == pytest.approx([0.65, 0.85]) and accuracies.tolist() == [0.5, 0.5]
    assert error == pytest.approx((0.15 + 0.35) / 2)


def test_a_bin_that_holds_more_weighs_more():
    _, accuracies, error = calibration.reliability(np.array([0.5, 0.6, 0.9]), np.array([True, True, False]), bins=2)
    assert accuracies.tolist() == [1, 0] and error == pytest.approx((2 * 0.45 + 0.9) / 3)


def test_bins_hold_equally_many_however_the_confidences_are_crowded():
    confidences = np.linspace(0.5, 1, 1_000) ** (1 / 20)  # nearly all are close to 1
    order = np.random.default_rng(0).permutation(1_000)
    of_bins, accuracies, _ = calibration.reliability(confidences[order], order >= 900)
    np.testing.assert_allclose(of_bins, confidences.reshape(10, 100).mean(axis=1))
    assert accuracies.tolist() == [0] * 9 + [1], "each prediction stays with its confidence"


def test_the_error_of_the_calibrated_is_what_chance_leaves(calibrated):
    error, chance = calibration.reliability(*calibrated)[2], calibration.errors_if_calibrated(calibrated[0]).mean()
    assert 0 < error < 2 * chance < 0.02


@pytest.mark.parametrize("overconfidence", [0.1, 0.3])
def test_the_error_of_the_overconfident_is_how_much_they_are_it(overconfidence):
    random = np.random.default_rng(0)
    confidences = random.uniform(0.5, 1, 20_000)
    of_bins, accuracies, error = calibration.reliability(
        confidences, random.random(20_000) < confidences - overconfidence
    )
    assert error == pytest.approx(overconfidence, abs=0.01) and (accuracies < of_bins).all()
    assert error > 5 * calibration.errors_if_calibrated(confidences).mean()


def test_chance_leaves_the_mean_distance_of_a_coin():
    for count in (1_000, 4_000):
        expected = 0.5 / np.sqrt(count / 10) * np.sqrt(2 / np.pi)  # of a tenth of the throws from one half
        errors = calibration.errors_if_calibrated(np.full(count, 0.5))
        assert errors.mean() == pytest.approx(expected, rel=0.05) and errors.min() < errors.mean() < errors.max()


def test_chance_leaves_nothing_to_the_certain_and_is_reproducible(calibrated):
    assert (calibration.errors_if_calibrated(np.ones(100)) == 0).all()
    assert np.array_equal(*(calibration.errors_if_calibrated(calibrated[0]) for _ in range(2)))


@pytest.mark.parametrize(("shift", "said"), [(0.1, "not sure enough"), (-0.1, "too sure"), (0, "as calibrated as")])
def test_a_finding_names_the_side_only_where_chance_does_not_explain_the_error(shift, said):
    random = np.random.default_rng(0)
    confidences = random.uniform(0.5, 0.9, 5_000)
    right = random.random(5_000) < confidences + shift
    _, _, error = calibration.reliability(confidences, right)
    most = np.quantile(calibration.errors_if_calibrated(confidences), 0.95)
    assert calibration.finding(error, most, confidences.mean(), right.mean()).startswith(said)


CERTAIN = np.eye(10)[[3, 7]]


@pytest.mark.parametrize(
    ("probabilities", "labels", "score"),
    [
        (CERTAIN, [3, 7], 0),
        (CERTAIN, [7, 3], 2),
        (CERTAIN, [3, 3], 1),
        (np.full((2, 10), 0.1), [3, 7], 0.9),  # 0.9 squared, and nine times 0.1 squared
        (np.array([[0.7, 0.3] + [0] * 8]), [0], 0.18),
    ],
)
def test_the_brier_score_is_the_one_computed_by_hand(probabilities, labels, score):
    assert calibration.brier_score(probabilities.astype(np.float32), np.array(labels)) == pytest.approx(score)
