"""Tells the build how far a training is.

What a kernel prints lands on the page, so progress goes beside the notebook: where the environment variable
``LABCODE_PROGRESS`` names a file, each event is appended to it as one line of JSON,
``{"waiting": false, "text": "fc on mnist, seed 0: epoch 2 of 5"}``. Without that variable nothing is written.
"""

import json
import os


def report(text, waiting=False):
    """Append an event to the progress file.

    Args:
        text: what happens from now on, in one line.
        waiting: whether, until the next event, this process only waits for another one. The build stops a cell's
            clock meanwhile.
    """
    path = os.environ.get("LABCODE_PROGRESS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"waiting": waiting, "text": text}) + "\n")
