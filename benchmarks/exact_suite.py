"""The suite of exact.py: every registered psi on random MDPs, by three solvers that share nothing, all certified.

    irl        the convex program over costs and values (Clarabel), then a policy from it
    own        matching by the solver of our own, where psi has one
    program    matching by the convex program over measures (Clarabel)

An instance is a garnet with up to 30 states and 5 actions, gamma from 0.5 to 0.99 and lam from 0.01 to 2; the expert is
soft optimal for a random cost (even seeds) or deterministic (odd seeds). Where no cost attains the dual, the
certificate judges the limit's measure, which attains the primal, with the last cost of the sequence.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import occmatch as om
from occmatch.candidate import Candidate, NotAttained
from occmatch.matching import has_newton
from occmatch.regularisers import REGISTERED, Regulariser

SOLVERS = ("irl", "own", "program")

TARGETS = {"irl": 1e-7, "own": 1e-11, "program": 1e-7}
"""Certified relative gap that a solver must reach: an interior-point method's tolerance as it arrives, and rounding."""

BLOCK = 10
"""Seeds of one row of the file that a stopped suite resumes from."""


@dataclass
class Worst:
    """The worst of what one solver did with one psi on some seeds."""

    gap: float = 0.0
    seed: int = -1
    missed: list[int] = field(default_factory=list)
    typed: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, other: "Worst") -> None:
        if other.gap > self.gap or self.seed < 0:
            self.gap, self.seed = other.gap, other.seed
        self.missed += other.missed
        self.typed.update(other.typed)
        self.failures.update(other.failures)
        self.seconds += other.seconds


def instance(seed: int, deterministic: bool | None = None) -> tuple[om.MDP, np.ndarray, float]:
    """(mdp, rho_E, lam) of the suite."""
    rng = np.random.default_rng(seed)
    S, A = int(rng.integers(2, 31)), int(rng.integers(1, 6))
    mdp = om.examples.garnet(S, A, min(S, 3), rng.uniform(0.5, 0.99), rng)
    lam = 10 ** rng.uniform(-2, 0.3)
    cost = rng.normal(size=mdp.shape)
    deterministic = bool(seed % 2) if deterministic is None else deterministic
    return mdp, om.occupancy(mdp, om.rl(mdp, cost, 0.0 if deterministic else 0.5).pi), lam


def apart(mdp: om.MDP, rho: np.ndarray, other: np.ndarray) -> float:
    """(1 - gamma) sum_s d(s) ||pi(.|s) - pi'(.|s)||_1: how far two policies are by the first's visits."""
    visits = (1 - mdp.gamma) * rho.sum(axis=1)
    return float(visits @ np.abs(om.policy(rho) - om.policy(other)).sum(axis=1))


def judged(found: object) -> object:
    """What the certificate judges: the answer, or the limit's measure with the last cost of a diverging sequence."""
    return replace(found.sequence[-1], rho=found.rho, pi=found.pi) if isinstance(found, NotAttained) else found


def answer(mdp: om.MDP, rho_E: np.ndarray, psi: Regulariser, lam: float, solver: str) -> object:
    if solver == "irl":
        return om.irl(mdp, rho_E, psi, lam)
    return om.match(mdp, rho_E, psi, lam, "newton" if solver == "own" else "program")


def one(mdp: om.MDP, rho_E: np.ndarray, psi: Regulariser, lam: float, solver: str, seed: int) -> tuple[Worst, object]:
    """What one solver did on one instance, and its measure rho, None where it has none."""
    worst, start = Worst(seed=seed), time.process_time()
    try:
        found = answer(mdp, rho_E, psi, lam, solver)
        worst.seconds = time.process_time() - start
        candidate = judged(found)
        if not isinstance(candidate, Candidate):
            worst.failures[type(found).__name__] += 1
            return worst, None
        worst.typed[type(found).__name__] += 1
        certificate = om.certify(mdp, rho_E, psi, candidate)
    except (ArithmeticError, RuntimeError, ValueError) as error:
        worst.failures[type(error).__name__] += 1
        return worst, None
    worst.gap = max(abs(certificate.relative_gap), certificate.flow_residual)
    if worst.gap > TARGETS[solver]:
        worst.missed.append(seed)
    return worst, found.rho


def block(name: str, seeds: range, solvers: tuple[str, ...]) -> dict[str, object]:
    """One psi on some seeds: a row of the file."""
    row: dict[str, object] = {"psi": name, "first": seeds.start}
    worsts, gap, where = {solver: Worst() for solver in solvers}, 0.0, -1
    for seed in seeds:
        mdp, rho_E, lam = instance(seed)
        psi = REGISTERED[name](mdp, rho_E)
        measures = []
        for solver in solvers:
            if solver != "own" or has_newton(psi):
                worst, rho = one(mdp, rho_E, psi, lam, solver, seed)
                worsts[solver].add(worst)
                measures += [] if rho is None else [rho]
        distance = max((apart(mdp, measures[0], other) for other in measures[1:]), default=0.0)
        if distance > gap:
            gap, where = distance, seed
    return row | {"apart": gap, "apart_seed": where} | {k: vars(v) for k, v in worsts.items() if v.seed >= 0}


def run(folder: Path, mdps: int, names: tuple[str, ...] = tuple(REGISTERED)) -> list[dict[str, object]]:
    """All rows, those in folder/exact_suite.jsonl read and the others computed and added to it."""
    path = folder / "exact_suite.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["psi"], row["first"]) for row in rows}
    for first in range(0, mdps, BLOCK):
        for name in names:
            if (name, first) in done:
                continue
            row = block(name, range(first, first + BLOCK), SOLVERS)
            print(
                name,
                first,
                *(f"{k} {row[k]['gap']:.0e}" for k in SOLVERS if k in row),
                f"{row['apart']:.0e}",
                flush=True,
            )
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            rows.append(row)
    return [row for row in rows if row["first"] < mdps and row["psi"] in names]


def table(rows: list[dict[str, object]]) -> str:
    """One line for each psi: worst gaps, largest difference of policies, typed answers and failures."""
    lines = [
        "| psi | MDPs | irl | own | program | policies apart | no cost attains | missed | failed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(row["psi"] for row in rows):
        mine = [row for row in rows if row["psi"] == name]
        cells, missed, failed, typed = [], [], Counter(), 0
        for solver in SOLVERS:
            total = Worst()
            for row in mine:
                if solver in row:
                    total.add(Worst(**row[solver]))
            cells.append(f"{total.gap:.1e}" if total.seed >= 0 else "")
            missed += [f"{solver} {len(total.missed)}"] if total.missed else []
            failed.update({f"{solver}: {kind}": count for kind, count in total.failures.items()})
            typed += total.typed.get("NotAttained", 0)
        apart_most = max(row["apart"] for row in mine)
        failures = ", ".join(f"{kind} {count}" for kind, count in failed.items()) or "0"
        lines.append(
            f"| {name} | {BLOCK * len(mine)} | {' | '.join(cells)} | {apart_most:.1e} | {typed} "
            f"| {', '.join(missed) or '0'} | {failures} |"
        )
    return "\n".join(lines)
