"""Ways to solve a policy's system (I - gamma P_pi) x = b with BiCGSTAB: none, and five preconditioners.

    python benchmarks/preconditioners.py
    python benchmarks/preconditioners.py --states 1000000 --kinds gridworld

The systems are those that soft policy iteration meets: pi greedy at the V of its second step, b = T V - V less its
middle, solved to a residual of 1e-2 and of 1e-6 of b in the sup norm. All drive the same BiCGSTAB, from the right:

    none               products alone
    block Jacobi       LU factors of diagonal blocks of 100 states in the reverse Cuthill-McKee order
    ILU                SuperLU's incomplete factors, drop tolerance 1e-2, at most five times the entries
    AMG, aggregation   one V-cycle of pyamg's smoothed aggregation for nonsymmetric matrices
    AMG, AIR           one V-cycle of approximate ideal restriction, as in `occmatch.linear_multigrid`
    ordered sweep      one Gauss-Seidel sweep in the order of values: downhill, as a good policy goes

`rl` takes the first for 100 steps and AIR where that is not enough. Writes docs/benchmarks/preconditioners.md.
"""

import multiprocessing
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyamg
import scale_rows
import tyro
from scipy.sparse import block_diag, csc_array, csr_array, csr_matrix, eye_array, tril
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import spilu, splu

import occmatch as om
from occmatch.bellman_sweep import middle
from occmatch.linear import policy_matrix
from occmatch.linear_krylov import refined
from occmatch.linear_multigrid import Multigrid

OUT = Path(__file__).parent.parent / "docs" / "benchmarks" / "preconditioners.md"
Apply = Callable[[np.ndarray], np.ndarray]
TOLERANCES = (1e-2, 1e-6)

LIMIT = 20
"""Seconds for making a preconditioner and both solves."""


@dataclass(frozen=True)
class Request:
    """What to run."""

    states: int = 100_000
    """States of each problem, about."""
    kinds: tuple[str, ...] = ("gridworld", "gridworld, random costs", "maze", "mountain car", "pendulum", "garnet")
    """Problems, by their names in benchmarks/scale_rows.py."""
    gammas: tuple[float, ...] = (0.99, 0.999)
    """Discounts."""
    steps: int = 500
    """Steps of BiCGSTAB in each of four passes, two products each."""
    out: Path = OUT
    """The page."""


def system(kind: str, states: int, gamma: float) -> tuple[csr_array, np.ndarray, np.ndarray]:
    """(P_pi [S, S], b [S], V [S]) of the second step of soft policy iteration."""
    mdp, cost = scale_rows.problem(kind, states, {"mountain car": 3, "pendulum": 5}.get(kind, 4), gamma)
    V = om.rl(mdp, cost, scale_rows.LAM, max_iter=2, progress=False).V
    TV, pi = om.soft_backup(mdp, cost, V, scale_rows.LAM)
    return policy_matrix(mdp, pi), TV - V - middle(TV - V), V


def block_jacobi(P: csr_array, gamma: float) -> Apply:
    order = reverse_cuthill_mckee(P)
    A = csr_array(eye_array(P.shape[0], format="csr") - gamma * P[order][:, order])
    cuts = range(0, P.shape[0], 100)
    blocks = csc_array(block_diag([A[cut : cut + 100, cut : cut + 100] for cut in cuts], format="csc"))
    factors = splu(blocks, permc_spec="NATURAL", diag_pivot_thresh=0.0)

    def apply(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        y[order] = factors.solve(x[order])
        return y

    return apply


def ilu(P: csr_array, gamma: float) -> Apply:
    A = csc_array(eye_array(P.shape[0], format="csc") - gamma * P)
    return spilu(A, drop_tol=1e-2, fill_factor=5, diag_pivot_thresh=0.0).solve


def aggregation(P: csr_array, gamma: float) -> Apply:
    A = csr_matrix(eye_array(P.shape[0], format="csr") - gamma * P)
    A.sort_indices()
    levels = pyamg.smoothed_aggregation_solver(A, symmetry="nonsymmetric", max_coarse=500)
    return levels.aspreconditioner(cycle="V").matvec


def ordered(P: csr_array, gamma: float, V: np.ndarray) -> Apply:
    order = np.argsort(V, kind="stable")
    A = eye_array(P.shape[0], format="csr") - gamma * P[order][:, order]
    factors = splu(tril(A, format="csc"), permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def apply(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        y[order] = factors.solve(x[order])
        return y

    return apply


def rows(P: csr_array, gamma: float, b: np.ndarray, V: np.ndarray, steps: int) -> Iterator[tuple[str, str, str]]:
    """(preconditioner, seconds to make it, products and seconds for each tolerance)."""
    makers: dict[str, Callable[[], Apply | None]] = {
        "none": lambda: None,
        "block Jacobi": lambda: block_jacobi(P, gamma),
        "ILU": lambda: ilu(P, gamma),
        "AMG, aggregation": lambda: aggregation(P, gamma),
        "AMG, AIR": lambda: Multigrid(P, gamma).inverse,
        "ordered sweep": lambda: ordered(P, gamma, V),
    }
    for name, make in makers.items():
        yield (name, *limited(lambda make=make: measured(P, gamma, b, steps, make)))


def limited(job: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    """What the job says, from a process of its own that is ended after `LIMIT` seconds."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: there.send(job()))
    process.start()
    found = here.recv() if here.poll(LIMIT) else (f"over {LIMIT} s", "")
    process.terminate()
    process.join()
    return found


def measured(
    P: csr_array, gamma: float, b: np.ndarray, steps: int, make: Callable[[], Apply | None]
) -> tuple[str, str]:
    start = time.perf_counter()
    try:
        inverse = make()
    except (MemoryError, RuntimeError, ValueError) as error:
        return f"failed: {str(error).splitlines()[0][:60]}", ""
    setup = time.perf_counter() - start
    cells = []
    for rtol in TOLERANCES:
        count = [0]

        def product(x: np.ndarray, count: list[int] = count) -> np.ndarray:
            count[0] += 1
            return P @ x

        start = time.perf_counter()
        reached = refined(product, gamma, b, rtol, 4, steps, inverse)[1]
        seconds = time.perf_counter() - start
        cells.append(f"{count[0]}, {seconds:.2g} s" if reached else f"not reached, {seconds:.2g} s")
    return f"{setup:.2g}", " | ".join(cells)


def main(request: Request) -> None:
    warnings.simplefilter("ignore")  # of SciPy, about formats
    lines = ["| problem | preconditioner | seconds to make it | to 1e-2 | to 1e-6 |", "| --- | --- | --- | --- | --- |"]
    for kind in request.kinds:
        for gamma in request.gammas:
            P, b, V = system(kind, request.states, gamma)
            for name, setup, cells in rows(P, gamma, b, V, request.steps):
                lines.append(
                    f"| {kind}, {P.shape[0]:,} states, gamma {gamma:g} | {name} | {setup} | {cells or ' | '} |"
                )
                print(lines[-1], flush=True)
    head, _, rest = (__doc__ or "").partition("\n\n")
    _, _, rest = rest.partition("\n\n")
    table = "\n".join(lines)
    machine = f"{platform.machine()}, Python {platform.python_version()}, one thread."
    told = f"Each cell: products with P_pi, and seconds; at most {LIMIT} s a line."
    page = "\n\n".join(["# Preconditioners", head, rest.strip(), told, table, machine]) + "\n"
    request.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Request, description=__doc__))
