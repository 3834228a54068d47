"""A loss of one's own is as good as a closed form, on arrays and tensors, and a wrong one is refused."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

import occmatch as om
from occmatch.losses import LOSSES, ExponentialLinear, Logistic, Loss
from occmatch.losses_own import OwnLoss, _require_supremum, register_loss

MARGINS = np.linspace(-12, 12, 49)
P, Q = np.exp(MARGINS / 3), np.exp(-MARGINS / 5)
BITS = 1e-12  # bisection ends at the last bit of the margin; the equation that it solves rounds by a few of its own


def own(kind: type) -> OwnLoss:
    """A registered loss with its closed forms taken away."""
    closed = kind()
    body = {name: staticmethod(getattr(closed, name)) for name in ("phi", "dphi", "d2phi")}
    return type("Copy", (OwnLoss,), body)("copy", closed.upper)


class SquareRoot(OwnLoss):
    """phi(m) = sqrt(1 + m^2) - m."""

    def phi(self, m):
        return (1 + m**2) ** 0.5 - m

    def dphi(self, m):
        return m / (1 + m**2) ** 0.5 - 1

    def d2phi(self, m):
        return (1 + m**2) ** -1.5


@pytest.fixture
def registry() -> Iterator[dict]:
    before = dict(LOSSES)
    yield LOSSES
    LOSSES.clear()
    LOSSES.update(before)


@pytest.mark.parametrize("kind", [Logistic, ExponentialLinear])
@pytest.mark.parametrize("of", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_it_is_as_good_as_a_closed_form(kind: type, of: Callable) -> None:
    closed, loss = kind(), own(kind)
    np.testing.assert_allclose(loss.inverse(loss.phi(of(MARGINS))), MARGINS, rtol=1e-9, atol=1e-9)  # phi is flat at 12
    np.testing.assert_allclose(loss.best_margin(of(P), of(Q)), closed.best_margin(P, Q), rtol=BITS, atol=BITS)
    np.testing.assert_allclose(loss.minimum_risk(of(P), of(Q)), closed.minimum_risk(P, Q), rtol=BITS)
    np.testing.assert_allclose(loss.g(loss.cost(of(MARGINS))), closed.g(closed.cost(MARGINS)), rtol=1e-9)


@pytest.mark.parametrize("kind", [Logistic, ExponentialLinear])
def test_it_has_the_limits_of_a_closed_form(kind: type) -> None:
    closed, loss = kind(), own(kind)
    p, q = np.array([0.0, 2.0, 0.0]), np.array([1.0, 0.0, 0.0])
    np.testing.assert_array_equal(loss.best_margin(p, q), closed.best_margin(p, q))
    np.testing.assert_array_equal(loss.minimum_risk(p, q), closed.minimum_risk(p, q))


class Tilted(SquareRoot):
    """phi(m) = sqrt(1 + m^2) - 2 m, whose slopes lie between -3 and -1."""

    def phi(self, m):
        return (1 + m**2) ** 0.5 - 2 * m

    def dphi(self, m):
        return m / (1 + m**2) ** 0.5 - 2


@pytest.mark.parametrize("of", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_masses_too_far_apart_for_the_slopes_of_phi_have_no_best_margin(of: Callable) -> None:
    """p phi(m) + q phi(-m) falls without end where p > 3 q; it was 1e30 and so on, where bisection had given up."""
    loss = Tilted("tilted", math.inf)
    p, q = of(np.array([1.0, 0.2, 1.0, 1.0])), of(np.array([0.3, 1.0, 0.4, 0.0]))
    margin, risk = np.asarray(loss.best_margin(p, q)), np.asarray(loss.minimum_risk(p, q))
    assert margin[[0, 1, 3]].tolist() == [math.inf, -math.inf, math.inf] and 0 < margin[2] < 10
    assert risk[[0, 1, 3]].tolist() == [-math.inf] * 3
    tried = np.linspace(0, 10, 100_001)
    assert risk[2] == pytest.approx((loss.phi(tried) + 0.4 * loss.phi(-tried)).min(), rel=1e-8)


def test_such_a_loss_is_no_psi_of_the_solvers() -> None:
    """`match` took its psi* for infinite everywhere, and called a problem that `irl` solved infeasible."""
    message = r"minimum risk at any two positive masses .*'tilted' falls without end at 1 and 1e-100"
    with pytest.raises(ValueError, match=message):
        om.regularisers.Surrogate(Tilted("tilted", math.inf), np.ones((2, 2)))


class Line(OwnLoss):
    """phi(m) = 1 - 3 m: g = 2, and psi is the constant 2 <rho_E, 1>."""

    def phi(self, m):
        return 1 - 3 * m

    def dphi(self, m):
        return 0 * m - 3

    def d2phi(self, m):
        return 0 * m


class Straight(OwnLoss):
    """3 - m where |m| <= 2, e^(2 - m) above and a cube more below: no curvature at -1, 0 and 1."""

    def phi(self, m):
        return np.where(m > 2, np.exp(2 - np.maximum(m, 2)), 3 - m) + np.maximum(-m - 2, 0) ** 3

    def dphi(self, m):
        return -np.exp(2 - np.maximum(m, 2)) - 3 * np.maximum(-m - 2, 0) ** 2

    def d2phi(self, m):
        return np.where(m > 2, np.exp(2 - np.maximum(m, 2)), 0) + 6 * np.maximum(-m - 2, 0)


def test_any_linear_loss_makes_psi_a_constant() -> None:
    mdp, rng = om.examples.garnet(4, 2, 2, 0.9, np.random.default_rng(0)), np.random.default_rng(1)
    rho_E, other = (om.occupancy(mdp, rng.dirichlet(np.ones(2), 4)) for _ in range(2))
    psi = om.regularisers.Surrogate(Line("line", math.inf), rho_E)
    assert psi.value(rng.random(mdp.shape)) == pytest.approx(20.0)
    assert psi.divergence(rho_E, rho_E) == pytest.approx(-20.0)
    assert psi.divergence(other, rho_E) == math.inf
    for solve in (om.match, om.irl):
        assert om.certify(mdp, rho_E, psi, solve(mdp, rho_E, psi, 0.5)).holds(1e-9)


def test_a_loss_that_is_straight_around_zero_is_not_linear() -> None:
    rng = np.random.default_rng(0)
    rho, rho_E = rng.random((2, 4, 3))
    psi, margins = om.regularisers.Surrogate(Straight("straight", 0.0), rho_E), np.linspace(-20, 20, 40_001)
    risks = rho[..., None] * psi.loss.phi(margins) + rho_E[..., None] * psi.loss.phi(-margins)
    assert psi.divergence(rho, rho_E) == pytest.approx(-risks.min(axis=2).sum(), rel=1e-6)  # steps of 1e-3, squared


def test_single_precision_ends_too() -> None:
    margins = torch.linspace(-5, 5, 11)
    assert torch.allclose(own(Logistic).inverse(Logistic().phi(margins)), margins, atol=1e-3)


def test_the_exact_side_certifies_it(registry: dict) -> None:
    loss = register_loss(SquareRoot("square_root", 0.0))
    assert registry["square_root"] is loss is om.LOSSES["square_root"]
    mdp = om.examples.river_swim(gamma=0.9)
    rho_E = om.occupancy(mdp, om.rl(mdp, om.examples.river_swim_cost(), lam=0.2).pi)
    psi = om.regularisers.Surrogate(loss, rho_E)
    for found in (om.match(mdp, rho_E, psi, 0.1), om.irl(mdp, rho_E, psi, 0.1, "newton")):
        assert om.certify(mdp, rho_E, psi, found).relative_gap < 1e-10


@pytest.mark.parametrize(
    "phi",
    [lambda m: 1 / np.log(np.maximum(m, 1e-9)), lambda m: np.exp(-np.minimum(m, 700.0)), lambda m: np.full(3, np.nan)],
)
def test_a_slow_infimum_of_phi_is_no_wrong_one(phi: Callable) -> None:
    _require_supremum(type("Slow", (SquareRoot,), {"phi": staticmethod(phi)})("slow", 0.0))
    _require_supremum(type("Slow", (SquareRoot,), {"phi": staticmethod(lambda m: -np.log(m))})("slow", math.inf))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=lambda loss: loss.name)
def test_the_losses_of_the_paper_have_the_suprema_they_state(loss: Loss) -> None:
    _require_supremum(loss)


def wrong(**body: Callable) -> OwnLoss:
    return type("Wrong", (SquareRoot,), {k: staticmethod(f) for k, f in body.items()})("wrong", 0.0)


WRONG = [
    (lambda: "logistic", "loss must be a Loss, but is str"),
    (lambda: SquareRoot("logistic", 0.0), "loss.name must be new, but 'logistic' is registered already"),
    (lambda: wrong(phi=lambda m: m**2), "phi must decrease strictly, but at margin 0 it is not so: 0"),
    (lambda: wrong(phi=lambda m: -np.tanh(m / 8)), "phi must be convex, but at margin -7.75 it is not so"),
    (lambda: wrong(phi=lambda m: np.where(m > 7, math.nan, -m)), "phi must be finite, but at margin 7.25"),
    (lambda: wrong(dphi=lambda m: 1 - m / (1 + m**2) ** 0.5), "dphi must be the derivative, but at margin -8"),
    (lambda: wrong(d2phi=lambda m: (1 + m**2) ** -0.5), "d2phi must be the derivative, but at margin -8"),
]


WRONG += [
    (
        lambda upper=upper: SquareRoot("new", upper),
        f"loss.upper must be the supremum of -phi, but is {upper:g}, where -phi is -0.06226, -0.0005 and -5",
    )
    for upper in (5.0, 0.05, -0.07, math.inf)
]
WRONG += [(lambda u=u: SquareRoot("new", u), f"loss.upper must be a number, but is {u!r}") for u in ("x", math.nan)]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_a_wrong_loss_is_refused(make: Callable, message: str, registry: dict) -> None:
    before = dict(registry)
    with pytest.raises(ValueError, match="^" + message):
        register_loss(make())
    assert registry == before
