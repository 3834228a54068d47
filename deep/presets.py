"""What differs by task: the paper's experimental protocol, and what the fast preset sets.

Tasks go by name without package, namespace and version, so that Hopper-v4 and Hopper-v5 share an entry.
"""

import dataclasses
import re
from dataclasses import dataclass

from deep.costs import RewardForm


@dataclass(frozen=True)
class Protocol:
    """The paper's experimental protocol for a task (Appendix B, Table 2): pairs kept, sizes, iterations, reward."""

    subsample: int = 20
    trajectories: tuple[int, ...] = (4, 11, 18, 25)
    batch: int = 50_000
    iterations: int = 500
    reward_form: RewardForm = "neglogd"


CLASSIC = Protocol(subsample=10, trajectories=(1, 4, 7, 10), batch=5_000, iterations=300)
ENDS_ON_SUCCESS = dataclasses.replace(CLASSIC, subsample=5, reward_form="logd")
PROTOCOLS: dict[str, Protocol] = {
    "CartPole": CLASSIC,
    "Acrobot": ENDS_ON_SUCCESS,
    "MountainCar": ENDS_ON_SUCCESS,
    "Reacher": Protocol(subsample=1, trajectories=(4, 11, 18), iterations=200),
    "Humanoid": Protocol(trajectories=(80, 160, 240), iterations=1500),
}
"""By the task's name without its version; any other task follows Protocol()."""


@dataclass(frozen=True)
class Fast:
    """What the fast preset sets by task."""

    steps: int = 1_000_000
    reward_form: RewardForm | None = None
    """None: the protocol's."""
    batch: int = 1000
    """State-action pairs an iteration."""
    max_kl: float = 0.04
    """Bound on the mean KL of a policy step at first."""
    kl_decay: float = 0.998
    """Factor on the KL bound an iteration."""
    bc_weight: float = 0.1
    """Weight of the cloning term at first."""
    bc_decay: float = 1.0
    """Factor on the cloning term's weight an iteration."""
    reuse: int = 3
    """Batches that a policy step looks at."""
    std: tuple[float, ...] = (0.3, 0.1)
    """Deviation of a Gaussian policy while it learns and at the end; empty: learned."""
    std_hold: float = 0.8
    """Share of the run before the deviation moves from the first to the last; 1: the last is for the result alone."""
    penalty: float = 3.0
    """Weight of the margin net's gradient penalty."""
    cost_lr: float = 3e-4
    """Learning rate of the margin net."""
    cost_steps: int = 5
    """Adam steps of the margin net an iteration."""
    momentum: float = 0.0
    """Factor on the gradients of earlier policy steps."""
    damping: float = 0.1
    """Added to the Fisher matrix's diagonal."""
    fisher: float = 0.5
    """Share of the pairs on which the Fisher matrix is taken."""
    gae_lambda: float = 0.97
    """Lambda of generalised advantage estimation."""
    simulators: int = 32
    """Simulators stepped together."""
    average: float = 0.95
    """Weight of the past in the running average of the policy's weights."""
    value_epochs: int = 10
    """Passes of the value fit over a batch."""


SMALL = Fast(bc_weight=0.3, bc_decay=0.999, reuse=1, std=())
LARGE = Fast(  # many simulators share a policy's call, and one long step takes the place of five
    simulators=64,
    batch=5120,
    reuse=1,
    max_kl=0.08,
    kl_decay=0.99,
    std=(0.3, 0.1),
    cost_lr=1e-3,
    cost_steps=10,
    fisher=0.1,
    value_epochs=5,
    average=0.9,
)
FAST: dict[str, Fast] = {
    "Ant": LARGE,
    "CartPole": dataclasses.replace(SMALL, steps=145_000, penalty=10.0),
    "Acrobot": dataclasses.replace(SMALL, steps=145_000, penalty=10.0, reuse=3),
    "MountainCar": dataclasses.replace(SMALL, steps=145_000, penalty=10.0, reuse=3),
    "Reacher": dataclasses.replace(SMALL, steps=300_000),
    "HalfCheetah": Fast(  # never ends: the sign is free, no gait can be lost, and noise never costs what it teaches
        steps=2_000_000, reward_form="airl", kl_decay=1.0, std=(0.3, 0.05), std_hold=1.0
    ),
    "Hopper": dataclasses.replace(LARGE, max_kl=0.15, kl_decay=0.985, std=(0.3, 0.05), penalty=1.0, average=0.8),
    "Walker2d": Fast(  # a gait soon lost: long steps find it, short ones keep it; a sharp eye for the last tenth
        steps=2_000_000,
        batch=2000,
        max_kl=0.08,
        std=(0.3, 0.05),
        penalty=1.0,
        cost_lr=1e-3,
        cost_steps=10,
        gae_lambda=0.95,
        fisher=0.2,
    ),
    "Humanoid": Fast(steps=800_000, batch=2000, momentum=0.8, damping=10.0, fisher=0.2),  # more weights than pairs
}
"""By the task's name without its version; any other task follows Fast()."""


def protocol(env: str) -> Protocol:
    """The paper's protocol for a Gymnasium id."""
    return PROTOCOLS.get(task_name(env), Protocol())


def task_name(env: str) -> str:
    """A Gymnasium id without package, namespace and version."""
    return re.sub(r"-v\d+$", "", re.split("[:/]", env)[-1])
