"""Commands in odd places: folders that moved or hold leftovers, names with brackets, tasks with unusual limits."""

import contextlib
import dataclasses
import io
import json
import shutil
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
import torch
from command_lines import fails
from gymnasium.spaces import Box, Discrete
from rich.console import Console

import deep
from deep import bc, bundle, demos, envs, expert, export, gail, progress, watch
from deep.config import BcConfig, gail_defaults
from deep.demos import Demos
from deep.envs import EnvSpec
from deep.evaluate import UNBOUNDED, WIDEST, random_actions
from deep.evaluate import __main__ as evaluating
from deep.imitator import Imitator
from deep.nets import GaussianPolicy
from deep.pairs import absorbing_share
from deep.rollout import Collector
from deep.run import Run

TASK = "CartPole-v0"
LIGHT = ["--learner.simulators", "8", "--learner.batch", "400", "--final-episodes", "2", "--threads", "1"]
SMALL = ["--env", TASK, "--eval-every", "0", "--bc.epochs", "20", *LIGHT]


class Cut(gymnasium.Env):
    """Ends its own recordings after 20 steps, by truncation; its first action is 5."""

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Discrete(3, start=5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert 5 <= action < 8
        self.count += 1
        return np.zeros(2, np.float32), 1.0, False, self.count == 20, {}


@pytest.fixture
def cut():
    gymnasium.register("Cut-v0", entry_point=Cut, max_episode_steps=1000)
    gymnasium.register("Cut-v1", entry_point=Cut, max_episode_steps=10**9)
    yield
    for name in ("Cut-v0", "Cut-v1"):
        del gymnasium.registry[name]


def config(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())["config"]


def test_a_longer_run_stays_longer(tmp_path: Path) -> None:
    out = tmp_path / "run"
    gail.main([*SMALL, "--steps", "800", "--out", str(out)])
    gail.main(["--resume", str(out), "--steps", "1200"])
    assert config(out)["steps"] == 1200
    gail.main(["--resume", str(out)])
    result = json.loads((out / "result.json").read_text())
    assert result["env_steps"] == result["config"]["steps"] == 1200


def test_a_run_is_not_resumed_with_fewer_steps_than_it_has_taken(tmp_path: Path) -> None:
    """An iteration is 400 steps: with 401 and more a run ends at 800, with 400 it would have ended before."""
    small = ["--learner.simulators", "8", "--learner.batch", "400"]
    for main, flags in ((gail.main, SMALL), (expert.main, ["--env", TASK, "--threads", "1", *small])):
        out = tmp_path / main.__module__
        main([*flags, "--steps", "800", "--out", str(out)])
        said = fails(main, ["--resume", str(out), "--steps", "400"])
        assert said == "error: steps must be above 400, since the run has taken 800, but is 400"
        assert config(out)["steps"] == 800
        main(["--resume", str(out), "--steps", "401"])


def test_paths_with_brackets_and_colons_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "a[b][/b]:car:"
    bc.main(["--env", TASK, "--bc.epochs", "2", "--final-episodes", "2", "--out", str(out)])
    assert f"run folder: {out}" in capsys.readouterr().out


def test_ids_are_shown_as_they_are_while_a_run_goes_on() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, markup=False, emoji=False, width=200)
    lines = [{"iteration": 1, "env_steps": 10, "event": ""}]
    list(progress.show(iter(lines), "gail [b]tasks:car:Car-v0", 0, 10, screen))
    shown = screen.file.getvalue()
    assert "gail [b]tasks:car:Car-v0" in shown


def test_what_is_left_of_a_run_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    said = fails(gail.main, [*SMALL, "--steps", "400", "--out", str(tmp_path / "run")])
    assert "out must be a new folder" in said and "holds checkpoints of another run" in said
    (tmp_path / "file").write_text("")
    assert "is a file" in fails(gail.main, [*SMALL, "--steps", "400", "--out", str(tmp_path / "file")])
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_stage_goes_on_when_the_one_before_has_moved(tmp_path: Path) -> None:
    flags = ["--env", TASK, "--learner.simulators", "4", "--learner.batch", "80", "--threads", "1"]
    first, second = tmp_path / "first", tmp_path / "second"
    expert.main([*flags, "--steps", "80", "--out", str(first)])
    expert.main([*flags, "--steps", "80", "--init", str(first), "--out", str(second)])
    first.rename(tmp_path / "moved")
    expert.main(["--resume", str(second), "--steps", "160"])
    assert Run(second).metrics()[-1]["env_steps"] == 160


def test_a_stage_starts_from_experts_alone(tmp_path: Path) -> None:
    gail.main([*SMALL, "--steps", "400", "--out", str(tmp_path / "run")])
    said = fails(expert.main, ["--env", TASK, "--init", str(tmp_path / "run")])
    assert "init must be a run of expert, but" in said


@pytest.mark.parametrize("program", [bc.main, expert.main])
def test_a_flag_of_another_command_is_unknown(program: object) -> None:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()) as out:
        with pytest.raises(SystemExit) as stop:
            program(["--env", TASK, "--preset", "fast"])
    assert stop.value.code == 2, out.getvalue()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"env": "Hopper-v4"}, "expected the record of an expert of CartPole-v0, but it is one of 'Hopper-v4'"),
        ({"stochastic": 5}, "expected finite mean, std and length under stochastic"),
        ({"random": {}}, "expected finite mean, std and length under random"),
    ],
)
def test_the_record_of_another_expert_is_refused_before_a_run(record: dict, words: str, tmp_path: Path) -> None:
    shutil.copy(demos.bundled(TASK), tmp_path / "demos.npz")
    known = expert.recorded(TASK)
    (tmp_path / "expert.json").write_text(json.dumps(known | record))
    for program in (gail.main, bc.main):
        argv = ["--env", TASK, "--demos", str(tmp_path / "demos.npz"), "--out", str(tmp_path / "run")]
        assert words in fails(program, argv)
    assert not (tmp_path / "run").exists()


def test_an_expert_whose_random_return_is_unknown_has_no_score_in_the_display(tmp_path: Path) -> None:
    shutil.copy(demos.bundled(TASK), tmp_path / "demos.npz")
    known = expert.recorded(TASK) | {"random": None, "deterministic": None}
    (tmp_path / "expert.json").write_text(json.dumps(known))
    gail.main([*SMALL, "--steps", "400", "--demos", str(tmp_path / "demos.npz"), "--out", str(tmp_path / "run")])
    assert json.loads((tmp_path / "run" / "result.json").read_text())["expert_return"] == 200.0


def test_the_id_of_a_data_set_has_no_record_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "expert.json").write_text(json.dumps(expert.recorded(TASK)))
    assert expert.recorded(TASK, Path("some-dataset-v0")) is None


def test_the_cloning_term_follows_the_normaliser() -> None:
    learner = dataclasses.replace(gail_defaults("Hopper-v4").learner, simulators=4, batch=80, update_normaliser=True)
    imitator = Imitator(dataclasses.replace(gail_defaults("Hopper-v4"), learner=learner, bc_init=False, threads=1))
    for _ in range(2):
        imitator.iterate()
    policy, pairs = imitator.policy, imitator.pairs
    found = imitator._cloning_term()(policy)
    likelihood = policy(policy.normaliser(pairs.obs)).log_prob(policy.encode(pairs.acts)).mean()
    torch.testing.assert_close(found, imitator.cloning_weight / 3 * likelihood)
    imitator.close()


def test_random_actions_fill_every_kind_of_bounds() -> None:
    low = np.array([0.0, 2000.0, 2000.0, -np.inf, -np.inf, -3.4e38])
    high = np.array([5000.0, 5000.0, np.inf, -7.0, np.inf, 3.4e38])
    assert (high[-1] > UNBOUNDED) and WIDEST == 1e3
    spec = EnvSpec("x", 1, False, 6, low, high, 10, native=False)
    acts = random_actions(spec)(np.zeros((4000, 1)), np.random.default_rng(0))
    ends = np.array([(0, 5000), (2000, 5000), (2000, 4000), (-2007, -7), (-1000, 1000), (-1000, 1000)])
    assert (acts >= ends[:, 0]).all() and (acts <= ends[:, 1]).all()
    # 4,000 uniform draws come within 1 % of either end but for a chance of 1e-17.
    span = ends[:, 1] - ends[:, 0]
    assert (acts.min(0) < ends[:, 0] + 0.01 * span).all() and (acts.max(0) > ends[:, 1] - 0.01 * span).all()


def test_episodes_that_a_task_cuts_itself_are_counted(cut: None) -> None:
    simulator = envs.make("Cut-v0", 4, 0, stagger=True)
    collector = Collector(simulator, torch.Generator())

    class Fives:
        def act(self, obs: np.ndarray, generator: torch.Generator) -> np.ndarray:
            return np.zeros(len(obs), np.int64)

    batch = collector.collect(Fives(), 40)
    assert batch.returns.tolist() == [20.0] * 8 and not batch.terminated.any()
    simulator.close()


def test_a_time_limit_that_is_never_reached_takes_no_memory(cut: None) -> None:
    one, other = (envs.make("Cut-v1", 2, 0) for _ in range(2))
    one.reset(), other.reset()
    acts = np.random.default_rng(0).integers(3, size=(70, 2))
    for act in acts:
        one.step(act)
    assert one._played.shape[1] < 200
    other.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(other.elapsed, one.elapsed)
    assert one.limit.tolist() == [10**9] * 2
    one.close(), other.close()


def test_actions_of_a_minari_data_set_count_from_the_tasks_first(cut: None, tmp_path: Path) -> None:
    made = Demos(np.zeros((4, 2)), np.array([0, 2, 1, 0]), np.array([4]), metadata={"env": "Cut-v0"})
    demos.save(tmp_path / "cut-v0", made, "minari")
    stored = json.loads((tmp_path / "cut-v0" / "data" / "metadata.json").read_text())
    assert json.loads(stored["action_space"]) == {"type": "Discrete", "dtype": "int64", "start": 5, "n": 3}
    np.testing.assert_array_equal(demos.load(tmp_path / "cut-v0").acts, made.acts)
    path = tmp_path / "cut-v0" / "data" / "main_data.hdf5"
    with h5py.File(path, "r+") as file:  # as an environment of few actions may number them, with a start below zero
        del file["episode_0/actions"]
        file["episode_0/actions"] = np.array([0, 2, 1, 0], np.uint8)
    stored["action_space"] = json.dumps({"type": "Discrete", "dtype": "int64", "start": -1, "n": 4})
    (tmp_path / "cut-v0" / "data" / "metadata.json").write_text(json.dumps(stored))
    np.testing.assert_array_equal(demos.load(tmp_path / "cut-v0").acts, made.acts + 1)
    wrong = dataclasses.replace(made, acts=made.acts + 5)
    with pytest.raises(ValueError, match=r"acts\[0\] must be in 0..2 for Cut-v0 \(the task's own numbers less 5"):
        demos.check(wrong, EnvSpec("Cut-v0", 2, True, 3, None, None, 10, native=False, act_start=5))


def test_one_pair_at_least_is_learned_from() -> None:
    pairs = Demos(np.zeros((4, 2)), np.ones((4, 1)), np.array([4]))
    spec = EnvSpec("box", 2, False, 1, -np.ones(1), np.ones(1), 100, native=False)
    policy, info = bc.clone(spec, pairs, (8,), BcConfig(epochs=5, validation=0.9), np.random.SeedSequence(0))
    assert isinstance(policy, GaussianPolicy) and np.isfinite(info.train_loss)


def test_the_absorbing_share_of_thinned_pairs_needs_their_times() -> None:
    spec = EnvSpec("x", 1, True, 2, None, None, 100, native=False)
    thin = Demos(np.zeros((3, 1)), np.zeros(3, int), np.array([3]), terminated=[True], metadata={"subsample": 5})
    with pytest.raises(ValueError, match="absorbing must be off for demonstrations that keep every 5-th pair"):
        absorbing_share(thin, spec)


@pytest.mark.parametrize(
    ("program", "argv", "words"),
    [
        (lambda argv: watch.watch(watch.Request(Path(argv[0])), Console()), ["nope"], "nope/config.json: expected"),
        (evaluating.main, ["nope", "--seed", "-1"], "seed must be at least 0, but is -1"),
        (lambda argv: export.export(export.Request(Path("x"), out=Path(argv[0])), Console()), ["no/x"], "no does not"),
        (lambda argv: bundle.bundle(bundle.Bundle(Path(argv[0]), episodes=0), Console()), ["x"], "episodes must be"),
        (lambda argv: watch.watch(watch.Request(Path("x"), fps=float(argv[0])), Console()), ["nan"], "fps must be"),
    ],
)
def test_errors_name_the_argument_that_is_at_fault(program: object, argv: list[str], words: str) -> None:
    assert words in fails(program, argv)


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(ValueError, match="expected a JSON file, but there is none"):
        deep.load(tmp_path / "result.json")
