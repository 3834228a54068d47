"""One equation at two scales: how far deep's loop, which only samples, ends from the optimum that occmatch certifies.

    python benchmarks/bridge.py

A finite MDP is registered as a task. `deep` sees demonstrations sampled from the expert and its own batches; `occmatch`
solves  min over rho of  -lam H + psi*(rho - rho_E)  on the same MDP and proves the answer. Both ends are measured on
normalised measures: value above the optimum, and ||rho - rho*||_1, which lies in [0, 2].

Demonstrations and batch grow together, so that one number N says how much was sampled. Writes
docs/benchmarks/bridge.md and docs/benchmarks/bridge.png.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

import occmatch as om
from deep import demos, envs, tabular
from deep.cli import main_guard
from deep.config import GailConfig
from deep.costs import CostConfig
from deep.costs_method import Method
from deep.files import write_figure
from deep.imitator import Imitator
from deep.learner import LearnerConfig
from deep.trpo import TrpoConfig
from deep.value import ValueConfig
from occmatch.regularisers import L2Ball, Regulariser, Simplex, Surrogate

OUT = Path(__file__).parent.parent / "docs" / "benchmarks"
COSTS: dict[str, tuple[Method, str]] = {
    "GAIL": ("gail", "logistic"),
    "FEM": ("fem", "logistic"),
    "GTAL": ("gtal", "logistic"),
    "exponential": ("gail", "exponential"),
    "smoothed hinge": ("gail", "smoothed_hinge"),
}
"""Name -> method and loss (which fem and gtal do not use)."""
LEADER = 1.0
"""GTAL's learning rate. Its best cost charges one of 802 signed features (100 states) at a time, and answering each in
turn leads away from the optimum (l1 distance 1.3, from 0.5 at the start). The leader's cost needs smaller steps, and
more.
"""


@dataclass(frozen=True)
class Case:
    """An MDP registered as a task, an expert pi_E [S, A] with its measure rho_E [S, A], and lambda."""

    env: str
    mdp: om.MDP
    pi_E: np.ndarray
    rho_E: np.ndarray
    lam: float


@dataclass(frozen=True)
class Ending:
    """Where a run ended. All on normalised measures: (1 - gamma) times values and measures.

    value, optimum: the objective at the policy and its certified minimum; distance = ||rho - rho*||_1;
    proved: the certificate's gap; spread: range of the optimal cost over pairs; pi [S, A], rho, best [S, A].
    """

    value: float
    optimum: float
    distance: float
    proved: float
    spread: float
    pi: np.ndarray
    rho: np.ndarray
    best: np.ndarray

    @property
    def excess(self) -> float:
        """Value above the optimum."""
        return self.value - self.optimum


def garnet_case(S: int, lam: float = 0.3, A: int = 2, gamma: float = 0.9, seed: int = 0) -> Case:
    """A garnet of S states with a soft-optimal expert of a random cost; the true cost is never shown to the learner."""
    rng = np.random.default_rng(seed)
    mdp = om.examples.garnet(S, A, 3, gamma, rng)
    cost = rng.normal(size=mdp.shape)
    env = f"Garnet{S}x{A}s{seed}-v0"
    envs.register_table(env, envs.Table(mdp.P, mdp.p0, mdp.gamma, cost))
    pi_E = om.rl(mdp, cost, lam=0.5).pi
    return Case(env, mdp, pi_E, om.occupancy(mdp, pi_E), lam)


def sample(case: Case, pairs: int, seed: int, folder: Path) -> tuple[Path, demos.Demos]:
    """About that many demonstrated pairs, in a file."""
    found = tabular.demonstrations(case.env, case.pi_E, max(1, round(pairs * (1 - case.mdp.gamma))), seed)
    path = folder / f"{case.env}-{pairs}-{seed}.npz"
    demos.save(path, found)
    return path, found


def settings(case: Case, cost: str, path: Path, episodes: int, batch: int, iterations: int, seed: int) -> GailConfig:
    """The loop of deep.gail in its plainest form: no cloning, tabular policy and value, the margin net as it is.

    The simulators are so many, and their stretches of a batch so short, that its pairs are nearly independent. The KL
    bound decays to a thousandth over the run: steps of a fixed length end at that length from the optimum.
    """
    method, loss = COSTS[cost]
    rate, max_kl = (LEADER, 0.03) if method == "gtal" else (0.0, 0.1)
    iterations *= 2 if method == "gtal" else 1
    return GailConfig(
        env=case.env,
        demos=path,
        trajectories=episodes,
        subsample=1,
        method=method,
        loss=loss,
        reward_form="neglogd",  # phi(m) = -c: the cost of the saddle point, unlike airl's
        bc_init=False,
        bc_weight=0.0,
        entropy=case.lam,
        threads=1,
        eval_every=0,
        seed=seed,
        steps=batch * iterations,
        learner=LearnerConfig(
            simulators=batch // 5,
            batch=batch,
            gamma=case.mdp.gamma,
            gae_lambda=0.9,
            hidden=(),
            update_normaliser=False,
            kl_decay=1e-3 ** (1 / iterations),
            kl_floor=1e-5,
            trpo=TrpoConfig(max_kl=max_kl, damping=1e-3, fisher_fraction=0.2),
            value=ValueConfig(lr=0.02, epochs=2, minibatch=1000),
        ),
        cost=CostConfig(hidden=(32,), lr=0.01, steps=8, minibatch=1000, gradient_penalty=0.0, linear_rate=rate),
    )


def regulariser(case: Case, imitator: Imitator, rho_E: np.ndarray) -> Regulariser:
    """The psi of occmatch that the run's method and loss stand for, on the features that deep computes."""
    config, (S, A) = imitator.config, case.mdp.shape
    if config.method == "gail":
        return Surrogate(om.LOSSES[config.loss], rho_E)
    pairs = np.repeat(np.eye(S), A, axis=0), np.tile(np.arange(A), S)
    features = imitator.margin.rows(*pairs).numpy().reshape(S, A, -1)
    return (L2Ball if config.method == "fem" else Simplex)(features)


def without_squares(psi: Regulariser) -> Regulariser:
    """A simplex on fewer features: the squares are at most 0.01 here where others reach 1, so that their gap is never
    the largest, and they cost the solver most of its time. The certificate judges with all of them whether that holds.
    """
    if not isinstance(psi, Simplex):
        return psi
    return Simplex(psi.features[:, :, np.abs(psi.features).max((0, 1)) > 0.05])


def ending(case: Case, imitator: Imitator, rho_E: np.ndarray) -> Ending:
    """The policy of a run, measured exactly, against the certified optimum for the expert's measure rho_E [S, A]."""
    mdp, lam, scale = case.mdp, case.lam, 1 - case.mdp.gamma
    psi = regulariser(case, imitator, rho_E)
    best = om.match(mdp, rho_E, without_squares(psi), lam)
    judged = om.certify(mdp, rho_E, psi, best)
    pi = tabular.policy_table(imitator.policy)
    rho = om.occupancy(mdp, pi)
    value = psi.divergence(rho, rho_E) - lam * om.entropy(mdp, pi)
    return Ending(
        value=scale * value,
        optimum=scale * judged.primal,
        distance=scale * float(np.abs(rho - best.rho).sum()),
        proved=scale * judged.gap,
        spread=float(np.ptp(best.cost)),
        pi=pi,
        rho=scale * rho,
        best=scale * best.rho,
    )


def train(config: GailConfig) -> Imitator:
    """Run the loop to its last step; the caller closes it."""
    imitator = Imitator(config)
    while imitator.env_steps < config.steps:
        imitator.iterate()
    return imitator


def distances(
    case: Case, cost: str, sizes: tuple[int, ...], iterations: int, seeds: tuple[int, ...]
) -> list[list[Ending]]:
    """For each N of `sizes` and each seed, the ending with N demonstrated pairs and batches of N, against the optimum
    for the true rho_E: what the notebook plots. Every seed draws its own demonstrations."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            row = []
            for seed in seeds:
                path, data = sample(case, n, seed, Path(folder))
                imitator = train(settings(case, cost, path, data.episodes, n, iterations, seed))
                row.append(ending(case, imitator, case.rho_E))
                imitator.close()
            found.append(row)
    return found


def slope(sizes: tuple[int, ...], values: list[float]) -> float:
    """The exponent of the power law through (N, value), by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


@dataclass(frozen=True)
class Request:
    """What to run."""

    states: tuple[int, ...] = (5, 100)
    """States of the garnets."""
    sizes: tuple[int, ...] = (250, 1000, 4000)
    """Demonstrated pairs, and pairs in a batch."""
    iterations: int = 40
    """Iterations of a run."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of demonstrations and training."""


def picture(request: Request, results: dict[tuple[int, str], list[list[Ending]]], path: Path) -> None:
    """Distance against samples, one panel an MDP, with the slope -1/2 to compare."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(request.states), 4), layout="constrained")
    panels = figure.subplots(1, len(request.states), sharey=True, squeeze=False)[0]
    sizes = np.array(request.sizes)
    for axes, S in zip(panels, request.states, strict=True):
        for name in COSTS:
            rows = [[e.distance for e in row] for row in results[S, name]]
            axes.loglog(sizes, [np.median(r) for r in rows], "o-", label=name)
        first = np.median([e.distance for e in results[S, "GAIL"][0]])
        axes.loglog(sizes, first * (sizes / sizes[0]) ** -0.5, "k:", lw=1, label="N^(-1/2)")
        axes.set(title=f"{S} states", xlabel="N: demonstrated pairs, pairs a batch")
        axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
        axes.minorticks_off()
    panels[0].set_ylabel("l1 distance to the optimum")
    panels[-1].legend(fontsize="small")
    write_figure(path, figure, 120)


def main(request: Request) -> None:
    torch.set_num_threads(1)
    head = "| MDP | cost | " + " | ".join(f"N = {n:,}" for n in request.sizes) + " | exponent | value, last N |"
    rows = [head, "| --- | --- |" + " ---: |" * (len(request.sizes) + 2)]
    results = {}
    for S in request.states:
        case = garnet_case(S)
        for name in COSTS:
            found = results[S, name] = distances(case, name, request.sizes, request.iterations, request.seeds)
            middle = [float(np.median([e.distance for e in row])) for row in found]
            excess = float(np.median([e.excess for e in found[-1]]))
            cells = [f"{v:.3f}" for v in middle] + [f"{slope(request.sizes, middle):.2f}", f"{excess:.4f}"]
            rows.append(f"| {S} states | {name} | " + " | ".join(cells) + " |")
            print(rows[-1], flush=True)
    proved = max(e.proved for found in results.values() for row in found for e in row)
    text = f"""# The bridge: deep's loop against the certified optimum

||rho - rho*||_1 of normalised measures (0 to 2), median over seeds (here {len(request.seeds)}), after
{request.iterations} iterations with batches of N pairs and N demonstrated pairs. rho* is the optimum
for the expert's true measure; `occmatch` proves its value to {proved:.0e} at worst.
Exponent: fitted power of N. Value: above the optimum, last N.
By `python benchmarks/bridge.py`.

{chr(10).join(rows)}

GTAL follows the regularised leader here (`--cost.linear-rate 1`, twice the iterations, smaller steps): its best cost
charges one of 802 signed features at a time, and answering each in turn leads away from the optimum.

![Distance to the optimum against samples](bridge.png)
"""
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "bridge.md").write_text(text)
    picture(request, results, OUT / "bridge.png")


if __name__ == "__main__":
    main_guard(lambda: main(tyro.cli(Request, description=__doc__)))
