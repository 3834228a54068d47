"""The rows of benchmarks/scale.py for `rl` and occupancy measures: each name is one problem and what is done to it."""

import cProfile
import json
import pstats
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import occmatch as om
from occmatch import examples, products
from occmatch.bellman_sweep import soft_minimum

Row = dict[str, object]
LAM = 0.1
HERE = Path(__file__).parent


def problem(kind: str, S: int, A: int, gamma: float) -> tuple[om.MDP, np.ndarray]:
    """(mdp, cost) of about S states; a gridworld and the other grids are square."""
    rng, n = np.random.default_rng(S), round(S**0.5)
    if kind == "garnet":
        mdp = examples.garnet(S, A, 5, gamma, rng)
        return mdp, rng.normal(size=mdp.shape)
    if kind == "maze":
        mdp = examples.maze(examples.maze_walls(round((S / 2) ** 0.5), doors=0.1, rng=rng), gamma=gamma)
        return mdp, examples.maze_cost(mdp)
    if kind == "frozen lake":
        holes = examples.lake_holes(n, frozen=0.9, rng=rng)
        mdp = examples.frozen_lake(holes, gamma=gamma)
        return mdp, examples.frozen_lake_cost(mdp, holes)
    if kind == "mountain car":
        return (mdp := examples.mountain_car(n, gamma=gamma)), examples.mountain_car_cost(mdp)
    if kind == "pendulum":
        return (mdp := examples.pendulum(n, gamma=gamma)), examples.pendulum_cost(mdp)
    if kind == "queue":
        return (mdp := examples.tandem_queue(n - 1, gamma=gamma)), examples.tandem_queue_cost(mdp)
    if kind == "gridworld, matrix-free":
        mdp = examples.gridworld_free(n, gamma=gamma)
        return mdp, examples.gridworld_cost(mdp)
    mdp = examples.gridworld(n, gamma=gamma)
    return mdp, rng.normal(size=mdp.shape) if kind == "gridworld, random costs" else examples.gridworld_cost(mdp)


def solve(kind: str, S: int, gamma: float, tol: float, *, A: int = 4, lam: float = LAM, work: str = "rl", **how) -> Row:
    """One call of `rl`, or of the occupancy measure of its policy, timed by itself."""
    mdp, cost = problem(kind, S, A, gamma)
    start, busy = time.perf_counter(), time.process_time()
    found = om.rl(mdp, cost, lam, tol=tol, progress=False, **how)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    row = {"error": found.error, "method": found.method, "iterations": found.iterations}
    if work == "occupancy":
        start, busy = time.perf_counter(), time.process_time()
        rho = found.rho
        seconds, cpu = time.perf_counter() - start, time.process_time() - busy
        # |d - d*|_1 <= |residual|_1 / (1 - gamma).
        row["error"] = float(np.abs(om.flow_residual(mdp, rho)).sum() / (1 - gamma))
        row["method"], row["iterations"] = "transposed system", 1
    row |= {"seconds": seconds, "cpu": cpu, "peak_mb": peak(), "sweep": plain_sweep(mdp)}
    return row | {
        "size": f"{mdp.S:,} x {mdp.A}, gamma {gamma:g}",
        "problem": kind,
        "S": mdp.S,
        "A": mdp.A,
        "gamma": gamma,
    }


def plain_sweep(mdp: om.MDP) -> float:
    """Processor seconds of one product P V, the least of three: what the memory allows at that moment."""
    V, taken = np.ones(mdp.S), []
    for _ in range(3):
        busy = time.process_time()
        mdp.expect(V)
        taken.append(time.process_time() - busy)
    return min(taken)


def share(kind: str, S: int, gamma: float) -> Row:
    """The part of `rl` that goes into sparse products outside multigrid, and into that, on one thread."""
    products._THREADS = 1
    mdp, cost = problem(kind, S, 4, gamma)
    profile = cProfile.Profile()
    start = time.perf_counter()
    found = profile.runcall(om.rl, mdp, cost, LAM, tol=1e-9, progress=False)
    seconds = time.perf_counter() - start
    times = pstats.Stats(profile).stats
    inside = sum(
        own for (_, _, name), (_, _, own, _, _) in times.items() if "matvec" in name and "_sparsetools" in name
    )
    cycles = sum(all_of_it for (file, *_), (_, _, _, all_of_it, _) in times.items() if "linear_multigrid" in file)
    row = {"seconds": seconds, "cpu": seconds, "peak_mb": peak(), "error": found.error, "iterations": found.iterations}
    row |= {"method": f"sparse products {inside / seconds:.0%}, multigrid {cycles / seconds:.0%}"}
    return row | {"size": f"{mdp.S:,} x 4, gamma {gamma:g}", "problem": kind}


def value_iteration(kind: str, S: int, gamma: float, tol: float, limit: float, *, span: bool) -> Row:
    """Soft value iteration from V = 0 until its error is `tol` by a bound of its own, or `limit` seconds are over.

    The bound is that of the contraction, gamma |TV - V| / (1-gamma) in the sup norm, as textbooks stop it; or the
    one-sweep bounds with their middle (`span`), which an MDP that mixes meets long before.
    """
    mdp, cost = problem(kind, S, 4, gamma)
    V, k = np.zeros(mdp.S), 0
    start, busy = time.perf_counter(), time.process_time()
    while True:
        TV, _ = soft_minimum(cost + gamma * mdp.expect(V), LAM)
        lo, hi = om.value_bounds(V, TV, gamma)
        error = 0.5 * float((hi - lo)[0]) if span else gamma * float(np.abs(TV - V).max()) / (1.0 - gamma)
        V, k = TV, k + 1
        if error <= tol or time.perf_counter() - start > limit:
            break
    seconds = time.perf_counter() - start
    row = {"seconds": seconds, "cpu": time.process_time() - busy, "peak_mb": peak(), "error": error, "iterations": k}
    ended = "" if error <= tol else f", over {limit:g} s"
    row |= {"method": f"soft value iteration, {'one-sweep bounds' if span else 'contraction'}{ended}"}
    return row | {"size": f"{mdp.S:,} x 4, gamma {gamma:g}", "problem": kind}


def peer(name: str, kind: str, S: int, gamma: float, tol: float, python: str, limit: float) -> Row:
    """Another project's solver at lam = 0, in its own interpreter; its V is judged by our sweep."""
    mdp, cost = problem(kind, S, 4, gamma)
    row = {"size": f"{mdp.S:,} x 4, gamma {gamma:g}", "problem": kind, "peak_mb": peak()}
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/mdp.npz"
        P = mdp.P
        arrays = {"P_data": P.data, "P_indices": P.indices, "P_indptr": P.indptr, "gamma": gamma, "tol": tol}
        np.savez(path, cost=cost, **arrays)
        command = [python, str(HERE / "scale_peers.py"), name, path]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return row | {"seconds": limit, "error": None, "method": f"over {limit:g} s", "iterations": 0}
        if done.returncode:
            why = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:90]
            return row | {"seconds": None, "error": None, "method": f"failed: {why}", "iterations": 0}
        told = json.loads(done.stdout.splitlines()[-1])
        V = np.load(told.pop("V"), allow_pickle=False)
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    lo, hi = om.value_bounds(V, om.hard_backup(mdp, cost, V)[0], gamma)
    return row | told | {"error": float(max(np.abs(lo - V).max(), np.abs(hi - V).max()))}


def peak() -> float:
    """Most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rows(quick: bool, python: str, limit: float) -> dict[str, Callable[[], Row]]:
    """Name -> the call that makes the row; `quick` takes a hundredth of the states."""
    M, small = (10_000, 2_500) if quick else (1_000_000, 100_000)
    table: dict[str, Callable[[], Row]] = {}
    for kind in ("garnet", "gridworld"):
        for gamma in (0.99, 0.999, 0.9999):
            table[f"rl, {kind}, {gamma:g}"] = partial(solve, kind, M, gamma, 1e-9)
        table[f"occupancy, {kind}"] = partial(solve, kind, M, 0.99, 1e-9, work="occupancy")
        table[f"share, {kind}"] = partial(share, kind, small, 0.999)
        table[f"rl at lam = 0, {kind}"] = partial(solve, kind, M, 0.99, 1e-9, lam=0.0)
    for kind, S in (("frozen lake", M), ("maze", M // 4), ("queue", M // 4), ("mountain car", M // 4)):
        table[f"rl, {kind}"] = partial(solve, kind, S, 0.999, 1e-9)
    table["rl, pendulum"] = partial(solve, "pendulum", M // 10, 0.999, 1e-9)
    table["rl, matrix-free"] = partial(solve, "gridworld, matrix-free", M, 0.99, 1e-9)
    table["rl, ten times the states"] = partial(solve, "gridworld", 10 * M, 0.99, 1e-6)
    table["rl against value iteration"] = partial(solve, "gridworld", small, 0.999, 1e-6)
    for name, span in (("value iteration", True), ("value iteration, as in textbooks", False)):
        table[name] = partial(value_iteration, "gridworld", small, 0.999, 1e-6, limit, span=span)
    for S in (1_000, 10_000, small):
        table[f"peer, ours, {S}"] = partial(solve, "gridworld", S, 0.99, 1e-6, lam=0.0)
        for name in ("quantecon", "mdptoolbox", "mdpsolver"):
            table[f"peer, {name}, {S}"] = partial(peer, name, "gridworld", S, 0.99, 1e-6, python, limit)
    for kind in ("garnet", "gridworld"):
        for S in (small // 10, small // 3, small, 3 * small):
            table[f"growth in S, {kind}, {S}"] = partial(solve, kind, S, 0.99, 1e-8)
        for gamma in (0.9, 0.99, 0.999, 0.9999):
            table[f"growth in 1/(1-gamma), {kind}, {gamma:g}"] = partial(solve, kind, small, gamma, 1e-8)
    for A in (2, 4, 8, 16):
        table[f"growth in A, garnet, {A}"] = partial(solve, "garnet", small, 0.99, 1e-8, A=A)
    hard, free = "gridworld, random costs", "gridworld, matrix-free"
    table["limit, many traps at gamma 0.999"] = partial(solve, hard, small // 10, 0.999, 1e-9)
    table["limit, error below rounding"] = partial(solve, "gridworld", small // 10, 0.9999, 1e-15)
    table["limit, four steps"] = partial(solve, "gridworld", small // 10, 0.999, 1e-9, max_iter=4)
    table["limit, a long way without a matrix"] = partial(solve, free, small // 10, 0.999, 1e-9)
    return table
