"""What is concluded from numbers, held against tables and sums by hand."""

import numpy as np
import pytest

from labcode import evaluation

T_975_4, T_995_4 = 2.776, 4.604  # Student's t with 4 degrees of freedom, from a printed table


@pytest.mark.parametrize(("correct", "low", "high"), [(9_689, 0.9653, 0.9721), (9_855, 0.9830, 0.9877)])
def test_the_wilson_interval_is_the_published_one(correct, low, high):
    assert np.round(evaluation.wilson_interval(correct, 10_000), 4).tolist() == [low, high]


def test_the_wilson_interval_of_a_perfect_score_does_not_collapse():
    low, high = evaluation.wilson_interval(20, 20)
    assert low == pytest.approx(1 / (1 + 1.96**2 / 20), abs=1e-4) and high == 1


def test_the_prediction_interval_is_the_one_computed_by_hand():
    low, high = evaluation.prediction_interval([1, 2, 3, 4, 5], 0.95)
    reach = T_975_4 * np.sqrt(2.5) * np.sqrt(1 + 1 / 5)  # the variance of 1 to 5 is 2.5
    assert (low, high) == (pytest.approx(3 - reach, abs=2e-3), pytest.approx(3 + reach, abs=2e-3))


def test_intervals_that_hold_together_share_the_risk_equally():
    together = np.array([[1, 2, 3, 4, 5]]).T + np.array([0, 10, 20, 30, 40])  # five columns: 5 % becomes 1 % each
    low, high = evaluation.prediction_interval(together, 0.95)
    reach = T_995_4 * np.sqrt(2.5) * np.sqrt(1 + 1 / 5)
    np.testing.assert_allclose(low, np.array([3, 13, 23, 33, 43]) - reach, atol=2e-3)
    np.testing.assert_allclose(high, np.array([3, 13, 23, 33, 43]) + reach, atol=2e-3)


def test_the_prediction_interval_holds_a_further_value_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0.97, 0.002, (2_000, 6))
    inside = 0
    for row in draws:
        low, high = evaluation.prediction_interval(row[:5], 0.95)
        inside += low <= row[5] <= high
    assert 0.935 < inside / 2_000 < 0.965  # three standard errors


@pytest.mark.parametrize("values", [[], [0.97], np.zeros((1, 10))])
def test_fewer_than_two_values_have_no_prediction_interval(values):
    with pytest.raises(ValueError, match=f"{len(values)} values: expected at least 2"):
        evaluation.prediction_interval(values, 0.95)


def test_smooth_starts_at_the_first_value_and_forgets_by_the_factor():
    assert evaluation.smooth([1, 0, 0], 0.5).tolist() == [1, 0.5, 0.25]
    assert evaluation.smooth([10, 0, 20]).tolist() == pytest.approx([10, 9.5, 10.025])
    assert evaluation.smooth(np.float32([2, 2])).dtype == np.float64


def test_tenths_are_the_means_of_ten_parts():
    assert evaluation.tenths(np.arange(20)).tolist() == [0.5 + 2 * i for i in range(10)]
    assert len(evaluation.tenths(np.arange(333))) == 10
    assert evaluation.tenths(np.float32([0.1] * 11)).dtype == np.float64


def test_a_confusion_matrix_has_true_labels_in_rows():
    matrix = evaluation.confusion_matrix(np.array([7, 7, 7, 3]), np.array([7, 7, 2, 3]))
    assert matrix.shape == (10, 10) and matrix.dtype == np.int64 and matrix.sum() == 4
    assert (matrix[7, 7], matrix[7, 2], matrix[2, 7], matrix[3, 3]) == (2, 1, 0, 1)


def test_first_to_reach_adds_up_the_cost_until_the_target():
    assert evaluation.first_to_reach([0.90, 0.95, 0.97, 0.99], [10, 2, 2, 2], 0.97) == 14
    assert evaluation.first_to_reach([0.90, 0.95, 0.94], [1, 1, 1], 0.90) == 1
    assert evaluation.first_to_reach([0.90, 0.95, 0.94], [1, 1, 1], 0.96) == float("inf")
