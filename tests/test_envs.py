"""What every simulator promises, native or not: shapes, resets outside the data, staggering, exact resumption."""

import io

import numpy as np
import pytest

from deep import envs
from deep.envs import Simulator, Step

TASKS = ("Hopper-v4", "Reacher-v4", "Humanoid-v4", "CartPole-v0", "Pendulum-v1")
EPISODIC = ("Hopper-v4", "CartPole-v0")
ENDLESS = ("Reacher-v4", "Pendulum-v1")
FIELDS = ("obs", "next_obs", "reward", "terminated", "truncated")
NUM = 3


def actions(sim: Simulator, steps: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    if sim.spec.discrete:
        return list(rng.integers(sim.spec.act_dim, size=(steps, sim.num)))
    return list(rng.normal(size=(steps, sim.num, sim.spec.act_dim)))


def run(sim: Simulator, acts: list[np.ndarray]) -> list[Step]:
    return [sim.step(a) for a in acts]


def same(one: list[Step], two: list[Step]) -> bool:
    pairs = zip(one, two, strict=True)
    return all(np.array_equal(getattr(x, name), getattr(y, name)) for x, y in pairs for name in FIELDS)


@pytest.mark.parametrize("task", TASKS)
def test_shapes_and_kinds(task):
    sim = envs.make(task, NUM, seed=0)
    spec = sim.spec
    assert (spec.id, sim.num, spec.native) == (task, NUM, task in envs.native.TASKS)
    assert (spec.act_low is None) == (spec.act_high is None) == spec.discrete
    assert spec.discrete or spec.act_low.shape == spec.act_high.shape == (spec.act_dim,)
    obs = sim.reset()
    assert obs.shape == (NUM, spec.obs_dim) and obs.dtype == np.float64
    step = sim.step(actions(sim, 1)[0])
    assert step.obs.shape == step.next_obs.shape == (NUM, spec.obs_dim)
    assert step.reward.shape == step.terminated.shape == step.truncated.shape == (NUM,)
    assert step.obs.dtype == step.next_obs.dtype == step.reward.dtype == np.float64
    assert step.terminated.dtype == step.truncated.dtype == bool
    assert np.array_equal(sim.elapsed, np.ones(NUM)) and np.array_equal(sim.obs, step.obs)


@pytest.mark.parametrize("task", TASKS)
def test_results_are_the_callers_to_keep(task):
    sim, other = envs.make(task, NUM, seed=0), envs.make(task, NUM, seed=0)
    sim.reset()[:] = 7.0
    other.reset()
    acts = actions(sim, 60)
    kept = run(sim, acts)
    for a, expected in zip(acts, kept, strict=True):
        found = other.step(a.copy())
        assert same([found], [expected])
        for name in FIELDS:
            getattr(found, name)[:] = 1


def fallen(task: str, obs: np.ndarray) -> np.ndarray:
    """Whether an observation lies outside the region in which the task goes on; [N, O] to [N]."""
    if task == "Hopper-v4":
        return (obs[:, 0] <= 0.7) | (np.abs(obs[:, 1]) >= 0.2)
    return (np.abs(obs[:, 0]) > 2.4) | (np.abs(obs[:, 2]) > 12 * np.pi / 180)


@pytest.mark.parametrize("task", EPISODIC)
def test_no_reset_enters_the_data(task):
    sim = envs.make(task, NUM, seed=0)
    sim.reset()
    before, ended = np.zeros(NUM, dtype=int), 0
    for a in actions(sim, 150):
        step = sim.step(a)
        assert np.array_equal(fallen(task, step.next_obs), step.terminated)
        assert not fallen(task, step.obs).any()
        assert np.array_equal(step.obs[~step.terminated], step.next_obs[~step.terminated])
        assert np.array_equal(sim.elapsed, np.where(step.terminated, 0, before + 1))
        before, ended = sim.elapsed, ended + int(step.terminated.sum())
    assert ended > NUM


@pytest.mark.parametrize("task", ENDLESS)
def test_truncation_at_the_horizon_and_only_there(task):
    sim = envs.make(task, 1, seed=0)
    sim.reset()
    horizon = sim.spec.horizon
    steps = run(sim, actions(sim, 2 * horizon))
    assert np.flatnonzero([s.truncated[0] for s in steps]).tolist() == [horizon - 1, 2 * horizon - 1]
    assert not any(s.terminated[0] for s in steps)


@pytest.mark.parametrize("task", ENDLESS)
def test_staggered_first_episodes_then_full_ones(task):
    num = 4
    sim = envs.make(task, num, seed=0, stagger=True)
    horizon = sim.spec.horizon
    for _ in range(2):  # reset() staggers anew
        sim.reset()
        steps = run(sim, actions(sim, 2 * horizon))
        truncated = np.array([s.truncated for s in steps])
        assert not any(s.terminated.any() for s in steps)
        for i in range(num):
            first = horizon - i * horizon // num
            assert (
                np.flatnonzero(truncated[:, i])[:2].tolist()
                == [first - 1, first + horizon - 1][: truncated[:, i].sum()]
            )
        assert len(set(sim.elapsed.tolist())) == num


def test_more_simulators_than_steps_can_be_staggered():
    sim = envs.make("Reacher-v4", 60, seed=0, stagger=True)
    sim.reset()
    assert sim.step(np.zeros((60, 2))).truncated[-1]


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_same_bits_other_seed_other_bits(task):
    def trace(seed):
        sim = envs.make(task, NUM, seed=seed, stagger=True)
        sim.reset()
        return run(sim, actions(sim, 60))

    assert same(trace(5), trace(5))
    assert not same(trace(5), trace(6))


@pytest.mark.parametrize("task", TASKS)
def test_resumes_to_the_same_bits(task):
    sim = envs.make(task, NUM, seed=0, stagger=True)
    sim.reset()
    acts = actions(sim, 137)
    run(sim, acts[:77])
    file = io.BytesIO()
    np.savez(file, **sim.state_dict())
    assert (sim.elapsed > 0).any()
    expected = run(sim, acts[77:])
    assert any((s.terminated | s.truncated).any() for s in expected)

    file.seek(0)
    with np.load(file, allow_pickle=False) as state:
        other = envs.make(task, NUM, seed=999)
        other.load_state_dict(dict(state))
        sim.load_state_dict(dict(state))
        assert np.array_equal(other.obs, state["obs"]) and np.array_equal(other.elapsed, state["elapsed"])
    assert same(run(other, acts[77:]), expected)
    assert same(run(sim, acts[77:]), expected)
    assert np.array_equal(sim.reset(), other.reset())


@pytest.mark.parametrize("task", TASKS)
def test_a_wrong_state_is_refused(task):
    sim = envs.make(task, NUM, seed=0)
    sim.reset()
    run(sim, actions(sim, 5))
    state = sim.state_dict()
    with pytest.raises(ValueError, match=rf"state of {task} must have keys \['elapsed', .*, but has \['rng'\]"):
        sim.load_state_dict({"rng": state["rng"]})
    with pytest.raises(ValueError, match=r"state\['obs'\] of .* must be float64 of shape \(3, \d+\), but is float32"):
        sim.load_state_dict(state | {"obs": state["obs"].astype(np.float32)})
    with pytest.raises(ValueError, match=r"state\['limit'\] of .* must be int64 of shape \(3,\), but is .* \(2,\)"):
        sim.load_state_dict(state | {"limit": state["limit"][:2]})
    with pytest.raises(ValueError, match=r"0 <= elapsed < limit <= \d+, but simulator 1 has elapsed 5 and limit 5"):
        sim.load_state_dict(state | {"limit": np.array([9, 5, 9])})


@pytest.mark.parametrize("task", ("Hopper-v4", "Pendulum-v1"))
def test_wrong_continuous_actions(task):
    sim = envs.make(task, 2, seed=0)
    sim.reset()
    dim = sim.spec.act_dim
    with pytest.raises(ValueError, match=rf"actions must have shape \(2, {dim}\) for {task}, but have shape \(2,\)"):
        sim.step(np.zeros(2))
    with pytest.raises(ValueError, match=r"actions must be real numbers for .*, but have dtype complex128"):
        sim.step(np.zeros((2, dim), dtype=complex))


def test_wrong_discrete_actions():
    sim = envs.make("CartPole-v0", 2, seed=0)
    sim.reset()
    with pytest.raises(ValueError, match=r"actions must have shape \(2,\) for CartPole-v0, but have shape \(2, 1\)"):
        sim.step(np.zeros((2, 1), dtype=int))
    with pytest.raises(ValueError, match="actions must be integers for CartPole-v0, but have dtype float64"):
        sim.step(np.zeros(2))
    with pytest.raises(ValueError, match=r"actions\[1\] must be in 0..1 for CartPole-v0, but is 2"):
        sim.step(np.array([0, 2]))


@pytest.mark.parametrize("task", TASKS)
def test_only_between_reset_and_close(task):
    sim = envs.make(task, 1, seed=0)
    acts = actions(sim, 1)[0]
    for use in (lambda: sim.step(acts), lambda: sim.obs, sim.state_dict):
        with pytest.raises(RuntimeError, match=rf"{task} is closed, or reset\(\) has not been called yet"):
            use()
    sim.reset()
    sim.step(acts)
    sim.close()
    with pytest.raises(RuntimeError, match=f"{task} is closed"):
        sim.step(acts)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num": 0}, "num must be an integer of at least 1, but is 0"),
        ({"num": 2.0}, "num must be an integer of at least 1, but is 2.0"),
        ({"seed": -1}, "seed must be an integer of at least 0, but is -1"),
        ({"threads": True}, "threads must be an integer of at least 0, but is True"),
        ({"env_id": "Hoper-v4"}, r"registered Gymnasium id, but is 'Hoper-v4' \(did you mean Hopper-v4 or "),
        ({"env_id": "os:Hoper-v4"}, r"registered Gymnasium id, but is 'Hoper-v4' \(did you mean Hopper-v4 or "),
        ({"env_id": "a b:Hopper-v4"}, "must name a Python package before its colon, but is 'a b:Hopper-v4'"),
        (
            {"env_id": "no_such_thing:Hopper-v4"},
            "^no_such_thing:Hopper-v4 must name a package that can be imported, but no_such_thing fails: Module",
        ),
        ({"env_id": "qq"}, "env must be a registered Gymnasium id, but is 'qq'$"),
        (
            {"env_id": "FrozenLake-v1"},
            r"must have a flat Box of observations, but has Discrete\(16\) \(.*FlattenObservation",
        ),
        ({"env_id": "Blackjack-v1"}, r"Blackjack-v1 must have a flat Box of observations, but has Tuple\("),
        ({"env_id": "Hopper-v3"}, "Hopper-v3 must be installed, but cannot be made: The mujoco v2 and v3"),
    ],
)
def test_wrong_requests(wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        envs.make(**({"env_id": "Hopper-v4", "num": 1, "seed": 0} | wrong))
    assert "\n" not in str(caught.value)
