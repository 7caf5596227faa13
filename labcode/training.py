"""How the networks are trained: a ``Recipe`` says all that decides it, ``train`` finds or makes the ``Run``."""

import dataclasses
import math

from labcode import runs

LOSS = "sparse_categorical_crossentropy"  # of probabilities and labels, as the report's


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that decides a training, but for the data set and the seed.

    Attributes:
        model: a key of ``models.BUILDERS``.
        optimizer: ``"sgd"`` or ``"adam"``.
        learning_rate: above 0.
        batch_size, epochs: at least 1.
        train_images: how many of the training images are used, from the first; None for all of them.
        method: ``"fit"``, which descends the mean loss of a batch, or ``"loop"``, the lab's GradientTape loop, which
            descends the sum.
    """

    model: str
    optimizer: str
    learning_rate: float
    batch_size: int
    epochs: int
    train_images: int | None = None
    method: str = "fit"

    def __post_init__(self):
        allowed = {"model": ("fc", "fc_dropout", "cnn"), "optimizer": ("sgd", "adam"), "method": ("fit", "loop")}
        for field, names in allowed.items():
            if getattr(self, field) not in names:
                raise ValueError(f"{field} {getattr(self, field)!r}: expected one of {', '.join(names)}")
        if not (isinstance(self.learning_rate, (int, float)) and 0 < self.learning_rate < math.inf):
            raise ValueError(f"learning_rate {self.learning_rate!r}: expected a number above 0")
        for field in ("batch_size", "epochs", "train_images"):
            value = getattr(self, field)
            if not (type(value) is int and value >= 1 or field == "train_images" and value is None):
                raise ValueError(f"{field} {value!r}: expected a whole number of at least 1")


RECIPES = {
    "fc": Recipe("fc", "sgd", learning_rate=0.1, batch_size=64, epochs=5),
    "fc-slow": Recipe("fc", "sgd", learning_rate=0.01, batch_size=64, epochs=5),
    "cnn": Recipe("cnn", "adam", learning_rate=0.001, batch_size=64, epochs=5),
    "loop": Recipe("cnn", "sgd", learning_rate=0.01, batch_size=12, epochs=1, method="loop"),
    "fc-small": Recipe("fc", "adam", learning_rate=0.001, batch_size=64, epochs=40, train_images=1_000),
    "fc-small-dropout": Recipe("fc_dropout", "adam", learning_rate=0.001, batch_size=64, epochs=40, train_images=1_000),
    "fc-small-more": Recipe("fc", "adam", learning_rate=0.001, batch_size=64, epochs=40, train_images=4_000),
}


def train(recipe, dataset, seed=0):
    """Return the Run of this recipe: the stored one, or else trained now and stored.

    Args:
        recipe: a ``Recipe``.
        dataset: as ``data.load`` returns it.
        seed: a whole number from 0; it decides the first weights, the order of the images and dropout.

    Returns:
        A ``runs.Run``. Two trainings on one machine agree bit for bit.

    Raises:
        ValueError: the seed is no such number, or the data set has fewer images than the recipe asks for.
    """
    if not (type(seed) is int and seed >= 0):
        raise ValueError(f"seed {seed!r}: expected a whole number from 0")
    count = len(dataset.train_images) if recipe.train_images is None else recipe.train_images
    if count > len(dataset.train_images):
        raise ValueError(f"train_images {count}: expected at most the {len(dataset.train_images)} of {dataset.name}")

    def make():
        from labcode import fitting  # imports TensorFlow, which takes seconds and a Run that is found does not need

        return fitting.fit_recipe(recipe, dataset, seed)

    return runs.find_or_make(runs.facts(dataclasses.asdict(recipe), seed, dataset.digest), make)
