"""Every exact solver on psi_GA, side by side: certified gap and seconds, from 20 to 5,000 states.

    python benchmarks/exact.py              # the timing table; rows are printed as they come
    python benchmarks/exact.py --suite      # every registered psi on 200 random MDPs, see exact_suite.py

Instances have 4 actions, gamma 0.95 and lam 0.1: garnets of branching 5 with standard normal costs, and gridworlds
of the same number of states with slip 0.1; the expert is soft optimal at lam 0.1. Each cell runs in a process of its
own, after a small problem that loads the libraries, is stopped at `--time-limit`, and is judged by the certificate.
Rows are kept in docs/benchmarks/exact.jsonl, so that a stopped run goes on where it was; delete the file to start
afresh. Writes docs/benchmarks/exact.md.
"""

import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

import exact_suite
import numpy as np
import tyro

import occmatch as om
from occmatch.candidate import Candidate
from occmatch.regularisers import REGISTERED

OUT = Path(__file__).parent.parent / "docs" / "benchmarks"
GAMMA, LAM, ACTIONS, BRANCHING, SLIP = 0.95, 0.1, 4, 5, 0.1
KINDS = ("garnet", "gridworld")

REPEATS, QUICK = 5, 2.0
"""A cell that takes less than QUICK seconds is run REPEATS times, and the median reported."""

Solve = Callable[[om.MDP, np.ndarray, om.regularisers.Regulariser], object]


@dataclass(frozen=True)
class Request:
    """What to run."""

    states: tuple[int, ...] = (20, 100, 500, 2000, 5000)
    """Numbers of states."""
    time_limit: float = 900.0
    """Seconds that one cell may take."""
    ascent_steps: int = 20
    """Steps of dual ascent, which is first order and far from done by then."""
    suite: bool = False
    """Run the suite over every psi instead."""
    mdps: int = 200
    """Random MDPs of the suite for each psi."""
    psi: tuple[str, ...] = tuple(REGISTERED)
    """Registered psi that the suite runs over."""
    out: Path = OUT
    """Folder of the pages and of the rows that they are made from."""


def solvers(ascent_steps: int) -> dict[str, Solve]:
    """Name in the table -> the call."""
    return {
        "match, own Newton": lambda mdp, rho_E, psi: om.match(mdp, rho_E, psi, LAM, "newton"),
        "irl, own Newton": lambda mdp, rho_E, psi: om.irl(mdp, rho_E, psi, LAM, "newton"),
        f"irl, dual ascent, {ascent_steps} steps": lambda mdp, rho_E, psi: om.irl(
            mdp, rho_E, psi, LAM, "ascent", max_iter=ascent_steps, tol=1e-12
        ),
        "irl, Clarabel": lambda mdp, rho_E, psi: om.irl(mdp, rho_E, psi, LAM, "program"),
        "match, Clarabel": lambda mdp, rho_E, psi: om.match(mdp, rho_E, psi, LAM, "program"),
    }


BASELINE, OWN = "match, Clarabel", "match, own Newton"


def problem(kind: str, states: int) -> tuple[om.MDP, np.ndarray, om.regularisers.Regulariser]:
    """(mdp, rho_E, psi_GA) of one instance; a gridworld is as square as `states` allows."""
    if kind == "garnet":
        rng = np.random.default_rng(states)
        mdp = om.examples.garnet(states, ACTIONS, min(BRANCHING, states), GAMMA, rng)
        cost = rng.normal(size=mdp.shape)
    else:
        rows = max(n for n in range(1, int(states**0.5) + 1) if states % n == 0)
        mdp = om.examples.gridworld(rows, states // rows, slip=SLIP, gamma=GAMMA)
        cost = om.examples.gridworld_cost(mdp)
    rho_E = om.rl(mdp, cost, LAM).rho
    return mdp, rho_E, om.regularisers.Surrogate(om.LOSSES["logistic"], rho_E)


def cell(kind: str, states: int, name: str, ascent_steps: int, back: Connection) -> None:
    """Solve one cell and send its row back."""
    solve = solvers(ascent_steps)[name]
    solve(*problem("garnet", 5))
    mdp, rho_E, psi = problem(kind, states)
    seconds: list[float] = []
    cpu: list[float] = []
    while len(seconds) < (REPEATS if sum(seconds) < QUICK else 1):
        start, busy = time.perf_counter(), time.process_time()
        found = solve(mdp, rho_E, psi)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    if not isinstance(found, Candidate):
        back.send({"failed": type(found).__name__})
        return
    certificate = om.certify(mdp, rho_E, psi, found)
    row = {"seconds": float(np.median(seconds)), "cpu": float(np.median(cpu)), "iterations": found.iterations}
    back.send(row | {"gap": abs(certificate.relative_gap), "flow": certificate.flow_residual})


def limited(kind: str, states: int, name: str, request: Request) -> dict[str, object]:
    """`cell` in a process of its own, ended at the time limit; it reads the number of threads when it starts."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=cell, args=(kind, states, name, request.ascent_steps, there))
    process.start()
    there.close()
    try:
        return here.recv() if here.poll(request.time_limit) else {"limit": request.time_limit}
    except EOFError:
        process.join()
        return {"failed": f"exit {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def timings(request: Request) -> list[dict[str, object]]:
    """All rows, those of the file read and the others measured and added to it; the slowest cells last."""
    path = request.out / "exact.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    # A cell that ran into a shorter limit deserves another run.
    known = [row for row in known if row.get("limit", np.inf) >= request.time_limit]
    done = {(row["kind"], row["states"], row["solver"]): row for row in known}
    names, wanted = list(solvers(request.ascent_steps)), []
    for states in sorted(request.states):
        wanted += [(kind, states, name) for name in names for kind in KINDS]
    for key in wanted:
        if key not in done:
            kind, states, name = key
            done[key] = {"kind": kind, "states": states, "solver": name} | limited(*key, request)
            print(show(done[key]), flush=True)
            with path.open("a") as file:
                file.write(json.dumps(done[key]) + "\n")
    return [done[key] for key in wanted]


def show(row: dict[str, object]) -> str:
    """A row as it is printed while the benchmark runs."""
    head = f"{row['kind']:<10}{row['states']:>6}  {row['solver']:<28}"
    if "seconds" not in row:
        return head + (f"not within {row['limit']:g} s" if "limit" in row else f"failed: {row['failed']}")
    return (
        f"{head}{row['seconds']:>10.3f} s{row['cpu']:>10.3f} s CPU   gap {row['gap']:.1e}   {row['iterations']} steps"
    )


def page(request: Request, rows: list[dict[str, object]]) -> str:
    """The timing table as Markdown."""
    lines = []
    for kind in KINDS:
        lines += [
            f"\n## {kind.capitalize()}s\n",
            "| S | solver | seconds | CPU | relative gap | iterations | ratio |",
        ]
        lines.append("| --- | --- | --- | --- | --- | --- | --- |")
        for row in rows:
            if row["kind"] != kind:
                continue
            if "seconds" not in row:
                why = f"over {row['limit']:g}" if "limit" in row else f"failed ({row['failed']})"
                lines.append(f"| {row['states']:,} | {row['solver']} | {why} | | | | |")
                continue
            base = next(r for r in rows if (r["kind"], r["states"], r["solver"]) == (kind, row["states"], BASELINE))
            ratio = f"{base['cpu'] / row['cpu']:.1f}" if "cpu" in base else ""
            if "limit" in base:
                ratio = f"over {base['limit'] / row['seconds']:.0f}"
            measured = f"{row['seconds']:.3g} | {row['cpu']:.3g} | {row['gap']:.0e} | {row['iterations']}"
            lines.append(f"| {row['states']:,} | {row['solver']} | {measured} | {ratio} |")
    limit = max((row["limit"] for row in rows if "limit" in row), default=None)
    command = "python benchmarks/exact.py" + ("" if limit is None else f" --time-limit {limit:g}")
    return f"""# Exact solvers, side by side

psi_GA, {ACTIONS} actions, gamma {GAMMA}, lam {LAM}; by `{command}`. Seconds of the call on the clock
and on the processor, on one thread; the gap is the certificate's, relative. "match" works on measures, "irl" on costs;
"Clarabel" is the convex program given to that solver. The ratio is the processor time of the convex program over
measures divided by the row's.
{chr(10).join(lines)}

{machine()}
"""


def suite_page(request: Request, rows: list[dict[str, object]]) -> str:
    """The suite's table as Markdown."""
    targets = ", ".join(f"{name} {target:.0e}" for name, target in exact_suite.TARGETS.items())
    return f"""# Every psi on random MDPs

Worst certified relative gap by `python benchmarks/exact.py --suite`: garnets with 2 to 30 states, 1 to 5 actions, gamma
0.5 to 0.99, lam 0.01 to 2, stochastic (even seeds) and deterministic experts (odd seeds). `irl` is the convex program
over costs, `own` matching by the solver of our own, `program` matching by the convex program over measures. Targets:
{targets}. "Policies apart" is the largest (1 - gamma) sum_s d(s) ||pi - pi'||_1 between the policies of the first
column and the others; "no cost attains" counts typed answers whose diverging sequence was certified instead;
"missed" counts the MDPs beyond a solver's target.

{exact_suite.table(rows)}

{machine()}
"""


def machine() -> str:
    """What the numbers were measured with."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "cvxpy", "clarabel"))
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    return f"{where}, Python {platform.python_version()}, {packages}."


def main(request: Request) -> None:
    request.out.mkdir(parents=True, exist_ok=True)
    if request.suite:
        rows = exact_suite.run(request.out, request.mdps, request.psi)
        (request.out / "exact_suite.md").write_text(suite_page(request, rows))
        print(exact_suite.table(rows))
        return
    (request.out / "exact.md").write_text(page(request, timings(request)))


if __name__ == "__main__":
    main(tyro.cli(Request, description=__doc__))
