"""Maximum mean discrepancy: the distance of two occupancy measures that trains nothing.

    MMD^2(p, q) = E k(x, x') + E k(y, y') - 2 E k(x, y),     k(x, y) = exp(-||x - y||^2 / (2 sigma^2))

with x, x' from p and y, y' from q, all independent (Gretton et al. 2012). Pairs of one episode are not, so that
expectations within a sample run over pairs of different episodes, which keeps the estimate unbiased in the sense in
which a ratio of sums is; where every episode is one pair it is the usual U-statistic. It can be below 0.

The p-value is that of permuting whole episodes: under equal policies, which episode came from which does not matter.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist, pdist

from deep.demos import Demos
from deep.distance import Points, points, thinned
from deep.envs import EnvSpec

MOST = 4_000  # pairs of a side: the kernel is evaluated on all pairs of them
FOR_MEDIAN = 1_000
PERMUTATIONS = 1_000
# MMD^2 within which permutations tie, as the sample itself and its sides exchanged do: sums of kernels in another order
# differ by 1e-15 or so, and no difference of 1e-9 means anything.
TIE = 1e-9


@dataclass(frozen=True)
class Discrepancy:
    """MMD^2, its p-value under equal policies, and the bandwidth sigma, in deviations of the expert."""

    squared: float
    p_value: float
    bandwidth: float


@dataclass(frozen=True)
class Kernel:
    """The expert's pairs, at most about MOST of them, which standardise both sides, and the bandwidth: one kernel, by
    which every learner is measured.
    """

    spec: EnvSpec
    expert: Demos
    bandwidth: float

    @classmethod
    def of(cls, spec: EnvSpec, expert: Demos, rng: np.random.Generator) -> "Kernel":
        """With the median distance between pairs of the expert as bandwidth (the median heuristic, on one side only).
        Raises ValueError for fewer than two episodes.
        """
        if expert.episodes < 2:
            raise ValueError(f"expert must have at least 2 episodes, but has {expert.episodes}")
        kept = thinned(expert, MOST, rng)
        return cls(spec, kept, median_distance(points(spec, kept, kept)[1], rng))


def discrepancy(learner: Demos, kernel: Kernel, rng: np.random.Generator) -> Discrepancy:
    """MMD^2 between the pairs of a sample of episodes and the kernel's expert, standardised as in deep.distance.

    Raises ValueError for fewer than two episodes.
    """
    if learner.episodes < 2:
        raise ValueError(f"learner must have at least 2 episodes, but has {learner.episodes}")
    mine, theirs = points(kernel.spec, thinned(learner, MOST, rng), kernel.expert)
    sigma = kernel.bandwidth
    sums = kernel_sums(mine, theirs, sigma)
    lengths = np.concatenate([mine.lengths, theirs.lengths]).astype(np.float64)
    chosen = np.zeros((1 + PERMUTATIONS, len(lengths)))
    chosen[:, : len(mine.lengths)] = 1.0
    chosen[1:] = rng.permuted(chosen[1:], axis=1)
    found = squared(chosen, sums, lengths)
    p_value = (1 + np.sum(found[1:] >= found[0] - TIE)) / (1 + PERMUTATIONS)
    return Discrepancy(float(found[0]), float(p_value), sigma)


def median_distance(side: Points, rng: np.random.Generator) -> float:
    """The median of ||x - x'|| over pairs of rows, some FOR_MEDIAN of them; 1 where it vanishes."""
    rows = side.rows.numpy().astype(np.float64)
    some = rows if len(rows) <= FOR_MEDIAN else rows[rng.choice(len(rows), FOR_MEDIAN, replace=False)]
    median = float(np.median(pdist(some)))
    return median if median > 0 else 1.0


def kernel_sums(learner: Points, expert: Points, sigma: float) -> np.ndarray:
    """Sums of k over the pairs of any two episodes, [E, E], the learner's episodes first."""
    rows = np.concatenate([learner.rows.numpy(), expert.rows.numpy()]).astype(np.float64)
    lengths = np.concatenate([learner.lengths, expert.lengths])
    starts = np.cumsum(lengths) - lengths
    found = np.empty((len(lengths), len(lengths)))
    for e, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        k = np.exp(cdist(rows[start : start + length], rows, "sqeuclidean") / (-2 * sigma**2))
        found[e] = np.add.reduceat(k.sum(0), starts)
    return found


def squared(chosen: np.ndarray, sums: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """MMD^2 for each way to call episodes the learner's: chosen [R, E] of 0 and 1, sums [E, E], lengths [E]."""
    other = 1.0 - chosen

    def within(side: np.ndarray) -> np.ndarray:
        k = np.einsum("re,ef,rf->r", side, sums, side, optimize=True) - side @ np.diag(sums)
        return k / ((side @ lengths) ** 2 - side @ lengths**2)

    across = np.einsum("re,ef,rf->r", chosen, sums, other, optimize=True)
    return within(chosen) + within(other) - 2 * across / ((chosen @ lengths) * (other @ lengths))
