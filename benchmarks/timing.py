"""How long things take, side by side: what is compared runs in turn, so that whatever else the machine does meets both.

A row of results is a dict for JSON: ``ways``, by name, each with ``seconds``, those of each round, and, but for builds,
which each begin anew, with ``first``, the seconds of a call before them, which alone traces, compiles and reads.
"""

import gc
import time

from tqdm import tqdm


def timed(way):
    """The seconds that a call takes, or says itself that it took, where only a part of it counts.

    Without Python's garbage collection, which would meet one way for another's garbage.
    """
    gc.collect()
    gc.disable()
    try:
        begun = time.perf_counter()
        told = way()
        seconds = time.perf_counter() - begun
        return told if type(told) is float else seconds  # which NumPy's floats are not
    finally:
        gc.enable()


def in_turn(ways, rounds, title):
    """Call each way once, then all of them in turn, so many rounds, beside a progress bar.

    Args:
        ways: functions without arguments, by name.
        rounds: at least 1.
        title: of the bar.

    Returns:
        ``ways`` as a row has them.
    """
    results = {name: {"seconds": []} for name in ways}
    with tqdm(total=len(ways) * (1 + rounds), desc=title) as bar:
        for index in range(1 + rounds):
            for name, way in ways.items():
                bar.set_postfix_str(name)
                seconds = timed(way)
                bar.update()
                if index == 0:
                    results[name]["first"] = seconds
                else:
                    results[name]["seconds"].append(seconds)
    return results
