"""One example of every psi on a given MDP and expert: the list that contracts and suites run over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from occmatch.losses import LOSSES, Loss
from occmatch.mdp import MDP
from occmatch.regularisers.base import Array, Regulariser
from occmatch.regularisers.box import Box
from occmatch.regularisers.constant import Constant
from occmatch.regularisers.expression import Expression
from occmatch.regularisers.f_divergence import FDivergence
from occmatch.regularisers.generators import GENERATORS
from occmatch.regularisers.l2_ball import L2Ball
from occmatch.regularisers.lipschitz import Lipschitz
from occmatch.regularisers.metric import transition_metric
from occmatch.regularisers.quadratic import Quadratic
from occmatch.regularisers.simplex import Simplex
from occmatch.regularisers.surrogate import Surrogate


def example_features(mdp: MDP, K: int = 3) -> Array:
    """K fixed features [S, A, K] in [-1, 1]: cosines of incommensurable frequencies, never collinear."""
    index = np.arange(mdp.S * mdp.A, dtype=np.float64).reshape(mdp.S, mdp.A, 1)
    return np.cos(np.sqrt(np.arange(2.0, K + 2)) * (index + 1) + np.arange(K))


def elastic_net(c: Any) -> Any:
    """1/2 ||c||_2^2 + ||c||_1 in cvxpy: psi*(x) = 1/2 sum max(|x| - 1, 0)^2."""
    import cvxpy as cp

    return 0.5 * cp.sum_squares(c) + cp.sum(cp.abs(c))


def _surrogate(mdp: MDP, rho_E: Array, loss: Loss) -> Regulariser:
    return Surrogate(loss, rho_E)


def _divergence(mdp: MDP, rho_E: Array, name: str) -> Regulariser:
    return FDivergence(name, rho_E)


REGISTERED: dict[str, Callable[[MDP, Array], Regulariser]] = {
    "constant": lambda mdp, rho_E: Constant(),
    "l2_ball": lambda mdp, rho_E: L2Ball(),
    "l2_ball_features": lambda mdp, rho_E: L2Ball(example_features(mdp)),
    "simplex": lambda mdp, rho_E: Simplex(),
    "simplex_features": lambda mdp, rho_E: Simplex(example_features(mdp)),
    "box": lambda mdp, rho_E: Box(),
    "quadratic": lambda mdp, rho_E: Quadratic(),
    "quadratic_features": lambda mdp, rho_E: Quadratic(0.5, example_features(mdp, min(3, mdp.S * mdp.A))),
    "lipschitz": lambda mdp, rho_E: Lipschitz(transition_metric(mdp)),
    "expression": lambda mdp, rho_E: Expression(elastic_net),
    **{f"surrogate_{name}": partial(_surrogate, loss=loss) for name, loss in LOSSES.items()},
    **{f"fdivergence_{name}": partial(_divergence, name=name) for name in GENERATORS},
}
"""Name -> psi for an MDP and an expert's measure rho_E [S, A]."""
