"""Statistics of scores over a few training runs on each of several tasks.

Training runs are few and their scores skewed, so that a mean and a deviation say little. Agarwal et al. (2021, "Deep RL
at the edge of the statistical precipice") propose a trimmed mean with bootstrap intervals instead, and the probability
that one method does better than another. Scores here are one array of runs a task:

    [runs]            one task
    [runs, tasks]     as many runs of each task
    list or dict      of arrays [runs], one a task, which may differ in length

Aggregates pool the runs of all tasks, normalised beforehand. The bootstrap is stratified: runs are drawn anew within
their task, because tasks are what was chosen and runs are what chance decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

Scores = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
Method = Literal["percentile", "bca"]
TRIM = 0.25  # of the runs on either side
EXACT = 200  # runs up to which ranks are counted out


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval, low <= point <= high."""

    point: float
    low: float
    high: float


def strata(scores: Scores) -> list[np.ndarray]:
    """One float array of runs a task; ValueError names a task that has no run or a score that is not finite."""
    if isinstance(scores, Mapping):
        named = [(f"scores[{k!r}]", v) for k, v in scores.items()]
    elif isinstance(scores, np.ndarray) and scores.ndim == 2:
        named = [(f"scores[:, {k}]", v) for k, v in enumerate(scores.T)]
    elif isinstance(scores, np.ndarray):
        named = [("scores", scores)]
    else:
        values = list(scores)
        flat = bool(values) and all(np.ndim(v) == 0 for v in values)
        named = [("scores", np.asarray(values))] if flat else [(f"scores[{k}]", v) for k, v in enumerate(values)]
    if not named:
        raise ValueError("scores must hold at least one task, but is empty")
    found = []
    for name, value in named:
        runs = np.asarray(value, dtype=np.float64)
        if runs.ndim == 0 or len(runs) == 0:
            raise ValueError(f"{name} must hold at least one run, but has shape {runs.shape}")
        if not np.isfinite(runs).all():
            i = int(np.argmin(np.isfinite(runs.reshape(len(runs), -1)).all(1)))
            raise ValueError(f"{name} must be finite, but entry {i} is {runs[i]}")
        found.append(runs)
    return found


def iqm(scores: Scores) -> float:
    """Interquartile mean: the mean of all runs of all tasks without the floor(n / 4) least and greatest.

    With fewer than four runs it is the mean. Between the mean, which one run can move at will, and the median, which
    ignores most of them (Agarwal et al. 2021, Section 4.3).
    """
    pooled = np.sort(np.concatenate([s.ravel() for s in strata(scores)]))
    cut = int(TRIM * len(pooled))
    return float(pooled[cut : len(pooled) - cut].mean())


def optimality_gap(scores: Scores, target: float = 1.0) -> float:
    """mean of max(target - score, 0): by how much runs fall short of the target, better runs counting as equal to it.

    1 is the expert where scores are normalised (Agarwal et al. 2021, Section 4.3).
    """
    pooled = np.concatenate([s.ravel() for s in strata(scores)])
    return float(np.maximum(target - pooled, 0.0).mean())


def stratified_bootstrap(
    statistic: Callable[[list[np.ndarray]], float],
    scores: Scores,
    rng: np.random.Generator,
    reps: int = 2000,
    level: float = 0.95,
    method: Method = "percentile",
) -> Interval:
    """An interval for statistic(list of arrays, one a task), from `reps` draws of the runs of each task.

    percentile: quantiles of the draws, as in Agarwal et al. bca: the same at levels corrected for bias and skewness
    (Efron and Tibshirani 1993, Section 14.3). Either can miss a point estimate that is biased, so it is widened to
    hold it, which never lowers coverage; basic intervals mirror the quantiles and leave the range of scores. A task
    of one run adds no width. ValueError for reps < 1 or a level outside (0, 1).
    """
    if reps < 1:
        raise ValueError(f"reps must be at least 1, but is {reps}")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), but is {level}")
    tasks = strata(scores)
    point = float(statistic(tasks))
    picks = [rng.integers(len(runs), size=(reps, len(runs))) for runs in tasks]
    draws = np.array([statistic([runs[p[i]] for runs, p in zip(tasks, picks, strict=True)]) for i in range(reps)])
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca":
        tails = _corrected(statistic, tasks, point, draws, tails)
    elif method != "percentile":
        raise ValueError(f"method must be percentile or bca, but is {method!r}")
    low, high = np.quantile(draws, tails)
    return Interval(point, min(float(low), point), max(float(high), point))


def _corrected(
    statistic: Callable[[list[np.ndarray]], float],
    tasks: list[np.ndarray],
    point: float,
    draws: np.ndarray,
    tails: np.ndarray,
) -> np.ndarray:
    """The levels at which BCa reads the draws: Efron and Tibshirani 1993, Eq 14.10, 14.14, 14.15.

    The acceleration over several tasks is that of Davison and Hinkley (1997), Section 5.3.2.
    """
    below = (np.sum(draws < point) + np.sum(draws <= point)) / (2 * len(draws))
    margin = 0.5 / len(draws)  # keeps z0 finite where every draw is on one side
    z0 = stats.norm.ppf(np.clip(below, margin, 1 - margin))
    square = cube = 0.0
    for k, runs in enumerate(tasks):
        n = len(runs)
        if n == 1:
            continue
        left_out = np.array([statistic([*tasks[:k], np.delete(runs, i, axis=0), *tasks[k + 1 :]]) for i in range(n)])
        influence = (n - 1) * (left_out.mean() - left_out)
        square += float(np.sum(influence**2)) / n**2
        cube += float(np.sum(influence**3)) / n**3
    a = cube / (6 * square**1.5) if square > 0 else 0.0
    z = z0 + stats.norm.ppf(tails)
    return stats.norm.cdf(z0 + z / (1 - a * z))


def _better(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the pairs in which x is greater, ties counting half."""
    difference = x[:, None] - y[None, :]
    return float(np.mean(difference > 0) + np.mean(difference == 0) / 2)


def probability_of_improvement(
    x: Scores, y: Scores, rng: np.random.Generator, reps: int = 2000, level: float = 0.95
) -> Interval:
    """P(X > Y) + P(X = Y) / 2 for a run of x and one of y on the same task, averaged over tasks; 1/2 is no difference.

    U / (n m) of Mann and Whitney (1947), with the stratified percentile interval (Agarwal et al. 2021, Section 4.3).
    ValueError unless x and y have the same tasks.
    """
    if isinstance(x, Mapping) and isinstance(y, Mapping):
        if x.keys() != y.keys():
            raise ValueError(f"x and y must have the same tasks, but only one has {sorted(x.keys() ^ y.keys())}")
        y = {k: y[k] for k in x}
    first, second = strata(x), strata(y)
    if len(first) != len(second):
        raise ValueError(f"x and y must have the same tasks, but have {len(first)} and {len(second)}")

    def average(both: list[np.ndarray]) -> float:
        return float(np.mean([_better(a, b) for a, b in zip(both[: len(first)], both[len(first) :], strict=True)]))

    return stratified_bootstrap(average, [*first, *second], rng, reps, level)


def rank_sum(x: np.ndarray, y: np.ndarray) -> float:
    """One-sided p-value of Wilcoxon's rank-sum test that x [n] is not greater than y [m], runs independent.

    The test of the paper's Section 6 (lambda on Reacher). The share of the C(n + m, n) choices of n among all runs
    whose ranks add up to at least those of x, tied runs having the mean of their ranks: exact, also with ties.
    Beyond n + m = EXACT runs a normal approximation.
    """
    x, y = _runs("x", x), _runs("y", y)
    n = len(x)
    if n + len(y) > EXACT:
        return float(stats.mannwhitneyu(x, y, alternative="greater", method="asymptotic").pvalue)
    ranks = _doubled_ranks([*x, *y])
    ways = np.zeros((n + 1, ranks.sum() + 1))  # [k, s]: choices of k runs whose doubled ranks add up to s
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank].copy()
    return float(ways[n, ranks[:n].sum() :].sum() / ways[n].sum())


def signed_rank(x: np.ndarray, y: np.ndarray) -> float:
    """One-sided p-value of Wilcoxon's signed-rank test that x [n] is not greater than y [n], runs paired (by seed).

    Pairs that do not differ are left out, as Wilcoxon did; of the n others the share of the 2^n choices of signs with
    which the ranks of positive differences add up to at least as much, ties having the mean of their ranks: exact.
    Beyond n = EXACT a normal approximation. 1 where no pair differs. ValueError unless there are as many of each.
    """
    x, y = _runs("x", x), _runs("y", y)
    if len(x) != len(y):
        raise ValueError(f"x and y must be pairs, but have {len(x)} and {len(y)} runs")
    differences = (x - y)[x != y]
    if len(differences) > EXACT:
        return float(stats.wilcoxon(differences, alternative="greater", method="asymptotic").pvalue)
    ranks = _doubled_ranks(np.abs(differences))
    chance = np.zeros(ranks.sum() + 1)  # [s]: that the doubled ranks of positive differences add up to s
    chance[0] = 1.0
    for rank in ranks:
        chance[rank:] += chance[:-rank].copy()
        chance /= 2
    return float(chance[ranks[differences > 0].sum() :].sum())


def _runs(name: str, values: np.ndarray) -> np.ndarray:
    """The runs of one task, [n]; ValueError for another shape, as of several tasks, and as `strata`."""
    found = np.asarray(values)
    if found.ndim != 1:
        raise ValueError(f"{name} must be the runs of one task [n], but has shape {found.shape}")
    return strata(found)[0]


def _doubled_ranks(values: np.ndarray | Sequence[float]) -> np.ndarray:
    """Twice the ranks 1, 2, ..., the mean of them for ties: integers."""
    return np.rint(2 * stats.rankdata(values)).astype(int)
