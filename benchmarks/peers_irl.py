"""Tabular IRL of other projects beside ours: the same MDP, the same expert, and the true gradient that each stops at.

    python benchmarks/peers_irl.py --peer-python PEER/bin/python

The problem is MaxCausalEnt IRL with one weight for each state (Eq 1 of the paper): a gridworld whose last cell is
absorbing, gamma 0.9, lam 1, and an expert that is soft optimal for a random reward of states. The dual is

    J(w) = p0.V_c - <rho_E, c>,   c(s, a) = -w(s),   with gradient  dJ/dw(s) = d_E(s) - d_w(s),

d the discounted visits. imitation works on T steps, so there the MDP is the lift to (s, t) with the same weight at
every t; irl-maxent and QuantEcon take infinitely many. Gradients are evaluated by this project at the reward that a
peer ends with, relative to the visits that the peer was given. Peers run in an environment of their own, with
imitation, irl-maxent and quantecon installed; one that is missing is said to be. Writes docs/benchmarks/peers_irl.md.
"""

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

import occmatch as om

OUT = Path(__file__).parent.parent / "docs" / "benchmarks" / "peers_irl.md"
SLIP, STEP = 0.1, 1e-5  # probability of a random move; step of the finite differences


@dataclass(frozen=True)
class Request:
    """What to run."""

    peer_python: Path
    """Python of the environment that holds the peers."""
    side: int = 5
    """Cells of a side of the grid."""
    horizon: int = 40
    """Steps of imitation's problem."""
    steps: int = 1000
    """Steps of imitation's optimiser (its default)."""
    gamma: float = 0.9
    """Discount."""
    trajectories: int = 500
    """Trajectories for irl-maxent, which takes nothing else."""
    time_limit: float = 600.0
    """Seconds that a peer may take, with its start."""
    out: Path = OUT
    """The page."""


def absorbing_grid(side: int, gamma: float) -> om.MDP:
    """A gridworld from the first cell whose last cell is never left."""
    grid = om.examples.gridworld(side, slip=SLIP, gamma=gamma, start=0)
    P = grid.P.toarray().reshape(grid.S, grid.A, grid.S)
    P[-1] = np.eye(grid.S)[-1]
    return om.MDP(P, grid.p0, gamma)


def state_features(S: int, A: int, times: int) -> np.ndarray:
    """Costs -1[state = k] of the lift [S * times + 1, A, S], or of the MDP itself for times = 0."""
    one = np.broadcast_to(-np.eye(S)[:, None, :], (S, A, S))
    return np.concatenate([one] * times + [np.zeros((1, A, S))]) if times else np.array(one)


def dual(mdp: om.MDP, F: np.ndarray, w: np.ndarray, d_E: np.ndarray) -> tuple[float, np.ndarray]:
    """J(w) and its gradient [S], from the visits d_E [S] of the expert."""
    found = om.rl(mdp, F @ w, 1.0)
    d = -np.einsum("sak,sa->k", F, found.rho)
    return float(mdp.p0 @ found.V + d_E @ w), d_E - d


def differences(mdp: om.MDP, F: np.ndarray, w: np.ndarray, d_E: np.ndarray) -> np.ndarray:
    """dJ/dw [S] by central differences."""
    steps = STEP * np.eye(w.size)
    return np.array([dual(mdp, F, w + e, d_E)[0] - dual(mdp, F, w - e, d_E)[0] for e in steps]) / (2 * STEP)


def ours(mdp: om.MDP, F: np.ndarray, rho_E: np.ndarray, method: str) -> tuple[str, float, int, float]:
    """(method, seconds, iterations, sup norm of the true gradient)."""
    start = time.perf_counter()
    found = om.irl(mdp, rho_E, om.regularisers.Constant(F), 1.0, method, max_iter=200)
    seconds = time.perf_counter() - start
    gap = np.einsum("sak,sa->k", F, om.rl(mdp, found.cost, 1.0).rho - rho_E)
    return f"ours, {method}", seconds, found.iterations, float(np.abs(gap).max())


def peers(request: Request, problem: dict[str, object]) -> dict[str, dict[str, object]]:
    """What each peer printed, by the name of its package."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        np.savez(path, **problem)
        return {name: peer(request, path, name) for name in ("imitation", "irl_maxent", "quantecon")}


def peer(request: Request, problem: Path, name: str) -> dict[str, object]:
    """The row that a peer prints, or why there is none."""
    command = [str(request.peer_python), str(Path(__file__).parent / "peer_irl.py"), str(problem), name]
    try:
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=request.time_limit).stdout
    except subprocess.TimeoutExpired:
        return {"missing": f"not done within {request.time_limit:g} s"}
    except subprocess.CalledProcessError as error:
        return {"missing": f"ended with status {error.returncode}"}
    return json.loads(out.splitlines()[-1])


def table(rows: list[tuple[str, float, int, float]]) -> str:
    """Markdown of (solver, seconds, iterations, gradient)."""
    lines = ["| solver | seconds | iterations | true gradient |", "| --- | --- | --- | --- |"]
    return "\n".join(lines + [f"| {name} | {s:.3g} | {n} | {g:.1e} |" for name, s, n, g in rows])


def main(request: Request) -> None:
    rng = np.random.default_rng(0)
    mdp = absorbing_grid(request.side, request.gamma)
    S, A, T = mdp.S, mdp.A, request.horizon
    lift = om.examples.finite_horizon(mdp, T)
    F, F_lift = state_features(S, A, 0), state_features(S, A, T)
    hidden, probe = rng.normal(size=S), rng.normal(size=S)
    expert, expert_lift = om.rl(mdp, F @ hidden, 1.0), om.rl(lift, F_lift @ hidden, 1.0)
    d_lift = -np.einsum("sak,sa->k", F_lift, expert_lift.rho)
    # imitation counts the state after the last step too: give it the expert's visits in the same convention.
    extra = expert_lift.rho[(T - 1) * S : T * S].reshape(-1) @ mdp.P * request.gamma
    sampled = om.sample_trajectories(mdp, expert.pi, request.trajectories, 20 * S, rng)
    ended = sampled.states[:, -1] == S - 1
    states = sampled.states[ended]
    cost = np.asarray(F @ hidden)
    found = peers(
        request,
        {
            "P": mdp.P.toarray().reshape(S, A, S),
            "p0": mdp.p0,
            "gamma": request.gamma,
            "horizon": T,
            "steps": request.steps,
            "demo": d_lift + extra,
            "probe": probe,
            "states": states,
            "actions": sampled.actions[ended],
            "goal": S - 1,
            "cost": cost,
        },
    )
    lifted = [ours(lift, F_lift, expert_lift.rho, method) for method in ("newton", "program", "ascent")]
    infinite = [ours(mdp, F, expert.rho, method) for method in ("newton", "program", "ascent")]
    notes = [f"{name}: {row['missing']}." for name, row in found.items() if "missing" in row]
    check = "imitation gave no answer."
    if "reward" in found["imitation"]:
        row = found["imitation"]
        _, gradient = dual(lift, F_lift, np.array(row["reward"]), d_lift)
        lifted.append((f"imitation {row['version']}", row["seconds"], row["iterations"], float(np.abs(gradient).max())))
        true = differences(lift, F_lift, probe, d_lift)
        _, exact = dual(lift, F_lift, probe, d_lift)
        update = np.array(row["update"])
        cosine = update @ true / np.linalg.norm(update) / np.linalg.norm(true)
        check = (
            f"At a random reward, central differences of the dual and the gradient d_E - d_w differ by "
            f"{np.abs(true - exact).max():.1e}; the update of imitation differs from both by "
            f"{np.abs(update - true).max():.1e} of {np.abs(true).max():.1e} (cosine {cosine:.4f})."
        )
    if "reward" in found["irl_maxent"]:
        row = found["irl_maxent"]
        discounts = request.gamma ** np.arange(states.shape[1])
        d = np.bincount(states.reshape(-1), np.tile(discounts, len(states)), minlength=S) / len(states)
        d[-1] += 1 / (1 - request.gamma) - d.sum()
        _, gradient = dual(mdp, F, np.array(row["reward"]), d)
        name = f"irl-maxent {row['version']}"
        infinite.append((name, row["seconds"], row["iterations"], float(np.abs(gradient).max())))
    control = []
    start = time.perf_counter()
    hard = om.rl(mdp, cost, 0.0)
    control.append(
        ("ours, policy iteration", time.perf_counter() - start, hard.iterations, residual(mdp, cost, hard.V))
    )
    if "V" in found["quantecon"]:
        row = found["quantecon"]
        name = f"QuantEcon {row['version']}, policy iteration"
        control.append((name, row["seconds"], row["iterations"], residual(mdp, cost, np.array(row["V"]))))
    page = f"""# Tabular IRL beside other projects

`python benchmarks/peers_irl.py --peer-python PEER/bin/python`: a {request.side} x {request.side} grid,
gamma {request.gamma:g}, lam 1, one weight for each state. "True gradient" is the sup norm of the gradient of the dual,
d_E - d_w, at the reward that a solver ends with; d_E sums to at most {1 / (1 - request.gamma):.0f}.

## {T} steps

{table(lifted)}

imitation computes its policy without the discount and its visits over one state more than there are steps, so that for
gamma < 1 its update is not the gradient of the dual. {check}

## Infinitely many steps

{table(infinite)}

irl-maxent was given {len(states)} trajectories, which is all it takes, and its gradient is relative to their
discounted visits; it counts visits without discount, and stops when its weights change by less than 1e-4.

## Control (lam = 0)

{table(control).replace("true gradient", "Bellman residual")}

{" ".join(notes)}
"""
    request.out.parent.mkdir(parents=True, exist_ok=True)
    request.out.write_text(page)
    print(page)


def residual(mdp: om.MDP, cost: np.ndarray, V: np.ndarray) -> float:
    """max_s |T V - V| of the hard Bellman operator."""
    return float(np.abs(om.hard_backup(mdp, cost, V)[0] - V).max())


if __name__ == "__main__":
    main(tyro.cli(Request, description=__doc__))
