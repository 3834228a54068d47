"""Thinning against the obvious loop, and the choice of trajectories."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep.config import CloningConfig
from deep.demos import Demos, save, subsample, take
from deep.envs import EnvSpec
from deep.pairs import absorbing_share, expert_pairs


def numbered(lengths: list[int], bare: bool = False) -> Demos:
    """Demonstrations whose observation is (episode, time), so that every row says where it came from."""
    rows = [(e, t) for e, length in enumerate(lengths) for t in range(length)]
    obs = np.array(rows, dtype=np.float64)
    extra = (
        {}
        if bare
        else {
            "rewards": obs[:, 1],
            "terminated": np.arange(len(lengths)) % 2 == 0,
            "last_obs": obs[-1:] + obs[: len(lengths)],
        }
    )
    return Demos(obs, obs[:, :1] - obs[:, 1:], np.array(lengths), **extra)


def naive(demos: Demos, every: int, rng: np.random.Generator) -> list[tuple[int, list[int]]]:
    """Episode by episode: the times kept."""
    offsets = [int(rng.integers(min(every, length))) for length in demos.lengths]
    return [(e, list(range(o, int(n), every))) for e, (o, n) in enumerate(zip(offsets, demos.lengths, strict=True))]


lengths = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@given(lengths, st.integers(1, 25), st.integers(0, 2**32), st.booleans())
def test_subsampling_keeps_every_kth_pair_from_the_offset(n: list[int], every: int, seed: int, bare: bool) -> None:
    demos = numbered(n, bare)
    thin = subsample(demos, every, np.random.default_rng(seed))
    kept = naive(demos, every, np.random.default_rng(seed))
    assert thin.obs.tolist() == [[e, t] for e, times in kept for t in times]
    assert thin.acts[:, 0].tolist() == [e - t for e, times in kept for t in times]
    assert thin.time.tolist() == [t for _, times in kept for t in times]
    assert thin.lengths.tolist() == [len(times) for _, times in kept]
    assert (thin.terminated is None) == bare
    if not bare:
        assert thin.rewards.tolist() == [t for _, times in kept for t in times]
        assert np.array_equal(thin.terminated, demos.terminated)
        assert np.array_equal(thin.last_obs, demos.last_obs)
    assert thin.metadata == {"subsample": every}


def test_times_that_are_not_known_stay_so() -> None:
    thin = Demos(np.zeros((9, 1)), np.zeros(9, int), np.array([9]), metadata={"subsample": 5})
    twice = subsample(thin, 2, np.random.default_rng(0))
    assert twice.time is None and twice.metadata["subsample"] == 10
    timed = Demos(np.zeros((9, 1)), np.zeros(9, int), np.array([9]), time=5 * np.arange(9), metadata={"subsample": 5})
    assert np.diff(subsample(timed, 2, np.random.default_rng(0)).time).tolist() == [10] * (len(twice.obs) - 1)


@pytest.mark.parametrize(
    ("lengths", "time", "stride"),
    [
        ([3, 2], [2, 7, 12, 0, 5], 5),
        ([3, 1], [2, 7, 12, 4], 5),
        ([3, 2], [0, 1, 2, 7, 8], None),  # from the middle, and none left out
        ([1, 1], [0, 0], None),
    ],
)
def test_the_step_of_time_is_the_subsample(lengths: list[int], time: list[int], stride: int | None) -> None:
    n = len(time)
    demos = Demos(np.zeros((n, 1)), np.zeros(n, int), np.array(lengths), time=np.array(time), metadata={"seed": 1})
    assert demos.metadata == ({"seed": 1} if stride is None else {"seed": 1, "subsample": stride})
    assert not demos.uneven and subsample(demos, 2, np.random.default_rng(0)).metadata["subsample"] == 2 * (stride or 1)
    said = Demos(np.zeros((n, 1)), np.zeros(n, int), np.array(lengths), time=np.array(time), metadata={"subsample": 1})
    assert said.metadata == {"subsample": 1}  # what is said holds


@pytest.mark.parametrize(("lengths", "time"), [([3, 2], [2, 7, 12, 0, 4]), ([3], [0, 3, 4]), ([1, 1], [4, 2])])
def test_what_time_leaves_out_unevenly_is_not_thinned_again(
    lengths: list[int], time: list[int], tmp_path: Path
) -> None:
    n, spec = len(time), EnvSpec("x", 1, True, 2, None, None, 100, native=False)
    ended = np.ones(len(lengths), bool)
    demos = Demos(np.zeros((n, 1)), np.zeros(n, int), np.array(lengths), terminated=ended, time=np.array(time))
    assert demos.uneven and demos.metadata == {}
    with pytest.raises(ValueError, match="every must be 1 for demonstrations whose time leaves pairs out unevenly"):
        subsample(demos, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="absorbing must be off for demonstrations whose time leaves pairs out"):
        absorbing_share(demos, spec)
    path = tmp_path / "d.npz"
    save(path, demos)
    config = CloningConfig(env="x", demos=path, trajectories=len(lengths), subsample=1)
    assert len(expert_pairs(config, spec).obs) == n
    with pytest.raises(ValueError, match=r"subsample must be 1, because the time in .* leaves pairs out unevenly"):
        expert_pairs(dataclasses.replace(config, subsample=5), spec)


def test_demonstrations_with_time_alone_are_not_thinned_again(tmp_path: Path) -> None:
    thin = subsample(numbered([60, 45]), 5, np.random.default_rng(0))
    spec = EnvSpec("x", 2, False, 1, None, None, 99, native=False)
    save(tmp_path / "d.npz", dataclasses.replace(thin, metadata={}))
    config = CloningConfig(env="x", demos=tmp_path / "d.npz", trajectories=2, subsample=5)
    pairs = expert_pairs(config, spec)
    assert np.array_equal(pairs.obs, thin.obs) and pairs.metadata == {"subsample": 5}
    assert absorbing_share(pairs, spec) == absorbing_share(thin, spec)
    with pytest.raises(ValueError, match="subsample must be a multiple of 5"):
        expert_pairs(dataclasses.replace(config, subsample=4), spec)


def test_every_offset_occurs_and_trajectories_have_their_own() -> None:
    every, episodes = 5, 200
    thin = subsample(numbered([50] * episodes), every, np.random.default_rng(0))
    offsets = thin.time[thin.starts]
    counts = np.bincount(offsets, minlength=every)
    # Binomial(200, 1/5) has mean 40 and deviation 5.7: four of them either side.
    assert len(counts) == every and 17 < counts.min() and counts.max() < 63
    assert (thin.lengths == 10).all()


def test_subsampling_twice_multiplies_and_keeps_the_original_time() -> None:
    rng = np.random.default_rng(3)
    twice = subsample(subsample(numbered([60, 37]), 3, rng), 4, rng)
    assert twice.metadata["subsample"] == 12
    assert np.array_equal(twice.time, twice.obs[:, 1])
    assert (np.diff(twice.time)[np.diff(twice.obs[:, 0]) == 0] == 12).all()


def test_every_first_pair_is_the_whole() -> None:
    demos = numbered([3, 1, 4])
    same = subsample(demos, 1, np.random.default_rng(0))
    assert np.array_equal(same.obs, demos.obs) and np.array_equal(same.lengths, demos.lengths)
    assert np.array_equal(same.returns(), demos.returns())


@pytest.mark.parametrize("every", [0, -1])
def test_every_must_be_positive(every: int) -> None:
    with pytest.raises(ValueError, match=f"every must be at least 1, but is {every}"):
        subsample(numbered([3]), every, np.random.default_rng(0))


def test_take_without_a_generator_is_the_first_ones() -> None:
    assert take(numbered([3, 1, 4]), 2).obs[:, 0].tolist() == [0, 0, 0, 1]


@given(st.integers(1, 8), st.integers(0, 2**32))
def test_taking_draws_distinct_trajectories_in_order_and_nested(n: int, seed: int) -> None:
    demos = numbered([2, 1, 3, 1, 2, 2, 1, 4])
    drawn = [set(take(demos, k, np.random.default_rng(seed)).obs[:, 0]) for k in range(1, n + 1)]
    part = take(demos, n, np.random.default_rng(seed))
    order = part.obs[part.starts, 0]
    assert part.episodes == n and (np.diff(order) > 0).all()
    assert np.array_equal(part.lengths, demos.lengths[order.astype(int)])
    assert all(a < b for a, b in itertools.pairwise(drawn))


def test_taking_depends_on_the_seed() -> None:
    demos = numbered([1] * 30)
    draws = {tuple(take(demos, 4, np.random.default_rng(s)).obs[:, 0]) for s in range(20)}
    assert len(draws) > 15  # 27,405 choices: twenty draws hardly repeat


@pytest.mark.parametrize("n", [0, 4])
def test_taking_more_than_there_are_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=rf"n must be in 1..3, the trajectories there are, but is {n}"):
        take(numbered([3, 1, 4]), n)
