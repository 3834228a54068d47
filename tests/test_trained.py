"""A run folder's policy: the one that the run itself evaluated, from each of the three commands."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from deep import bc, expert, files, gail, trained
from deep.config import BcConfig, ExpertConfig, cloning_defaults, gail_defaults
from deep.config_values import as_dict
from deep.imitator import Imitator
from deep.learner import LearnerConfig
from deep.result import evaluate_policy
from deep.run import Run

QUIET = Console(file=io.StringIO())
SMALL = LearnerConfig(simulators=4, batch=200)
OBS = np.random.default_rng(0).normal(size=(50, 4))


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_policy_of_gail_is_the_one_it_reports(tmp_path: Path, average: float) -> None:
    base = gail_defaults("CartPole-v0")
    config = dataclasses.replace(
        base, steps=600, average=average, bc_init=False, eval_every=0, final_episodes=4, threads=1, learner=SMALL
    )
    imitator = Imitator(config)
    record = Run.create(tmp_path, "gail", as_dict(config))
    for _ in gail.train(imitator, record):
        pass
    record.close()
    found = trained.load(tmp_path)
    assert (found.command, found.config, found.spec.id) == ("gail", config, "CartPole-v0")
    np.testing.assert_array_equal(found.policy.act(OBS), imitator.averaged.act(OBS))
    for name, tensor in imitator.averaged.state_dict().items():
        assert torch.equal(found.policy.state_dict()[name], tensor), name
    last = imitator.policy.net.state_dict()["0.weight"]
    assert torch.equal(found.policy.net.state_dict()["0.weight"], last) == (average == 0)
    imitator.close()


def test_the_policy_of_cloning_repeats_its_result(tmp_path: Path) -> None:
    config = dataclasses.replace(cloning_defaults("CartPole-v0"), final_episodes=3, threads=1, bc=BcConfig(epochs=5))
    result = bc.execute(config, Run.create(tmp_path, "bc", as_dict(config)), QUIET)
    again, _ = evaluate_policy("CartPole-v0", trained.load(tmp_path).policy, 3, np.random.SeedSequence([0, 1]), 1)
    assert again.mean == result["return_mean"]


def test_the_policy_of_an_expert_is_the_last(tmp_path: Path) -> None:
    config = ExpertConfig(env="CartPole-v0", steps=600, threads=1, learner=SMALL)
    record = Run.create(tmp_path, "expert", as_dict(config))
    with pytest.raises(ValueError, match=r"run must hold a checkpoint, but .* has none yet"):
        trained.load(tmp_path)
    expert.train(config, record, QUIET)
    checkpoint = record.latest()
    assert checkpoint is not None
    found = trained.load(tmp_path).policy.state_dict()
    assert torch.equal(found["net.0.weight"], checkpoint.tensors["policy.net.0.weight"])


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json: expected a JSON file, but there is none"):
        trained.load(tmp_path)
    files.write_json(tmp_path / "config.json", {"command": "sweep"})
    with pytest.raises(ValueError, match=r"run must be a folder of gail, bc, expert, but .* is one of 'sweep'"):
        trained.load(tmp_path)


def test_a_package_is_imported_only_where_it_is_trusted(tmp_path: Path) -> None:
    config = as_dict(ExpertConfig(env="no_such_package:Task-v0"))
    files.write_json(tmp_path / "config.json", {"command": "expert", "config": config})
    with pytest.raises(ValueError, match=r"asks to import no_such_package for its task .*: allow it with trust"):
        trained.load(tmp_path)
    with pytest.raises(ValueError, match="no_such_package") as trusted:
        trained.load(tmp_path, trust=True)
    assert "asks to import" not in str(trusted.value)
