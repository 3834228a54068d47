"""Policies that Stable-Baselines3 saved: a zip with `data` (JSON, in part pickled), policy.pth (tensors) and more.

The plain policies need nothing pickled. Their tensors say what they are, layer by layer; `data` names the activation
as text, and `torch.load` takes tensors alone (weights_only). What that leaves out of the pickled parts is refused, and
read with Stable-Baselines3 itself where `trust` is given: that runs whatever code the file holds.

    PPO, A2C, TRPO   pi = N(net(s), exp(2 log_std)) or softmax(net(s)); actions clipped to the bounds, as `predict` does
    SAC, TQC         tanh(N(mu(s), exp(2 log_std(s)))), stretched to the bounds; log_std in [-20, 2]
    TD3, DDPG        tanh(mu(s)), stretched to the bounds
    DQN              argmax of q(s)

Observations are float32, as there. Statistics of VecNormalize are a file of their own and not part of the zip.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deep.demos.format import DemoError
from deep.demos.limits import Budget, words
from deep.demos.metadata import from_text
from deep.envs import EnvSpec

__all__ = ["Sb3Policy", "load_policy", "load_trusted"]

TRUST = "--trust reads it with Stable-Baselines3, which runs code from the file"
Act = Callable[[np.ndarray, torch.Generator | None], np.ndarray]
Layers = list[tuple[np.ndarray, np.ndarray]]
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "LeakyReLU": lambda x: np.where(x > 0, x, np.float32(0.01) * x),
}
# The tensors of each kind's layers, then of its deviation; and its activation where `data` names none.
KINDS = {
    "gaussian": (("mlp_extractor.policy_net.", "action_net."), "log_std", "Tanh"),
    "categorical": (("mlp_extractor.policy_net.", "action_net."), None, "Tanh"),
    "squashed": (("actor.latent_pi.", "actor.mu."), "actor.log_std.", "ReLU"),
    "tanh": (("actor.mu.",), None, "ReLU"),
    "greedy": (("q_net.q_net.",), None, "ReLU"),
}
HARMLESS = {"activation_fn", "net_arch", "optimizer_class", "optimizer_kwargs", "log_std_init", "ortho_init", "use_sde",
            "n_critics", "n_quantiles", "share_features_extractor", "normalize_images", "full_std"}  # fmt: skip


@dataclass(frozen=True)
class Sb3Policy:
    """A plain policy: `layers` end in the mean, the logits or the values; `spread` gives log_std, or is None."""

    kind: str
    layers: Layers
    spread: np.ndarray | tuple[np.ndarray, np.ndarray] | None
    activation: Callable[[np.ndarray], np.ndarray]
    low: np.ndarray | None
    high: np.ndarray | None

    def act(self, obs: np.ndarray, generator: torch.Generator | None) -> np.ndarray:
        """Actions [E, U], or [E] where discrete: samples, or the mode where there is no generator."""
        x = obs.astype(np.float32)
        for weight, bias in self.layers[:-1]:
            x = self.activation(x @ weight.T + bias)
        out = x @ self.layers[-1][0].T + self.layers[-1][1]
        if self.kind in ("categorical", "greedy"):
            if generator is not None and self.kind == "categorical":
                noise = torch.rand(out.shape, generator=generator, dtype=torch.float64).numpy()
                out = out - np.log(-np.log(np.clip(noise, 1e-300, None)))  # argmax of logits + Gumbel noise
            return out.argmax(1)
        if generator is not None and self.spread is not None:
            spread = self.spread
            if isinstance(spread, tuple):
                spread = np.clip(x @ spread[0].T + spread[1], -20, 2)
            out = out + np.exp(spread) * torch.randn(out.shape, generator=generator).numpy()
        if self.kind == "gaussian":
            return np.clip(out, self.low, self.high).astype(np.float64)
        return (self.low + 0.5 * (np.tanh(out) + 1.0) * (self.high - self.low)).astype(np.float64)


def load_policy(path: Path, spec: EnvSpec) -> Sb3Policy:
    """A plain policy of a task, from the zip's tensors and JSON alone; DemoError where that does not tell enough."""
    try:
        return _plain(path, spec)
    except DemoError as error:
        raise DemoError(f"{path}: {error}") from None


def _plain(path: Path, spec: EnvSpec) -> Sb3Policy:
    data, tensors = _parts(path)
    kind = _kind(tensors)
    _check_plain(data, tensors)
    prefixes, spread, activation = KINDS[kind]
    named = _dict(data.get("policy_kwargs")).get("activation_fn", activation)
    name = str(named).removesuffix("'>").rpartition(".")[2]
    if name not in ACTIVATIONS:
        raise DemoError(f"activation_fn must be one of {', '.join(ACTIVATIONS)}, but is {ascii(named)[:60]}; {TRUST}")
    layers = [layer for prefix in prefixes for layer in _layers(tensors, prefix)]
    _check_shapes(layers, spec, kind)
    found: Any = None
    if kind == "gaussian":
        found = _tensor(tensors, "log_std", (spec.act_dim,))
    elif spread is not None:
        found = _layers(tensors, spread)[0]
        if found[0].shape != layers[-1][0].shape:
            raise DemoError(f"{spread}weight must have shape {list(layers[-1][0].shape)}, but has {found[0].shape}")
    return Sb3Policy(kind, layers, found, ACTIVATIONS[name], spec.act_low, spec.act_high)


def load_trusted(path: Path) -> Act:
    """Any policy, by Stable-Baselines3's own loader, which unpickles: a file of unknown origin can do anything."""
    try:
        from stable_baselines3.common.save_util import load_from_zip_file
    except ImportError as error:
        raise DemoError(
            f"needs Stable-Baselines3, which is not there ({words(error)}): pip install 'occmatch[sb3]'"
        ) from None
    data, parameters, _ = load_from_zip_file(str(path), device="cpu")
    if any("lstm" in name for name in parameters["policy"]):
        raise DemoError("policy must act on the observation alone, but is recurrent")
    more = {"use_sde": True} if data.get("use_sde") and "use_sde" not in data["policy_kwargs"] else {}
    policy = data["policy_class"](
        data["observation_space"], data["action_space"], lambda _: 0.0, **data["policy_kwargs"], **more
    )
    policy.load_state_dict(parameters["policy"])
    policy.set_training_mode(False)

    def act(obs: np.ndarray, generator: torch.Generator | None) -> np.ndarray:
        # `predict` draws from the process's generator: lent for the call, and given back as it was.
        with torch.random.fork_rng(devices=[]):
            if generator is not None:
                torch.set_rng_state(generator.get_state())
            actions, _ = policy.predict(obs, deterministic=generator is None)
            if generator is not None:
                generator.set_state(torch.get_rng_state())
        return actions if actions.ndim == 1 else actions.astype(np.float64)

    return act


def _parts(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """`data` as JSON and the policy's tensors, each within what a file of that size may unpack to."""
    whole = path.read_bytes()
    budget = Budget(len(whole))
    try:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            content = {}
            for name in ("data", "policy.pth"):
                budget.take(name, (archive.getinfo(name).file_size,), 1)
                content[name] = archive.read(name)
        with zipfile.ZipFile(io.BytesIO(content["policy.pth"])) as inner:
            for member in inner.infolist():
                budget.take(member.filename[:60], (member.file_size,), 1)
        loaded = torch.load(io.BytesIO(content["policy.pth"]), map_location="cpu", weights_only=True)
    except DemoError:
        raise
    except Exception as error:  # zipfile and torch raise whatever their parsers run into
        raise DemoError(f"must be a zip of Stable-Baselines3, but is damaged or another ({words(error)})") from None
    if not isinstance(loaded, dict) or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        raise DemoError("policy.pth must be a dict of tensors, but is not")
    for name, tensor in loaded.items():
        if tensor.is_sparse or tensor.layout != torch.strided or tensor.numel() > len(content["policy.pth"]):
            raise DemoError(f"{words(name)} must be an array that the file holds, but has shape {list(tensor.shape)}")
    return from_text(content["data"], "data"), {str(name): tensor for name, tensor in loaded.items()}


def _kind(tensors: dict[str, torch.Tensor]) -> str:
    if "action_net.weight" in tensors:
        return "gaussian" if "log_std" in tensors else "categorical"
    if "actor.mu.weight" in tensors and "actor.log_std.weight" in tensors:
        return "squashed"
    if "actor.mu.0.weight" in tensors:
        return "tanh"
    if "q_net.q_net.0.weight" in tensors:
        return "greedy"
    raise DemoError(f"policy must be one of PPO, A2C, TRPO, SAC, TQC, TD3, DDPG or DQN, but has other tensors; {TRUST}")


def _check_plain(data: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Refuse what tensors alone do not say: networks before the layers, memory, and noise of another kind."""
    other = next((name for name in tensors if "features_extractor" in name or "lstm" in name), None)
    if other is not None:
        raise DemoError(f"policy must have plain layers alone, but has {words(other)}; {TRUST}")
    kwargs = {k: v for k, v in _dict(data.get("policy_kwargs")).items() if not k.startswith(":")}
    unknown = sorted(set(kwargs) - HARMLESS)
    if unknown:
        raise DemoError(
            f"policy_kwargs must be among {', '.join(sorted(HARMLESS))}, but has {words(unknown[0])}; {TRUST}"
        )
    if data.get("use_sde") or kwargs.get("use_sde"):
        raise DemoError(f"use_sde must be off, but is on; {TRUST}")
    module = _dict(data.get("policy_class")).get("__module__")
    if not isinstance(module, str) or module.partition(".")[0] not in ("stable_baselines3", "sb3_contrib"):
        raise DemoError(f"policy_class must be one of Stable-Baselines3, but is of {ascii(module)[:60]}; {TRUST}")


def _layers(tensors: dict[str, torch.Tensor], prefix: str) -> Layers:
    """The linear layers below a name, in the order of their numbers: activations between them have no tensors."""
    found = [name.removeprefix(prefix) for name in tensors if name.startswith(prefix) and name.endswith("weight")]
    numbers = sorted((name.removesuffix("weight") for name in found), key=_order)
    return [(_tensor(tensors, f"{prefix}{n}weight"), _tensor(tensors, f"{prefix}{n}bias")) for n in numbers]


def _order(number: str) -> int:
    digits = number.removesuffix(".")
    return int(digits) if digits.isdecimal() and digits.isascii() else -1


def _tensor(tensors: dict[str, torch.Tensor], name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    if name not in tensors:
        raise DemoError(f"{words(name)} must be there, but is not")
    array = tensors[name].float().contiguous().numpy()
    if (shape is not None and array.shape != shape) or not np.isfinite(array).all():
        raise DemoError(f"{words(name)} must be finite{f', of shape {list(shape)}' if shape else ''}, but is not")
    return array


def _check_shapes(layers: Layers, spec: EnvSpec, kind: str) -> None:
    """Each layer takes what the last one gives; the first the observation, and the last gives the action."""
    if spec.discrete != (kind in ("categorical", "greedy")):
        raise DemoError(
            f"policy must have {'discrete' if spec.discrete else 'real'} actions for {spec.id}, but has not"
        )
    width = spec.obs_dim
    for i, (weight, bias) in enumerate(layers):
        if weight.ndim != 2 or weight.shape[1] != width or bias.shape != (len(weight),):
            raise DemoError(
                f"layer {i} must take {width} numbers for {spec.id}, but has shapes {weight.shape} and {bias.shape}"
            )
        width = len(weight)
    if not layers or width != spec.act_dim:
        raise DemoError(f"policy must give {spec.act_dim} numbers for {spec.id}, but gives {width}")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
