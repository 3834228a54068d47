"""Cost regularisers psi, one a file: what IRL may choose, and what matching then measures (Proposition 3.2).

base          the contract: value, conjugate, best cost
constant      psi = 0: exact matching                    l2_ball   Abbeel & Ng: feature distance
simplex       Syed & Schapire: largest feature gap       box       total variation
quadratic     squared distance                           lipschitz Wasserstein-1 over a graph metric
surrogate     psi_phi; the logistic loss is psi_GA        f_divergence  any f, E_piE[f*(c) - c]
expression    any convex function written in cvxpy       registered    one example of each, for suites
"""

from occmatch.regularisers.base import DOMAIN_RTOL, Regulariser, fitting, same_expert
from occmatch.regularisers.box import Box
from occmatch.regularisers.constant import Constant
from occmatch.regularisers.expression import Expression
from occmatch.regularisers.f_divergence import FDivergence
from occmatch.regularisers.generators import GENERATORS, Generator
from occmatch.regularisers.l2_ball import L2Ball
from occmatch.regularisers.lipschitz import Lipschitz
from occmatch.regularisers.metric import transition_metric
from occmatch.regularisers.quadratic import Quadratic
from occmatch.regularisers.registered import REGISTERED
from occmatch.regularisers.simplex import Simplex, project_simplex
from occmatch.regularisers.surrogate import Surrogate

__all__ = [
    "DOMAIN_RTOL",
    "GENERATORS",
    "REGISTERED",
    "Box",
    "Constant",
    "Expression",
    "FDivergence",
    "Generator",
    "L2Ball",
    "Lipschitz",
    "Quadratic",
    "Regulariser",
    "Simplex",
    "Surrogate",
    "fitting",
    "project_simplex",
    "same_expert",
    "transition_metric",
]
