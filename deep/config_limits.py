"""What every number of a configuration may be. `check` refuses the first that is outside, by the name of its flag."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from deep.config import BcConfig, CloningConfig, ExpertConfig, GailConfig
from deep.costs import CostConfig
from deep.learner import LearnerConfig
from deep.trpo import TrpoConfig
from deep.value import ValueConfig


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, each end in it or not; words for it."""

    words: str
    low: float
    high: float = float("inf")
    with_low: bool = True
    with_high: bool = False

    def __contains__(self, x: float) -> bool:
        return (self.low < x or (self.with_low and x == self.low)) and (
            x < self.high or (self.with_high and x == self.high)
        )


COUNT, SOME = Range("at least 1", 1), Range("at least 0", 0)
FINITE, POSITIVE = Range("finite and at least 0", 0), Range("finite and above 0", 0, with_low=False)
SHARE = Range("in [0, 1]", 0, 1, with_high=True)
FACTOR = Range("above 0 and at most 1", 0, 1, with_low=False, with_high=True)
BELOW_ONE = Range("at least 0 and below 1", 0, 1)
INSIDE = Range("above 0 and below 1", 0, 1, with_low=False)
ANY = Range("finite", -float("inf"), with_low=False)

LIMITS: dict[type, dict[str, Range]] = {
    BcConfig: {"lr": POSITIVE, "minibatch": COUNT, "validation": INSIDE, "epochs": COUNT, "patience": COUNT},
    CloningConfig: {"seed": SOME, "hidden": COUNT, "threads": SOME, "final_episodes": COUNT},
    GailConfig: {"steps": COUNT, "seed": SOME, "bc_floor": ANY, "std": POSITIVE, "std_hold": SHARE}
    | {"bc_weight": FINITE, "bc_decay": FACTOR, "average": BELOW_ONE, "entropy": FINITE}
    | {"threads": SOME, "eval_every": SOME, "eval_episodes": COUNT, "final_episodes": COUNT, "checkpoint_every": COUNT},
    ExpertConfig: {"steps": COUNT, "seed": SOME, "average": BELOW_ONE, "threads": SOME, "checkpoint_every": COUNT},
    LearnerConfig: {"simulators": COUNT, "batch": COUNT, "gamma": SHARE, "gae_lambda": SHARE, "hidden": COUNT}
    | {"log_std": ANY, "reuse": COUNT, "kl_decay": FACTOR, "kl_floor": FINITE},
    TrpoConfig: {"max_kl": POSITIVE, "damping": FINITE, "cg_iterations": COUNT, "fisher_fraction": FACTOR}
    | {"momentum": BELOW_ONE, "backtracks": COUNT, "backtrack": INSIDE},
    ValueConfig: {"lr": POSITIVE, "epochs": SOME, "minibatch": COUNT, "scale_rate": FACTOR},
    CostConfig: {"hidden": COUNT, "lr": POSITIVE, "steps": SOME, "minibatch": SOME, "gradient_penalty": FINITE}
    | {"entropy_bonus": FINITE, "linear_rate": FINITE},
}
"""By the part of a configuration and the setting; a tuple's entries are each in the range. What has no entry is
free here: names and switches, and what depends on the demonstrations (deep.pairs)."""


def check(config: Any, part: str = "") -> None:
    """Raise ValueError for the first setting out of its range, or a std without its end; `part` precedes its name."""
    limits = LIMITS[type(config)]
    for f in dataclasses.fields(config):
        value, name = getattr(config, f.name), part + f.name
        if dataclasses.is_dataclass(value):
            check(value, name + ".")
        elif f.name in limits:
            for i, x in enumerate(value if isinstance(value, tuple) else (value,)):
                if x not in limits[f.name]:
                    place = f"{name}[{i}]" if isinstance(value, tuple) else name
                    raise ValueError(f"{place} must be {limits[f.name].words}, but is {x}")
    if isinstance(config, GailConfig) and len(config.std) not in (0, 2):
        raise ValueError(f"std must be two numbers or none, but is {config.std}")
