"""HiGHS by its own interface, for linear programs too large for the simplex method: interior point and PDLP.

    interior   a primal-dual interior-point method without crossover: ends inside the optimal face, to about 1e-8
               (with presolve and crossover, at a vertex, where it fails without)
    pdlp       restarted primal-dual hybrid gradients (Applegate et al. 2021): products with the matrix alone, 1e-7

Neither ends at a vertex, and both answer to tolerances that are absolute: what they claim is moved onto D and judged
afterwards like any other claim. HiGHS runs in a thread beside Python's, so that Ctrl-C stops it.
"""

from __future__ import annotations

import threading

import highspy
import numpy as np
from scipy.sparse import csc_array

from occmatch.checks import FloatArray

SOLVERS = {"interior": "ipm", "pdlp": "pdlp"}
"""Name here -> HiGHS's."""

TOLERANCE = 1e-8
"""On residuals and on the relative gap; PDLP takes about ten times as many products for each further digit."""

MOST_PRODUCTS = 500_000
"""Iterations of PDLP after which it has failed: where gamma is near one even three states may swing for ever."""

SECONDS = 10.0, 5e-3
"""And seconds, with those for each coefficient: several times what so many products take. HiGHS may cease to count."""

Answer = tuple[FloatArray, float, FloatArray, int]


def run_highs(
    objective: FloatArray,
    rows: csc_array,
    low: FloatArray,
    high: FloatArray,
    free: np.ndarray,
    solver: str,
    tolerance: float = TOLERANCE,
) -> Answer | None:
    """(x, objective, multipliers of the rows, iterations) of min objective.x, low <= rows x <= high, x >= 0 but `free`.

    None where HiGHS finds no optimum, PDLP not in MOST_PRODUCTS iterations. Raises KeyboardInterrupt after HiGHS has
    been stopped.
    """
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = objective.size, low.size
    model.col_cost_ = objective
    model.col_lower_ = np.where(free, -highspy.kHighsInf, 0.0)
    model.col_upper_ = np.full(objective.size, highspy.kHighsInf)
    model.row_lower_, model.row_upper_ = low, high
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_, model.a_matrix_.index_ = rows.indptr, rows.indices
    model.a_matrix_.value_ = rows.data
    highs = highspy.Highs()
    for name, value in (
        ("output_flag", False),
        ("solver", SOLVERS[solver]),
        ("run_crossover", "off"),
        # Presolve finds nothing to reduce in the flow of an MDP, and takes longer than the solve to look for dependent
        # equations, of which there are none: 6 s of 7 by PDLP on a garnet of 1,500 states.
        ("presolve", "off"),
        ("kkt_tolerance", tolerance),
        ("pdlp_iteration_limit", MOST_PRODUCTS),
    ):
        highs.setOptionValue(name, value)
    if solver == "pdlp":
        highs.setOptionValue("time_limit", SECONDS[0] + SECONDS[1] * rows.nnz)
    highs.HandleUserInterrupt = True
    highs.passModel(model)
    _run(highs)
    if solver == "interior" and highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        # Where gamma is near one the iterates may stand still, or pass for infeasible; the whole of HiGHS then ends.
        highs.setOptionValue("presolve", "on")
        highs.setOptionValue("run_crossover", "on")
        _run(highs)
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    solution, info = highs.getSolution(), highs.getInfo()
    iterations = info.ipm_iteration_count if solver == "interior" else info.pdlp_iteration_count
    return (
        np.array(solution.col_value),
        float(info.objective_function_value),
        np.array(solution.row_dual),
        int(iterations),
    )


def _run(highs: highspy.Highs) -> None:
    """`highs.run` in a thread that Ctrl-C cancels."""
    thread = threading.Thread(target=highs.run, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except KeyboardInterrupt:
        highs.cancelSolve()
        thread.join()
        raise
