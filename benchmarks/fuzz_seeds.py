"""Files to damage, and ways to damage them: what fuzz_files.py feeds to the readers.

A case is a dict of relative names and bytes; a single file has the name "". Seeds are good files of every kind, and
traps: files that other programs would follow out of the file, unpickle, or unpack to gigabytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from deep.demos import Demos, save

Case = dict[str, bytes]
KINDS = ("npz", "hdf5", "trajs", "minari", "imitation", "safetensors", "json", "sb3")
MARKER = "fuzz-code-ran"  # the folder that a trap would make, where the process runs


class Trap:
    """Unpickling it makes a folder."""

    def __reduce__(self) -> tuple:
        return os.mkdir, (MARKER,)


def demos(rng: np.random.Generator) -> Demos:
    """Small demonstrations of random shape."""
    lengths = rng.integers(1, 6, size=3)
    n = int(lengths.sum())
    acts = rng.integers(0, 3, n) if rng.random() < 0.3 else rng.normal(size=(n, 2))
    time = np.arange(n) if rng.random() < 0.5 else None
    last = rng.normal(size=(3, 4)) if rng.random() < 0.7 else None
    extra = {"env": "Hopper-v4", "subsample": 2, "source": "x" * 40}
    ended = rng.random(3) < 0.5 if rng.random() < 0.7 else None
    return Demos(rng.normal(size=(n, 4)), acts, lengths, rng.normal(size=n), ended, time, extra, last)


def seeds(kind: str, rng: np.random.Generator) -> list[Case]:
    """Good files of a kind and its traps."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MAKERS[kind](Path(folder), rng)


def collect(path: Path) -> Case:
    """A file or folder as a case."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def _good(kind: str, folder: Path, rng: np.random.Generator, number: int = 6) -> list[Case]:
    found = []
    for i in range(number):
        save(folder / f"{kind}{i}-v0", demos(rng), kind)
        found.append(collect(folder / f"{kind}{i}-v0"))
    return found


def _npz(folder: Path, rng: np.random.Generator) -> list[Case]:
    found = _good("npz", folder, rng)
    objects = np.empty((5, 2), dtype=object)
    objects[:] = Trap()
    base = {"obs": np.zeros((5, 2)), "acts": np.zeros((5, 1)), "lengths": np.array([2, 3])}
    old = {"obs": np.zeros((6, 2)), "acts": np.zeros((5, 1)), "terminal": np.array([True]), "indices": np.zeros(0, int)}
    text = np.array(Trap(), dtype=object)
    for arrays in (base | {"obs": objects}, base | {"metadata": text}, old | {"infos": objects}):
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=True, **arrays)  # a pickle inside, which readers have to refuse
        found.append({"": buffer.getvalue()})
    header = b"{'descr': '|i1', 'fortran_order': False, 'shape': (16777216, 1), }".ljust(117) + b"\n"
    zeros = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(2**24)
    for name in ("obs.npy", "../obs.npy", "/etc/obs.npy"):  # 16 MiB in 16 KiB, and 128 MiB once they are float64
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in (name, "acts.npy", "lengths.npy"):
                archive.writestr(member, zeros)
        found.append({"": buffer.getvalue()})
    found.append({"": pickle.dumps(Trap())})
    return found


def _hdf5(kind: str) -> Callable[[Path, np.random.Generator], list[Case]]:
    def make(folder: Path, rng: np.random.Generator) -> list[Case]:
        found = _good(kind, folder, rng)
        path = folder / f"{kind}0-v0"
        target = next(path.rglob("*.hdf5")) if path.is_dir() else path
        content = target.read_bytes()
        for change in (_links, _shapes, _filter, _virtual):
            target.write_bytes(content)
            with h5py.File(target, "a") as file:
                name = {"hdf5": "observations", "trajs": "obs_B_T_Do"}.get(kind, "episode_0/observations")
                shape = file[name].shape
                del file[name]
                change(file, name, shape)
            found.append(collect(path))
        return found

    return make


def _links(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    file[name] = h5py.ExternalLink("/etc/hostname", "/x")
    file.require_group("more")["soft"] = h5py.SoftLink("/more")


def _shapes(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    file.create_dataset(name, shape=(2**40, *shape[1:]), chunks=shape, dtype="f8")


def _filter(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(shape)
    plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))  # zstandard, which the library would load as a plugin
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple(shape), plist)


def _virtual(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    layout = h5py.VirtualLayout(shape=shape, dtype="f8")
    layout[...] = h5py.VirtualSource("/etc/hostname", "x", shape=shape)
    file.create_virtual_dataset(name, layout)


def _imitation(folder: Path, rng: np.random.Generator) -> list[Case]:
    found = _good("imitation", folder, rng)
    for name in ("../../etc/hostname", "/etc/hostname", ".hidden"):
        found.append(found[0] | {"state.json": json.dumps({"_data_files": [{"filename": name}]}).encode()})
    return found


def _safetensors(folder: Path, rng: np.random.Generator) -> list[Case]:
    data = Path(__file__).parent.parent / "deep" / "data" / "CartPole-v0" / "expert.safetensors"
    return [{"": data.read_bytes()}]


def _json(folder: Path, rng: np.random.Generator) -> list[Case]:
    from safetensors.torch import load, save

    from deep.config import gail_defaults
    from deep.config_values import as_dict

    config = {"command": "gail", "config": as_dict(gail_defaults("CartPole-v0")), "versions": {}, "commit": None}
    judged = {"kl": 0.01, "margin_gap": 1.0, "step_accepted": 1.0}
    lines = [{"iteration": i, "env_steps": 100 * i} | judged for i in range(1, 13)]
    metrics = "".join(json.dumps(line) + "\n" for line in lines)
    expert = Path(__file__).parent.parent / "deep" / "data" / "CartPole-v0" / "expert.json"
    bundled = expert.with_suffix(".safetensors").read_bytes()
    weights = save({f"averaged.{name}": tensor for name, tensor in load(bundled).items()})
    sums = {"iteration": 1, "env_steps": 100, "sha256": hashlib.sha256(weights).hexdigest()}
    return [
        {
            "config.json": json.dumps(config).encode(),
            "metrics.jsonl": metrics.encode(),
            "expert.json": expert.read_bytes(),
            "expert.safetensors": bundled,
            "checkpoints/000001.json": json.dumps(sums).encode(),
            "checkpoints/000001.safetensors": weights,
        }
    ]


def _sb3(folder: Path, rng: np.random.Generator) -> list[Case]:
    import torch

    shapes = {"mlp_extractor.policy_net.0": (8, 4), "mlp_extractor.policy_net.2": (8, 8), "action_net": (2, 8)}
    tensors = {}
    for name, shape in shapes.items():
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = torch.zeros(shape), torch.zeros(shape[0])
    data = {"policy_class": {"__module__": "stable_baselines3.common.policies"}, "policy_kwargs": {}, "use_sde": False}
    found = []
    for content in (tensors, tensors | {"log_std": Trap()}):
        pth, out = io.BytesIO(), io.BytesIO()
        torch.save(content, pth)
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("data", json.dumps(data))
            archive.writestr("policy.pth", pth.getvalue())
        found.append({"": out.getvalue()})
    return found


MAKERS = {
    "npz": _npz,
    "hdf5": _hdf5("hdf5"),
    "trajs": _hdf5("trajs"),
    "minari": _hdf5("minari"),
    "imitation": _imitation,
    "safetensors": _safetensors,
    "json": _json,
    "sb3": _sb3,
}
