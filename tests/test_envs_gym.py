"""The path through Gymnasium's vector API: equal to single environments, and what it refuses."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from gymnasium.wrappers import ClipAction, TransformAction

from deep import envs
from deep.envs.quiet import old_tasks
from deep.evaluate import random_actions

FLAT = Box(-np.inf, np.inf, (2,), np.float32)


class Counter(gymnasium.Env):
    """Observes (steps, sum of actions); ends at the fifth step, which is also its time limit when registered."""

    def __init__(
        self, observation_space=FLAT, action_space=None, broken_at=None, forgetful=False, raises=None, lost_after=None
    ):
        if raises == "init":
            raise KeyError("no such robot")
        self.raises, self.lost_after, self.resets = raises, lost_after, 0
        self.observation_space = observation_space
        self.action_space = Discrete(3, start=10) if action_space is None else action_space
        self.broken_at, self.forgetful, self.drift = broken_at, forgetful, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.total = 0, self.np_random.integers(100)
        self.drift += self.forgetful
        self.resets += 1
        if self.raises == "reset":
            raise RuntimeError("two\nlines")
        return self._obs() * (np.nan if self.resets == self.lost_after else 1), {}

    def step(self, action):
        if self.raises == "step":
            raise ZeroDivisionError("divided by zero")
        self.count, self.total = self.count + 1, self.total + action
        reward = np.nan if self.count == self.broken_at else float(action)
        return self._obs(), reward, self.count == 5, False, {}

    def _obs(self):
        return np.array([self.count, self.total + self.drift], dtype=np.float32)


@pytest.fixture
def register():
    """Registers a Counter under an id that is forgotten after the test."""
    ids = []

    def add(limit=5, **kwargs):
        ids.append(f"Counter{len(ids)}-v0")
        gymnasium.register(ids[-1], entry_point=lambda: Counter(**kwargs), max_episode_steps=limit)
        return ids[-1]

    yield add
    for env_id in ids:
        del gymnasium.registry[env_id]


@pytest.mark.parametrize("task", ["CartPole-v0", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1", "Swimmer-v5"])
def test_equals_single_environments(task):
    num, steps = 2, 220
    sim, rng = envs.make(task, num, seed=1), np.random.default_rng(0)
    obs = sim.reset()
    seeds = sim.state_dict()["seeds"]
    with old_tasks():
        others = [gymnasium.make(task) for _ in range(num)]
    for i, env in enumerate(others):
        assert np.array_equal(env.reset(seed=int(seeds[i]))[0], obs[i])
    ends = 0
    for _ in range(steps):
        acts = rng.integers(sim.spec.act_dim, size=num)
        if not sim.spec.discrete:
            acts = rng.normal(size=(num, sim.spec.act_dim))
        step = sim.step(acts)
        for i, env in enumerate(others):
            act = acts[i] if task == "Swimmer-v5" else acts[i].astype(env.action_space.dtype)  # MuJoCo takes doubles
            next_obs, reward, terminated, truncated, _ = env.step(act)
            assert np.array_equal(next_obs, step.next_obs[i]) and reward == step.reward[i]
            assert (terminated, truncated) == (step.terminated[i], step.truncated[i])
            if terminated or truncated:
                seed = int(sim.state_dict()["seeds"][i])
                assert np.array_equal(env.reset(seed=seed)[0], step.obs[i])
                ends += 1
    assert ends >= num or sim.spec.horizon > steps


def test_both_flags_and_an_action_offset(register):
    sim = envs.make(register(), 2, seed=0)
    assert (sim.spec.act_start, sim.spec.act_dtype) == (10, "int64")
    start = sim.reset()
    steps = [sim.step(np.array([2, 0])) for _ in range(5)]
    assert steps[-1].terminated.all() and steps[-1].truncated.all()
    assert not any((s.terminated | s.truncated).any() for s in steps[:-1])
    assert np.array_equal(steps[-1].reward, [12.0, 10.0])
    assert np.array_equal(steps[-1].next_obs, np.stack([[5, 5], start[:, 1] + [60, 50]], axis=1))
    assert np.array_equal(steps[-1].obs[:, 0], [0, 0]) and steps[-1].obs.dtype == np.float64


def test_episodes_begin_with_different_seeds(register):
    sim = envs.make(register(), 8, seed=0)
    seeds = [sim.reset() is None or sim.state_dict()["seeds"] for _ in range(4)]
    assert len(np.unique(seeds)) == 32


def test_a_reward_that_is_not_finite_is_a_fault(register):
    sim = envs.make(name := register(broken_at=3), 2, seed=0)
    sim.reset()
    sim.step(np.zeros(2, dtype=int))
    sim.step(np.zeros(2, dtype=int))
    with pytest.raises(envs.SimulatorFault, match=rf"{name}: simulators \[0, 1\] failed: .* not finite"):
        sim.step(np.zeros(2, dtype=int))


@pytest.mark.parametrize(
    ("raises", "message"),
    [("step", "a simulator failed: step raised ZeroDivisionError: divided by zero"),
     ("reset", "a simulator failed: reset raised RuntimeError: two lines")],
)  # fmt: skip
def test_what_an_environment_raises_is_a_fault(register, raises, message):
    sim = envs.make(name := register(raises=raises), 2, seed=0)
    with pytest.raises(envs.SimulatorFault, match=f"^{name}: {message}$"):
        sim.reset()
        sim.step(np.zeros(2, dtype=int))


class Precise(gymnasium.Env):
    """Its space is of single precision, as Box is by default, and its observations of double, as NumPy's are."""

    observation_space = Box(-10, 10, (1,))
    action_space = Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.normal(size=1)
        return self.x.copy(), {}

    def step(self, action):
        self.x = self.x + 0.1 * action
        return self.x.copy(), 1.0, False, False, {}


@pytest.fixture
def register_class():
    def add(cls):
        gymnasium.register("Odd-v0", entry_point=cls, max_episode_steps=50)
        return "Odd-v0"

    yield add
    del gymnasium.registry["Odd-v0"]


def test_observations_of_another_precision_than_their_space_are_resumed(register_class):
    name = register_class(Precise)
    sim, other = (envs.make(name, 2, seed) for seed in (0, 1))
    sim.reset()
    for _ in range(7):
        sim.step(np.full((2, 1), 0.3))
    other.load_state_dict(sim.state_dict())
    act = np.full((2, 1), -0.7)
    assert np.array_equal(other.step(act).obs, sim.step(act).obs)


class Strict(Precise):
    """Asserts that actions are of its space, reads the options that a reset has, and tells of itself in odd infos."""

    def reset(self, *, seed=None, options=None):
        assert options is None
        return super().reset(seed=seed)[0], {"contacts": None}

    def step(self, action):
        assert self.action_space.contains(action)
        obs, *rest, _ = super().step(action)
        n = int(self.np_random.integers(4))
        return obs, *rest, {"contacts": np.zeros(n), "first": n or None}


def test_a_task_that_is_strict_with_actions_options_and_infos(register_class):
    """Doubles are not in a Box of singles, no options are None and not {}, and infos of copies need not stack."""
    sim = envs.make(register_class(Strict), 3, 0)
    sim.reset()
    for _ in range(60):  # beyond the time limit
        sim.step(np.full((3, 1), 0.3))
    other = envs.make("Odd-v0", 3, 1)
    other.load_state_dict(sim.state_dict())
    assert np.array_equal(other.obs, sim.obs)


def test_a_task_in_a_clip_has_the_bounds_that_it_clips_to(register_class):
    """ClipAction's own space is unbounded: uniform draws of it were thousands, and nearly all of them clipped."""

    class Clipped(Strict):
        action_space = Box(-0.5, 2.0, (1,), np.float32)

    sim = envs.make(register_class(lambda: ClipAction(Clipped())), 1, 0)
    assert sim.spec.act_low.tolist() == [-0.5] and sim.spec.act_high.tolist() == [2.0]
    before = sim.reset()
    np.testing.assert_allclose(sim.step(np.array([[7.0]])).obs - before, 0.2, rtol=1e-6)  # clipped by the wrapper alone
    acts = random_actions(sim.spec)(np.zeros((1000, 1)), np.random.default_rng(0))
    assert -0.5 <= acts.min() < -0.4 and 1.9 < acts.max() <= 2.0
    del gymnasium.registry["Odd-v0"]
    wide = Box(-20, 20, (1,), np.float32)
    register_class(lambda: TransformAction(ClipAction(Clipped()), lambda a: a / 10, wide))
    assert envs.spec("Odd-v0").act_low.tolist() == [-20.0]  # a clip counts only where no other space is around it


class Spaceless(gymnasium.Env):
    pass


class Single(Precise):
    made = 0

    def __init__(self):
        Single.made += 1
        if Single.made > 1:
            raise RuntimeError("only one\nat a time")


@pytest.mark.parametrize(("cls", "reason"), [(Spaceless, ".*observation_space.*"), (Single, "only one at a time")])
def test_a_task_that_fails_while_it_is_set_up_is_refused_in_one_line(register_class, cls, reason):
    with pytest.raises(ValueError, match=f"^Odd-v0 must be installed, but cannot be made: {reason}$"):
        envs.make(register_class(cls), 2, seed=0)


def test_an_environment_that_cannot_be_made_is_refused(register):
    with pytest.raises(ValueError, match="must be installed, but cannot be made: 'no such robot'"):
        envs.make(register(raises="init"), 2, seed=0)


@pytest.mark.parametrize("lost_after", [1, 2])
def test_a_reset_to_nowhere_is_a_fault(register, lost_after):
    sim = envs.make(name := register(lost_after=lost_after), 2, seed=0)
    with pytest.raises(envs.SimulatorFault, match=rf"{name}: simulators .* the observation after a reset"):
        sim.reset()
        for _ in range(5):
            sim.step(np.zeros(2, dtype=int))


def test_replay_that_ends_elsewhere_is_refused(register):
    name = register(forgetful=True)
    sim = envs.make(name, 2, seed=0)
    sim.reset()
    sim.step(np.zeros(2, dtype=int))
    state = sim.state_dict()
    with pytest.raises(ValueError, match=f"{name} must be a function of its seed and actions to resume, but simul"):
        sim.load_state_dict(state)
    with pytest.raises(RuntimeError, match="reset"):
        sim.step(np.zeros(2, dtype=int))


def test_a_resumed_simulator_saves_the_same_bytes():
    """Also of the actions that no episode in progress has played: those of longer ones before."""
    sim, again = (envs.make("CartPole-v0", 4, seed=0) for _ in range(2))
    sim.reset()
    for i in range(160):
        step = np.full(4, i % 7 < 4, dtype=int)
        sim.step(step)
        if i == 120:
            again.load_state_dict(sim.state_dict())
        elif i > 120:
            again.step(step)
            found, expected = again.state_dict(), sim.state_dict()
            assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_saved_seeds_and_actions_are_checked(register):
    sim = envs.make(name := register(), 2, seed=0)
    sim.reset()
    sim.step(np.zeros(2, dtype=int))
    state = sim.state_dict()
    with pytest.raises(ValueError, match=rf"state\['seeds'\] of {name} must be in 0..2147483647, but holds -1"):
        sim.load_state_dict(state | {"seeds": np.array([1, -1])})
    with pytest.raises(ValueError, match=rf"state\['played'\] of {name} must be in 0..2, but holds 3"):
        sim.load_state_dict(state | {"played": np.array([[0], [3]])})


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ({"observation_space": Dict(x=FLAT)}, r"must have a flat Box of observations, but has Dict\("),
        ({"observation_space": Box(0, 255, (8, 8, 3), np.uint8)}, r"flat Box of observations, but has Box\(0, 255"),
        ({"action_space": MultiDiscrete([2, 2])}, r"Discrete actions or a flat Box of reals, but has MultiDiscrete\("),
        (
            {"action_space": Box(0, 1, (2, 2))},
            r"Discrete actions or a flat Box of reals, but has Box\(0.0, 1.0, \(2, 2",
        ),
        ({"limit": None}, "must be registered with max_episode_steps or wrapped in a TimeLimit, but has no time limit"),
    ],
)
def test_what_does_not_run_here(register, spaces, message):
    name = register(**spaces)
    with pytest.raises(ValueError, match=f"^{name} .*{message}") as caught:
        envs.make(name, 1, seed=0)
    assert "\n" not in str(caught.value)
