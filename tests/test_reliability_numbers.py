"""Numbers that are hard leave every weight finite, and a guard that acts says so in the metrics."""

from pathlib import Path

import pytest
import torch

from deep import costs
from deep.costs import CostConfig, MarginNet, Side
from deep.envs import EnvSpec
from occmatch.losses import LOSSES


@pytest.fixture
def numbers(benchmark, monkeypatch):
    module = benchmark("reliability_numbers")
    monkeypatch.setattr(module, "ITERATIONS", 3)
    torch.set_num_threads(1)
    return module


CASES = [
    ("rewards of 1e6", "expert", ""),
    ("rewards of 1e-6", "expert", ""),
    ("observations that never vary", "gail", ""),
    ("observations of 1e8", "gtal", ""),
    ("one action", "gail", "zero gradient"),
    ("episodes of one step, terminated", "fem", ""),
    ("episodes of one step, truncated", "gail", ""),
    ("one step, one action, constant rewards and observations", "expert", "advantages do not vary; zero gradient"),
    ("an expert that is the learner", "gail", ""),
    ("the exponential loss at a thousand times its rate", "gail", "cost steps without a usable gradient; "),
]


@pytest.mark.parametrize(("case", "method", "event"), CASES)
def test_weights_stay_finite_and_guards_are_logged(numbers, tmp_path: Path, case: str, method: str, event: str) -> None:
    row = numbers.watch(numbers.build(case, method, tmp_path, 0))
    assert row["finite"]
    assert any(event in found for found in row["events"]) if event else not row["events"]


def test_a_cost_step_without_a_usable_gradient_is_left_out() -> None:
    spec = EnvSpec("box", 2, False, 1, None, None, 100, native=False)
    net = MarginNet(spec, False, (8,), torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(net.net.parameters())
    before = [p.detach().clone() for p in net.net.parameters()]
    bad = Side(torch.full((4, 3), torch.nan), 0.0)
    config = CostConfig(steps=3, minibatch=0, gradient_penalty=0.0)
    assert costs.fit(net, optimiser, LOSSES["logistic"], bad, bad, config, torch.Generator()) == 3
    assert all(torch.equal(a, b) for a, b in zip(before, net.net.parameters(), strict=True))
    good = Side(torch.ones(4, 3), 0.0)
    assert costs.fit(net, optimiser, LOSSES["logistic"], good, good, config, torch.Generator()) == 0
    assert not all(torch.equal(a, b) for a, b in zip(before, net.net.parameters(), strict=True))
