"""Value regression: Pop-Art keeps predictions, fitting lowers the error, the time index is seen."""

import numpy as np
import pytest
import torch

from deep import value
from deep.nets import Normaliser
from deep.value import ValueConfig, ValueNet


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net() -> tuple[ValueNet, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    obs, elapsed = rng.normal(3.0, 2.0, (400, 3)), rng.integers(0, 100, 400)
    normaliser = Normaliser(3)
    normaliser.update(obs)
    return ValueNet(normaliser, 100, (32, 32), generator()), obs, elapsed


def test_retargeting_keeps_every_prediction() -> None:
    v, obs, elapsed = net()
    rng = np.random.default_rng(1)
    v.retarget(rng.normal(2.0, 3.0, 400), 0.3)  # the first targets only set the scale
    before = v.predict(obs, elapsed)
    for mean, std in ((100.0, 30.0), (-1e6, 1.0), (0.0, 1e6)):
        v.retarget(rng.normal(mean, std, 400), 0.3)
        after = v.predict(obs, elapsed)
        # float32 weights hold an offset `shift` to one part in 2^24 of it.
        np.testing.assert_allclose(after, before, atol=1e-5 * (abs(float(v.shift)) + float(v.scale)))


def test_fitting_recovers_a_function_of_state_and_time() -> None:
    v, obs, elapsed = net()
    targets = 1e4 + 300 * np.tanh(obs[:, 0] - 3) - 5.0 * elapsed
    optimiser = torch.optim.Adam(v.net.parameters(), lr=3e-3)
    x = v.inputs(obs, elapsed)
    start = value.explained_variance(v.predict(obs, elapsed), targets)
    value.fit(v, optimiser, x, targets, ValueConfig(epochs=150, minibatch=64), generator())
    assert value.explained_variance(v.predict(obs, elapsed), targets) > 0.97 > start


def test_fitting_is_repeatable() -> None:
    found = []
    for _ in range(2):
        v, obs, elapsed = net()
        optimiser = torch.optim.Adam(v.net.parameters(), lr=1e-3)
        value.fit(v, optimiser, v.inputs(obs, elapsed), obs[:, 0], ValueConfig(), generator(5))
        found.append(v.predict(obs, elapsed))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_targets_of_any_size_stay_finite(size: float) -> None:
    v, obs, elapsed = net()
    optimiser = torch.optim.Adam(v.net.parameters(), lr=1e-3)
    for targets in (size * obs[:, 0], np.full(400, size)):
        value.fit(v, optimiser, v.inputs(obs, elapsed), targets, ValueConfig(), generator())
        assert np.isfinite(v.predict(obs, elapsed)).all()


def test_explained_variance() -> None:
    targets = np.array([1.0, 2.0, 3.0])
    assert value.explained_variance(targets, targets) == 1.0
    assert value.explained_variance(np.full(3, 2.0), targets) == 0.0
    assert value.explained_variance(targets, np.ones(3)) == 0.0
