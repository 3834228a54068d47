"""Tasks of other packages: ids that name one, its own time limits, and what is refused with a line that helps."""

import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from deep import envs, expert, run

PACKAGE = '''
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.wrappers import TimeLimit


class Drift(gymnasium.Env):
    """A point that the action pushes, for ever."""

    def __init__(self, space=None):
        self.observation_space = space or Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.normal(size=2)
        return self.at.copy(), {}

    def step(self, action):
        self.at = self.at + np.asarray(action, dtype=np.float64)
        return self.at.copy(), -float(np.abs(self.at).sum()), False, False, {}


def limited(steps):
    return TimeLimit(Drift(), steps)


register = gymnasium.register
register("Drift-v0", entry_point="drifting_tasks:Drift", max_episode_steps=7)
register("drifting/Drift-v1", entry_point="drifting_tasks:Drift", max_episode_steps=7)
register("DriftWrapped-v0", entry_point="drifting_tasks:limited", kwargs={"steps": 5})
register("DriftTwice-v0", entry_point="drifting_tasks:limited", kwargs={"steps": 9}, max_episode_steps=4)
register(
    "DriftListed-v0",
    entry_point="drifting_tasks:Drift",
    additional_wrappers=(TimeLimit.wrapper_spec(max_episode_steps=6),),
)
register("DriftForEver-v0", entry_point="drifting_tasks:Drift")
register(
    "DriftDict-v0",
    entry_point="drifting_tasks:Drift",
    max_episode_steps=7,
    kwargs={"space": Dict(where=Box(-1, 1, (2,)), seen=Box(0, 255, (64, 64, 3), np.uint8))},
)
register(
    "DriftImage-v0",
    entry_point="drifting_tasks:Drift",
    max_episode_steps=7,
    kwargs={"space": Box(np.zeros((9, 9, 3), np.uint8), np.arange(243, dtype=np.uint8).reshape(9, 9, 3))},
)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package on the path that nobody has imported yet; forgotten with its tasks afterwards."""
    (tmp_path / "drifting_tasks.py").write_text(PACKAGE)
    (tmp_path / "broken_tasks.py").write_text("raise RuntimeError('no licence\\nfor you')")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(gymnasium.registry)
    yield "drifting_tasks"
    for env_id in set(gymnasium.registry) - before:
        del gymnasium.registry[env_id]
    sys.modules.pop("drifting_tasks", None)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("Drift-v0", 7),
        ("drifting/Drift-v1", 7),
        ("DriftWrapped-v0", 5),
        ("DriftTwice-v0", 4),
        ("DriftListed-v0", 6),
    ],
)
def test_a_package_is_imported_and_its_time_limits_hold(package: str, name: str, limit: int) -> None:
    env_id = f"{package}:{name}"
    with pytest.raises(ValueError, match="must be a registered Gymnasium id"):
        envs.make(name, 1, seed=0)
    sim = envs.make(env_id, 2, seed=0)
    assert (sim.spec.id, sim.spec.horizon, sim.spec.native, sim.spec.discrete) == (env_id, limit, False, False)
    sim.reset()
    ends = [sim.step(np.zeros((2, 2))) for _ in range(2 * limit)]
    assert [i for i, s in enumerate(ends) if s.truncated.all()] == [limit - 1, 2 * limit - 1]
    assert not any(s.terminated.any() for s in ends)


def test_a_run_trains_on_a_task_of_a_package(package: str, tmp_path: Path) -> None:
    env_id, out = f"{package}:Drift-v0", tmp_path / "run"
    flags = ["--learner.simulators", "2", "--learner.batch", "28", "--out", str(out)]
    expert.main(["--env", env_id, "--steps", "56", *flags])
    with pytest.raises(
        ValueError, match=f"env must be given anew, --env {env_id}, because .* asks to import a package"
    ):
        expert.main(["--resume", str(out), "--steps", "112"])
    advice = f"--resume {out} --env {env_id}"
    assert str(run.Interrupted(out)) == f"interrupted; continue with {advice}"
    with pytest.raises(ValueError, match=f"holds a run; continue it with {advice}"):
        expert.main(["--env", env_id, "--steps", "56", *flags])
    expert.main([*advice.split(), "--steps", "112"])
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_run_of_a_package_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.new_folder("gail-drifting_tasks:drifting/Drift-v1-s0") == Path(
        "runs/gail-drifting_tasks_drifting_Drift-v1-s0"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("drifting_tasks:DriftForEver-v0", "must be registered with max_episode_steps or wrapped in a TimeLimit"),
        ("drifting_tasks:DriftDict-v0", r"flat Box of observations, but has Dict\(.*FlattenObservation makes one of"),
        ("drifting_tasks:DriftImage-v0", r"flat Box of observations, but has Box\(.*images need a net"),
        ("drifting_tasks:Drif-v0", r"registered Gymnasium id, but is 'Drif-v0' \(did you mean Drift-v0"),
        ("broken_tasks:Any-v0", "package that can be imported, but broken_tasks fails: RuntimeError: no licence for"),
    ],
)
def test_what_does_not_run_is_refused_in_a_line(package: str, name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        envs.make(name, 1, seed=0)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_native_id_registered_anew_is_what_it_says() -> None:
    """Nobody's own Hopper is replaced by Gymnasium's."""
    shipped = gymnasium.registry["Hopper-v4"]
    assert envs.make("Hopper-v4", 1, seed=0).spec.native
    try:
        del gymnasium.registry["Hopper-v4"]
        kwargs = {"healthy_reward": 5.0}
        gymnasium.register("Hopper-v4", entry_point=shipped.entry_point, max_episode_steps=3, kwargs=kwargs)
        sim = envs.make("Hopper-v4", 1, seed=0)
        assert not sim.spec.native and sim.spec.horizon == 3
        sim.reset()
        assert sim.step(np.zeros((1, 3))).reward[0] > 4.0
    finally:
        gymnasium.registry["Hopper-v4"] = shipped


def test_native_tasks_may_be_named_with_a_package() -> None:
    sim = envs.make("gymnasium.envs.mujoco:Hopper-v5", 1, seed=0)
    assert sim.spec.native and sim.spec.id == "gymnasium.envs.mujoco:Hopper-v5"
