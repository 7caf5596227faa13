"""What is concluded from numbers, held against tables and sums by hand."""

import itertools

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
    low, high = evaluation.prediction_interval(together, 0.95, together=5)
    reach = T_995_4 * np.sqrt(2.5) * np.sqrt(1 + 1 / 5)
    np.testing.assert_allclose(low, np.array([3, 13, 23, 33, 43]) - reach, atol=2e-3)
    np.testing.assert_allclose(high, np.array([3, 13, 23, 33, 43]) + reach, atol=2e-3)


def test_intervals_side_by_side_are_each_as_if_alone():
    side_by_side = np.column_stack([[1, 2, 3, 4, 5], [3, 1, 4, 1, 5]])
    low, high = evaluation.prediction_interval(side_by_side, 0.95)
    for column in range(2):
        assert (low[column], high[column]) == evaluation.prediction_interval(side_by_side[:, column], 0.95)


def test_intervals_hold_together_as_often_as_they_say():
    draws = np.random.default_rng(0).normal(0.97, 0.002, (2_000, 6, 10))
    inside = {1: 0, 10: 0}
    for rows, together in itertools.product(draws, inside):
        low, high = evaluation.prediction_interval(rows[:5], 0.95, together)
        inside[together] += np.all((low <= rows[5]) & (rows[5] <= high))
    assert 0.935 < inside[10] / 2_000 < 0.97 and inside[1] / 2_000 < 0.75


@pytest.mark.parametrize("level", [0, 1, 95, -0.1, float("nan")])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(ValueError, match=f"level {level}: expected a probability between 0 and 1"):
        evaluation.prediction_interval([1, 2, 3], level)


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


@pytest.mark.parametrize(("values", "factor"), [([], 0.95), ([1.0], 1), ([1.0], -0.1)])
def test_smooth_refuses_no_values_and_a_factor_that_is_none(values, factor):
    with pytest.raises(ValueError, match=f"factor {factor} and {len(values)} values: expected one from 0 to below 1"):
        evaluation.smooth(values, factor)


def test_fewer_than_ten_values_have_no_tenths():
    with pytest.raises(ValueError, match="9 values: expected at least 10"):
        evaluation.tenths(np.arange(9))


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


def test_as_many_costs_as_accuracies_are_needed():
    with pytest.raises(ValueError, match="2 costs: expected one for each of 3 accuracies"):
        evaluation.first_to_reach([0.9, 0.95, 0.97], [1, 1], 0.9)


@pytest.mark.parametrize(("labels", "named"), [([7, 10], [7, 1]), ([7, 1], [7, -1])])
def test_a_confusion_matrix_is_of_digits(labels, named):
    with pytest.raises(ValueError, match="expected digits from 0 to 9"):
        evaluation.confusion_matrix(np.array(labels), np.array(named))


# Over seeds


@pytest.mark.parametrize(
    ("correct", "variance", "of_quality"),
    [
        ([[1, 1], [0, 0]], 1 / 2, 2 * (1 / 2 - 1 / 4)),  # variances of the images: 1/2, 1/2
        ([[1, 1, 1, 0], [0, 0, 1, 0]], 1 / 8, 4 / 3 * (1 / 8 - 1 / 16)),  # 1/2, 1/2, 0, 0
        ([[1, 1, 0], [0, 0, 1]], 1 / 18, 0),  # 1/2 each: 3/2 * (1/18 - 1/6) is below 0
    ],
)
def test_the_split_of_the_spread_is_the_one_computed_by_hand(correct, variance, of_quality):
    assert evaluation.split_spread(np.array(correct, bool)) == pytest.approx((np.sqrt(variance), np.sqrt(of_quality)))


def test_networks_of_equal_quality_show_a_spread_and_no_true_differences():
    random = np.random.default_rng(0)
    chance = random.uniform(0.5, 1, 200)  # of each image to be got right, by whichever network
    on_test_set, of_quality = evaluation.split_spread(random.random((2_000, 200)) < chance)
    assert on_test_set == pytest.approx(np.sqrt((chance * (1 - chance)).sum()) / 200, rel=0.05)
    assert of_quality < on_test_set / 4


@pytest.mark.parametrize("images", [500, 10_000])
def test_true_differences_are_recovered_from_few_images_and_from_many(images):
    random = np.random.default_rng(0)
    quality = random.normal(0.9, 0.01, (300, 1))
    on_test_set, of_quality = evaluation.split_spread(random.random((300, images)) < quality)
    assert of_quality == pytest.approx(quality.std(ddof=1), rel=0.1)
    assert on_test_set**2 == pytest.approx(quality.var(ddof=1) + 0.9 * 0.1 / images, rel=0.15)


@pytest.mark.parametrize("seeds", [0, 1])
def test_the_spread_of_fewer_than_two_seeds_cannot_be_split(seeds):
    assert np.isnan(evaluation.split_spread(np.ones((seeds, 10), bool))).all()


# Two networks on the same images


def sample_of(deviation, count):
    """So many values with that standard deviation."""
    values = np.arange(count, dtype=float)
    return deviation * (values - values.mean()) / values.std(ddof=1)


@pytest.mark.parametrize(
    ("samples", "low", "high"),  # with the quantiles of chi-square as textbooks print them
    [
        ([sample_of(1, 10)], np.sqrt(9 / 19.023), np.sqrt(9 / 2.700)),
        ([sample_of(0.5, 10) + 7], np.sqrt(9 / 19.023) / 2, np.sqrt(9 / 2.700) / 2),
        ([sample_of(3, 10), sample_of(3, 10)], np.sqrt(18 * 18 / 31.526), np.sqrt(18 * 18 / 8.231)),
    ],
)
def test_the_interval_of_a_spread_is_the_textbooks(samples, low, high):
    assert evaluation.spread_interval(*samples) == pytest.approx((low, high), rel=2e-4)


def test_the_interval_of_a_spread_holds_the_true_one_as_often_as_it_says():
    random = np.random.default_rng(0)
    draws = [(random.normal(0, 3, 30), random.normal(0, 4, 10)) for _ in range(2_000)]
    ends = [(*evaluation.spread_interval(one), *evaluation.spread_interval(one, other)) for one, other in draws]
    assert np.mean([low < 3 < high for low, high, *_ in ends]) == pytest.approx(0.95, abs=0.015)
    assert np.mean([low < 5 < high for *_, low, high in ends]) == pytest.approx(0.95, abs=0.025), "nearly"


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (10, 2, 2 * (1 + 12 + 66) / 2**12),  # 0.0386: both tails of 12 throws of a coin
        (0, 6, 2 / 2**6),
        (9, 1, 2 * (1 + 10) / 2**10),
        (3, 3, 1),  # twice the half with its middle would be above 1
        (0, 0, 1),  # they part no image
    ],
)
def test_the_paired_test_is_the_exact_one_whichever_network_is_named_first(only_first, only_second, p):
    both_right, both_wrong = [(1, 1)] * 20, [(0, 0)] * 5  # of which nothing is learned
    pairs = np.array(both_right + [(1, 0)] * only_first + [(0, 1)] * only_second + both_wrong, bool)
    assert evaluation.paired_test(*pairs.T) == (only_first, only_second, pytest.approx(p))
    assert evaluation.paired_test(*pairs.T[::-1]) == (only_second, only_first, pytest.approx(p))


@pytest.fixture(scope="module")
def networks():
    """Correct bits of (30 seeds, 12 seeds) of two recipes on 1,000 images, the first somewhat better."""
    random = np.random.default_rng(0)
    return [
        random.random((seeds, 1000)) < random.normal(mean, 0.01, (seeds, 1)) for seeds, mean in ((30, 0.9), (12, 0.88))
    ]


def test_the_comparison_is_that_of_all_pairs_and_its_intervals_hold_it(networks):
    found = evaluation.bootstrap_comparison(*networks)
    accuracies, others = (bits.sum(axis=1) for bits in networks)
    pairs = [a > b for a in accuracies for b in others]
    assert found["beats"][0] == pytest.approx(np.mean(pairs))
    assert found["difference"][0] == pytest.approx((accuracies.mean() - others.mean()) / 1000, abs=1e-6)
    for value, low, high in found.values():
        assert low < value < high
    assert evaluation.bootstrap_comparison(*networks) == found, "reproducible"


def test_a_lower_level_gives_a_narrower_interval(networks):
    wide, narrow = (evaluation.bootstrap_comparison(*networks, level=level)["difference"] for level in (0.95, 0.5))
    assert wide[1] < narrow[1] < narrow[0] < narrow[2] < wide[2]


def test_a_recipe_compared_with_itself_differs_by_nothing_and_does_not_always_win(networks):
    found = evaluation.bootstrap_comparison(networks[0], networks[0])
    assert found["difference"][0] == 0 and found["difference"][1] < 0 < found["difference"][2]
    assert found["beats"][0] < 0.5 and found["beats"][2] < 1, "an equal accuracy does not beat"


def test_one_network_beats_itself_on_no_drawing_of_the_images(networks):
    found = evaluation.bootstrap_comparison(
        np.repeat(networks[0][:1], 7, axis=0), np.repeat(networks[0][:1], 5, axis=0)
    )
    assert found == {"beats": (0, 0, 0), "difference": (0, 0, 0)}


def test_a_recipe_that_is_always_better_always_wins(networks):
    found = evaluation.bootstrap_comparison(np.ones((8, 1000), bool), networks[0])
    assert found["beats"] == (1, 1, 1) and found["difference"][1] > 0


NORMAL_95 = 2 * 1.96  # how many standard deviations wide the interval of a normal distribution is


def test_the_images_widen_the_interval_where_all_seeds_are_alike():
    wrong_on_a_tenth = np.repeat([np.arange(500) % 10 > 0], 20, axis=0)
    _, low, high = evaluation.bootstrap_comparison(wrong_on_a_tenth, np.ones((3, 500), bool))["difference"]
    assert high - low == pytest.approx(NORMAL_95 * np.sqrt(0.1 * 0.9 / 500), rel=0.15)


def test_the_seeds_widen_the_interval_where_all_images_are_alike():
    half_of_the_seeds = np.repeat([[True], [False]], 40, axis=0).repeat(300, axis=1)
    _, low, high = evaluation.bootstrap_comparison(half_of_the_seeds, np.ones((3, 300), bool))["difference"]
    assert high - low == pytest.approx(NORMAL_95 * np.sqrt(0.5 * 0.5 / 80), rel=0.15)


# Intervals of differences, against what R prints of Student's sleep data (1908)

FIRST_DRUG = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SECOND_DRUG = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def test_the_paired_interval_is_the_textbooks():
    assert evaluation.paired_difference(FIRST_DRUG, SECOND_DRUG) == pytest.approx((-2.4598858, -0.7001142))


def test_the_interval_of_two_means_is_the_textbooks():
    found = evaluation.mean_difference(FIRST_DRUG, SECOND_DRUG)
    assert found == pytest.approx((-1.58, -3.3654832, 0.2054832))


def test_a_paired_difference_is_of_the_accuracies():
    random = np.random.default_rng(0)
    correct, other = random.random(1000) < 0.9, random.random(1000) < 0.8
    assert np.mean(evaluation.paired_difference(correct, other)) == pytest.approx(correct.mean() - other.mean())


def of_recipe(random, hard, seeds, mean, quality):
    """Correct bits (seeds, n) of networks whose accuracy moves by that much, on images that are so hard to all."""
    return random.random((seeds, len(hard))) < random.normal(mean, quality, (seeds, 1)) - hard


@pytest.mark.parametrize("quality", [0.001, 0.03])
def test_the_difference_on_new_images_lies_in_its_interval_as_often_as_it_says(quality):
    random = np.random.default_rng(0)
    inside = []
    for _ in range(600):
        hard, new = random.uniform(-0.1, 0.1, (2, 300))
        one, other = of_recipe(random, hard, 20, 0.8, quality), of_recipe(random, hard, 12, 0.7, quality)
        low, high = evaluation.difference_on_new_images(one, other)
        further = of_recipe(random, new, 1, 0.8, quality).mean() - of_recipe(random, new, 1, 0.7, quality).mean()
        inside.append(low < further < high)
    assert 0.93 < np.mean(inside) < 0.99


@pytest.mark.parametrize(
    ("accuracies", "others", "found"),
    [
        ([0.9] * 10, [0.8] * 30, (10, 10, 0.05 ** (1 / 10))),  # all of n won: the level's n-th root
        ([0.9] * 30, [0.8] * 30, (30, 30, 0.05 ** (1 / 30))),
        ([0.9, 0.8], [0.8, 0.9], (1, 2, 1 - 0.95 ** (1 / 2))),
        ([0.8] * 3, [0.8] * 3, (0, 3, 0)),  # a draw is no win
    ],
)
def test_wins_in_pairs_leave_the_textbooks_bound(accuracies, others, found):
    assert evaluation.wins_in_pairs(accuracies, others) == pytest.approx(found)
