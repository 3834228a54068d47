"""Training experts: where a stage starts, what it returns, and that stopping changes nothing."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from deep import bundle, expert, trained
from deep.config import ExpertConfig
from deep.config_values import as_dict
from deep.run import Run

FLAGS = ["--env", "HalfCheetah-v4", "--learner.simulators", "4", "--learner.batch", "200", "--threads", "1"]
LEARNER = dataclasses.replace(ExpertConfig().learner, simulators=4, batch=200)
SMALL = ExpertConfig(env="HalfCheetah-v4", threads=1, learner=LEARNER)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = Run.open(folder, "expert")[0].latest()
    assert checkpoint is not None
    return checkpoint.tensors


@pytest.mark.parametrize("average", ["0", "0.5"])
def test_a_stage_starts_from_the_policy_and_the_values_of_another(tmp_path: Path, average: str) -> None:
    first = tmp_path / "first"
    expert.main([*FLAGS, "--steps", "600", "--average", average, "--out", str(first)])
    second = expert.Expert(dataclasses.replace(SMALL, init=first, learner=dataclasses.replace(LEARNER, log_std=-1.5)))
    kept, policy = tensors(first), "averaged." if float(average) else "policy."
    for name, tensor in second.learner.policy.state_dict().items():
        wanted = torch.full_like(tensor, -1.5) if name == "log_std" else kept[policy + name]
        assert torch.equal(tensor, wanted), name
    for name, tensor in second.learner.value.state_dict().items():
        assert torch.equal(tensor, kept["value." + name]), name
    second.learner.close()


def test_an_expert_is_the_average_of_its_path(tmp_path: Path) -> None:
    run, obs = tmp_path / "run", np.random.default_rng(0).normal(size=(20, 17))
    made = expert.Expert(dataclasses.replace(SMALL, average=0.75))
    expected = [p.detach().clone() for p in made.learner.policy.parameters()]
    for share in (1, 1 / 2, 1 / 3, 1 / 4, 1 / 4):  # at first the mean of all, without the policy before training
        made.iterate()
        path = zip(expected, made.learner.policy.parameters(), strict=True)
        expected = [(1 - share) * mean + share * last.detach() for mean, last in path]
    for found, mean, last in zip(made.policy.parameters(), expected, made.learner.policy.parameters(), strict=True):
        torch.testing.assert_close(found, mean)
        assert not torch.equal(found, last)
    made.learner.close()
    expert.main([*FLAGS, "--steps", "1000", "--average", "0.75", "--out", str(run)])
    np.testing.assert_array_equal(trained.load(run).policy.act(obs), made.policy.act(obs))  # the same seed and path
    bundle.bundle(bundle.Bundle(run, episodes=2, out=tmp_path / "data"), Console(quiet=True))
    _, bundled = trained.load_policy(tmp_path / "data" / "HalfCheetah-v4")
    np.testing.assert_array_equal(bundled.act(obs), made.policy.act(obs))


def test_an_average_goes_on_to_the_same_bits() -> None:
    config = dataclasses.replace(SMALL, average=0.9)
    whole, stopped, resumed = (expert.Expert(config) for _ in range(3))
    for _ in range(4):
        whole.iterate()
    for _ in range(2):
        stopped.iterate()
    resumed.load_state_dict(stopped.state_dict())
    for _ in range(2):
        resumed.iterate()
    wanted, found = whole.state_dict(), resumed.state_dict()
    assert any(name.startswith("averaged.") for name in found) and wanted.keys() == found.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name
    for each in (whole, stopped, resumed):
        each.learner.close()


def test_a_start_or_an_average_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a JSON file, but there is none"):
        expert.main([*FLAGS, "--init", str(tmp_path / "none"), "--out", str(tmp_path / "run")])
    other = as_dict(dataclasses.replace(SMALL, env="Acrobot-v1"))
    Run.create(tmp_path / "other", "expert", other)
    with pytest.raises(ValueError, match=r"init must be a run of HalfCheetah-v4, but .*other is one of 'Acrobot-v1'"):
        expert.main([*FLAGS, "--init", str(tmp_path / "other"), "--out", str(tmp_path / "run")])
    with pytest.raises(ValueError, match="average must be at least 0 and below 1, but is 1"):
        expert.main([*FLAGS, "--average", "1", "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
