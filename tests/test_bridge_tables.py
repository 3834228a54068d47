"""Finite MDPs as tasks: visits of an episode are the occupancy measure, natively and in Gymnasium; what is refused."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from scipy.stats import chi2_contingency

import occmatch as om
from deep import demos, envs, gail, tabular
from deep.demos import Demos
from deep.envs import Table
from deep.envs.gym_vector import GymSimulator
from deep.pairs import absorbing_share

MDP = om.examples.garnet(4, 3, 2, 0.8, np.random.default_rng(3))
COST = np.random.default_rng(4).normal(size=MDP.shape)
PI = om.rl(MDP, COST, lam=1.0).pi
ENV = "BridgeTable-v0"
envs.register_table(ENV, Table(MDP.P, MDP.p0, MDP.gamma, COST))
Z = 4.0  # standard errors; the seeds are fixed, so that this is no chance but a bound on bad luck


def test_visits_and_returns_of_an_episode_are_the_discounted_ones() -> None:
    """Undiscounted sums over episodes of geometric length, against rho_pi and <rho_pi, -cost>, within Z errors."""
    n = 4000
    found = tabular.demonstrations(ENV, PI, n, 0)
    rho = om.occupancy(MDP, PI)
    of, pair = np.repeat(np.arange(n), found.lengths), found.obs.argmax(1) * MDP.A + found.acts
    counts = np.zeros((n, rho.size))
    np.add.at(counts, (of, pair), 1.0)
    error = counts.std(0) / n**0.5
    assert (np.abs(counts.mean(0) - rho.reshape(-1)) <= Z * error).all()
    returns = found.returns()
    assert abs(returns.mean() + np.vdot(rho, COST)) <= Z * returns.std() / n**0.5
    assert abs(found.lengths.mean() - 1 / (1 - MDP.gamma)) <= Z * found.lengths.std() / n**0.5
    assert not found.terminated.any()


def test_the_native_path_and_gymnasium_walk_alike() -> None:
    """Pair and successor counts of the batched simulator and of Gymnasium's vector API, by a chi-square test."""
    tables = []
    for sim in (envs.make(ENV, 50, 0), GymSimulator(ENV, 50, 1)):
        rng, obs = np.random.default_rng(2), sim.reset()
        counts = np.zeros((MDP.S, MDP.A, MDP.S, 2))
        for _ in range(60):
            acts = rng.integers(MDP.A, size=50)
            step = sim.step(acts)
            np.add.at(counts, (obs.argmax(1), acts, step.next_obs.argmax(1), step.truncated.astype(int)), 1)
            np.testing.assert_array_equal(step.reward, -COST[obs.argmax(1), acts])
            obs = step.obs
        tables.append(counts.reshape(-1))
        sim.close()
    seen = tables[0] + tables[1] > 0
    assert seen.reshape(MDP.S, MDP.A, MDP.S, 2).any(3).sum() == MDP.P.nnz  # every transition, and no other
    assert chi2_contingency(np.array(tables)[:, seen]).pvalue > 1e-3


def test_gymnasium_users_see_states_as_they_ask() -> None:
    env = gymnasium.make(ENV)
    obs, info = env.reset(seed=0)
    assert env.observation_space.contains(obs) and obs[info["state"]] == 1.0 and env.action_space.n == MDP.A
    plain = gymnasium.make(ENV, one_hot=False)
    number, _ = plain.reset(seed=0)
    assert number == info["state"] and plain.step(1)[0] == env.step(1)[4]["state"]
    with pytest.raises(ValueError, match=r"action must be in 0\.\.2, but is 3"):
        plain.unwrapped.step(3)


def test_terminal_states_end_the_task_and_are_never_acted_in() -> None:
    P = np.array([[[0.5, 0.5], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    envs.register_table("BridgeEnds-v0", Table(P, np.array([1.0, 0.0]), 0.9, np.zeros((2, 2)), np.array([False, True])))
    sim = envs.make("BridgeEnds-v0", 200, 0)
    sim.reset()
    both = 0
    for _ in range(5):
        step = sim.step(np.zeros(200, dtype=int))
        np.testing.assert_array_equal(step.terminated, step.next_obs[:, 1] == 1)
        assert (step.obs[:, 0] == 1).all()
        both += int((step.terminated & ~step.truncated).sum())
    assert both > 300


def test_saved_simulators_go_on_to_the_same_bits_and_damage_is_named() -> None:
    sim, other = envs.make(ENV, 6, 0), envs.make(ENV, 6, 9)
    sim.reset(), other.reset()
    acts = np.random.default_rng(0).integers(3, size=(40, 6))
    for a in acts[:20]:
        sim.step(a)
    state = sim.state_dict()
    other.load_state_dict(state)
    np.testing.assert_array_equal(sim.obs, other.obs)
    for a in acts[20:]:
        one, two = sim.step(a), other.step(a)
        for name in ("obs", "next_obs", "reward", "terminated", "truncated"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        np.testing.assert_array_equal(sim.elapsed, other.elapsed)
    with pytest.raises(ValueError, match=r"state\['states'\] of BridgeTable-v0 must be in 0\.\.3, but holds 4"):
        other.load_state_dict(state | {"states": np.full(6, 4)})
    sim.close()
    with pytest.raises(RuntimeError, match="BridgeTable-v0 is closed"):
        sim.step(acts[0])


def test_no_probability_zero_is_drawn() -> None:
    pi = np.array([[0.0, 1.0, 0.0], [0.3, 0.0, 0.7], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]])

    class Extremes:
        """Uniforms at both ends of [0, 1)."""

        def random(self, n: int) -> np.ndarray:
            return np.resize([0.0, np.nextafter(1.0, 0.0)], n)

    states = np.repeat(np.arange(4), 2)
    acts = tabular.acting(pi)(np.eye(4)[states], Extremes())
    assert (pi[states, acts] > 0).all()
    with pytest.raises(ValueError, match=r"pi\[1\] must be a probability distribution, but has least entry 0.5 and s"):
        tabular.acting(np.array([[0.0, 1.0], [0.5, 0.6]]))
    with pytest.raises(ValueError, match=r"pi\[1\] must be a probability distribution, but has least entry nan"):
        tabular.acting(np.array([[0.0, 1.0], [np.nan, np.nan]]))
    with pytest.raises(ValueError, match=r"pi must have shape \[S, A\], but has \(2,\)"):
        tabular.acting(np.array([0.5, 0.5]))


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (4, 2)])
def test_demonstrations_of_a_policy_of_another_table_are_refused(shape: tuple[int, int]) -> None:
    """States too many and actions too few went unnoticed."""
    with pytest.raises(ValueError, match=rf"pi must have shape \(4, 3\) for {ENV}, but has \({shape[0]}, {shape[1]}\)"):
        tabular.demonstrations(ENV, np.full(shape, 1 / shape[1]), 2, 0)
    with pytest.raises(ValueError, match="episodes must be at least 1, but is 0"):
        tabular.demonstrations(ENV, PI, 0, 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"P": MDP.P[:6]}, r"P must have shape \(4, 3, 4\) or \(12, 4\), as cost has \(4, 3\), but has \(6, 4\)"),
        ({"P": 0.5 * MDP.P}, r"P\[0, 0\] must be a probability distribution, but has least entry 0 and sum 0.5"),
        ({"p0": [0.5, 0.75, 0.0, -0.25]}, r"p0 must be a probability distribution, but has least entry -0.25 and sum"),
        ({"p0": [1.0, 0.0]}, r"p0 must have shape \(4,\), as cost has 4 rows, but has \(2,\)"),
        ({"gamma": 1.0}, r"gamma must be in \[0, 1\), but is 1.0"),
        ({"cost": np.full((4, 3), np.nan)}, r"cost must be finite numbers \[S, A\], but has shape \(4, 3\)"),
        ({"terminal": [1, 0, 0, 0]}, r"terminal must be 4 booleans, but has int64 of shape \(4,\)"),
        ({"terminal": np.ones(4, bool)}, r"p0\[\d\] must be 0, because state \d is terminal, but is "),
    ],
)
def test_bad_tables_are_refused(changes: dict, words: str) -> None:
    good = {"P": MDP.P, "p0": MDP.p0, "gamma": MDP.gamma, "cost": COST}
    Table(**good)
    with pytest.raises(ValueError, match=words):
        Table(**good | changes)


def test_ids_of_other_tasks_and_malformed_ones_are_refused() -> None:
    table = Table(MDP.P, MDP.p0, MDP.gamma, COST)
    with pytest.raises(ValueError, match="env_id must be new, or that of a table, but 'CartPole-v0' is another task"):
        envs.register_table("CartPole-v0", table)
    with pytest.raises(ValueError, match="env_id must be a Gymnasium id such as 'River-v0', but is 'no id!'"):
        envs.register_table("no id!", table)
    envs.register_table(ENV, table)  # again, as when a cell of a notebook is run twice


def test_steps_left_are_what_the_clock_would_have_recorded() -> None:
    fixed = envs.EnvSpec("x", 1, True, 2, None, None, 10, native=False)
    np.testing.assert_array_equal(fixed.steps_left(np.array([3, 10])), [7, 0])
    chance = envs.EnvSpec("x", 1, True, 2, None, None, 10, native=False, continues=0.5)
    assert chance.steps_left(np.array([7])) == pytest.approx(0.5 + 0.25 + 0.125)


def test_the_absorbing_share_makes_up_for_pairs_that_subsampling_left_out() -> None:
    """Over all k offsets that are as likely, the share of thinned demonstrations equals that of whole ones."""
    spec = envs.EnvSpec("x", 1, True, 2, None, None, 100, native=False)
    lived, k = 23, 5
    lives = []
    for offset in range(k):
        time = np.arange(offset, lived, k)
        n = len(time)
        thin = Demos(np.zeros((n, 1)), np.zeros(n, int), [n], terminated=[True], time=time, metadata={"subsample": k})
        lives.append(spec.horizon * (1 - absorbing_share(thin, spec)))
    # The last kept pair is followed by (lived - 1 - offset) mod k others: all of 0 .. k - 1, once each.
    assert np.mean(lives) == pytest.approx(lived)
    whole = Demos(np.zeros((lived, 1)), np.zeros(lived, int), [lived], terminated=[True])
    assert absorbing_share(whole, spec) == pytest.approx(1 - lived / 100)


@pytest.mark.parametrize("method", ["gail", "gtal"])
def test_the_command_runs_on_a_table(method: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path, out = tmp_path / "demos.npz", tmp_path / "run"
    demos.save(path, tabular.demonstrations(ENV, PI, 60, 1))
    flags = "--subsample 1 --trajectories 60 --learner.gamma 0.8 --learner.hidden 8 --steps 800 --learner.batch 400"
    more = "--eval-every 0 --final-episodes 200 --no-bc-init --bc.epochs 20"
    argv = ["--env", ENV, "--demos", str(path), "--out", str(out), "--method", method, *flags.split(), *more.split()]
    gail.main(argv)
    result = json.loads((out / "result.json").read_text())
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert result["env_steps"] >= 800 and all(m["episodes"] > 0 and "train_return" in m for m in lines)
    assert 2 < result["return_length"] < 8  # 1 / (1 - gamma) = 5, over 200 episodes
    assert method.upper() in capsys.readouterr().out
