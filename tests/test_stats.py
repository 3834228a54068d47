"""Statistics of few runs: published worked examples, SciPy as a second opinion, and intervals that hold their point."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from deep import stats
from deep.stats import Interval

# Efron and Tibshirani (1993): survival of mice in days, Table 2.1, and the spatial test of children A, Table 14.1.
TREATED = np.array([94, 197, 16, 38, 99, 141, 23.0])
CONTROL = np.array([52, 104, 146, 10, 51, 30, 40, 46, 27.0])
SPATIAL = np.array(
    [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41.0]
)
ROUND = 1e-12  # sums of a few dozen doubles
SCORES = st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=1, max_size=12)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_examples_of_rliable() -> None:
    """The two score matrices that its own tests print values for (google-research/rliable, metrics_test.py)."""
    x, y = np.array([[1, 2], [2, 2], [1, 1], [2, 1]]), np.array([[1, 1], [2, 2], [3, 3]])
    assert stats.iqm(x) == 1.5 and stats.iqm(y) == 2.0
    assert stats.probability_of_improvement(x, y, rng(), reps=10).point == pytest.approx(1 / 3, abs=ROUND)


def test_the_interquartile_mean_of_an_encyclopedia() -> None:
    """Wikipedia's example of the interquartile mean, 6.5, and its second, of nine numbers, 9 by whole runs too."""
    assert stats.iqm([5, 8, 4, 38, 8, 6, 9, 7, 7, 3, 1, 6]) == 6.5
    assert stats.iqm([1, 3, 5, 7, 9, 11, 13, 15, 17]) == 9.0


@given(SCORES)
def test_the_interquartile_mean_is_the_trimmed_mean(values: list[float]) -> None:
    expected = scipy.stats.trim_mean(values, 0.25)
    assert stats.iqm(np.array(values)) == pytest.approx(expected, rel=ROUND, abs=1e-9)


def test_aggregates_pool_the_runs_of_all_tasks() -> None:
    matrix = rng().normal(size=(5, 3))
    forms = [matrix, list(matrix.T), {str(k): c for k, c in enumerate(matrix.T)}, matrix.ravel()]
    assert len({stats.iqm(f) for f in forms}) == 1 and len({stats.optimality_gap(f) for f in forms}) == 1
    assert stats.iqm({"a": np.arange(3.0), "b": np.array([100.0])}) == 1.5  # of 0, 1, 2, 100 the middle two


def test_the_optimality_gap_counts_what_is_missing() -> None:
    """By hand: 0.5 and 0 of 1 and 3 runs at or above the target of 1."""
    assert stats.optimality_gap([0.5, 1.0, 2.0, 1.5]) == 0.125
    assert stats.optimality_gap([0.5, 1.0], target=2.0) == 1.25


def test_the_bootstrap_of_the_mouse_data() -> None:
    """Every one of the 7^7 draws against the sampled ones: the standard error of the mean is 23.36, of the median
    37.83, in the last column (B = infinity) of Efron and Tibshirani's Table 2.2."""
    draws = np.array(list(itertools.combinations_with_replacement(range(7), 7)))
    counts = np.apply_along_axis(np.bincount, 1, draws, minlength=7)
    weight = scipy.stats.multinomial(7, [1 / 7] * 7).pmf(counts)
    for statistic, published in ((np.mean, 23.36), (np.median, 37.83)):
        found = statistic(TREATED[draws], axis=1)
        error = np.sqrt(weight @ found**2 - (weight @ found) ** 2)
        assert error == pytest.approx(published, abs=0.005)
        order = np.argsort(found)
        ends = found[order][np.searchsorted(np.cumsum(weight[order]), [0.025, 0.975])]
        interval = stats.stratified_bootstrap(lambda s, f=statistic: f(s[0]), TREATED, rng(), reps=4000)
        near = 0.15 * error  # at 4,000 draws a quantile of 2.5 % has a standard error of 0.04 deviations; atoms add
        assert abs(interval.low - ends[0]) < near and abs(interval.high - ends[1]) < near


def test_the_intervals_of_the_spatial_data() -> None:
    """Efron and Tibshirani (1993), Table 14.2, level 90 %: theta 171.5, percentile (100.8, 233.9), BCa (115.8, 259.6),
    all from 2,000 draws."""
    for method, published in (("percentile", (100.8, 233.9)), ("bca", (115.8, 259.6))):
        found = stats.stratified_bootstrap(lambda s: s[0].var(), SPATIAL, rng(), 4000, 0.9, method)
        assert found.point == pytest.approx(171.5, abs=0.05)
        # Two quantiles at 5 % of 2,000 and 4,000 draws with deviation 41 differ by 2.4 in standard error.
        assert found.low == pytest.approx(published[0], abs=7) and found.high == pytest.approx(published[1], abs=7)


def test_bca_over_two_tasks_is_that_of_scipy() -> None:
    """SciPy's two-sample BCa has the same acceleration; draws differ."""
    expected = scipy.stats.bootstrap(
        (TREATED, CONTROL), lambda a, b: np.mean(a) - np.mean(b), vectorized=False, n_resamples=4000, rng=rng()
    ).confidence_interval
    found = stats.stratified_bootstrap(
        lambda s: s[0].mean() - s[1].mean(), [TREATED, CONTROL], rng(), 4000, 0.95, "bca"
    )
    assert found.point == pytest.approx(30.63, abs=0.005)  # Table 2.1
    assert found.low == pytest.approx(expected.low, abs=5) and found.high == pytest.approx(expected.high, abs=5)


def test_runs_are_drawn_within_their_task() -> None:
    """Tasks of constant scores leave nothing to chance, however far apart they are."""
    apart = {"easy": np.full(5, 100.0), "hard": np.full(3, -100.0)}
    assert stats.stratified_bootstrap(stats.iqm, apart, rng(), 50) == Interval(50.0, 50.0, 50.0)
    mixed = stats.stratified_bootstrap(stats.iqm, np.concatenate(list(apart.values())), rng(), 50)
    assert mixed.high - mixed.low > 50


@given(st.lists(SCORES, min_size=1, max_size=3), st.sampled_from(["percentile", "bca"]), st.integers(0, 99))
def test_an_interval_holds_its_point(tasks: list[list[float]], method: str, seed: int) -> None:
    for statistic in (stats.iqm, lambda s: max(float(t.max()) for t in s), lambda s: float(s[0].var())):
        found = stats.stratified_bootstrap(
            statistic, [np.array(t) for t in tasks], np.random.default_rng(seed), 40, 0.5, method
        )
        assert found.low <= found.point <= found.high and np.isfinite([found.low, found.high]).all()


def test_the_point_would_be_missed_without_widening() -> None:
    """The variance of four runs is 1.25, above the 60 % quantile of the variances of all 4^4 draws."""
    values = np.arange(4.0)
    draws = [np.var(draw) for draw in itertools.product(values, repeat=4)]
    assert np.quantile(draws, 0.6) < 1.25
    found = stats.stratified_bootstrap(lambda s: float(s[0].var()), values, rng(), 1000, 0.2)
    assert found.high == found.point == 1.25 and found.low < 1.25


def test_percentile_intervals_cover() -> None:
    """Of 95 % intervals for the mean of 30 normal runs, about 94 % hold it: 200 samples, three standard errors."""
    draw, held = rng(), 0
    for _ in range(200):
        found = stats.stratified_bootstrap(lambda s: float(s[0].mean()), draw.normal(size=30), draw, 200)
        held += found.low <= 0 <= found.high
    assert 0.93 - 3 * 0.018 < held / 200 <= 1.0


def test_the_probability_of_improvement_is_mann_whitneys() -> None:
    x, y = rng().integers(6, size=(7, 2)), rng().integers(5, size=(9, 2))
    expected = [scipy.stats.mannwhitneyu(x[:, k], y[:, k]).statistic / 63 for k in range(2)]
    found = stats.probability_of_improvement(x, y, rng(), 200)
    assert found.point == pytest.approx(np.mean(expected), abs=ROUND)
    back = stats.probability_of_improvement(y, x, rng(), 200)
    assert back.point == pytest.approx(1 - found.point, abs=ROUND)
    by_name = stats.probability_of_improvement({"b": x[:, 1], "a": x[:, 0]}, {"a": y[:, 0], "b": y[:, 1]}, rng(), 10)
    assert by_name.point == pytest.approx(found.point, abs=ROUND)
    assert stats.probability_of_improvement([1, 2, 3], [0, 0, 0], rng(), 10) == Interval(1.0, 1.0, 1.0)


def test_the_tests_of_wilcoxon() -> None:
    """By counting: of the C(6, 3) = 20 ways to split six ranks one is as extreme, of the 2^5 signs one."""
    assert stats.rank_sum([4, 5, 6], [1, 2, 3]) == pytest.approx(1 / 20, abs=ROUND)
    assert stats.rank_sum([1, 2, 3], [4, 5, 6]) == 1.0
    apart = math.comb(20, 10)  # ways to split twenty ranks
    assert stats.rank_sum(range(10, 20), range(10)) == pytest.approx(1 / apart, rel=1e-9)
    assert stats.signed_rank([2, 4, 6, 8, 10], [1, 2, 3, 4, 5]) == pytest.approx(1 / 32, abs=ROUND)
    assert stats.signed_rank([1, 2], [1, 2]) == 1.0


def test_the_tests_of_wilcoxon_are_exact_with_ties() -> None:
    # C(10, 5) = 252 choices of five ranks of which seven are tied: the five of x are among those seven in 21.
    assert stats.rank_sum([1] * 5, [1, 1, 0.8, 0.7, 0.6]) == pytest.approx(21 / 252, abs=ROUND)
    assert stats.rank_sum([1, 1, 1], [0, 0, 0]) == pytest.approx(1 / 20, abs=ROUND)
    assert stats.rank_sum([2, 2], [2, 2, 2]) == 1.0
    # Differences 0, 1, 1, -1, 2: ranks 2, 2, 2, 4 of four; a sum of 8 or 10 has 3 + 1 of 16 choices of signs.
    assert stats.signed_rank([1, 2, 3, 4, 7], [1, 1, 2, 5, 5]) == pytest.approx(4 / 16, abs=ROUND)
    assert stats.signed_rank([2, 3, 4], [1, 2, 3]) == pytest.approx(1 / 8, abs=ROUND)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_the_tests_of_wilcoxon_count_every_choice(x: list[int], y: list[int]) -> None:
    both = scipy.stats.rankdata([*x, *y])
    sums = [sum(chosen) for chosen in itertools.combinations(both, len(x))]
    assert stats.rank_sum(x, y) == pytest.approx(np.mean(np.array(sums) >= sum(both[: len(x)])), abs=ROUND)
    d = np.array([a - b for a, b in zip(x, y, strict=False) if a != b])
    ranks = scipy.stats.rankdata(np.abs(d))
    found = [sum(ranks[np.array(signs, bool)]) for signs in itertools.product((0, 1), repeat=len(d))]
    n = min(len(x), len(y))
    assert stats.signed_rank(x[:n], y[:n]) == pytest.approx(np.mean(np.array(found) >= ranks[d > 0].sum()), abs=ROUND)


def test_the_tests_of_wilcoxon_are_near_their_approximations_where_these_take_over() -> None:
    draw = rng()
    x, y = draw.normal(0.2, size=(2, stats.EXACT + 1))
    half = stats.EXACT // 2
    exact, near = stats.rank_sum(x[:half], y[:half]), stats.rank_sum(x[: half + 1], y[:half])
    assert exact == pytest.approx(near, abs=0.03)
    assert stats.signed_rank(x[:-1], y[:-1]) == pytest.approx(stats.signed_rank(x, y), abs=0.03)


def test_what_is_refused_is_named() -> None:
    def boot(scores: object, **settings: object) -> Interval:
        return stats.stratified_bootstrap(stats.iqm, scores, rng(), **settings)

    for call, message in (
        (lambda: stats.iqm([]), "scores must hold at least one task, but is empty"),
        (lambda: stats.iqm(np.array([])), r"scores must hold at least one run, but has shape \(0,\)"),
        (lambda: stats.iqm({"a": [1.0], "b": [1.0, np.nan]}), r"scores\['b'\] must be finite, but entry 1 is nan"),
        (lambda: stats.iqm([[1.0], [np.inf]]), r"scores\[1\] must be finite, but entry 0 is inf"),
        (lambda: boot([1.0], reps=0), "reps must be at least 1, but is 0"),
        (lambda: boot([1.0], level=1.0), r"level must be in \(0, 1\), but is 1.0"),
        (lambda: boot([1.0], method="basic"), "method must be percentile or bca, but is 'basic'"),
        (
            lambda: stats.rank_sum(np.ones((2, 3)), np.ones(3)),
            r"x must be the runs of one task \[n\], .* shape \(2, 3\)",
        ),
        (lambda: stats.signed_rank([1.0], np.ones((1, 1, 2))), r"y must be the runs of one task .* shape \(1, 1, 2\)"),
        (lambda: stats.signed_rank([1.0], [1.0, 2.0]), "x and y must be pairs, but have 1 and 2 runs"),
        (
            lambda: stats.probability_of_improvement({"a": [1.0]}, {"b": [1.0]}, rng()),
            r"x and y must have the same tasks, but only one has \['a', 'b'\]",
        ),
        (
            lambda: stats.probability_of_improvement([[1.0]], [[1.0], [2.0]], rng()),
            "x and y must have the same tasks, but have 1 and 2",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
