"""Signs of differences, turned at random by photo."""

import numpy as np
import pytest

from editlane.stats.sign_flips import flip_signs

SCALE = (-1.0, 1.0)


def test_p_is_that_of_all_signs_counted_by_hand() -> None:
    totals = np.array([0.9, 0.8, 0.7, 0.6, 0.5, -0.4, 0.3, 0.2])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1).T
    exact = (np.abs(signs @ totals) >= totals.sum() - 1e-12).mean()
    found = flip_signs(totals, np.arange(8), SCALE)
    assert found is not None
    assert found.p == pytest.approx(exact, abs=0.01)
    assert found.mean == pytest.approx(totals.mean())


def test_values_that_are_nearly_all_equal_are_told_from_nothing() -> None:
    values = np.array([0.9] * 60 + [-0.9] * 3)
    found = flip_signs(values, np.arange(63) // 2, SCALE)
    assert found is not None and found.p < 0.001
    assert 0.5 < found.interval[0] < found.mean < found.interval[1] <= 1.0 and not found.reversible


def test_edits_of_one_photo_keep_their_sign_together_and_few_photos_say_nothing() -> None:
    values = np.full(42, 0.9)
    assert flip_signs(values, np.zeros(42), SCALE) is None
    assert flip_signs(np.empty(0), np.empty(0), SCALE) is None
    found = flip_signs(values, np.arange(42) % 6, SCALE)
    assert found is not None and found.p == pytest.approx(2 / 64, abs=0.01)


def test_noise_reaches_the_level_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [flip_signs(rng.choice([-1.0, 0.0, 0.5, -0.5, 1.0], 12), np.arange(12), SCALE) for _ in range(60)]
    assert sum(one is not None and one.p < 0.05 for one in found) <= 8
