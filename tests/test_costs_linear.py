"""FEM and GTAL: the features, the best cost against occmatch's psi, the shift of the reward, resuming, learning."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import xlogy

from deep import costs, costs_linear, costs_method, envs
from deep.config import GailConfig, gail_defaults
from deep.costs import CostConfig, Side
from deep.costs_linear import LinearMargin
from deep.costs_method import LinearPlayer
from deep.envs import EnvSpec
from deep.imitator import Imitator
from deep.learner import LearnerConfig
from occmatch.losses import LOSSES
from occmatch.regularisers import L2Ball, Simplex

BOX = EnvSpec("box", 2, False, 1, -np.ones(1), np.ones(1), 100, native=False)
DISCRETE = EnvSpec("discrete", 2, True, 3, None, None, 100, native=False)
TABLE = EnvSpec("table", 4, True, 3, None, None, 100, native=False)
SINGLE = 1e-6  # inputs are standardised in float32: 6e-8 relative, and features are sums of a few

kinds = pytest.mark.parametrize("kind", ["fem", "gtal"])
flags = pytest.mark.parametrize("absorbing", [False, True])


def slow_features(margin: LinearMargin, obs: np.ndarray, act: np.ndarray | int) -> list[float]:
    """The features of one pair, written out."""
    mean, std = margin.normaliser.mean.numpy(), margin.normaliser.std
    x = obs if margin.actions else np.concatenate([obs, act])
    z = [(x[i] - mean[i]) / std[i] for i in range(len(x))]
    block = z + [(0.01 * v) ** 2 for v in z]
    found: list[float] = []
    for a in range(max(1, margin.actions)):
        found += block if not margin.actions or a == act else [0.0] * len(block)
    found += [1.0] + [0.0] * margin.flag
    return found + [-v for v in found] if margin.kind == "gtal" else found


@kinds
@flags
@pytest.mark.parametrize("spec", [BOX, DISCRETE], ids=["box", "discrete"])
def test_features_are_those_of_the_authors(spec: EnvSpec, kind: str, absorbing: bool) -> None:
    rng = np.random.default_rng(0)
    obs = rng.normal(3, 2, (30, 2))
    acts = rng.integers(3, size=30) if spec.discrete else rng.normal(size=(30, 1))
    margin = LinearMargin(spec, absorbing, kind)
    margin.normaliser.update(margin.continuous(obs, acts))
    rows = margin.rows(obs, acts)
    assert rows.dtype == torch.float64 and rows.shape[1] == len(margin.w)
    expected = [slow_features(margin, o, a) for o, a in zip(obs, acts, strict=True)]
    np.testing.assert_allclose(rows.numpy(), expected, atol=SINGLE, rtol=SINGLE)
    number = 4 * 3 + 1 if spec.discrete else 6 + 1
    assert rows.shape[1] == (number + absorbing) * (2 if kind == "gtal" else 1)


@kinds
@flags
def test_the_best_cost_is_that_of_the_exact_side(kind: str, absorbing: bool) -> None:
    """On sampled measures over a table, with the absorbing state as one more state: cost and psi* agree."""
    rng = np.random.default_rng(1)
    S, A = TABLE.obs_dim, TABLE.act_dim
    player = LinearPlayer(TABLE, absorbing, kind)
    margin, sides, measures = player.margin, [], []
    shares = (0.3, 0.45) if absorbing else (0.0, 0.0)
    for share in shares:
        s, a = rng.choice(S, 200, p=rng.dirichlet(np.ones(S))), rng.integers(A, size=200)
        if not sides:
            margin.normaliser.update(np.eye(S)[s])
        sides.append(Side(margin.rows(np.eye(S)[s], a), share))
        counts = np.zeros((S + absorbing, A))
        np.add.at(counts, (s, a), (1 - share) / 200)
        counts[S:] = share / A  # any split over actions: the end state's features do not know them
        measures.append(counts)
    player.fit(*sides, torch.Generator())
    features = margin.rows(np.repeat(np.eye(S), A, 0), np.tile(np.arange(A), S)).reshape(S, A, -1)
    if absorbing:
        features = torch.cat([features, margin.end_row().expand(1, A, -1)])
    psi = (L2Ball if kind == "fem" else Simplex)(features.numpy())
    found = margin(features.reshape(-1, len(margin.w))).reshape(-1, A)
    np.testing.assert_allclose(found.numpy(), psi.best_cost(*measures), atol=1e-12)  # float64 sums of 200 terms
    with torch.no_grad():
        scores = [costs.scores(margin, side) for side in sides]
    risk = player.diagnostics(*scores)["risk"]
    assert risk == pytest.approx(-psi.divergence(*measures), abs=SINGLE)  # the risk adds up in float32


@kinds
def test_equal_sides_have_a_cost_of_no_consequence(kind: str) -> None:
    margin = LinearMargin(BOX, False, kind)
    side = Side(margin.rows(np.random.default_rng(0).normal(size=(20, 2)), np.zeros((20, 1))), 0.0)
    costs_linear.fit(margin, side, side)
    assert torch.isfinite(margin.w).all()
    if kind == "fem":
        assert not margin.w.any()


@kinds
def test_the_leader_maximises_the_sum_of_all_gaps_less_its_regulariser(kind: str) -> None:
    """w of three batches against a search over the class, and its average against the best cost in hindsight."""
    rng, rate = np.random.default_rng(3), 0.5
    margin = LinearMargin(BOX, False, kind)
    expert = Side(margin.rows(rng.normal(size=(50, 2)), rng.normal(size=(50, 1))), 0.0)
    total = np.zeros(len(margin.w))
    for shift in (1.0, -0.5, 2.0):
        mine = Side(margin.rows(rng.normal(shift, 1, (50, 2)), rng.normal(size=(50, 1))), 0.0)
        total += costs_linear.feature_gap(margin, mine, expert).numpy()
        costs_linear.fit(margin, mine, expert, rate)
    w, score = margin.w.numpy(), rate * total
    if kind == "fem":
        assert np.linalg.norm(w) <= 1 + 1e-12
        others = rng.normal(size=(2000, len(w)))
        others /= np.maximum(1, np.linalg.norm(others, axis=1, keepdims=True))
        value = lambda w: w @ score - (w * w).sum(-1) / 2  # noqa: E731
    else:
        assert (w > 0).all() and w.sum() == pytest.approx(1)
        others = rng.dirichlet(np.full(len(w), 0.3), 2000)
        value = lambda w: w @ score - xlogy(w, w).sum(-1)  # noqa: E731
    near = 0.99 * w + 0.01 * others
    assert (value(near) < value(w)).all() and (value(others) < value(w)).all()


@kinds
def test_the_form_shifts_the_reward_by_the_bound_so_far(kind: str) -> None:
    rng = np.random.default_rng(2)
    player = LinearPlayer(BOX, False, kind)
    expert = Side(player.margin.rows(rng.normal(size=(50, 2)), rng.normal(size=(50, 1))), 0.0)
    low, high = 0.0, 0.0
    for scale in (3.0, 1.0, 5.0):
        mine = Side(player.margin.rows(rng.normal(1, scale, (50, 2)), rng.normal(size=(50, 1))), 0.0)
        player.fit(mine, expert, torch.Generator())
        m = player.margin(mine.rows)
        low, high = min(low, float(m.min())), max(high, float(m.max()))
        torch.testing.assert_close(player.reward("neglogd", m), high - m)
        torch.testing.assert_close(player.reward("logd", m), low - m)
        torch.testing.assert_close(player.reward("airl", m), -m)
        assert (player.reward("neglogd", m) >= 0).all() and (player.reward("logd", m) <= 0).all()


@kinds
def test_the_bound_holds_for_the_absorbing_state_too(kind: str) -> None:
    rng = np.random.default_rng(3)
    player = LinearPlayer(BOX, True, kind)
    mine, theirs = (Side(player.margin.rows(rng.normal(size=(50, 2)), rng.normal(size=(50, 1))), s) for s in (0.9, 0.0))
    player.fit(mine, theirs, torch.Generator())
    end = player.margin(player.margin.end_row())
    assert float(end) > float(player.margin(mine.rows).max())
    assert float(player.reward("neglogd", end)) >= 0 and float(player.reward("logd", end)) <= 0


def test_the_method_chooses_the_player() -> None:
    arguments = BOX, False, LOSSES["logistic"], CostConfig(), torch.device("cpu"), torch.Generator().manual_seed(0)
    for method in ("gail", "fem", "gtal"):
        player = costs_method.make(method, *arguments)
        assert (player.optimiser is None) == isinstance(player, LinearPlayer) == (method != "gail")


def config(task: str, method: str, **changes: object) -> GailConfig:
    base = gail_defaults(task)
    learner = LearnerConfig(simulators=4, batch=200, trpo=base.learner.trpo)
    return dataclasses.replace(base, method=method, learner=learner, eval_every=0, threads=1, **changes)


@kinds
@pytest.mark.parametrize(("task", "absorbing"), [("HalfCheetah-v4", False), ("CartPole-v0", True)])
def test_resuming_equals_not_stopping(task: str, absorbing: bool, kind: str) -> None:
    c = config(task, kind, absorbing=absorbing, cost=CostConfig(update_normaliser=True), bc_init=False)
    straight, first, second = Imitator(c), Imitator(c), Imitator(c)
    lines = [straight.iterate() for _ in range(4)]
    early = [first.iterate() for _ in range(2)]
    second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    assert early + [second.iterate() for _ in range(2)] == lines
    expected, found = straight.state_dict(), second.state_dict()
    assert expected.keys() == found.keys() and "margin.w" in found
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    for imitator in (straight, first, second):
        imitator.close()


@kinds
def test_presets_cover_the_methods(kind: str) -> None:
    for preset in ("fast", "paper"):
        c = dataclasses.replace(gail_defaults("CartPole-v0", preset), method=kind, threads=1, bc_init=False)
        c = dataclasses.replace(c, learner=dataclasses.replace(c.learner, batch=200, simulators=4))
        imitator = Imitator(c)
        assert imitator.iterate()["risk"] <= 0  # -psi*, an estimate of minus a distance
        imitator.close()


def test_images_and_dicts_are_refused_in_one_clear_line() -> None:
    import gymnasium
    from gymnasium.spaces import Box, Dict, Discrete

    class Odd(gymnasium.Env):
        action_space = Discrete(2)

        def __init__(self, space: gymnasium.Space) -> None:
            self.observation_space = space

    spaces = {"Picture": Box(0, 255, (8, 8, 3), np.uint8), "Goal": Dict({"goal": Box(0.0, 1.0, (2,))})}
    for name, space in spaces.items():
        gymnasium.register(f"{name}-v0", entry_point=lambda space=space: Odd(space), max_episode_steps=5)
        try:
            with pytest.raises(ValueError, match=rf"{name}-v0 must have a flat Box of observations, but has ") as found:
                envs.make(f"{name}-v0", 1, 0)
            assert "\n" not in str(found.value)
        finally:
            del gymnasium.registry[f"{name}-v0"]
