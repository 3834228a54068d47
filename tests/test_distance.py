"""Distances of occupancy measures: Gaussians and tables whose distance is known, and what dependence would spoil."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

import occmatch as om
from deep import distance_kernel, envs, tabular
from deep.assess import Assessment, Distance
from deep.demos import Demos
from deep.distance import Points, jensen_shannon, points, thinned
from deep.distance_kernel import Discrepancy, Kernel, discrepancy
from deep.envs import EnvSpec
from deep.evaluate.__main__ import distances
from deep.stats import Interval

BOX = EnvSpec("box", 1, False, 1, -np.ones(1), np.ones(1), 100, native=False)
EPISODES = 400
# The loss of a pair deviates by at most 0.5 from its mean here: 0.5 sqrt(2 / 400) / (2 log 2) is 0.026 bits for the
# sample; what the classifier misses of the bound comes on top, below.
SAMPLING = 3 * 0.026
MISSED = 0.03


def gaussian(mean: float, rng: np.random.Generator, episodes: int = EPISODES, length: int = 1) -> Demos:
    """Observations N(mean, 1), actions N(0, 1), all independent."""
    x = rng.normal(size=(2, episodes * length, 1))
    return Demos(x[0] + mean, x[1], np.full(episodes, length))


def exact_js(mean: float) -> float:
    """JS of N(mean, 1) and N(0, 1) in bits, by quadrature."""

    def density(x: float) -> float:
        p, q = norm.pdf(x), norm.pdf(x, mean)
        return float(sum(0.5 * a * np.log2(2 * a / (p + q)) for a in (p, q) if a > 0))

    return quad(density, -8, 8 + mean)[0]


@pytest.mark.parametrize("mean", [0.0, 1.0, 5.0])
def test_jensen_shannon_of_gaussians(mean: float) -> None:
    rng = np.random.default_rng(0)
    found = jensen_shannon(BOX, gaussian(mean, rng), gaussian(0.0, rng), rng)
    assert exact_js(mean) - SAMPLING - MISSED < found.point < exact_js(mean) + SAMPLING
    assert found.low <= found.point <= found.high and found.low - MISSED < exact_js(mean) < found.high + MISSED


def test_jensen_shannon_of_a_table_is_that_of_its_occupancy_measures() -> None:
    """Sampled episodes of two policies against psi_GA* of the exact measures, once normalised 2 JS - 2 log 2."""
    rng = np.random.default_rng(1)
    mdp = om.examples.garnet(4, 3, 2, 0.8, rng)
    envs.register_table("Distance-v0", envs.Table(mdp.P, mdp.p0, mdp.gamma, np.zeros((4, 3))))
    pis = rng.dirichlet(np.full(3, 0.4), size=(2, 4))
    learner, expert = (tabular.demonstrations("Distance-v0", pi, 600, s) for s, pi in enumerate(pis))
    measures = [(1 - mdp.gamma) * om.occupancy(mdp, pi) for pi in pis]
    risk = om.LOSSES["logistic"].minimum_risk(*measures).sum()
    exact = 1 - risk / (2 * np.log(2))
    simulator = envs.make("Distance-v0", 1, 0)
    found = jensen_shannon(simulator.spec, learner, expert, rng)
    simulator.close()
    assert 0.1 < exact < 0.9  # the example tells something
    assert exact - SAMPLING - MISSED < found.point < exact + SAMPLING


def test_a_classifier_is_never_judged_on_episodes_it_saw() -> None:
    """Episodes that are points far apart, the same law on both sides: any net tells them apart once seen, and the
    estimate must not be above 0 by more than chance."""
    rng = np.random.default_rng(2)

    def apart() -> Demos:
        centres = np.repeat(rng.normal(0, 1, (12, 1)), 40, 0)
        return Demos(centres + rng.normal(0, 1e-3, centres.shape), 0 * centres, np.full(12, 40))

    found = jensen_shannon(BOX, apart(), apart(), rng)
    assert found.point < 0.1


def exact_mmd(mine: np.ndarray, theirs: np.ndarray, scale: np.ndarray, sigma: float) -> float:
    """MMD^2 of N(mine, 1) and N(theirs, 1) in each of two coordinates, after division by `scale`: products of
    E exp(-(x - y)^2 / (2 s^2)) = s / sqrt(s^2 + v) exp(-d^2 / (2 (s^2 + v))), v the variance of x - y, d its mean."""
    v = 2 / scale**2
    d = (mine - theirs) / scale
    same = np.prod(sigma / np.sqrt(sigma**2 + v))
    return float(2 * same * (1 - np.exp(-np.sum(d**2 / (2 * (sigma**2 + v))))))


@pytest.mark.parametrize("mean", [0.0, 0.5, 3.0])
def test_mmd_of_gaussians(mean: float) -> None:
    rng = np.random.default_rng(3)
    learner, expert = gaussian(mean, rng), gaussian(0.0, rng)
    found = discrepancy(learner, Kernel.of(BOX, expert, rng), rng)
    scale = np.concatenate([expert.obs, expert.acts], 1).std(0)
    exact = exact_mmd(np.array([mean, 0.0]), np.zeros(2), scale, found.bandwidth)
    # Three standard errors at the most of means of 400 kernels in [0, 1], the leading term of the U-statistic.
    assert found.squared == pytest.approx(exact, abs=3 * 2 * 0.5 * np.sqrt(2 / EPISODES))
    assert (found.p_value < 0.01) == (mean > 0)
    # The median of ||x - x'|| for N(0, 2 I) in the plane is 2 sqrt(log 2).
    assert found.bandwidth == pytest.approx(2 * np.sqrt(np.log(2)), rel=0.1)


def test_mmd_is_the_mean_over_pairs_of_different_episodes() -> None:
    """Against loops, with episodes of different lengths."""
    rng = np.random.default_rng(4)
    lengths = [np.array([2, 1, 3]), np.array([1, 4])]
    sides = [Points(torch.from_numpy(rng.normal(size=(n.sum(), 2)).astype(np.float32)), n) for n in lengths]
    sums = distance_kernel.kernel_sums(*sides, 0.7)
    chosen = np.array([[1.0, 1, 1, 0, 0]])
    found = distance_kernel.squared(chosen, sums, np.concatenate(lengths).astype(float))[0]

    def k(x: torch.Tensor, y: torch.Tensor) -> float:
        return float(torch.exp(-((x.double() - y.double()) ** 2).sum() / (2 * 0.7**2)))

    def mean(a: Points, b: Points) -> float:
        values = [
            k(x, y)
            for i, x in zip(a.episode, a.rows, strict=True)
            for j, y in zip(b.episode, b.rows, strict=True)
            if a is not b or i != j
        ]
        return float(np.mean(values))

    x, y = sides
    assert found == pytest.approx(mean(x, x) + mean(y, y) - 2 * mean(x, y), abs=1e-12)


def test_permuting_whole_episodes_keeps_the_level() -> None:
    """Episodes with a mean of their own, the same law on both sides: at 10 % about 4 of 40 are called different;
    pairs taken for independent would call nearly all of them so."""
    rng = np.random.default_rng(5)
    by_episode = by_pair = 0
    for _ in range(40):
        sides = []
        for _ in range(2):
            obs = np.repeat(rng.normal(size=(8, 1)), 10, 0) + 0.1 * rng.normal(size=(80, 1))
            sides.append(Demos(obs, rng.normal(size=(80, 1)), np.full(8, 10)))
        by_episode += discrepancy(sides[0], Kernel.of(BOX, sides[1], rng), rng).p_value <= 0.1
        alone = [Demos(d.obs, d.acts, np.ones(80, dtype=int)) for d in sides]
        by_pair += discrepancy(alone[0], Kernel.of(BOX, alone[1], rng), rng).p_value <= 0.1
    assert by_episode <= 4 + 3 * 1.9  # binomial, three standard deviations
    assert by_pair > 20


@pytest.mark.parametrize("episodes", [2, 3])
def test_permutations_that_tie_with_the_sample_count_however_they_are_rounded(episodes: int) -> None:
    """Samples far apart: of the choices of episodes only the sample and its exchange are as extreme. p is their share,
    give or take four standard errors of the permutations drawn; without its exchange it would be half of that."""
    least = 2 / math.comb(2 * episodes, episodes)
    slack = 4 * np.sqrt(least * (1 - least) / distance_kernel.PERMUTATIONS)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(5, 30, (2, episodes))
        learner, expert = (
            Demos(rng.normal(mean, 1, (n.sum(), 1)), rng.normal(size=(n.sum(), 1)), n)
            for mean, n in zip((3.0, 0.0), lengths, strict=True)
        )
        assert abs(discrepancy(learner, Kernel.of(BOX, expert, rng), rng).p_value - least) < slack


def test_units_are_the_experts_and_constant_columns_do_no_harm() -> None:
    rng = np.random.default_rng(6)
    expert = Demos(np.full((50, 1), 7.0), rng.normal(3, 2, (50, 1)), np.full(5, 10))
    learner = Demos(np.full((20, 1), 7.5), rng.normal(3, 2, (20, 1)), np.full(4, 5))
    mine, theirs = points(BOX, learner, expert)
    np.testing.assert_allclose(theirs.rows[:, 1].std(correction=0), 1.0, rtol=1e-5)  # float32
    assert torch.all(theirs.rows[:, 0] == 0) and torch.all(mine.rows[:, 0] == 0.5)
    assert discrepancy(expert, Kernel(BOX, expert, 1.0), rng).squared < 0.1


def test_thinning_keeps_the_episodes() -> None:
    rng = np.random.default_rng(7)
    found = thinned(gaussian(0.0, rng, 10, 100), 300, rng)
    assert found.episodes == 10 and 240 <= len(found.obs) <= 300
    data = gaussian(0.0, rng, 3, 2)
    assert thinned(data, 6, rng) is data


def test_pairs_left_out_unevenly_are_thinned_all_the_same() -> None:
    """A run may imitate such demonstrations, and be evaluated: when a pair was recorded is no part of the measure."""
    rng = np.random.default_rng(4)
    data = gaussian(0.0, rng, 3, 100)
    kept = Demos(data.obs, data.acts, data.lengths, time=np.tile(np.arange(100) ** 2, 3))
    assert kept.uneven
    assert thinned(kept, 60, rng).lengths.tolist() == [20, 20, 20]


def test_too_few_episodes_are_refused() -> None:
    rng = np.random.default_rng(8)
    with pytest.raises(ValueError, match="expert must have at least 3 episodes, but has 2"):
        jensen_shannon(BOX, gaussian(0.0, rng, 3), gaussian(0.0, rng, 2), rng)
    with pytest.raises(ValueError, match="learner must have at least 2 episodes, but has 1"):
        discrepancy(gaussian(0.0, rng, 1), Kernel.of(BOX, gaussian(0.0, rng, 2), rng), rng)


def test_what_rounds_to_no_distance_is_printed_without_a_sign():
    """Two estimates of none: a classifier of no opinion, to an ulp, and an MMD^2 as often below zero as above."""
    none = Distance(Interval(-2e-16, -2e-16, -2e-16), Discrepancy(-3e-6, 0.7, 1.0))
    table = distances(Assessment({}, None, 0.0, {"expert": none}, None), "X-v0")
    cells = [cell for column in table.columns for cell in column.cells]
    assert cells == ["expert, other episodes", ">= 0.000", "0.000 to 0.000", "0.0000", "0.700"]
