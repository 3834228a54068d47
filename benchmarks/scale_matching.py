"""Matching, IRL and linear programs at scale, each with what the certificate proves of its answer.

    python benchmarks/scale_matching.py            # all rows, each in a process of its own; printed as they come
    python benchmarks/scale_matching.py --quick    # the same rows at a few hundred states

4 actions, gamma 0.95, lam 0.1. Garnets have branching 5 and standard normal costs, gridworlds slip 0.1 and a goal; the
expert is soft optimal at lam 0.1. Features of IRL: 64 standard normal ones on garnets, bumps on a 4 x 4 lattice for
each action on grids; the expert's weights are standard normal times 0.3. `error` is the certificate's relative gap.
"""

import json
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import tyro

import occmatch as om
from occmatch import lp
from occmatch.candidate import Candidate
from occmatch.regularisers import REGISTERED, Constant, L2Ball, Quadratic, Regulariser

OUT = Path(__file__).parent.parent / "docs" / "benchmarks" / "scale_matching.jsonl"
GAMMA, LAM, ACTIONS, BRANCHING, SLIP, K = 0.95, 0.1, 4, 5, 0.1, 64

Row = dict[str, object]

CLASSES = [name for name in REGISTERED if name not in ("constant", "surrogate_linear", "lipschitz", "expression")]
"""Every registered psi with a solver of our own, exact matching apart."""


Cases = dict[str, Callable[[], Row]]
"""Name -> the call that measures the row, to be made in a process of its own."""


@dataclass(frozen=True)
class Request:
    """What to run."""

    quick: bool = False
    """Small sizes."""
    time_limit: float = 600.0
    """Seconds that one row may take."""
    only: str = ""
    """Rows whose names hold this."""
    out: Path = OUT
    """Where rows are appended."""


def world(kind: str, states: int) -> tuple[om.MDP, np.ndarray]:
    """An MDP and a cost [S, A]; a grid is as square as can be."""
    if kind == "garnet":
        rng = np.random.default_rng(states)
        mdp = om.examples.garnet(states, ACTIONS, BRANCHING, GAMMA, rng)
        return mdp, rng.normal(size=mdp.shape)
    mdp = om.examples.gridworld(int(states**0.5), slip=SLIP, gamma=GAMMA)
    return mdp, om.examples.gridworld_cost(mdp)


def features(mdp: om.MDP, kind: str) -> np.ndarray:
    """[S, A, K]."""
    if kind == "garnet":
        return np.random.default_rng(1).normal(size=(*mdp.shape, K))
    side, lattice = int(mdp.S**0.5), int((K / ACTIONS) ** 0.5)
    row, column = np.divmod(np.arange(mdp.S), side)
    centre = (np.arange(lattice) + 0.5) * side / lattice
    apart = (row[:, None] - np.repeat(centre, lattice)) ** 2 + (column[:, None] - np.tile(centre, lattice)) ** 2
    bumps = np.exp(-0.5 * apart / (side / lattice) ** 2)
    out = np.zeros((*mdp.shape, K))
    for a in range(ACTIONS):
        out[:, a, a * lattice**2 : (a + 1) * lattice**2] = bumps
    return out


def measured(problem: str, mdp: om.MDP, call: Callable[[], object]) -> tuple[Row, object]:
    """The row without its error, and the answer."""
    start, busy = time.perf_counter(), time.process_time()
    found = call()
    row = {
        "problem": problem,
        "size": f"{mdp.S:,} x {mdp.A}",
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - busy,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }
    if not hasattr(found, "iterations"):
        return row | {"error": None, "method": f"{type(found).__name__}: {getattr(found, 'message', '')}"}, found
    return row | {"method": found.method, "iterations": found.iterations}, found


def judged(kind: str, mdp: om.MDP, rho_E: np.ndarray, psi: Regulariser, call: Callable[[], object]) -> Row:
    row, found = measured(kind, mdp, call)
    return row | {"error": om.certify(mdp, rho_E, psi, found).relative_gap} if isinstance(found, Candidate) else row


def matching(kind: str, states: int, name: str = "surrogate_logistic", method: str = "newton") -> Row:
    mdp, cost = world(kind, states)
    rho_E = om.rl(mdp, cost, LAM).rho
    psi = REGISTERED[name](mdp, rho_E)
    call = partial(om.match, mdp, rho_E, psi, LAM, method, progress=False)
    return judged(kind, mdp, rho_E, psi, call)


def warm(kind: str, states: int) -> Row:
    """psi_GA from the answer at lam = 0.11, whose time is not counted."""
    mdp, cost = world(kind, states)
    rho_E = om.rl(mdp, cost, LAM).rho
    psi = REGISTERED["surrogate_logistic"](mdp, rho_E)
    near = om.match(mdp, rho_E, psi, 1.1 * LAM, progress=False)
    call = partial(om.match, mdp, rho_E, psi, LAM, start=near, progress=False)
    return judged(kind, mdp, rho_E, psi, call)


def irl(kind: str, states: int) -> Row:
    mdp, cost = world(kind, states)
    rho_E = om.rl(mdp, cost, LAM).rho
    psi = REGISTERED["surrogate_logistic"](mdp, rho_E)
    call = partial(om.irl, mdp, rho_E, psi, LAM, "newton", progress=False)
    return judged(kind, mdp, rho_E, psi, call)


def weights(kind: str, states: int, which: str, count: int = K) -> Row:
    """MaxCausalEnt IRL over 64 weights to a relative gap of 1e-9, or over the first `count` of them."""
    mdp, _ = world(kind, states)
    F = np.ascontiguousarray(features(mdp, kind)[:, :, :count])
    rho_E = om.rl(mdp, F @ (0.3 * np.random.default_rng(2).normal(size=count)), LAM).rho
    psi = {"ball": lambda: L2Ball(F), "quadratic": lambda: Quadratic(1.0, F), "free": lambda: Constant(F)}[which]()
    call = partial(om.irl, mdp, rho_E, psi, LAM, "newton", tol=1e-9, progress=False)
    return judged(kind, mdp, rho_E, psi, call) | {"K": count}


def program(kind: str, states: int, solver: str, budget: bool) -> Row:
    """<rho, c>, with the cost of a random resource held to nine tenths of the uniform policy's where there is a budget.

    The error is (value - bound) / |value|, both from points that `Solution` made feasible.
    """
    mdp, cost = world(kind, states)
    d = np.random.default_rng(3).random(mdp.shape)
    uniform = om.occupancy(mdp, np.full(mdp.shape, 1.0 / mdp.A))
    budgets = [(d, 0.9 * float(np.vdot(uniform, d)))] if budget else []
    row, found = measured(
        kind,
        mdp,
        lambda: lp.optimal_control(mdp, cost, budgets=budgets, solver=solver),
    )
    return row | {"error": (found.value - found.bound) / abs(found.value)} if isinstance(found, lp.Solution) else row


def refused(states: int) -> Row:
    """The l2 ball over all costs, which `irl` solves by dense matrices."""
    mdp, cost = world("garnet", states)
    rho_E = om.rl(mdp, cost, LAM).rho
    try:
        om.irl(mdp, rho_E, L2Ball(), LAM, "newton", progress=False)
    except ValueError as error:
        return {"problem": "garnet", "size": f"{states:,} x 4", "error": None, "method": f"ValueError: {error}"}
    raise AssertionError("the ball was not refused")


def outside(states: int) -> Row:
    """Half of the expert's pairs lost, as finite data lose them, and a psi that forbids what the expert never does."""
    mdp, cost = world("garnet", states)
    rng = np.random.default_rng(4)
    rho_E = np.where(rng.random(mdp.shape) < 0.5, om.rl(mdp, cost, LAM).rho, 0.0)
    rho_E[mdp.p0 > 0] = 0.0
    psi = om.regularisers.FDivergence("kl", rho_E)
    return judged("garnet", mdp, rho_E, psi, partial(om.match, mdp, rho_E, psi, LAM, progress=False))


def rows(quick: bool) -> Cases:
    """Every row by name; those that begin with "limit" show where a method ends and what it then reports."""
    few, some, many, more = (100, 100, 144, 196) if quick else (5_000, 25_000, 100_000, 250_000)
    psi_GA = "match, psi_GA"
    cases: Cases = {
        f"{psi_GA}, garnet": partial(matching, "garnet", some),
        f"{psi_GA}, gridworld": partial(matching, "gridworld", some),
        f"{psi_GA}, most pairs": partial(matching, "gridworld", more),
        f"{psi_GA}, from the answer at lam 0.11": partial(warm, "gridworld", some),
        "irl, psi_GA, Newton, few": partial(irl, "garnet", few),
        "irl, psi_GA, Newton": partial(irl, "garnet", some),
        "MaxCausalEnt IRL, 64 features, ball": partial(weights, "gridworld", many, "ball"),
        "MaxCausalEnt IRL, 64 features, quadratic": partial(weights, "garnet", many, "quadratic"),
        "MaxCausalEnt IRL, 64 features, free": partial(weights, "garnet", many, "free"),
    }
    for kind in ("garnet", "gridworld"):
        cases[f"{psi_GA}, few, {kind}"] = partial(matching, kind, few)
        cases[f"{psi_GA}, few, {kind}, Clarabel"] = partial(matching, kind, few, method="program")
    for name in CLASSES:
        cases[f"match, {name}"] = partial(matching, "garnet", some, name)
    for kind, states in (("garnet", few), ("gridworld", some)):
        for budget in (False, True):
            for solver in ("policy", "simplex", "interior", "pdlp")[budget:]:
                name = f"LP, {kind}, control{', one budget' if budget else ''}, {solver}"
                cases[name] = partial(program, kind, states, solver, budget)
    cases["LP, garnet, control, policy, more"] = partial(program, "garnet", some, "policy", False)
    for count in (4, 8, 16) if quick else (16, 32, 64):
        cases[f"growth in K, {count}"] = partial(weights, "garnet", few, "quadratic", count)
    cases["limit, irl by Newton on an l2 ball without features"] = partial(refused, 1_100 if quick else some)
    cases["limit, match KL with data that miss the start"] = partial(outside, some)
    return cases


def _send(run: Callable[[], Row], back: Connection) -> None:
    back.send(run())


def alone(name: str, run: Callable[[], Row], limit: float) -> Row:
    """The row of a case, in a process of its own that is ended at the time limit."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(run, there))
    process.start()
    there.close()
    try:
        return {"work": name} | (here.recv() if here.poll(limit) else {"limit": limit})
    except EOFError:
        process.join()
        return {"work": name, "failed": f"exit {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def show(row: Row) -> str:
    """A row as it is printed while the benchmark runs."""
    head = f"{row['work']:<52}{row.get('problem', ''):<10}{row.get('size', ''):>12}"
    if "seconds" not in row:
        return (
            f"{head}  not within {row['limit']:g} s"
            if "limit" in row
            else f"{head}  {row.get('failed') or row['method']}"
        )
    error = row["method"] if row.get("error") is None else f"{row['error']:.1e}  {row['iterations']} steps"
    return f"{head}{row['seconds']:>9.1f} s{row['cpu']:>9.1f} s CPU{row['peak_mb']:>8.0f} MB  {error}"


def main(request: Request) -> None:
    for name, run in rows(request.quick).items():
        if request.only in name:
            row = alone(name, run, request.time_limit)
            print(show(row), flush=True)
            request.out.parent.mkdir(parents=True, exist_ok=True)
            with request.out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Request, description=__doc__))
