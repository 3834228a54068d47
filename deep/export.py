"""Writing a trained policy for other programs.

    python -m deep.export runs/gail-Hopper-v4-s0 --format onnx

    torch         exported.pt2           torch.export.load(path).module()(obs)
    onnx          exported.onnx          onnxruntime: {"obs": obs} -> "action"
    safetensors   exported.safetensors   the numbers alone: mean, scale, net.i.weight, net.i.bias, act_mean, act_std,
                                         log_std, and metadata that say what they are

The first two take observations [N, O] as float32, as the environment gives them, for any N, and return the
deterministic action as it expects them; the formula is in deep.export_program. Each is read back and compared with
the policy before it replaces a file.
"""

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from rich.console import Console
from safetensors.torch import load, save

from deep import export_onnx, exported, files, provenance
from deep.cli import main_guard
from deep.export_program import Program, check
from deep.exported import Exported
from deep.nets import GaussianPolicy

Format = Literal["torch", "onnx", "safetensors"]
SUFFIX: dict[Format, str] = {"torch": ".pt2", "onnx": ".onnx", "safetensors": ".safetensors"}


@dataclass(frozen=True)
class Request:
    """Write the policy of a run for other programs."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of deep.gail, deep.expert or deep.bc, or the folder of a bundled expert."""
    format: Format = "torch"
    """A torch.export program, an ONNX graph, or the bare numbers."""
    out: Path | None = None
    """The file; exported.<suffix> in the run folder where left out."""
    clip: bool = False
    """Clip actions to the bounds of the action space."""
    trust: bool = False
    """Allow the run to import the package that its task names."""


def metadata(policy: Exported) -> dict[str, str]:
    """What the numbers are, as strings."""
    spec = policy.spec
    found = {
        "env": spec.id,
        "obs_dim": spec.obs_dim,
        "act_dim": spec.act_dim,
        "discrete": spec.discrete,
        "act_start": spec.act_start,
        "act_dtype": spec.act_dtype,
        "clip": policy.clip,
        "versions": provenance.versions(),
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}


def as_torch(policy: Exported) -> tuple[bytes, float]:
    """A torch.export program and its difference from the policy."""
    program, batch = Program(policy).eval(), torch.export.Dim("N", min=1)
    example = (torch.zeros(2, policy.spec.obs_dim),)
    found = torch.export.export(program, example, dynamic_shapes={"obs": {0: batch}})
    data = io.BytesIO()
    torch.export.save(found, data, extra_files={"policy.json": json.dumps(metadata(policy))})
    data.seek(0)
    again = torch.export.load(data).module()
    return data.getvalue(), check(policy, lambda obs: again(torch.from_numpy(obs)).detach().numpy())


def as_onnx(policy: Exported) -> tuple[bytes, float | None]:
    """An ONNX model and its difference from the policy; None where onnxruntime is not there to tell."""
    model = export_onnx.graph(Program(policy), metadata(policy))
    runner = export_onnx.runner(model)
    return model, None if runner is None else check(policy, runner)


def as_safetensors(policy: Exported) -> tuple[bytes, float]:
    """The numbers and metadata, and the difference from the policy of a net that is given them."""
    program = Program(policy)
    tensors = {name: tensor.detach().clone() for name, tensor in program.state_dict().items()}
    if isinstance(policy.policy, GaussianPolicy):
        tensors["log_std"] = policy.policy.log_std.detach().clone()
    data = save(tensors, metadata(policy))
    again, stored = Program(policy), load(data)
    again.load_state_dict({name: stored[name] for name in again.state_dict()})

    @torch.no_grad()
    def act(obs: np.ndarray) -> np.ndarray:
        return again(torch.from_numpy(obs)).numpy()

    return data, check(policy, act)


def export(request: Request, console: Console) -> Path:
    """Write the file; returns its path. Raises ValueError for a run without a policy, or a missing package."""
    if request.out is not None and request.out.is_dir():
        raise ValueError(f"out must be a file, but {request.out} is a folder")
    if request.out is not None and not request.out.parent.is_dir():
        raise ValueError(f"out must lie in a folder that exists, but {request.out.parent} does not")
    policy = exported.load(request.run, clip=request.clip, trust=request.trust)
    write = {"torch": as_torch, "onnx": as_onnx, "safetensors": as_safetensors}[request.format]
    data, difference = write(policy)
    path = request.out or request.run / f"exported{SUFFIX[request.format]}"
    files.write_atomic(path, data)
    told = "not compared with the policy: onnxruntime is not installed"
    if difference is not None:
        unit = "of actions" if policy.spec.discrete else "of the actions' spread"
        told = f"differs from the policy by at most {difference:.1g} {unit}"
    console.print(f"{policy.spec.id}: {path}, {len(data):,} bytes, {told}", soft_wrap=True, highlight=False)
    return path


if __name__ == "__main__":
    main_guard(
        lambda: export(
            tyro.cli(Request, prog="python -m deep.export", args=sys.argv[1:]), Console(markup=False, emoji=False)
        )
    )
