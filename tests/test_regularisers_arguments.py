"""Every psi refuses what is no array of its MDP's pairs: NumPy would broadcast it, or let NaN pass for zero."""

from collections.abc import Callable

import numpy as np
import pytest

from occmatch import examples, occupancy
from occmatch.regularisers import REGISTERED, Regulariser

RNG = np.random.default_rng(7)
MDP_ = examples.garnet(4, 3, 2, 0.9, RNG)
RHO, RHO_E = (occupancy(MDP_, RNG.dirichlet(np.ones(3), size=4)) for _ in range(2))

CALLS: dict[str, tuple[str, Callable[[Regulariser, np.ndarray], object]]] = {
    "value": ("c", lambda psi, x: psi.value(x)),
    "conjugate": ("x", lambda psi, x: psi.conjugate(x)),
    "divergence": ("rho", lambda psi, x: psi.divergence(x, RHO_E)),
    "divergence's expert": ("rho_E", lambda psi, x: psi.divergence(RHO, x)),
    "best_cost": ("rho", lambda psi, x: psi.best_cost(x, RHO_E)),
    "dual_value": ("c", lambda psi, x: psi.dual_value(x, RHO_E)),
    "repair": ("c", lambda psi, x: psi.repair(x)),
    "grad": ("rho", lambda psi, x: psi.grad(x, RHO_E)),
    "hess_diag": ("rho", lambda psi, x: psi.hess_diag(x, RHO_E)),
}
"""Name -> the argument's name, and the call."""


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", REGISTERED)
def test_wrong_arrays_are_refused_by_name(name: str, call: str) -> None:
    psi = REGISTERED[name](MDP_, RHO_E)
    if call in ("grad", "hess_diag") and not psi.smooth:
        with pytest.raises(NotImplementedError):
            CALLS[call][1](psi, RHO)
        return
    argument, run = CALLS[call]
    broken = RHO.copy()
    broken[2, 1] = np.nan
    wrong = {
        "a row": (RHO[0], f"{argument} must have shape"),
        "a number": (0.5, f"{argument} must have shape"),
        "flattened": (RHO.ravel(), f"{argument} must have shape"),
        "a policy too many": (np.stack([RHO, RHO]), f"{argument} must have shape"),
        "text": ("rho", f"{argument} must be an array of real numbers, but is str"),
        "NaN": (broken, f"{argument}[2, 1] must be a number, but is nan"),
    }
    for what, (x, message) in wrong.items():
        with pytest.raises(ValueError) as error:
            run(psi, x)
        assert str(error.value).startswith(message), what


@pytest.mark.parametrize("name", REGISTERED)
def test_the_two_measures_have_one_shape(name: str) -> None:
    psi = REGISTERED[name](MDP_, RHO_E)
    for run in (psi.divergence, psi.best_cost, psi.dual_value):
        with pytest.raises(ValueError, match=r"must have shape .*\(3, 4\)"):
            run(RHO.T, RHO_E)


def test_a_metric_counts_its_pairs() -> None:
    psi = REGISTERED["lipschitz"](MDP_, RHO_E)
    with pytest.raises(ValueError) as error:
        psi.value(np.zeros((4, 2)))
    assert str(error.value) == "c must have shape [S, A] with 12 entries, but has shape (4, 2)"
