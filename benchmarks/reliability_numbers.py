"""Training on numbers that are hard: every weight stays finite, and a guard that acts says so in the metrics."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reliability_tasks import Trouble, demonstrate, register

from deep.config import ExpertConfig, GailConfig, gail_defaults
from deep.costs import CostConfig
from deep.expert import Expert
from deep.imitator import Imitator
from deep.learner import LearnerConfig
from deep.trpo import TrpoConfig

Row = dict[str, Any]
ITERATIONS = 30
LEARNER = LearnerConfig(
    simulators=8, batch=400, hidden=(32, 32), kl_decay=1.0, trpo=TrpoConfig(max_kl=0.04, fisher_fraction=0.5)
)
CASES = {
    "rewards of 1e6": Trouble(reward_scale=1e6),
    "rewards of 1e-6": Trouble(reward_scale=1e-6),
    "rewards that never vary": Trouble(constant_reward=True),
    "observations that never vary": Trouble(scale=0.0, offset=3.0),
    "observations of 1e8": Trouble(scale=1e8),
    "observations of 1e8 + 1": Trouble(offset=1e8),
    "one action": Trouble(actions=1),
    "one action, a Box without width": Trouble(actions=0, width=0.0),
    "episodes of one step, terminated": Trouble(ends_at_once=True),
    "episodes of one step, truncated": Trouble(horizon=1),
    "one step, one action, constant rewards and observations": Trouble(
        scale=0.0, actions=1, horizon=1, constant_reward=True
    ),
}
METHODS = ("expert", "gail", "fem", "gtal")


def rows(folder: Path, seed: int, done: list[Row]) -> Iterator[Row]:
    """Every case by every method; then the learner itself as the expert, and losses that grow exponentially."""
    torch.set_num_threads(1)
    made = {(row["case"], row["method"]) for row in done}
    for case, method in [(c, m) for c in CASES for m in METHODS] + list(SPECIAL):
        if (case, method) not in made:
            yield {"case": case, "method": method} | watch(build(case, method, folder, seed))


def build(case: str, method: str, folder: Path, seed: int) -> Expert | Imitator:
    """What learns in a case."""
    if (case, method) in SPECIAL:
        return SPECIAL[case, method](folder, seed)
    trouble = CASES[case]
    register("Trouble-v0", trouble)
    if method == "expert":
        return Expert(ExpertConfig(env="Trouble-v0", seed=seed, threads=1, learner=LEARNER))
    return Imitator(config("Trouble-v0", demonstrate("Trouble-v0", folder / "demos.npz"), seed, method=method))


def config(env: str, path: Path, seed: int, **more: Any) -> GailConfig:
    """GAIL on all of a file; absorbing states where that makes a difference."""
    base = gail_defaults(env)
    changes = {"demos": path, "seed": seed, "trajectories": 8, "subsample": 1, "eval_every": 0, "threads": 1}
    bc = dataclasses.replace(base.bc, epochs=100)
    return dataclasses.replace(base, learner=LEARNER, bc=bc, absorbing=True, **changes | more)


def itself(folder: Path, seed: int) -> Imitator:
    """An expert that is the learner: demonstrations of the policy with which training starts."""
    register("Trouble-v0", Trouble())
    path = demonstrate("Trouble-v0", folder / "first.npz")
    alike = {"bc_init": False, "bc_weight": 0.0}
    start = Imitator(config("Trouble-v0", path, seed, **alike))
    generator = torch.Generator().manual_seed(1)
    demonstrate("Trouble-v0", folder / "demos.npz", lambda obs, rng: start.policy.act(obs, generator))
    start.close()
    return Imitator(config("Trouble-v0", folder / "demos.npz", seed, **alike))


def constant(folder: Path, seed: int) -> Imitator:
    """An expert whose action never varies, whom cloning would give a deviation of zero."""
    register("Trouble-v0", Trouble(actions=0))
    path = demonstrate("Trouble-v0", folder / "demos.npz", lambda obs, rng: np.full((len(obs), 1), 0.3))
    base = config("Trouble-v0", path, seed)
    return Imitator(dataclasses.replace(base, bc=dataclasses.replace(base.bc, epochs=2000, minibatch=4, lr=0.01)))


def exponential(folder: Path, seed: int) -> Imitator:
    """A loss whose gradient overflows once margins are large: sides far apart, steps that nothing restrains."""
    register("Trouble-v0", Trouble(actions=0))
    path = demonstrate("Trouble-v0", folder / "demos.npz", lambda obs, rng: 3 + 0 * obs[:, :1])
    cost = CostConfig(lr=3.0, steps=20, gradient_penalty=0.0)
    return Imitator(config("Trouble-v0", path, seed, loss="exponential", cost=cost, bc_init=False, bc_weight=0.0))


SPECIAL = {
    ("an expert that is the learner", "gail"): itself,
    ("an expert whose action never varies", "gail"): constant,
    ("the exponential loss at a thousand times its rate", "gail"): exponential,
}


def watch(algorithm: Expert | Imitator) -> Row:
    """Iterate; whether every tensor of the state was finite after each iteration, and the events."""
    events: Counter[str] = Counter()
    finite = True
    for _ in range(ITERATIONS):
        event = algorithm.iterate()["event"]
        if event:
            events[str(event)] += 1
        state = algorithm.state_dict()
        finite &= all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point())
    getattr(algorithm, "learner", algorithm).close()
    return {"iterations": ITERATIONS, "finite": finite, "events": dict(events), "wrong": [] if finite else ["NaN"]}
