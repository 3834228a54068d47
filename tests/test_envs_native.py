"""Native tasks against Gymnasium itself, from the same states and actions; threads, faults, initial states."""

import gymnasium
import mujoco
import numpy as np
import pytest

from deep import envs
from deep.envs.native import TASKS, load_model
from deep.envs.pool import Pool
from deep.envs.quiet import old_tasks

# Simulators, steps, scale of the first and of the second half's actions: enough for falls, full episodes or both.
SIZES = {
    "Hopper": (3, 500, 0.3, 1.5),
    "HalfCheetah": (2, 1010, 0.5, 2.0),
    "Walker2d": (3, 500, 0.3, 1.5),
    "Ant": (3, 300, 0.2, 1.0),
    "Humanoid": (3, 150, 0.1, 0.4),
    "Reacher": (4, 230, 0.3, 1.5),
}
RUNS = {f"{task}-{version}": size for task, size in SIZES.items() for version in ("v4", "v5")}
ROW = mujoco.mjtState.mjSTATE_INTEGRATION

# Both sides add the same few terms of a reward in the same order; where a library picks another order of summation
# (17 squared actions, 14 bodies' positions), each of at most 4 roundings costs half an ulp. The Humanoid's centre of
# mass (about 1 m, then over dt = 0.015 s, times 1.25) turns one ulp of position into 83 ulp of reward.
ULP = np.finfo(float).eps
REWARD_TOLERANCE = dict.fromkeys(RUNS, 2 * ULP) | dict.fromkeys(("Humanoid-v4", "Humanoid-v5"), 2 * 83 * ULP)


def gym_env(task: str) -> gymnasium.Env:
    with old_tasks():
        env = gymnasium.make(task)
    env.reset()
    return env


def start_from(env: gymnasium.Env, row: np.ndarray) -> np.ndarray:
    """Reset Gymnasium's environment as it does itself, but to the qpos and qvel of a state row."""
    env.reset()
    base = env.unwrapped
    wanted = mujoco.MjData(base.model)
    mujoco.mj_setState(base.model, wanted, row, ROW)
    mujoco.mj_resetData(base.model, base.data)
    base.set_state(wanted.qpos.copy(), wanted.qvel.copy())
    return base._get_obs()


@pytest.mark.parametrize("task", TASKS)
def test_equals_gymnasium(task):
    num, steps, gentle, wild = RUNS[task]
    sim, rng = envs.make(task, num, seed=1), np.random.default_rng(2)
    obs = sim.reset()
    rows = sim.state_dict()["physics"]
    others = [gym_env(task) for _ in range(num)]
    for i, env in enumerate(others):
        assert np.array_equal(start_from(env, rows[i]), obs[i])
    terminated = truncated = 0
    for t in range(steps):
        acts = rng.normal(size=(num, sim.spec.act_dim)) * (gentle if t < steps // 2 else wild)
        step = sim.step(acts)
        for i, env in enumerate(others):
            next_obs, reward, dead, late, _ = env.step(acts[i])
            assert np.array_equal(next_obs, step.next_obs[i])
            assert abs(reward - step.reward[i]) <= REWARD_TOLERANCE[task] * max(1.0, abs(reward))
            assert (dead, late) == (step.terminated[i], step.truncated[i])
            if dead or late:
                row = sim.state_dict()["physics"][i]
                assert np.array_equal(start_from(env, row), step.obs[i])
                terminated, truncated = terminated + dead, truncated + late
    ends = not task.startswith(("HalfCheetah", "Reacher"))
    assert (terminated > 0) == ends and (truncated > 0) == (not ends)


@pytest.mark.parametrize(("task", "forces"), [("Humanoid-v4", 14 * 6), ("Humanoid-v5", 13 * 6), ("Ant-v5", 13 * 6)])
def test_a_reset_forgets_contact_forces(task, forces):
    sim = envs.make(task, 2, seed=0)
    sim.reset()
    for _ in range(60):  # long enough to fall to the ground
        obs = sim.step(np.zeros((2, sim.spec.act_dim))).next_obs
    assert (obs[:, -forces:] != 0).any(axis=1).all()
    assert not sim.reset()[:, -forces:].any()


def test_specs_are_those_of_gymnasium():
    for task in TASKS:
        env, spec = gym_env(task), envs.make(task, 1, seed=0).spec
        assert (spec.obs_dim,) == env.observation_space.shape and (spec.act_dim,) == env.action_space.shape
        assert spec.horizon == env.spec.max_episode_steps and not spec.discrete and spec.native
        assert spec.act_dtype == env.action_space.dtype and spec.act_start == 0
        assert np.array_equal(spec.act_low.astype(np.float32), env.action_space.low)
        assert np.array_equal(spec.act_high.astype(np.float32), env.action_space.high)


@pytest.mark.parametrize("task", ["Walker2d-v4", "Humanoid-v4"])
def test_threads_change_no_bit(task):
    def trace(threads):
        sim = envs.make(task, 5, seed=3, threads=threads, stagger=True)
        acts = np.random.default_rng(4).normal(size=(40, 5, sim.spec.act_dim))
        sim.reset()
        return [sim.step(a) for a in acts], sim.state_dict()

    expected, final = trace(1)
    assert any(step.terminated.any() for step in expected)
    for threads in (2, 3, 0):
        steps, state = trace(threads)
        for x, y in zip(steps, expected, strict=True):
            assert np.array_equal(x.obs, y.obs) and np.array_equal(x.next_obs, y.next_obs)
            assert np.array_equal(x.reward, y.reward) and np.array_equal(x.terminated, y.terminated)
        assert all(np.array_equal(state[key], final[key]) for key in final)


def test_pool_and_batch_agree():
    model = load_model(TASKS["Humanoid-v4"])
    pool, batch = Pool(model, 3, 2), mujoco.batch.Batch(model, 3, 2)
    batch.reset()
    names = ("qpos", "qvel", "ctrl", "cinert", "xipos")
    outs = {name: (pool.bind(name), batch.bind(name)) for name in names}
    assert np.array_equal(pool.state, batch.state)
    rng = np.random.default_rng(0)
    for _ in range(5):
        pool.bind("ctrl")[:] = batch.bind("ctrl")[:] = rng.normal(size=(3, model.nu))
        pool.step(nstep=5)
        batch.step(nstep=5)
        assert np.array_equal(pool.state, batch.state)
        assert all(np.array_equal(one, two) for one, two in outs.values())
    pool.close()


@pytest.mark.parametrize("task", ["Walker2d-v4", "Humanoid-v4"])
def test_faults_name_the_simulators(task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo appends its warnings to a log in the working directory
    sim = envs.make(task, 4, seed=0)
    sim.reset()
    acts = np.zeros((4, sim.spec.act_dim))
    sim.step(acts)
    acts[[1, 3], 0] = np.nan
    with pytest.raises(
        envs.SimulatorFault, match=rf"{task}: simulators \[1, 3\] failed: an action is not finite"
    ) as caught:
        sim.step(acts)
    assert caught.value.ids.tolist() == [1, 3] and caught.value.env_id == task
    sim.reset()
    assert np.isfinite(sim.step(np.zeros_like(acts)).obs).all()


def test_a_diverging_state_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sim = envs.make("Hopper-v4", 2, seed=0)
    sim.reset()
    state = sim.state_dict()
    state["physics"][1, 1 + 6] = 1e12  # the first velocity
    sim.load_state_dict(state)
    with pytest.raises(envs.SimulatorFault, match=r"Hopper-v4: simulators \[1\] failed"):
        for _ in range(3):
            sim.step(np.zeros((2, 3)))


# A mean of 2,000 draws lies within 5 standard errors of its expectation but for 1 in 1.7 million.
DRAWS, ERRORS = 2000, 5.0


@pytest.mark.parametrize(
    ("task", "qpos_noise", "qvel_noise", "normal"),
    [
        ("Hopper-v4", 5e-3, 5e-3, False),
        ("HalfCheetah-v4", 0.1, 0.1, True),
        ("Walker2d-v4", 5e-3, 5e-3, False),
        ("Ant-v4", 0.1, 0.1, True),
        ("Humanoid-v4", 1e-2, 1e-2, False),
    ],
)
def test_initial_states(task, qpos_noise, qvel_noise, normal):
    model = load_model(TASKS[task])
    qpos, qvel = TASKS[task].draw(model, DRAWS, np.random.default_rng(0))
    uniform_std = 1 / np.sqrt(3)
    cases = [(qpos - model.qpos0, qpos_noise, uniform_std), (qvel, qvel_noise, 1.0 if normal else uniform_std)]
    for noise, scale, std in cases:
        assert normal or np.abs(noise).max() <= scale
        assert np.abs(noise.mean(axis=0)).max() <= ERRORS * scale * std / np.sqrt(DRAWS)
        # The squares of a normal have kurtosis 3, those of a uniform less.
        assert np.abs(noise.var(axis=0) / (scale * std) ** 2 - 1).max() <= ERRORS * np.sqrt(2 / DRAWS)


def test_initial_states_of_reacher():
    task = TASKS["Reacher-v4"]
    qpos, qvel = task.draw(load_model(task), DRAWS, np.random.default_rng(0))
    radius = np.linalg.norm(qpos[:, 2:], axis=1)
    assert radius.max() < 0.2 and np.abs(qpos[:, :2]).max() <= 0.1 and np.abs(qvel).max() <= 0.005
    assert not qvel[:, 2:].any() and (qvel[:, :2] != 0).all()
    # Uniform on a disc: (r / R)^2 is uniform on [0, 1], with mean 1/2 and variance 1/12.
    assert abs(((radius / 0.2) ** 2).mean() - 0.5) <= ERRORS / np.sqrt(12 * DRAWS)
