"""Generative adversarial imitation learning with neural networks, in reading order.

config       every setting, with its source                   envs      seeded simulators in batch
demos        demonstrations: files, subsampling, bundled      nets      policies, normaliser, networks
rollout      collect(policy, steps) -> Batch                  advantage generalised advantage estimation
value, trpo  value regression; the natural policy step        learner   the four above as one: collect, improve
costs        cost fitting: the maximiser over c               pairs     which demonstrations a run imitates
imitator     Algorithm 1, an iteration at a time              bc        behavioural cloning
expert       TRPO on the true cost                            gail      the command
run          run folder, checkpoints, interrupt and resume    evaluate  returns of a policy over whole episodes
result       closing tables and figures                       bundle    adding an expert to the bundled ones
cli          settings from presets and flags; errors          progress  the live display
backprop     derivatives of the tanh MLP by hand             strobe    an episode in one picture
tabular      policies and samples of finite MDPs as tables
exported     deep.load: a trained policy for other programs   export   the same as a torch program, ONNX, safetensors
watch        a film of the policy beside the expert           diagnostics  whether training converges
sweep        grids of runs on Ray, a safe line each          report    the table and figures that the lines make
presets      what differs by task                             tracking  metrics to Weights & Biases
files        bytes, JSON and tensors, whole or not there       provenance  versions and commit

E denotes simulators, T steps of each in a batch, N samples, O the observation and U the action dimension.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from deep.exported import Exported

__all__ = ["load"]


def _before_main(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif "MUJOCO_GL" in str(error):  # MuJoCo refuses to be imported
        print(f"error: MUJOCO_GL must be egl, osmesa, glfw or not set: {error}", file=sys.stderr)
        raise SystemExit(2)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # python -m deep.X: one line also for what goes wrong in the imports before main_guard
    sys.excepthook = _before_main


def load(folder: str | Path, *, clip: bool = False, seed: int = 0, trust: bool = False) -> Exported:
    """The policy of a run folder, with act(obs) and predict(obs); see deep.exported."""
    from deep import exported  # torch is loaded only where it is needed

    return exported.load(folder, clip=clip, seed=seed, trust=trust)
