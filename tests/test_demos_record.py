"""`python -m deep.demos record` and `export`: policies of experts, runs and Stable-Baselines3, and conversion."""

import io
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deep import envs, provenance
from deep.config import ExpertConfig, LearnerConfig
from deep.config_values import as_dict
from deep.demos import DemoError, __main__, bundled, load, sb3
from deep.envs import EnvSpec
from deep.expert import Expert
from deep.run import Run

BOX = EnvSpec("Box-v0", 3, False, 2, np.array([-2.0, -1.0]), np.array([2.0, 3.0]), 9, False)
COUNTED = EnvSpec("CartPole-v1", 4, True, 2, None, None, 500, False)
FLOAT32 = 1e-5  # two programs round float32 differently, by some units of 6e-8 of numbers below 10


def main(*args: object) -> None:
    __main__.main([str(a) for a in args])


def test_sampling_is_recording_from_the_bundled_expert(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main("sample", "--env", "CartPole-v0", "--trajectories", 2, "--out", tmp_path / "a.npz")
    main("record", "CartPole-v0", "--trajectories", 2, "--out", tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    main("record", "CartPole-v0", "--trajectories", 1, "--deterministic", "--format", "hdf5", "--out", tmp_path / "c")
    found = load(tmp_path / "c")
    assert found.metadata["source"] == "bundled expert, deterministic" and found.last_obs.shape == (1, 4)
    assert "demonstrations" in capsys.readouterr().out


def test_a_run_gives_its_own_policy(tmp_path: Path) -> None:
    config = ExpertConfig(env="CartPole-v0", learner=LearnerConfig(simulators=2, batch=100), steps=100)
    expert = Expert(config)
    expert.iterate()
    record = Run.create(tmp_path / "run", "expert", as_dict(config))
    record.save(expert)
    for path in (tmp_path / "a.npz", tmp_path / "b.npz"):
        main("record", tmp_path / "run", "--trajectories", 3, "--deterministic", "--subsample", 2, "--out", path)
    found = load(tmp_path / "a.npz")
    assert found.metadata["source"] == "run of expert, deterministic" and found.metadata["subsample"] == 2
    assert np.array_equal(found.acts, expert.learner.policy.act(found.obs, None))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with pytest.raises(ValueError, match=r"env must be CartPole-v0, the task of .*, but is Hopper-v4"):
        main("record", tmp_path / "run", "--env", "Hopper-v4", "--trajectories", 1)
    expert.learner.close()


@pytest.mark.parametrize("form", ["npz", "hdf5", "trajs", "minari", "imitation"])
def test_bundled_demonstrations_go_out_and_come_back(tmp_path: Path, form: str) -> None:
    main("export", "Hopper-v4", "--format", form, "--out", tmp_path / "new" / "hopper-v0")
    main("export", tmp_path / "new" / "hopper-v0", "--format", "npz", "--out", tmp_path / "back.npz")
    before, after = load(bundled("Hopper-v4")), load(tmp_path / "back.npz")
    assert after.metadata == before.metadata and after.metadata["subsample"] == 20
    for name in ("obs", "acts", "lengths", "rewards", "terminated", "time"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name
    assert after.last_obs is None


def linear(rng: np.random.Generator, names: str, *sizes: int) -> dict[str, torch.Tensor]:
    """Layers as SB3 names them; {} in `names` counts by two, activations in between."""
    found = {}
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        found[names.format(2 * i) + ".weight"] = torch.tensor(rng.normal(size=(b, a)), dtype=torch.float32)
        found[names.format(2 * i) + ".bias"] = torch.tensor(rng.normal(size=b), dtype=torch.float32)
    return found


def saved(path: Path, tensors: dict[str, Any], **data: object) -> Path:
    """A zip with what the reader takes from one of Stable-Baselines3."""
    content = {"policy_class": {"__module__": "stable_baselines3.common.policies"}, "policy_kwargs": {}} | data
    pth = io.BytesIO()
    torch.save(tensors, pth)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(content))
        archive.writestr("policy.pth", pth.getvalue())
    return path


def plain(kind: str) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(1)
    body = linear(rng, "mlp_extractor.policy_net.{}", 3, 5, 5) | linear(rng, "mlp_extractor.value_net.{}", 3, 5, 5)
    return {
        "gaussian": body | linear(rng, "action_net", 5, 2) | {"log_std": torch.tensor([-9.0, 0.5])},
        "squashed": linear(rng, "actor.latent_pi.{}", 3, 5, 5)
        | linear(rng, "actor.mu", 5, 2)
        | linear(rng, "actor.log_std", 5, 2),
        "tanh": linear(rng, "actor.mu.{}", 3, 5, 2) | linear(rng, "actor_target.mu.{}", 3, 5, 2),
    }[kind]


def test_actions_are_those_of_the_formulas(tmp_path: Path) -> None:
    """Against torch modules put together by hand, at states large enough to clip and to saturate."""
    obs = np.random.default_rng(2).normal(size=(50, 3)) * 3
    x = torch.tensor(obs, dtype=torch.float32)
    low, high = torch.tensor(BOX.act_low), torch.tensor(BOX.act_high)

    def body(tensors: dict, name: str, last: str, activation: Any) -> torch.Tensor:
        h = x
        for i in (0, 2):
            h = activation(h @ tensors[f"{name}.{i}.weight"].T + tensors[f"{name}.{i}.bias"])
        return h @ tensors[f"{last}.weight"].T + tensors[f"{last}.bias"]

    t = plain("gaussian")
    mean = body(t, "mlp_extractor.policy_net", "action_net", torch.tanh).double()
    found = sb3.load_policy(saved(tmp_path / "a.zip", t), BOX).act(obs, None)
    assert np.abs(found - mean.clamp(low, high).numpy()).max() < FLOAT32 and (found == 2.0).any()
    relu = "<class 'torch.nn.modules.activation.ReLU'>"
    mean = body(t, "mlp_extractor.policy_net", "action_net", torch.relu).double()
    policy = sb3.load_policy(saved(tmp_path / "b.zip", t, policy_kwargs={"activation_fn": relu, "net_arch": [5]}), BOX)
    assert np.abs(policy.act(obs, None) - mean.clamp(low, high).numpy()).max() < FLOAT32
    t = plain("squashed")
    mean = torch.tanh(body(t, "actor.latent_pi", "actor.mu", torch.relu).double())
    policy = sb3.load_policy(saved(tmp_path / "c.zip", t), BOX)
    assert np.abs(policy.act(obs, None) - (low + (mean + 1) / 2 * (high - low)).numpy()).max() < FLOAT32
    sampled = policy.act(obs, torch.Generator().manual_seed(0))
    again = policy.act(obs, torch.Generator().manual_seed(0))
    assert np.array_equal(sampled, again) and not np.allclose(sampled, policy.act(obs, None))
    assert (sampled >= BOX.act_low).all() and (sampled <= BOX.act_high).all()
    t = plain("tanh")
    h = (
        torch.relu(x @ t["actor.mu.0.weight"].T + t["actor.mu.0.bias"]) @ t["actor.mu.2.weight"].T
        + t["actor.mu.2.bias"]
    )
    found = sb3.load_policy(saved(tmp_path / "d.zip", t), BOX).act(obs, None)
    assert np.abs(found - (low + (torch.tanh(h.double()) + 1) / 2 * (high - low)).numpy()).max() < FLOAT32


def test_samples_have_the_distribution_of_the_policy(tmp_path: Path) -> None:
    """Means and deviations of 20,000 draws, within five standard errors."""
    n = 20_000
    generator = torch.Generator().manual_seed(3)
    wide = EnvSpec("Box-v0", 3, False, 2, np.full(2, -1e9), np.full(2, 1e9), 9, False)
    policy = sb3.load_policy(saved(tmp_path / "a.zip", plain("gaussian")), wide)
    obs = np.repeat(np.ones((1, 3)), n, axis=0)
    acts, std = policy.act(obs, generator), np.exp([-9.0, 0.5])
    assert (np.abs(acts.mean(0) - policy.act(obs[:1], None)[0]) < 5 * std / n**0.5).all()
    assert (np.abs(acts.std(0) / std - 1) < 5 / (2 * n) ** 0.5).all()
    rng = np.random.default_rng(4)
    t = linear(rng, "mlp_extractor.policy_net.{}", 4, 3) | linear(rng, "action_net", 3, 2)
    policy = sb3.load_policy(saved(tmp_path / "b.zip", t), COUNTED)
    obs = np.ones((n, 4))
    h = torch.tanh(torch.ones(4) @ t["mlp_extractor.policy_net.0.weight"].T + t["mlp_extractor.policy_net.0.bias"])
    p = float(torch.softmax(h @ t["action_net.weight"].T + t["action_net.bias"], -1)[1])
    assert abs(policy.act(obs, generator).mean() - p) < 5 * (p * (1 - p) / n) ** 0.5
    assert (policy.act(obs, None) == (p > 0.5)).all()


REFUSED = [
    ({"policy_kwargs": {"features_extractor_class": "x"}}, {}, "policy_kwargs must be among"),
    ({"policy_kwargs": {"activation_fn": "<class 'mine.Own'>"}}, {}, "activation_fn must be one of Tanh, ReLU"),
    ({"use_sde": True}, {}, "use_sde must be off, but is on"),
    ({"policy_class": {"__module__": "mine"}}, {}, "policy_class must be one of Stable-Baselines3, but is of 'mine'"),
    ({}, {"features_extractor.cnn.weight": torch.ones(1)}, "policy must have plain layers alone, but has features_ext"),
    ({}, {"log_std": torch.ones(3)}, "log_std must be finite, of shape [2], but is not"),
    ({}, {"action_net.bias": torch.tensor([1.0, float("nan")])}, "action_net.bias must be finite, but is not"),
    ({}, {"action_net.weight": torch.ones(3, 5)}, "layer 2 must take 5 numbers for Box-v0, but has shapes"),
    ({}, {"mlp_extractor.policy_net.0.weight": torch.ones(5, 4)}, "layer 0 must take 3 numbers for Box-v0, but has"),
    ({}, {"action_net.weight": torch.ones(1).expand(10**9, 5)}, "action_net.weight must be an array that the file"),
    ({}, {"mlp_extractor.policy_net.0.bias": [1]}, "policy.pth must be a dict of tensors, but is not"),
]


@pytest.mark.parametrize(("data", "tensors", "words"), REFUSED, ids=[words[:40] for *_, words in REFUSED])
def test_what_tensors_alone_do_not_say_is_refused(tmp_path: Path, data: dict, tensors: dict, words: str) -> None:
    path = saved(tmp_path / "x.zip", plain("gaussian") | tensors, **data)
    with pytest.raises(DemoError) as error:
        sb3.load_policy(path, BOX)
    assert str(error.value).startswith(f"{path}: {words}") and "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore")  # of Stable-Baselines3
@pytest.mark.parametrize("name", ["PPO", "SAC", "TD3", "DQN"])
def test_policies_of_stable_baselines3_act_as_its_predict(tmp_path: Path, name: str) -> None:
    import stable_baselines3

    env = "CartPole-v1" if name == "DQN" else "Pendulum-v1"
    sizes = {"policy_kwargs": {"net_arch": [8, 8]}} | ({} if name == "PPO" else {"buffer_size": 10})
    model = getattr(stable_baselines3, name)("MlpPolicy", env, seed=0, device="cpu", **sizes)
    model.save(tmp_path / "model.zip")
    simulator = envs.make(env, 1, 0)
    simulator.close()
    obs = np.random.default_rng(0).normal(size=(500, simulator.spec.obs_dim)).astype(np.float32)
    theirs = model.predict(obs, deterministic=True)[0]
    plain, trusted = (
        sb3.load_policy(tmp_path / "model.zip", simulator.spec).act,
        sb3.load_trusted(tmp_path / "model.zip"),
    )
    assert np.abs(plain(obs, None) - theirs).max() < FLOAT32 and np.array_equal(trusted(obs, None), theirs)
    draws = [trusted(obs, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert np.array_equal(*draws)
    out = tmp_path / "demos.npz"
    main("record", tmp_path / "model.zip", "--env", env, "--trajectories", 1, "--deterministic", "--out", out)
    assert load(out).metadata["source"] == "Stable-Baselines3, deterministic"
    assert np.abs(model.predict(load(out).obs, deterministic=True)[0] - load(out).acts).max() < FLOAT32


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("demos.npz",), "env must be given, because demos.npz does not name its task"),
        (("runs/gone",), "source must be a run folder, a zip or a task with a bundled expert, but runs/gone is none"),
        (("nothing", "--env", "Hopper-v4"), "source must be a run folder or a zip where env is given, but nothing"),
        (("empty",), "empty/config.json: expected a JSON file, but there is none"),
    ],
)
def test_a_source_that_is_none_is_named(
    args: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demos.npz").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=words):
        main("record", *args, "--trajectories", 1)
    assert {p.name for p in tmp_path.iterdir()} == {"demos.npz", "empty"}


def test_recording_says_its_versions(tmp_path: Path) -> None:
    main("record", "CartPole-v0", "--trajectories", 1, "--seed", 4, "--out", tmp_path / "a.npz")
    assert load(tmp_path / "a.npz").metadata["versions"] == provenance.versions()
    assert load(tmp_path / "a.npz").metadata["seed"] == 4
