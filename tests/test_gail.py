"""The commands: what they write, what they refuse, and that what they learn comes from the demonstrations."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import fails

from deep import bc, demos, envs, expert, gail
from deep.cli import parse
from deep.config import ExpertConfig, GailConfig, gail_defaults
from deep.config_values import as_dict, as_flags, from_dict
from deep.evaluate import evaluate
from deep.imitator import Imitator
from deep.learner import LearnerConfig
from deep.presets import FAST, protocol
from deep.result import evaluate_random, normalised, steps_to
from deep.run import Run

TASK = "CartPole-v0"
SMALL = ["--learner.simulators", "8", "--learner.batch", "400", "--final-episodes", "4", "--threads", "1"]


def test_a_run_leaves_what_it_promises(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "run"
    gail.main(
        ["--env", TASK, "--steps", "2000", "--out", str(out), "--eval-every", "800", "--eval-episodes", "3", *SMALL]
    )
    names = {p.name for p in out.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoints", "result.json", "learning_curve.png"} <= names
    assert any(n.startswith("events.out.tfevents") for n in names)
    result = json.loads((out / "result.json").read_text())
    assert {
        "env", "seed", "trajectories", "env_steps", "seconds", "random_return", "bc_return", "expert_return",
        "return_mean", "return_std", "return_deterministic_mean", "normalised_return", "steps_to_90", "versions",
    } <= result.keys()  # fmt: skip
    assert result["env_steps"] == 2000 and result["expert_return"] == 200.0
    record = json.loads((out / "config.json").read_text())
    assert from_dict(GailConfig, record["config"]).env == TASK
    assert record["versions"]["torch"] and (out / "learning_curve.png").stat().st_size > 5000
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [m["iteration"] for m in metrics] == [1, 2, 3, 4, 5]
    assert sum("eval_return" in m for m in metrics) == 2
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("random", "behavioural cloning", "GAIL", "expert", str(out)))


def test_a_run_clones_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same clone is its start and a row of its closing table."""
    begun, clone = [], bc.clone
    monkeypatch.setattr(bc, "clone", lambda *args: (begun.append(args), clone(*args))[1])
    gail.main(["--env", TASK, "--steps", "400", "--out", str(tmp_path / "run"), "--bc.epochs", "5", *SMALL])
    assert len(begun) == 1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--trajectories", "99"], "trajectories must be in 1..10"),
        (["--subsample", "3"], "subsample must be a multiple of 10"),
        (["--subsample", "0"], "subsample must be at least 1, but is 0"),
        (["--demos", "missing.npz"], "missing.npz"),
        (["--steps", "0"], "steps must be at least 1, but is 0"),
        (["--entropy", "-1"], "entropy must be finite and at least 0, but is -1"),
        (["--preset", "papr"], "preset must be one of fast, paper, but is 'papr'"),
        (["--learner.batch", "-3"], "learner.batch must be at least 1, but is -3"),
        (["--std", "0.3"], "std must be two numbers or none, but is (0.3,)"),
        (["--learner.trpo.momentum", "1"], "momentum must be at least 0 and below 1, but is 1.0"),
        (["--device", "quantum"], "device must be a torch device of this machine, but is 'quantum'"),
        (["--device", "meta"], "device must be a torch device of this machine, but is 'meta'"),
        (["--absorbing", "--env", "Humanoid-v5"], "no bundled demonstrations"),
        (["--env", "CartPol-v0"], "CartPole"),
        (["--resume", "nowhere"], "nowhere/config.json: expected a JSON file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    argv: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = [] if "--env" in argv or "--resume" in argv else ["--env", TASK]
    assert words in fails(gail.main, [*base, *argv])
    assert list(tmp_path.iterdir()) == []


def test_resuming_with_other_settings_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    gail.main(["--env", TASK, "--steps", "800", "--out", str(out), "--eval-every", "0", *SMALL])
    assert "seed must stay 0 as in the resumed run, but is 5" in fails(gail.main, ["--resume", str(out), "--seed", "5"])
    changed = fails(gail.main, ["--resume", str(out), "--learner.trpo.max-kl", "0.5"])
    assert "error: learner.trpo.max_kl must stay 0.04 as in the resumed run, but is 0.5" in changed
    assert "resume must be a run of expert" in fails(expert.main, ["--resume", str(out)])
    gail.main(["--resume", str(out), "--steps", "1200"])
    assert json.loads((out / "result.json").read_text())["env_steps"] == 1200


def test_a_run_that_goes_on_keeps_no_result_of_an_earlier_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "run"
    gail.main(["--env", TASK, "--steps", "800", "--out", str(out), "--eval-every", "0", *SMALL])
    closing = {name: (out / name).read_bytes() for name in ("result.json", "learning_curve.png")}
    monkeypatch.setattr(gail, "close", interrupted)  # Ctrl-C in the closing evaluation
    with pytest.raises(KeyboardInterrupt):
        gail.main(["--resume", str(out)])  # there was nothing left to train: the numbers hold
    assert {name: (out / name).read_bytes() for name in closing} == closing
    with pytest.raises(KeyboardInterrupt):
        gail.main(["--resume", str(out), "--steps", "1200"])
    assert Run(out).latest().iteration > 0 and not any((out / name).exists() for name in closing)


def test_resuming_where_nothing_can_be_written_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(**where: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    out = tmp_path / "run"
    Run.create(out, "gail", as_dict(GailConfig(env=TASK)))
    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    said = fails(gail.main, ["--resume", str(out)])
    assert f"resume must be a folder that can be written to, but {out}: Read-only file system" in said


def test_a_graphics_library_that_does_not_exist_is_one_line() -> None:
    """MuJoCo refuses to be imported, before the command has begun."""
    command = [sys.executable, "-m", "deep.gail", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MUJOCO_GL": "nonsense"})
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert "MUJOCO_GL must be egl, osmesa, glfw or not set" in ended.stderr and "nonsense" in ended.stderr


def test_cloning_command(tmp_path: Path) -> None:
    out = tmp_path / "run"
    bc.main(["--env", TASK, "--out", str(out), "--final-episodes", "4"])
    result = json.loads((out / "result.json").read_text())
    assert result["pairs"] == 20 and result["return_mean"] > result["random_return"]
    assert "out must be a new folder" in fails(bc.main, ["--env", TASK, "--out", str(out)])


def test_expert_command_learns_and_resumes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = ["--learner.simulators", "8", "--learner.batch", "400", "--threads", "1", "--checkpoint-every", "5"]
    expert.main(["--env", TASK, "--steps", "4000", "--out", str(out), *flags])
    expert.main(["--resume", str(out), "--steps", "8000"])
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [m["iteration"] for m in metrics] == list(range(1, 21))
    assert metrics[-1]["train_return"] > 2 * metrics[0]["train_return"]


def test_presets_are_defaults_that_flags_override() -> None:
    paper = gail_defaults("Hopper-v4", "paper")
    assert (paper.learner.batch, paper.steps, paper.learner.gamma) == (50_000, 25_000_000, 0.995)
    assert (paper.cost.lr, paper.cost.steps, paper.cost.entropy_bonus, paper.bc_init) == (0.01, 1, 1e-3, False)
    assert paper.learner.simulators * paper.learner.steps == 50_000
    assert gail_defaults("Humanoid-v4", "paper").steps == 75_000_000
    assert gail_defaults("MountainCar-v0", "paper").reward_form == "logd"
    assert gail_defaults("Reacher-v4", "paper").subsample == 1
    argv = ["--preset", "paper", "--env", "Hopper-v4", "--learner.batch", "1000", "--loss", "exponential"]
    found = parse(GailConfig, "gail", lambda given: gail_defaults(**given), argv).config
    expected = dataclasses.replace(paper, loss="exponential", learner=dataclasses.replace(paper.learner, batch=1000))
    assert found == expected


@pytest.mark.parametrize("task", FAST)
def test_the_fast_preset_says_what_differs_by_task(task: str) -> None:
    fast, config = FAST[task], gail_defaults(f"{task}-v4")
    learner, trust = config.learner, config.learner.trpo
    assert (config.steps, learner.batch, learner.kl_decay, learner.reuse) == (
        fast.steps, fast.batch, fast.kl_decay, fast.reuse,
    )  # fmt: skip
    assert (config.bc_weight, config.bc_decay) == (fast.bc_weight, fast.bc_decay)
    assert (config.std, config.std_hold) == (fast.std, fast.std_hold)
    assert (trust.momentum, trust.damping, trust.fisher_fraction) == (fast.momentum, fast.damping, fast.fisher)
    assert (trust.max_kl, learner.gae_lambda) == (fast.max_kl, fast.gae_lambda)
    assert config.cost.gradient_penalty == fast.penalty
    paper = protocol(task)
    assert config.steps <= 0.1 * paper.batch * paper.iterations  # what the evaluation promises


def test_configurations_survive_json_and_flags() -> None:
    config = gail_defaults("Hopper-v4", "paper")
    assert from_dict(GailConfig, json.loads(json.dumps(as_dict(config)))) == config
    flags = as_flags(config, gail_defaults("Hopper-v4", "fast"))
    assert "--no-bc-init" in flags and flags[flags.index("--learner.batch") + 1] == "50000"
    with pytest.raises(ValueError, match="typo is not a setting of ExpertConfig"):
        from_dict(ExpertConfig, {"typo": 1})


def test_evaluation_runs_every_episode_to_its_own_end() -> None:
    found = evaluate(TASK, lambda obs: (obs[:, 2] > 0).astype(np.int64), 30, 0, 1)
    assert found.lengths.shape == (30,) and len(set(found.lengths)) > 3
    np.testing.assert_array_equal(found.returns, found.lengths)  # CartPole pays one a step
    again = evaluate_random(TASK, 5, np.random.SeedSequence(1), 1)
    np.testing.assert_array_equal(again.returns, evaluate_random(TASK, 5, np.random.SeedSequence(1), 1).returns)


def test_steps_to_a_mark_needs_two_evaluations_in_a_row() -> None:
    metrics = [{"env_steps": 10 * i, "r": v} for i, v in enumerate([1, 9, 2, 9, 9, 1])] + [{"env_steps": 60}]
    assert steps_to(metrics, "r", 9.0) == 30
    assert steps_to(metrics, "r", 9.5) is None


def test_a_score_needs_an_expert_who_beats_random_actions() -> None:
    assert normalised(50.0, 0.0, 200.0) == 0.25 and normalised(-150.0, -200.0, -100.0) == 0.5
    assert normalised(1.0, 0.0, None) is None
    assert normalised(1.0, 0.0, 0.0) is None
    assert normalised(1.0, 0.0, -5.0) is None  # the scale would run from better to worse


def random_demonstrations(path: Path) -> Path:
    """Ten episodes of uniformly random actions."""
    rng = np.random.default_rng(0)
    simulator = envs.make(TASK, 10, 0, threads=1)
    data = demos.sample_episodes(lambda obs, g: g.integers(2, size=len(obs)), simulator, 10, rng)
    simulator.close()
    demos.save(path, data)
    return path


def final_return(**changes: object) -> float:
    """Mean return over 20 episodes after 20,000 steps of GAIL."""
    config = dataclasses.replace(gail_defaults(TASK, "fast"), eval_every=0, threads=1, steps=20_000, **changes)
    imitator = Imitator(config)
    while imitator.env_steps < config.steps:
        imitator.iterate()
    policy = imitator.averaged
    imitator.close()
    generator = torch.Generator().manual_seed(1)
    return evaluate(TASK, lambda obs: policy.act(obs, generator), 20, 3, 1).mean


def test_what_is_learnt_comes_from_the_demonstrations(tmp_path: Path) -> None:
    """CartPole pays for survival. Random demonstrations must not teach it, unless the reward's sign alone does."""
    path = random_demonstrations(tmp_path / "random.npz")
    random = {"demos": path, "subsample": 1, "trajectories": 10}
    # One trajectory, 20 pairs, would be too little for some seeds.
    assert final_return(reward_form="airl", trajectories=10) > 150
    assert final_return(reward_form="airl", **random) < 80
    # neglogd is positive at every step: whatever was demonstrated, staying alive pays. This is the survival bias.
    assert final_return(reward_form="neglogd", bc_init=False, bc_weight=0.0, **random) > 150


def test_the_policy_that_a_run_returns_is_the_average_of_its_path() -> None:
    learner = LearnerConfig(simulators=4, batch=80)
    imitator = Imitator(dataclasses.replace(gail_defaults(TASK), average=0.75, threads=1, learner=learner))
    expected = [p.detach().clone() for p in imitator.policy.parameters()]
    for share in (1, 1 / 2, 1 / 3, 1 / 4, 1 / 4):  # at first the mean of all, without the policy before training
        imitator.iterate()
        path = zip(expected, imitator.policy.parameters(), strict=True)
        expected = [(1 - share) * mean + share * last.detach() for mean, last in path]
    for found, mean, last in zip(imitator.averaged.parameters(), expected, imitator.policy.parameters(), strict=True):
        torch.testing.assert_close(found, mean)
        assert not torch.equal(found, last)
    imitator.close()
    last = Imitator(gail_defaults(TASK, "paper"))
    assert last.averaged is last.policy  # the published algorithm returns its last policy
    last.close()


@pytest.mark.parametrize("gamma", [0.9, 1.0])
def test_an_end_is_worth_the_absorbing_reward_for_the_rest_of_the_horizon(gamma: float) -> None:
    learner = LearnerConfig(simulators=4, batch=80, gamma=gamma)
    config = dataclasses.replace(gail_defaults(TASK), absorbing=True, bc_init=False, threads=1, learner=learner)
    imitator = Imitator(config)
    batch = imitator.learner.collect()
    assert batch.terminated.any()
    margins = imitator.margin(imitator.margin.rows(batch.flat("obs"), batch.flat("acts")))
    _, ends = imitator._rewards(batch, margins)
    after = float(imitator.player.reward(config.reward_form, imitator.margin(imitator.margin.end_row())).detach())
    left = imitator.spec.horizon - 1 - batch.elapsed[batch.terminated]
    np.testing.assert_allclose(ends, [after * sum(gamma**k for k in range(n)) for n in left], rtol=1e-6)
    imitator.close()


def test_the_experts_absorbing_share_is_that_of_the_episodes_before_they_are_thinned(tmp_path: Path) -> None:
    """Of an episode shorter than the factor one pair is kept, whatever its length: that must be taken before."""
    lengths, rng = np.array([3, 5, 4]), np.random.default_rng(0)
    n = int(lengths.sum())
    whole = demos.Demos(rng.normal(size=(n, 4)), rng.integers(2, size=n), lengths, terminated=np.ones(3, bool))
    demos.save(tmp_path / "short.npz", whole)
    config = dataclasses.replace(gail_defaults(TASK), demos=tmp_path / "short.npz", trajectories=3, subsample=20)
    imitator = Imitator(dataclasses.replace(config, absorbing=True, bc_init=False, threads=1))
    imitator.close()
    assert imitator.pairs.lengths.tolist() == [1, 1, 1]
    assert imitator.share == pytest.approx(1 - lengths.mean() / imitator.spec.horizon)
