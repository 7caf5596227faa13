"""How long a step takes at batch 12: Keras ``fit``, the compiled loop, and the loop called from Python, as in the lab.

``python benchmarks/loop.py`` measures them in turn, after one round that is not counted, and prints medians.
"""

import time

import numpy as np

from labcode import data, fitting, loop
from labcode.quiet import keras

BATCH, ROUNDS = 12, 5
STEPS = {"Keras fit": 300, "compiled loop": 300, "loop from Python": 100}


def main():
    """Measure and print."""
    dataset = data.load("mnist-5k")
    images, labels = dataset.train_images, dataset.train_labels
    order = data.epoch_order(len(images), 0, 0)[: BATCH * STEPS["compiled loop"]]

    by_fit = fitting.new_model("cnn", 0)
    by_fit.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    losses = keras.losses.sparse_categorical_crossentropy
    step = loop.make_train_step(fitting.new_model("cnn", 0), losses, keras.optimizers.SGD(0.001))
    train_epoch = loop.make_train_epoch(step, images, labels, BATCH)
    eager_step = loop.make_train_step(fitting.new_model("cnn", 0), losses, keras.optimizers.SGD(0.001))

    def eager():
        for start in range(0, BATCH * STEPS["loop from Python"], BATCH):
            float(eager_step(images[start : start + BATCH], labels[start : start + BATCH]))

    ways = {
        "Keras fit": lambda: by_fit.fit(images[order], labels[order], batch_size=BATCH, verbose=0),
        "compiled loop": lambda: train_epoch(order).numpy(),
        "loop from Python": eager,
    }
    times = {name: [] for name in ways}
    for _ in range(1 + ROUNDS):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            times[name].append(1000 * (time.perf_counter() - begun) / STEPS[name])
    for name, (_, *counted) in times.items():
        print(f"{name}: {np.median(counted):.1f} ms a step ({min(counted):.1f} to {max(counted):.1f})")


if __name__ == "__main__":
    main()
