"""Demonstrations in memory: what is accepted, what is refused and with which words, and the views on episodes."""

import numpy as np
import pytest

from deep.demos import DemoError, Demos, check
from deep.envs import EnvSpec

N, OBS, U, LENGTHS = 6, 2, 3, (1, 3, 2)
BOX = EnvSpec("Walker2d-v4", OBS, False, U, -np.ones(U), np.ones(U), 1000, True)
COUNTED = EnvSpec("CartPole-v0", OBS, True, 2, None, None, 200, False)


def good(**changed: object) -> dict:
    arrays = {
        "obs": np.arange(N * OBS).reshape(N, OBS) / 7,
        "acts": np.linspace(-3, 3, N * U).reshape(N, U),
        "lengths": np.array(LENGTHS),
        "rewards": np.arange(float(N)),
        "terminated": np.array([True, False, True]),
        "time": np.array([0, 0, 5, 9, 2, 3]),
        "last_obs": np.arange(3 * OBS).reshape(3, OBS) + 0.5,
    }
    return arrays | changed


def put(value: float, *at: int, of: str) -> np.ndarray:
    array = np.array(good()[of])
    array[at] = value
    return array


WRONG = [
    ({"obs": np.zeros(N)}, "obs must be real numbers [N, O], at least one, but have shape [6]"),
    ({"obs": np.zeros((N, 0))}, "obs must be real numbers [N, O], at least one, but have shape [6, 0]"),
    ({"obs": np.zeros((0, OBS))}, "obs must be real numbers [N, O], at least one, but have shape [0, 2]"),
    ({"obs": np.zeros((N, OBS), complex)}, "obs must be real numbers [N, O], but have dtype complex128"),
    ({"obs": np.zeros((N, OBS), bool)}, "obs must be real numbers [N, O], but have dtype bool"),
    ({"obs": np.full((N, OBS), "a")}, "obs must be real numbers [N, O], but have dtype <U1"),
    ({"obs": np.full((N, OBS), None)}, "obs must be real numbers [N, O], but have dtype object"),
    ({"obs": put(np.nan, 3, 1, of="obs")}, "obs[3, 1] must be finite, but is nan"),
    ({"acts": put(-np.inf, 2, 0, of="acts")}, "acts[2, 0] must be finite, but is -inf"),
    ({"acts": np.zeros((N, U, 1))}, "acts must be real numbers [N, U] (or integers [N]), at least one, but have shape"),
    ({"acts": np.zeros(N)}, "acts must be integers [N] (or reals [N, U]), but have dtype float64"),
    ({"acts": np.array([0, 1, 0, -1, 0, 1])}, "acts[3] must be at least 0, but is -1"),
    ({"acts": np.zeros(N - 1, int)}, "acts must have 6 entries, one for each row of obs, but has shape [5]"),
    ({"acts": np.zeros((N + 1, U))}, "acts must have 6 entries, one for each row of obs, but has shape [7, 3]"),
    ({"acts": np.full(N, 2**64 - 1, np.uint64)}, "acts[0] must be at most 9223372036854775807, but is 18446744"),
    ({"lengths": np.array([1, 3, 1])}, "lengths must add up to 6, the rows of obs, but add up to 5"),
    ({"lengths": np.array([6, 0])}, "lengths[1] must be at least 1, but is 0"),
    ({"lengths": np.array([7, 1])}, "lengths[0] must be at most 6, the rows of obs, but is 7"),
    ({"lengths": np.array([1.0, 3.0, 2.0])}, "lengths must be integers [E], but have dtype float64"),
    ({"lengths": np.array(6)}, "lengths must be integers [E], at least one, but have shape []"),
    ({"rewards": np.zeros(N + 1)}, "rewards must have 6 entries, one for each row of obs, but has shape [7]"),
    ({"rewards": put(np.nan, 4, of="rewards")}, "rewards[4] must be finite, but is nan"),
    ({"terminated": np.zeros(2, bool)}, "terminated must have 3 entries, one for each entry of lengths, but has shape"),
    ({"terminated": np.zeros((3, 1), bool)}, "terminated must be booleans [E], but have shape [3, 1]"),
    ({"terminated": np.array([0, 2, 1])}, "terminated[1] must be true or false, but is 2"),
    ({"terminated": np.zeros(3)}, "terminated must be integers [E], true or false, but have dtype float64"),
    ({"time": np.array([0, 1, 1, 2, 0, 1])}, "time[2] must be above 1, its predecessor in the episode, but is 1"),
    ({"time": np.array([0, 1, 2, 3, 0])}, "time must have 6 entries, one for each row of obs, but has shape [5]"),
    ({"time": np.arange(N) - 1}, "time[0] must be at least 0, but is -1"),
    ({"last_obs": np.zeros((2, OBS))}, "last_obs must have 3 entries, one for each entry of lengths, but has shape [2"),
    ({"last_obs": np.zeros((3, OBS + 1))}, "last_obs must have shape [E, 2], as obs have, but has [3, 3]"),
    ({"last_obs": put(np.nan, 2, 1, of="last_obs")}, "last_obs[2, 1] must be finite, but is nan"),
    ({"metadata": [1]}, "metadata must be a dict with text keys, but is [1]"),
    ({"metadata": {1: 2}}, "metadata must be a dict with text keys, but is {1: 2}"),
    ({"metadata": {"subsample": "x"}}, "metadata must have an integer subsample of at least 1, but has 'x'"),
    ({"metadata": {"subsample": 0}}, "metadata must have an integer subsample of at least 1, but has 0"),
]


@pytest.mark.parametrize(("changed", "words"), WRONG, ids=[words[:60] for _, words in WRONG])
def test_what_breaks_the_format_is_named_with_index_and_value(changed: dict, words: str) -> None:
    with pytest.raises(DemoError) as error:
        Demos(**good(**changed))
    assert str(error.value).startswith(words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f8", np.longdouble, np.int8, np.uint64])
def test_any_real_dtype_becomes_float64_and_keeps_its_values(dtype: object) -> None:
    obs = np.arange(N * OBS).reshape(N, OBS).astype(dtype)
    demos = Demos(**good(obs=np.asfortranarray(obs)))
    assert demos.obs.dtype == np.float64 and demos.obs.flags.c_contiguous
    assert np.array_equal(demos.obs, np.arange(N * OBS).reshape(N, OBS))


def test_a_longer_float_beyond_float64_is_refused_and_does_not_warn() -> None:
    huge = np.full((N, OBS), np.finfo(np.longdouble).max)
    with pytest.raises(DemoError, match=r"obs\[0, 0\] must be finite"):
        Demos(**good(obs=huge))


def test_actions_beyond_the_bounds_of_the_task_are_kept() -> None:
    demos = Demos(**good())
    check(demos, BOX)
    assert np.abs(demos.acts).max() == 3 > BOX.act_high.max()


def test_optional_arrays_may_be_left_out() -> None:
    bare = Demos(**good(rewards=None, terminated=None, time=None, last_obs=None))
    assert bare.rewards is None and bare.terminated is None and bare.time is None and bare.last_obs is None
    assert bare.returns() is None
    assert bare.times.tolist() == [0, 0, 1, 2, 0, 1]
    assert bare.select(np.array([2, 0])).times.tolist() == [0, 1, 0]


def test_episodes_are_the_rows_a_loop_would_cut_out() -> None:
    demos = Demos(**good(metadata={"env": "Walker2d-v4"}))
    assert demos.episodes == len(LENGTHS)
    row = 0
    for i, length in enumerate(LENGTHS):
        one = demos.episode(i)
        assert demos.starts[i] == row
        for name in ("obs", "acts", "rewards", "time"):
            assert np.array_equal(getattr(one, name), getattr(demos, name)[row : row + length])
        assert one.lengths.tolist() == [length] and one.terminated.tolist() == [demos.terminated[i]]
        assert one.last_obs.tolist() == [demos.last_obs[i].tolist()]
        assert one.metadata == demos.metadata
        row += length
    for i in (-1, 3):
        with pytest.raises(IndexError, match=rf"i must be in 0..2, but is {i}"):
            demos.episode(i)


def test_select_keeps_the_order_asked_for_and_allows_repeats() -> None:
    demos = Demos(**good())
    picked = demos.select(np.array([2, 0, 2]))
    parts = [demos.episode(i) for i in (2, 0, 2)]
    for name in ("obs", "acts", "lengths", "rewards", "terminated", "time", "last_obs"):
        assert np.array_equal(getattr(picked, name), np.concatenate([getattr(p, name) for p in parts]))


def test_returns_are_sums_of_whole_episodes_only() -> None:
    whole = Demos(**good(time=None))
    assert whole.returns().tolist() == [0.0, 1.0 + 2 + 3, 4.0 + 5]
    assert Demos(**good()).returns() is None  # its times have gaps
    assert Demos(**good(time=None, metadata={"subsample": 2})).returns() is None


def test_metadata_of_a_selection_is_a_copy() -> None:
    demos = Demos(**good(metadata={"env": "Walker2d-v4"}))
    demos.episode(0).metadata["env"] = "changed"
    assert demos.metadata["env"] == "Walker2d-v4"


def test_repr_is_one_short_line_without_the_data() -> None:
    assert repr(Demos(**good())) == "Demos(episodes=3, obs=[6, 2], acts=[6, 3], metadata={})"


INTEGERS = np.array([0, 1, 1, 0, 1, 0])
MISFITS = [
    ({"obs": np.zeros((N, 11)), "last_obs": None}, BOX, "obs must have shape [N, 2] for Walker2d-v4, but has [6, 11]"),
    ({"acts": np.zeros((N, 1))}, BOX, "acts must have shape [N, 3] for Walker2d-v4, but has [6, 1]"),
    ({"acts": INTEGERS}, BOX, "acts must have shape [N, 3] for Walker2d-v4, but has [6] of integers"),
    ({}, COUNTED, "acts must be integers [N] for CartPole-v0, but have shape [6, 3]"),
    ({"acts": INTEGERS + 1}, COUNTED, "acts[1] must be in 0..1 for CartPole-v0, but is 2"),
    ({"metadata": {"env": "HalfCheetah-v4"}}, BOX, "metadata must have env Walker2d-v4, but has 'HalfCheetah-v4'"),
]


@pytest.mark.parametrize(("changed", "spec", "words"), MISFITS, ids=[words for *_, words in MISFITS])
def test_what_does_not_fit_the_task_is_named(changed: dict, spec: EnvSpec, words: str) -> None:
    with pytest.raises(DemoError) as error:
        check(Demos(**good(**changed)), spec)
    assert str(error.value) == words


@pytest.mark.parametrize("env", ["Walker2d-v4", "Walker2d-v5", "Walker2d", "my_tasks:Walker2d-v0", 7])
def test_another_version_of_the_task_is_the_same_task(env: object) -> None:
    check(Demos(**good(metadata={"env": env})), BOX)
