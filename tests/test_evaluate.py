"""python -m deep.evaluate: the table, evaluation.json, its references, and runs it cannot measure."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from deep import assess, bc, demos, envs, expert, files, result, trained
from deep.config import BcConfig, CloningConfig, ExpertConfig, cloning_defaults
from deep.config_values import as_dict
from deep.distance_kernel import Discrepancy
from deep.evaluate import Returns, evaluate, random_actions
from deep.evaluate import __main__ as command
from deep.learner import LearnerConfig
from deep.run import Run
from deep.stats import Interval

QUIET = Console(file=io.StringIO())


def cloned(folder: Path, **changes: object) -> CloningConfig:
    base = dataclasses.replace(cloning_defaults("CartPole-v0"), final_episodes=3, threads=1, bc=BcConfig(epochs=30))
    config = dataclasses.replace(base, **changes)
    bc.execute(config, Run.create(folder, "bc", as_dict(config)), QUIET)
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "clone"
    cloned(path)
    return path


def test_a_run_is_set_against_its_expert(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([str(folder), "--episodes", "8", "--threads", "1"])
    found = json.loads((folder / "evaluation.json").read_text())
    assert (found["env"], found["command"], found["episodes"]) == ("CartPole-v0", "bc", 8)
    returns = found["returns"]
    assert returns["expert"]["stochastic"]["mean"] == found["expert_return"] == 200.0
    assert returns["expert"]["stochastic"]["normalised"] == 1.0 and returns["random"]["stochastic"]["normalised"] == 0.0
    for kind in ("stochastic", "deterministic"):  # 30 epochs on one trajectory: above chance
        assert 0 < returns["learner"][kind]["normalised"] <= 1 and returns["learner"][kind]["episodes"] == 8
    far, near, random = (found["distances"][k] for k in ("learner", "expert", "random"))
    assert near["js_bits"]["low"] < 0.05 and 0.3 < random["js_bits"]["high"] <= 1  # wide, from eight episodes
    assert near["mmd"]["p_value"] > 0.01 >= random["mmd"]["p_value"]
    assert near["mmd"]["squared"] < far["mmd"]["squared"] and far["js_bits"]["low"] <= far["js_bits"]["high"]
    assert len({d["mmd"]["bandwidth"] for d in found["distances"].values()}) == 1 and found["versions"]["numpy"]
    printed = capsys.readouterr().out
    for text in ("behavioural cloning", "this run", "expert, other episodes", "score", "JS, bits", "written:"):
        assert text in printed


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the distances, which have tests of their own."""
    monkeypatch.setattr(assess, "jensen_shannon", lambda *_: Interval(0.0, 0.0, 0.0))
    monkeypatch.setattr(assess, "discrepancy", lambda *_: Discrepancy(0.0, 1.0, 1.0))


def test_a_seed_repeats_and_the_expert_is_drawn_twice(folder: Path, quick: None) -> None:
    policy = trained.load(folder)
    first, again, other = (assess.assess(policy, 4, seed, 1) for seed in (0, 0, 1))
    for a, b in zip(first.rows.values(), again.rows.values(), strict=True):
        assert a.stochastic is not None and b.stochastic is not None
        np.testing.assert_array_equal(a.stochastic.returns, b.stochastic.returns)
    assert first.random != other.random
    assert set(first.distances) == {"learner", "expert", "random"}


def test_demonstrations_of_ones_own_stand_for_the_expert(tmp_path: Path, quick: None) -> None:
    simulator = envs.make("CartPole-v0", 4, 0)
    act = random_actions(simulator.spec)
    own = demos.sample_episodes(act, simulator, 4, np.random.default_rng(0))
    simulator.close()
    demos.save(tmp_path / "own.npz", own)
    cloned(tmp_path / "run", demos=tmp_path / "own.npz", subsample=1)
    found = assess.assess(trained.load(tmp_path / "run"), 3, 0, 1)
    assert set(found.distances) == {"learner", "random"}  # nothing but the demonstrations to set against themselves
    assert found.reference is None and list(found.rows) == ["random", "learner"]
    assert found.to_json()["returns"]["learner"]["stochastic"]["normalised"] is None
    demos.save(tmp_path / "own.npz", own.select(np.arange(2)))
    short = assess.assess(trained.load(tmp_path / "run"), 3, 0, 1)
    assert short.distances == {}
    assert short.to_json()["without"] == "no distance to the expert: its demonstrations are 2 episodes"


def test_an_expert_of_a_task_without_any_is_measured_by_its_returns(tmp_path: Path) -> None:
    P = np.full((2, 2, 2), 0.5)
    envs.register_table("Assessed-v0", envs.Table(P, np.array([0.5, 0.5]), 0.8, np.eye(2)))
    learner = LearnerConfig(simulators=4, batch=100)
    config = ExpertConfig(env="Assessed-v0", steps=200, threads=1, learner=learner)
    record = Run.create(tmp_path, "expert", as_dict(config))
    expert.train(config, record, QUIET)
    found = assess.assess(trained.load(tmp_path), 5, 0, 1)
    assert found.distances == {} and found.without == "no distance to the expert: nothing of it is known"
    assert found.rows["learner"].name == "expert in training" and found.reference is None


def test_an_expert_in_training_stands_beside_the_bundled_one(tmp_path: Path, quick: None) -> None:
    config = ExpertConfig(env="CartPole-v0", steps=200, threads=1, learner=LearnerConfig(simulators=4, batch=100))
    expert.train(config, Run.create(tmp_path, "expert", as_dict(config)), QUIET)
    found = assess.assess(trained.load(tmp_path), 4, 0, 1)
    assert [row.name for row in found.rows.values()] == ["random", "expert in training", "expert"]
    returns = found.to_json()["returns"]
    assert returns["learner"]["stochastic"]["mean"] < 100 and returns["expert"]["stochastic"]["mean"] == 200.0


def test_what_cannot_be_evaluated_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a JSON file, but there is none"):
        command.main([str(tmp_path)])
    with pytest.raises(ValueError, match="episodes must be at least 3, but is 2"):
        assess.assess(trained.load(folder), 2, 0, 1)
    assert not list(tmp_path.iterdir())


def test_every_episode_counts_once_and_whole() -> None:
    """The task always pushes left: with the same seed, one simulator an episode, a loop over single ones agrees."""
    found = evaluate("CartPole-v0", lambda obs: np.zeros(len(obs), dtype=np.int64), 5, 3, threads=1)
    assert (found.returns == found.lengths).all() and found.lengths.max() < 20
    assert found.mean == found.returns.mean() and found.std == found.returns.std()


def test_random_actions_fill_the_space() -> None:
    rng = np.random.default_rng(0)
    for env in ("Acrobot-v1", "Hopper-v4"):
        simulator = envs.make(env, 1, 0)
        spec = simulator.spec
        simulator.close()
        acts = random_actions(spec)(np.zeros((3000, spec.obs_dim)), rng)
        if spec.discrete:
            np.testing.assert_allclose(np.bincount(acts) / 3000, 1 / 3, atol=4 * np.sqrt(2 / 9 / 3000))
        else:
            assert acts.shape == (3000, 3) and (acts >= spec.act_low).all() and (acts <= spec.act_high).all()
            # 3,000 uniform draws come within 1 % of either end but for a chance of 1e-6.
            span = spec.act_high - spec.act_low
            assert (acts.min(0) < spec.act_low + 0.01 * span).all() and (
                acts.max(0) > spec.act_high - 0.01 * span
            ).all()


def test_what_was_found_is_printed_where_it_cannot_be_written(
    quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloned(tmp_path / "clone")
    (tmp_path / "clone" / "evaluation.json").mkdir()
    with pytest.raises(OSError, match=r"evaluation\.json"):
        command.main([str(tmp_path / "clone"), "--episodes", "3", "--threads", "1"])
    assert "behavioural cloning" in capsys.readouterr().out


def test_the_file_is_replaced_whole(folder: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_json(folder / "evaluation.json", {"old": True})
    monkeypatch.setattr(command.provenance, "versions", lambda: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        command.main([str(folder), "--episodes", "3", "--threads", "1"])
    assert json.loads((folder / "evaluation.json").read_text()) == {"old": True}


def test_the_closing_table_has_no_negative_zero() -> None:
    near = Returns(np.array([-0.04, 0.0]), np.array([3, 4]))
    out = io.StringIO()
    Console(file=out, width=100).print(result.table("Any-v0", [result.Row("GAIL", near, None)], 0.0, 10.0))
    assert "0.0 ± 0.0" in out.getvalue() and "0%" in out.getvalue() and "-0" not in out.getvalue()
