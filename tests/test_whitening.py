"""The first layer that is not trained looks along the largest directions of the images' patches, and evens them out."""

import numpy as np
import pytest

from labcode import data, fast, whitening


@pytest.fixture(scope="module")
def images():
    return fast.as_bytes(data.load("mnist-5k").train_images)


def test_the_directions_stand_at_right_angles_and_have_both_signs(images):
    kernel = whitening.kernel(images, (5, 5, 1, 16))
    assert kernel.shape == (5, 5, 1, 16) and kernel.dtype == np.float32
    forward, backward = np.split(kernel.reshape(25, 16), 2, axis=1)
    np.testing.assert_array_equal(forward, -backward)
    directions = forward / np.linalg.norm(forward, axis=0)
    np.testing.assert_allclose(directions.T @ directions, np.eye(8), atol=1e-5)


def test_the_answers_are_closer_in_size_than_the_directions(images):
    forward = whitening.kernel(images, (5, 5, 1, 16)).reshape(25, 16)[:, :8]
    patches = np.lib.stride_tricks.sliding_window_view(images[: whitening.IMAGES, ..., 0] / 255, (5, 5), axis=(1, 2))
    answers = (patches.reshape(-1, 25) @ forward).std(axis=0)
    raw = answers / np.linalg.norm(forward, axis=0)
    assert (np.diff(raw[1:]) < 0).all(), "the largest come first"
    assert raw.max() / raw.min() > 1.5 * answers.max() / answers.min()


def test_an_answer_s_mean_square_is_a_quarter_less_the_floor_s_share(images):
    answers = whitening.kernel(images, (5, 5, 1, 16)).reshape(25, 16)[:, :8]
    cuts = [images[:1000, top : top + 5, left : left + 5, 0] for top in range(0, 24, 3) for left in range(0, 24, 3)]
    patches = np.concatenate([cut.reshape(-1, 25) for cut in cuts]) / 255
    patches = patches[patches.sum(axis=1) > 0]
    squares = np.linalg.svd(patches, compute_uv=False)[:8] ** 2 / len(patches)
    expected = 0.5**2 * squares / (squares + 0.1 * squares[0])  # as the recorded trainings were made
    np.testing.assert_allclose(((patches @ answers) ** 2).mean(axis=0), expected, rtol=1e-3)


def test_other_images_give_another_kernel(images):
    one, other = (whitening.kernel(part, (5, 5, 1, 16)) for part in (images, images[2000:]))
    assert not np.allclose(np.abs(one), np.abs(other), rtol=1e-3)
