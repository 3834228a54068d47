"""Behavioural cloning recovers a known expert, stops early, keeps the best weights, and repeats itself."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from deep import bc
from deep.config import BcConfig, cloning_defaults, gail_defaults
from deep.config_values import as_dict
from deep.demos import Demos
from deep.envs import EnvSpec
from deep.files import load_tensors
from deep.imitator import Imitator
from deep.nets import GaussianPolicy
from deep.run import Run

BOX = EnvSpec("box", 2, False, 1, -np.ones(1), np.ones(1), 100, native=False)
DISCRETE = EnvSpec("discrete", 2, True, 3, None, None, 100, native=False)


def box_pairs(n: int = 600, noise: float = 0.1) -> Demos:
    rng = np.random.default_rng(0)
    obs = rng.normal([5.0, -2.0], [2.0, 0.1], (n, 2))
    mean = np.tanh(obs[:, :1] - 5) + 3 * (obs[:, 1:] + 2)
    return Demos(obs, mean + noise * rng.normal(size=(n, 1)), np.array([n]))


def test_cloning_recovers_mean_and_noise_of_a_gaussian_expert() -> None:
    pairs = box_pairs()
    policy, info = bc.clone(BOX, pairs, (32, 32), BcConfig(), np.random.SeedSequence(0))
    assert isinstance(policy, GaussianPolicy)
    fresh = box_pairs(300, noise=0.0)
    error = policy.act(fresh.obs) - fresh.acts
    assert np.sqrt(np.mean(error**2)) < 0.1  # below the noise in the data
    std = float(torch.exp(policy.log_std.detach())[0]) * float(policy.act_std[0])
    assert 0.08 < std < 0.14
    assert info.epochs < BcConfig().epochs  # stopped early
    assert info.validation_loss >= info.train_loss - 0.2


def test_cloning_recovers_a_discrete_expert() -> None:
    rng = np.random.default_rng(1)
    obs = rng.normal(size=(600, 2))
    acts = np.where(obs[:, 0] > 0.5, 2, np.where(obs[:, 1] > 0, 1, 0))
    pairs = Demos(obs, acts, np.array([600]))
    policy, _ = bc.clone(DISCRETE, pairs, (32,), BcConfig(epochs=200), np.random.SeedSequence(0))
    assert (policy.act(obs) == acts).mean() > 0.95


def test_the_kept_weights_are_the_best_on_the_held_out_pairs() -> None:
    pairs = box_pairs(60)
    config = BcConfig(lr=0.02, patience=30, epochs=400)
    _, info = bc.clone(BOX, pairs, (64, 64), config, np.random.SeedSequence(2))
    # The same split and the same start, with nothing learnt: early stopping can only have improved on it.
    _, start = bc.clone(BOX, pairs, (64, 64), BcConfig(epochs=0), np.random.SeedSequence(2))
    assert start.epochs == 0 and info.validation_loss < start.validation_loss
    _, again = bc.clone(BOX, pairs, (64, 64), config, np.random.SeedSequence(2))
    assert again == info


def test_a_seed_is_one_clone_however_often_it_is_asked(tmp_path: Path) -> None:
    """GAIL's start, the baseline of its closing table, and `python -m deep.bc` are the same policy."""
    quick = BcConfig(epochs=20)
    config = dataclasses.replace(gail_defaults("CartPole-v0"), seed=3, threads=1, bc=quick)
    imitator = Imitator(config)
    seed = np.random.SeedSequence(3).spawn(bc.CLONING + 1)[bc.CLONING]
    for _ in range(2):
        again, _ = bc.clone(imitator.spec, imitator.pairs, (100, 100), quick, seed)
        for name, tensor in imitator.clone[0].state_dict().items():
            assert torch.equal(again.state_dict()[name], tensor), name
    assert torch.equal(imitator.policy.net.state_dict()["0.weight"], again.net.state_dict()["0.weight"])
    imitator.close()
    own = dataclasses.replace(cloning_defaults("CartPole-v0"), seed=3, threads=1, final_episodes=1, bc=quick)
    bc.execute(own, Run.create(tmp_path, "bc", as_dict(own)), Console(file=io.StringIO()))
    kept = load_tensors(tmp_path / "policy.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in again.state_dict().items())


def test_a_single_pair_is_enough() -> None:
    pairs = Demos(np.zeros((1, 2)), np.ones((1, 1)), np.array([1]))
    policy, info = bc.clone(BOX, pairs, (8,), BcConfig(epochs=5), np.random.SeedSequence(0))
    assert np.isfinite(policy.act(np.zeros((1, 2)))).all() and np.isfinite(info.train_loss)


def test_cloning_has_no_resume(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ValueError, match="resume must be left out: bc takes seconds and is never resumed"):
        bc.main(["--resume", "runs/bc"])
    with pytest.raises(SystemExit):
        bc.main(["--help"])
    shown = capsys.readouterr().out
    assert "--trajectories" in shown and "resume" not in shown
