"""The computing behind the report; the chapters in ``book/`` argue, these modules compute.

==============  ==========================================================================
data            the data sets: find, download, verify, put in order
idx             the format of MNIST's files
download        a file from a server, bounded in size and time
models          the networks
loop            the GradientTape loop: the file is the lesson
backprop        the same gradients by hand, in NumPy
training        ``Recipe`` and ``train``
fitting         how ``train`` trains: by Keras ``fit`` or by the loop
network         a network in numbers: shapes, pixels seen, operations
fast            the same descent with less around it
whitening       a first layer that needs no training
sprint          trainings in seconds
choice          which fast training is taken of its candidates
speed           what was recorded of how fast everything is
comparisons     what of that was to be reached, and whether it was
speed_tables    what else the page says of it
quiet           TensorFlow and Keras, imported without their log
runs            what a training left, found again by what made it
store           the folder that keeps Runs
atomic          files that nobody ever sees half of
progress        tells the build how far a training is
evaluation      intervals, spreads, paired tests, confusion
calibration     whether confidence is the probability of being right
claims          what the original report said, and whether it holds
scoreboard      how that is printed
measurements    what this build measured for each claim
mistakes        the digits behind the confusion matrix, for the page that shows them
publish         files beside the built pages
weights         the trained weights as such files
provenance      with what something is computed
records         what is kept of many seeds, in ``results/``
study           trains many seeds, side by side
web             the networks as the drawing page has them
plots           draws on the Axes it is given
==============  ==========================================================================
"""

import os
import sys

__version__ = "1.0"

if "tensorflow" not in sys.modules:
    # At its import it decides whether to compute by oneDNN: on Linux, left alone, only where the processor has
    # instructions for neural networks (AVX-512 VNNI and later). A convolution is quicker by oneDNN without them too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
