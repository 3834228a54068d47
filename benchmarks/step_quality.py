"""What is left of a policy step's gain on fresh data.

    python benchmarks/step_quality.py
    python benchmarks/step_quality.py --envs Hopper-v4 --steps 100000

GAIL runs with the fast preset for a while and stops. Then, with policy, margin and values held still, each kind of step
is computed from batches of its own, scaled to one and the same mean KL, and judged twice by the surrogate objective
E[(pi_new / pi_old - 1) A]: on the batch that it was made from, and on fresh ones that it has not seen. The first number
is what a line search sees; the second is what the policy gains.

damping     added to the Fisher matrix: the larger, the nearer the step is to the plain gradient
iterations  of conjugate gradients
batches     whose gradients are added, as momentum m adds about (1 + m) / (1 - m) of them
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

from deep import files, provenance, trpo
from deep.advantage import gae
from deep.cli import main_guard
from deep.config import gail_defaults
from deep.imitator import Imitator

OUT = Path(__file__).parent.parent / "docs" / "benchmarks" / "step_quality.md"
WITHIN = 0.02  # of the KL asked for, relative, that a step is scaled to


@dataclass(frozen=True)
class Request:
    """What to measure."""

    envs: tuple[str, ...] = ("Walker2d-v4",)
    """Tasks."""
    steps: int = 300_000
    """Environment steps of GAIL before."""
    seed: int = 11
    """Seed of everything random."""
    batch: int = 6000
    """State-action pairs that a step is made from."""
    fresh: int = 60_000
    """State-action pairs that it is judged on."""
    repeats: int = 5
    """Steps of each kind, each from batches of its own."""
    kl: float = 0.02
    """Mean KL that each step is scaled to, on the fresh pairs."""
    out: Path = OUT
    """The report."""


@dataclass(frozen=True)
class Kind:
    """A way to compute a step; no damping stands for the plain gradient."""

    damping: float | None
    iterations: int = 10
    batches: int = 1

    @property
    def cells(self) -> str:
        if self.damping is None:
            return f"plain gradient | | {self.batches}"
        return f"{self.damping:g} | {self.iterations} | {self.batches}"


KINDS = (
    Kind(None),
    Kind(0.1),
    Kind(0.1, 20),
    Kind(0.1, 50),
    Kind(1.0, 20),
    Kind(10.0),
    Kind(100.0),
    Kind(0.1, batches=5),
    Kind(10.0, batches=5),
)


@dataclass(frozen=True)
class Sample:
    """Standardised observations [N, O], encoded actions and standardised advantages [N]."""

    x: Tensor
    acts: Tensor
    advantages: Tensor


def collect(imitator: Imitator, pairs: int) -> Sample:
    """Pairs under the policy as it stands, priced by the margin and the values as they stand."""
    learner = imitator.learner
    batch = learner.collector.collect(imitator.policy, -(-pairs // learner.config.simulators))
    with torch.no_grad():
        margins = imitator.margin(imitator.margin.rows(batch.flat("obs"), batch.flat("acts")))
    rewards, end_value = imitator._rewards(batch, margins)
    v, nv = learner._values(batch, end_value)
    a = gae(rewards, v, nv, batch.ended, learner.config.gamma, learner.config.gae_lambda)
    standard = torch.from_numpy(((a - a.mean()) / a.std()).reshape(-1).astype(np.float32))
    policy = imitator.policy
    return Sample(policy.normaliser(batch.flat("obs")), policy.encode(batch.flat("acts")), standard)


def judge(imitator: Imitator, sample: Sample) -> Callable[[], tuple[float, float]]:
    """Surrogate gain and mean KL of the policy's weights, against those of the time of this call."""
    policy = imitator.policy
    with torch.no_grad():
        old = policy(sample.x).detach()
        before = old.log_prob(sample.acts)

    @torch.no_grad()
    def found() -> tuple[float, float]:
        new = policy(sample.x)
        ratio = torch.exp(new.log_prob(sample.acts) - before)
        return float(((ratio - 1) * sample.advantages).mean()), float(old.kl(new).mean())

    return found


def direction(imitator: Imitator, kind: Kind, samples: list[Sample]) -> Tensor:
    """The unscaled step of a kind; the Fisher matrix is taken on the first batch."""
    policy, params = imitator.policy, trpo.trainable(imitator.policy)
    total = 0.0
    for s in samples:
        value = (policy(s.x).log_prob(s.acts) * s.advantages).mean()
        total = total + trpo.flat(torch.autograd.grad(value, params))
    if kind.damping is None:
        return total
    product = trpo.fisher_product(policy, samples[0].x)
    return trpo.conjugate_gradients(lambda v: product(v) + kind.damping * v, total, kind.iterations)[0]


def gains(
    imitator: Imitator, request: Request, kind: Kind, samples: list[Sample], fresh: Sample
) -> tuple[float, float]:
    """Gain on the first of the step's own batches, and on fresh pairs, at the KL asked for."""
    params = trpo.trainable(imitator.policy)
    before = trpo.flat([p.detach() for p in params])
    step = direction(imitator, kind, samples)
    seen, unseen = judge(imitator, samples[0]), judge(imitator, fresh)
    scale = 0.01 / float(step.norm())
    for _ in range(50):
        trpo.assign(params, before + scale * step)
        (own, _), (new, kl) = seen(), unseen()
        if abs(kl / request.kl - 1) < WITHIN:
            break
        scale *= min(3.0, (request.kl / max(kl, 1e-12)) ** 0.5)
    trpo.assign(params, before)
    return own, new


def measure(request: Request, env: str) -> list[str]:
    """The rows of a task."""
    preset = gail_defaults(env)
    imitator = Imitator(dataclasses.replace(preset, seed=request.seed, eval_every=0))
    while imitator.env_steps < request.steps:
        imitator.iterate()
    imitator.learner.settle()
    fresh = collect(imitator, request.fresh)
    most = max(kind.batches for kind in KINDS)
    batches = [[collect(imitator, request.batch) for _ in range(most)] for _ in range(request.repeats)]
    rows = []
    for kind in KINDS:
        found = np.array([gains(imitator, request, kind, b[: kind.batches], fresh) for b in batches])
        mean, error = found.mean(0), found.std(0, ddof=1) / request.repeats**0.5
        cells = [f"{m:.4f} ± {e:.4f}" for m, e in zip(mean, error, strict=True)]
        rows.append(f"| {kind.cells} | {' | '.join(cells)} |")
        print(env, rows[-1], flush=True)
    imitator.close()
    return rows


def report(request: Request, tables: dict[str, list[str]]) -> str:
    """The whole page."""
    used = ", ".join(
        f"{name} {value}" for name, value in ({"commit": provenance.commit()} | provenance.versions()).items()
    )
    text = f"""# What is left of a policy step on fresh data

Printed by `python benchmarks/step_quality.py`; its first lines say how it is measured. Gains are in deviations of the
advantage, at a mean KL of {request.kl:g}: mean over {request.repeats} steps from {request.batch:,} pairs each, and its
standard error.
"""
    for env, rows in tables.items():
        head = f"| damping | iterations | batches | gain on its own batch | gain on fresh pairs |\n{'| --- ' * 5}|"
        text += f"\n## {env}, after {request.steps:,} steps of GAIL\n\n{head}\n" + "\n".join(rows) + "\n"
    return f"{text}\n{used}.\n"


def main(request: Request) -> None:
    torch.set_num_threads(1)
    for name, least in (("steps", 1), ("batch", 2), ("fresh", 2), ("repeats", 2)):
        if getattr(request, name) < least:
            raise ValueError(f"{name} must be at least {least}, but is {getattr(request, name)}")
    text = report(request, {env: measure(request, env) for env in request.envs})
    files.write_atomic(request.out, text.encode())
    print(text)


if __name__ == "__main__":
    main_guard(lambda: main(tyro.cli(Request, description=__doc__)))
