"""Policies for other programs: the policy that a run reports, driven by Gymnasium's own make, in every format."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import onnxruntime
import pytest
import torch
from rich.console import Console
from safetensors import safe_open

import deep
from deep import bc, envs, expert, export, files, gail, run
from deep.config import gail_defaults
from deep.envs.quiet import old_tasks
from deep.evaluate import evaluate
from deep.exported import Exported
from deep.imitator import Imitator
from deep.nets import GaussianPolicy
from deep.result import CLOSING, children

DATA = Path(deep.__file__).parent / "data"
TASK = "CartPole-v0"
SMALL = ["--learner.simulators", "8", "--learner.batch", "400", "--threads", "1"]
SHORT = ["--final-episodes", "4", "--eval-every", "0", "--bc.epochs", "30"]
ROUNDING = 1e-5  # of an action: 1e-7 of float32, through three layers
ULP = np.finfo(float).eps


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of each kind on CartPole."""
    out = tmp_path_factory.mktemp("runs")
    gail.main(["--env", TASK, "--steps", "800", "--out", str(out / "gail"), *SMALL, *SHORT])
    expert.main(["--env", TASK, "--steps", "400", "--out", str(out / "expert"), *SMALL])
    bc.main(["--env", TASK, "--out", str(out / "bc"), "--final-episodes", "4", "--bc.epochs", "30"])
    return out


def drive(env: gymnasium.Env, act: Callable[[np.ndarray], np.ndarray], obs: np.ndarray) -> float:
    """The return of the episode that begins at obs."""
    total, over = 0.0, False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(act(obs))
        total, over = total + float(reward), terminated or truncated
    return total


def in_units(source: str, **more: bool) -> Exported:
    """A bundled expert whose actions are expressed in units, as those of an imitator are."""
    policy = deep.load(DATA / source, **more)
    if isinstance(policy.policy, GaussianPolicy):
        policy.policy.act_mean += torch.linspace(-0.2, 0.3, policy.spec.act_dim, dtype=torch.float64)
        policy.policy.act_std *= torch.linspace(0.5, 2.0, policy.spec.act_dim, dtype=torch.float64)
    return policy


def make(env_id: str) -> gymnasium.Env:
    with old_tasks():
        return gymnasium.make(env_id)


@pytest.mark.parametrize("kind", ["gail", "bc"])
def test_a_run_gets_its_reported_return_from_gymnasium(folder: Path, kind: str) -> None:
    """The same initial states, and numbers that are the same to the last bit: the returns are equal."""
    policy = deep.load(folder / kind)
    result = json.loads((folder / kind / "result.json").read_text())
    states, _ = children(np.random.SeedSequence([result["seed"], CLOSING]))
    simulator = envs.make(TASK, result["episodes"], int(states.generate_state(1)[0]))
    simulator.reset()
    env, returns = make(TASK), []
    for seed in simulator.state_dict()["seeds"]:
        returns.append(drive(env, policy.act, env.reset(seed=int(seed))[0]))
    assert np.mean(returns) == result["return_deterministic_mean"]


def test_the_policy_of_a_run_is_the_averaged_one(folder: Path) -> None:
    checkpoint = run.Run(folder / "gail").latest()
    config = files.read_json(folder / "gail" / "config.json")["config"]
    assert config["average"] == gail_defaults(TASK).average > 0
    obs = np.random.default_rng(0).normal(size=(50, 4))
    policy = deep.load(folder / "gail").policy
    with torch.no_grad():
        found = policy(policy.normaliser(obs)).logp
        policy.load_state_dict(
            {k.removeprefix("averaged."): v for k, v in checkpoint.tensors.items() if "averaged" in k}
        )
        assert torch.equal(found, policy(policy.normaliser(obs)).logp)
        last = {k.removeprefix("learner.policy."): v for k, v in checkpoint.tensors.items() if "learner.policy." in k}
        policy.load_state_dict(last)
        assert not torch.equal(found, policy(policy.normaliser(obs)).logp)


def test_the_command_writes_into_the_run_folder_by_default(folder: Path) -> None:
    path = export.export(export.Request(folder / "bc", "safetensors"), Console(file=io.StringIO()))
    assert path == folder / "bc" / "exported.safetensors" and path.exists()


def test_without_an_average_it_is_the_last_one(tmp_path: Path) -> None:
    out = tmp_path / "run"
    gail.main(["--env", TASK, "--steps", "400", "--average", "0", "--no-bc-init", "--out", str(out), *SMALL, *SHORT])
    config = gail.parse(gail.GailConfig, "gail", lambda given: gail_defaults(**given), ["--resume", str(out)]).config
    imitator = Imitator(config)
    imitator.load_state_dict(run.Run(out).latest().tensors)
    obs = np.random.default_rng(0).normal(size=(50, 4))
    assert np.array_equal(deep.load(out).act(obs), imitator.policy.act(obs))
    imitator.close()


def test_native_evaluation_and_gymnasium_agree_on_mujoco() -> None:
    policy, env = deep.load(DATA / "Hopper-v4"), make("Hopper-v4")
    # One simulator: a product of matrices of another height rounds otherwise, and trajectories part.
    expected = evaluate("Hopper-v4", policy.act, 1, 3, 1).returns[0]
    simulator = envs.make("Hopper-v4", 1, 3)
    simulator.reset()
    env.reset()
    base = env.unwrapped
    wanted = mujoco.MjData(base.model)
    mujoco.mj_setState(base.model, wanted, simulator.state_dict()["physics"][0], mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_resetData(base.model, base.data)
    base.set_state(wanted.qpos.copy(), wanted.qvel.copy())
    # Each reward agrees to 2 ulp, and 1000 of them are summed.
    assert abs(drive(env, policy.act, base._get_obs()) - expected) <= 1000 * 2 * ULP * expected


def programs(policy: Exported, folder: Path) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Batched functions of float32 observations, from the files of every format."""
    (folder / "p.pt2").write_bytes(export.as_torch(policy)[0])
    (folder / "p.onnx").write_bytes(export.as_onnx(policy)[0])
    module = torch.export.load(folder / "p.pt2").module()
    session = onnxruntime.InferenceSession(folder / "p.onnx", providers=["CPUExecutionProvider"])
    return {
        "torch": lambda obs: module(torch.from_numpy(obs)).detach().numpy(),
        "onnx": lambda obs: session.run(["action"], {"obs": obs})[0],
    }


def test_every_format_gets_the_reported_return(tmp_path: Path) -> None:
    """Float32 actions leave the trajectory of the float64 ones, so returns agree in distribution: the deterministic
    Hopper's returns deviate by 6 of 3,747, and 6 of those leave a false alarm in 10^8."""
    policy = deep.load(DATA / "Hopper-v4")
    recorded = json.loads((DATA / "Hopper-v4" / "expert.json").read_text())["deterministic"]
    env = make("Hopper-v4")
    for seed, (name, act) in enumerate(programs(policy, tmp_path).items()):
        found = drive(env, lambda obs, act=act: act(obs[None].astype(np.float32))[0], env.reset(seed=seed)[0])
        assert abs(found - recorded["mean"]) <= 6 * recorded["std"], name
    found = drive(env, lambda obs: policy.predict(obs, deterministic=True)[0], env.reset(seed=9)[0])
    assert abs(found - recorded["mean"]) <= 6 * recorded["std"]


@pytest.mark.parametrize("source", ["Walker2d-v4", "CartPole-v0"])
def test_programs_take_any_batch_and_act_like_the_policy(source: str, tmp_path: Path) -> None:
    policy = in_units(source)
    norm, rng = policy.policy.normaliser, np.random.default_rng(1)
    for act in programs(policy, tmp_path).values():
        for n in (1, 2, 33):
            obs = (norm.mean.numpy() + 3 * norm.std * rng.normal(size=(n, policy.spec.obs_dim))).astype(np.float32)
            expected, found = policy.act(obs), act(obs)
            assert found.shape == expected.shape and found.dtype == policy.spec.act_dtype
            assert np.abs(found - expected).max() <= ROUNDING * max(1, np.abs(expected).max())


def test_clipping_is_for_those_who_ask(tmp_path: Path) -> None:
    free, clipped = in_units("Walker2d-v4"), in_units("Walker2d-v4", clip=True)
    norm = free.policy.normaliser
    obs = (norm.mean.numpy() + 5 * norm.std * np.random.default_rng(0).normal(size=(40, 17))).astype(np.float32)
    expected = np.clip(free.act(obs), -1, 1)
    assert np.abs(free.act(obs)).max() > 1 and np.array_equal(clipped.act(obs), expected)
    for act in programs(clipped, tmp_path).values():
        assert np.abs(act(obs) - expected).max() <= ROUNDING


def test_actions_are_numbered_as_the_environment_numbers_them(folder: Path, tmp_path: Path) -> None:
    policy = deep.load(folder / "expert")
    shifted = dataclasses.replace(policy, spec=dataclasses.replace(policy.spec, act_start=7))
    obs = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    assert set(policy.act(obs)) <= {0, 1} and np.array_equal(shifted.act(obs), policy.act(obs) + 7)
    for act in programs(shifted, tmp_path).values():
        assert np.array_equal(act(obs), shifted.act(obs))


def test_predict_is_what_stable_baselines_expects(folder: Path) -> None:
    policy = deep.load(folder / "gail")
    obs = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    actions, state = policy.predict(obs, deterministic=True)
    assert state is None and actions.dtype == np.int64 and np.array_equal(actions, policy.act(obs))
    assert policy.predict(obs[0], state=("kept",), episode_start=np.array([True]))[1] == ("kept",)
    assert policy.predict(obs[0], deterministic=True)[0] == actions[0]


def test_stochastic_actions_come_from_the_seed_and_are_the_default_of_predict() -> None:
    obs = deep.load(DATA / "Hopper-v4").policy.normaliser.mean.numpy()
    one, two = (deep.load(DATA / "Hopper-v4", seed=3) for _ in range(2))
    drawn = [one.predict(obs)[0] for _ in range(2)]
    assert drawn[0].dtype == np.float32 and not np.array_equal(*drawn)
    assert all(np.array_equal(two.act(obs, deterministic=False).astype(np.float32), d) for d in drawn)
    assert not np.array_equal(deep.load(DATA / "Hopper-v4", seed=4).predict(obs)[0], drawn[0])


def test_stable_baselines_evaluates_it() -> None:
    from stable_baselines3.common.evaluation import evaluate_policy

    mean, _ = evaluate_policy(deep.load(DATA / TASK), make(TASK), n_eval_episodes=2, deterministic=True, warn=False)
    assert mean == 200.0


def test_safetensors_hold_the_numbers_of_the_formula(tmp_path: Path) -> None:
    policy, path = in_units("Hopper-v4"), tmp_path / "p.safetensors"
    path.write_bytes(export.as_safetensors(policy)[0])
    with safe_open(path, "numpy") as file:
        n = {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}
        meta = file.metadata()
    assert meta["env"] == "Hopper-v4" and json.loads(meta["act_dim"]) == 3 and "log_std" in n
    obs = policy.policy.normaliser.mean.numpy() + np.random.default_rng(0).normal(size=(9, 11))
    x = np.clip((obs - n["mean"]) * n["scale"], -10, 10)
    for i in (0, 2):
        x = np.tanh(x @ n[f"net.{i}.weight"].T + n[f"net.{i}.bias"])
    found = (x @ n["net.4.weight"].T + n["net.4.bias"]) * n["act_std"] + n["act_mean"]
    assert np.abs(found - policy.act(obs)).max() <= ROUNDING
