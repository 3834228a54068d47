"""Every setting of the three programs, with its source; what differs by task is in deep.presets.

`fast` is the project's own configuration and the default; `paper` is the published one: Section 6 and Appendix B of
Ho & Ermon (2016) and the authors' configuration files, except that the value net is fitted by Adam where theirs takes
steps in a trust region. A preset only sets defaults: every flag overrides it.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from deep.costs import CostConfig, RewardForm
from deep.costs_method import Method
from deep.learner import LearnerConfig
from deep.presets import FAST, Fast, protocol, task_name
from deep.trpo import TrpoConfig
from deep.value import ValueConfig
from occmatch.losses import LOSSES

Preset = Literal["fast", "paper"]


@dataclass(frozen=True)
class BcConfig:
    """Behavioural cloning (Section 6: Adam, minibatches of 128, 70/30 split, early stop on validation)."""

    lr: float = 1e-3
    """Adam's learning rate."""
    minibatch: int = 128
    """Pairs in a step."""
    validation: float = 0.3
    """Share of the pairs held out."""
    epochs: int = 2000
    """At most this many passes over the training pairs."""
    patience: int = 100
    """Stop after this many epochs without a better validation loss; the best weights are kept."""


@dataclass(frozen=True)
class CloningConfig:
    """Clone an expert's actions by maximum likelihood."""

    env: str = "Walker2d-v4"
    """Gymnasium id of the task."""
    demos: Path | None = None
    """Demonstrations: npz, HDF5, or the folder or id of a data set; the bundled ones of the task where left out."""
    trajectories: int = 4
    """Trajectories used, drawn from the file by the seed."""
    subsample: int = 20
    """Keep every k-th pair of a trajectory, from a random offset."""
    seed: int = 0
    """Seed of everything random."""
    hidden: tuple[int, ...] = (100, 100)
    """Tanh units of the policy (Appendix B of the paper)."""
    expert_units: bool = True
    """Express the policy's actions in the mean and deviation of the expert's."""
    threads: int = 0
    """Threads of the simulators; 0 uses every core. Results do not depend on it."""
    final_episodes: int = 50
    """Episodes of the closing evaluation (Section 6)."""
    bc: BcConfig = field(default_factory=BcConfig)
    """The regression."""


def cloning_defaults(env: str = "Walker2d-v4") -> CloningConfig:
    """The paper's smallest data set of a task."""
    p = protocol(env)
    return CloningConfig(env=env, trajectories=p.trajectories[0], subsample=p.subsample)


@dataclass(frozen=True)
class GailConfig:
    """Imitate an expert (Ho & Ermon 2016, Algorithm 1)."""

    env: str = "Walker2d-v4"
    """Gymnasium id of the task."""
    demos: Path | None = None
    """Demonstrations: npz, HDF5, or the folder or id of a data set; the bundled ones of the task where left out."""
    trajectories: int = 4
    """Trajectories used, drawn from the file by the seed."""
    subsample: int = 20
    """Keep every k-th pair of a trajectory, from a random offset."""
    steps: int = 1_000_000
    """Total environment steps; --resume may change it, and the share of the run in --std-hold is of the new one."""
    seed: int = 0
    """Seed of everything random."""
    preset: Preset = "fast"
    """Where the defaults come from: `fast` (ours) or `paper` (the published configuration)."""
    method: Method = "gail"
    """Where costs come from: `gail` (a margin net), `fem` or `gtal` (linear in features: Section 4 of the paper)."""
    loss: Literal[tuple(LOSSES)] = "logistic"  # type: ignore[valid-type]
    """Surrogate loss phi of gail's margin; logistic is the paper's."""
    reward_form: RewardForm = "neglogd"
    """Reward from the margin: neglogd favours survival, logd ending, airl neither by sign."""
    absorbing: bool = False
    """Put the state after termination into the occupancy measures, with a learned reward."""
    bc_init: bool = True
    """Start from behavioural cloning."""
    bc_floor: float = -1.0
    """Least log standard deviation that the cloning start leaves, in the expert's units; for an empty --std."""
    std: tuple[float, ...] = ()
    """Standard deviation of a Gaussian policy at first and at the end, in its action units; empty: learned.
    The averaged policy has the last one throughout, and so has the policy that a run returns where none is averaged."""
    std_hold: float = 0.8
    """Share of the run before it moves from the first to the last; 1: never, while the policy learns."""
    bc_weight: float = 0.3
    """Weight of the demonstrations' mean log-likelihood per action dimension in the policy objective; below 1e-4 it is
    left out."""
    bc_decay: float = 0.999
    """Factor on bc_weight an iteration."""
    expert_units: bool = True
    """Express the policy's actions in the mean and deviation of the expert's."""
    average: float = 0.95
    """Weight of the past in the running average of the policy's weights, which the run returns; 0: the last policy."""
    entropy: float = 0.0
    """lambda, the weight of the causal entropy H (Eq 15); densities of actions are in their units (expert_units)."""
    device: str = "cpu"
    """torch device of the margin net; the policy and the simulators stay on the CPU."""
    threads: int = 0
    """Threads of the simulators; 0 uses every core. Results do not depend on it."""
    eval_every: int = 100_000
    """Environment steps between evaluations (not counted as training steps); 0 for none."""
    eval_episodes: int = 10
    """Episodes of each such evaluation, for each of the stochastic and the deterministic policy."""
    final_episodes: int = 50
    """Episodes of the closing evaluation (Section 6)."""
    checkpoint_every: int = 50
    """Iterations between checkpoints."""
    wandb: str | None = None
    """Weights & Biases project to log to as well, where that package is installed."""
    learner: LearnerConfig = field(
        default_factory=lambda: LearnerConfig(
            batch=1000,
            update_normaliser=False,
            kl_decay=0.998,
            trpo=TrpoConfig(max_kl=0.04, fisher_fraction=0.5, backtracks=20, backtrack=0.85),
            value=ValueConfig(epochs=10),
        )
    )
    """Policy improvement."""
    cost: CostConfig = field(default_factory=CostConfig)
    """Cost fitting."""
    bc: BcConfig = field(default_factory=BcConfig)
    """Behavioural cloning, for the warm start and for the closing table."""


def gail_defaults(env: str = "Walker2d-v4", preset: Preset = "fast") -> GailConfig:
    """The configuration that a preset means for a task; ValueError for another name of a preset."""
    if preset not in get_args(Preset):
        raise ValueError(f"preset must be one of {', '.join(get_args(Preset))}, but is {preset!r}")
    p, fast = protocol(env), FAST.get(task_name(env), Fast())
    config = GailConfig(
        env=env,
        preset=preset,
        trajectories=p.trajectories[0],
        subsample=p.subsample,
        reward_form=fast.reward_form or p.reward_form,
        steps=fast.steps,
        eval_every=fast.steps // 10,
    )
    if preset == "fast":
        trust = dataclasses.replace(
            config.learner.trpo,
            max_kl=fast.max_kl,
            momentum=fast.momentum,
            damping=fast.damping,
            fisher_fraction=fast.fisher,
        )
        learner = dataclasses.replace(
            config.learner,
            simulators=fast.simulators,
            batch=fast.batch,
            gae_lambda=fast.gae_lambda,
            reuse=fast.reuse,
            kl_decay=fast.kl_decay,
            trpo=trust,
            value=dataclasses.replace(config.learner.value, epochs=fast.value_epochs),
        )
        return dataclasses.replace(
            config,
            std=fast.std,
            std_hold=fast.std_hold,
            bc_weight=fast.bc_weight,
            bc_decay=fast.bc_decay,
            average=fast.average,
            learner=learner,
            cost=dataclasses.replace(
                config.cost, lr=fast.cost_lr, steps=fast.cost_steps, gradient_penalty=fast.penalty
            ),
        )
    return dataclasses.replace(
        config,
        reward_form=p.reward_form,
        steps=p.batch * p.iterations,
        bc_init=False,
        bc_weight=0.0,
        average=0.0,
        expert_units=False,
        eval_every=50 * p.batch,
        learner=LearnerConfig(
            simulators=max(40, p.batch // 400),  # the paper's pairs an iteration exactly; many share a policy's call
            batch=p.batch,
            gamma=0.995,
            gae_lambda=0.97,
            update_normaliser=True,
            trpo=TrpoConfig(max_kl=0.01, damping=0.1, fisher_fraction=0.1),
        ),
        cost=CostConfig(
            lr=0.01, steps=1, minibatch=0, gradient_penalty=0.0, entropy_bonus=1e-3, update_normaliser=True
        ),
    )


@dataclass(frozen=True)
class ExpertConfig:
    """TRPO on the true cost (Section 6: the experts)."""

    env: str = "Hopper-v4"
    """Gymnasium id of the task."""
    steps: int = 5_000_000
    """Total environment steps."""
    seed: int = 0
    """Seed of everything random."""
    init: Path | None = None
    """Start from the policy and the value net of this expert run, with learner.log_std as the policy's deviation."""
    average: float = 0.0
    """Weight of the past in the running average of the policy's weights, which is the expert; 0: the last policy."""
    threads: int = 0
    """Threads of the simulators; 0 uses every core. Results do not depend on it."""
    checkpoint_every: int = 20
    """Iterations between checkpoints."""
    wandb: str | None = None
    """Weights & Biases project to log to as well, where that package is installed."""
    learner: LearnerConfig = field(
        default_factory=lambda: LearnerConfig(
            batch=5000, gae_lambda=0.95, log_std=-0.5, trpo=TrpoConfig(max_kl=0.01, fisher_fraction=0.2)
        )
    )
    """Policy improvement."""
