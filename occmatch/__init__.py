"""Imitation learning on finite MDPs, solved exactly, every answer with a certificate.

The map, in reading order: an MDP and its occupancy measures, the policy that is optimal for a cost, regularisers psi of
costs, the two sides of  RL o IRL_psi(pi_E) = argmin_pi -lam H(pi) + psi*(rho_pi - rho_E),  and the judge of both.
`import occmatch` loads NumPy and SciPy only; names that need cvxpy, networkx or matplotlib load them on first use.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from occmatch import examples
from occmatch.bellman import RL, hard_backup, policy_backup, q_values, rl, soft_backup, value_bounds
from occmatch.linear import Stalled, solve_policy, solve_visits
from occmatch.matrix_free import MatrixFree
from occmatch.mdp import MDP, Layout
from occmatch.occupancy import (
    causal_entropy,
    entropy,
    flow_matrix,
    flow_residual,
    grad_causal_entropy,
    occupancy,
    policy,
    visits,
)
from occmatch.progress import Report
from occmatch.sampling import Trajectories, empirical, sample_trajectories

# Name -> the module that defines it (a module of that name itself where the two agree and it defines none).
_LAZY = {
    "LOSSES": "losses",
    "Loss": "losses",
    "losses": "losses",
    "OwnLoss": "losses_own",
    "register_loss": "losses_own",
    "graph": "graph",
    "gradients": "gradients",
    "rational": "rational",
    "project_l2": "projection",
    "project_kl": "projection",
    "regularisers": "regularisers",
    "lp": "lp",
    "cvx": "cvx",
    "irl": "irl",
    "Candidate": "candidate",
    "NotAttained": "candidate",
    "NoBestCost": "candidate",
    "Infeasible": "candidate",
    "Unbounded": "candidate",
    "match": "matching",
    "save": "saved",
    "load_mdp": "saved",
    "load_rl": "saved",
    "load_candidate": "saved",
    "certify": "certificate",
    "Certificate": "certificate",
    "plots": "plots",
}

__all__ = [
    "MDP",
    "MatrixFree",
    "Layout",
    "examples",
    "occupancy",
    "policy",
    "visits",
    "flow_matrix",
    "flow_residual",
    "entropy",
    "causal_entropy",
    "grad_causal_entropy",
    "Trajectories",
    "sample_trajectories",
    "empirical",
    "solve_policy",
    "solve_visits",
    "q_values",
    "soft_backup",
    "hard_backup",
    "policy_backup",
    "value_bounds",
    "RL",
    "rl",
    "Stalled",
    "Report",
    *_LAZY,
]


class _Package(ModuleType):
    """Keeps `occmatch.irl` the function: importing the module of that name would otherwise put itself in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and hasattr(value, name):
            value = getattr(value, name)
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LAZY[name]}")
    value = module if _LAZY[name] == name and not hasattr(module, name) else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _Package
