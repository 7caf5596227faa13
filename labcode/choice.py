"""How the fast trainings were chosen among candidates, on training images that were held back.

The trainings are those that ``python -m benchmarks.choose`` keeps in ``results/choice.json``; a candidate has a row
for each precision. Time is limited, and accuracy on other images is not quite that on these: so of those that keep
their time, the most accurate is taken. Whether that reaches its target is for the test images to say.
"""

import dataclasses

import numpy as np

from labcode import comparisons
from labcode.network import Network
from labcode.sprint import Sprint


def plan(row):
    """The ``Sprint`` of a row that ``benchmarks.accuracy.in_turn`` gave."""
    network = row["plan"]["network"]
    convolutions = tuple(map(tuple, network["convolutions"]))
    return Sprint(**row["plan"] | {"network": Network(**network | {"convolutions": convolutions})})


def candidates(found, target):
    """What each candidate for a target gave, in the order of the trials.

    Args:
        found: as ``speed.recorded(speed.CHOICE)`` returns it.
        target: a key of ``comparisons.LIMITS``.

    Returns:
        A dict from the ``Sprint``, in float32, to its rows, which are a dict from the precision to the row.
    """
    of_plan = {}
    for row in found["rows"]:
        if row["target"] == target:
            of_plan.setdefault(dataclasses.replace(plan(row), precision="float32"), {})[row["precision"]] = row
    return of_plan


def accuracies(rows):
    """The accuracies of a candidate's seeds, each the mean over the precisions, (seeds,) in [0, 1]; their mean decides.

    Args:
        rows: by precision, as ``candidates`` has them.
    """
    return np.mean([row["accuracy"] for row in rows.values()], axis=0)


def keeps_time(target, rows):
    """Whether a candidate keeps the limits of time of ``comparisons.LIMITS``, by its medians in float32.

    Args:
        target: a key of ``comparisons.LIMITS``.
        rows: by precision, as ``candidates`` has them.
    """
    limit, row = comparisons.LIMITS[target], rows["float32"]
    is_quick = np.median(row["seconds"]) < limit.seconds
    return bool(is_quick and np.median(comparisons.times_the_least(row)) < limit.times)


def in_time(found, target):
    """Of ``candidates`` those that keep their time."""
    return {plan: rows for plan, rows in candidates(found, target).items() if keeps_time(target, rows)}


def taken(found, target):
    """The ``Sprint`` that is the most accurate of those that keep their time.

    Raises:
        ValueError: none does.
    """
    of_plan = in_time(found, target)
    if not of_plan:
        raise ValueError(f"{target}: expected a candidate that keeps its time, found none; try quicker ones")
    return max(of_plan, key=lambda each: accuracies(of_plan[each]).mean())
