"""The contract of every registered loss: its parts agree with each other and with plain numerical minimisation."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from occmatch.losses import LOSSES, Loss, SmoothedHinge

MARGINS = np.linspace(-8, 8, 41)
EXTREME = np.array([-700.0, -90.0, 0.0, 90.0, 700.0])
WEIGHTS = [(0.3, 0.7), (2.0, 0.1), (0.5, 0.5), (1e-8, 3.0), (100.0, 100.0)]

ROUNDING = 1e-12  # a dozen operations on numbers of size up to e^8, relative to that size
SECANT = 1e-6  # central differences with step 1e-5: truncation 1e-10 of the third derivative, rounding 1e-11 relative
SEARCH = 1e-9  # Brent's bracketing stops where the risk is flat to sqrt(eps) in m, that is eps in the risk

losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@losses
def test_phi_is_convex_and_strictly_decreasing(loss: Loss) -> None:
    phi = loss.phi(MARGINS)
    assert (np.diff(phi) < 0).all()
    assert (np.diff(phi, 2) >= -ROUNDING * (1 + np.abs(phi[1:-1]))).all()


@losses
def test_derivatives_are_those_of_phi(loss: Loss) -> None:
    h = 1e-5
    slope = (loss.phi(MARGINS + h) - loss.phi(MARGINS - h)) / (2 * h)
    curvature = (loss.dphi(MARGINS + h) - loss.dphi(MARGINS - h)) / (2 * h)
    np.testing.assert_allclose(loss.dphi(MARGINS), slope, rtol=SECANT, atol=SECANT)
    np.testing.assert_allclose(loss.d2phi(MARGINS), curvature, rtol=SECANT, atol=SECANT)


@losses
def test_inverse_undoes_phi(loss: Loss) -> None:
    np.testing.assert_allclose(loss.inverse(loss.phi(MARGINS)), MARGINS, rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(loss.margin(loss.cost(MARGINS)), MARGINS, rtol=ROUNDING, atol=ROUNDING)


@losses
def test_g_is_that_of_proposition_a1(loss: Loss) -> None:
    expected = loss.phi(MARGINS) + loss.phi(-MARGINS)  # -x + phi(-phi^-1(-x)) at x = -phi(m)
    np.testing.assert_allclose(loss.g(loss.cost(MARGINS)), expected, rtol=ROUNDING, atol=ROUNDING)
    if math.isfinite(loss.upper):
        assert np.isinf(loss.g(np.array([loss.upper, loss.upper + 1.0]))).all()


def test_g_of_the_logistic_loss_is_that_of_eq_13() -> None:
    x = -np.logspace(-3, 2, 30)
    np.testing.assert_allclose(LOSSES["logistic"].g(x), -x - np.log(1 - np.exp(x)), rtol=1e-10)


def test_the_logistic_cost_is_log_d() -> None:
    d = 1 / (1 + np.exp(-MARGINS))
    np.testing.assert_allclose(LOSSES["logistic"].cost(MARGINS), np.log(d), rtol=1e-10)


@losses
@pytest.mark.parametrize(("p", "q"), WEIGHTS)
def test_minimum_risk_is_the_minimum(loss: Loss, p: float, q: float) -> None:
    p_, q_ = np.array(p), np.array(q)
    found = float(loss.minimum_risk(p_, q_))
    if loss.name == "linear" and p != q:
        assert found == -math.inf
        assert float(loss.best_margin(p_, q_)) == math.copysign(math.inf, p - q)
        return
    search = minimize_scalar(
        lambda m: float(loss.risk(np.array(m), p_, q_)), bounds=(-40, 40), method="bounded", options={"xatol": 1e-12}
    )
    assert abs(found - search.fun) <= SEARCH * (p + q) * max(1.0, abs(search.fun))
    m = loss.best_margin(p_, q_)
    assert float(loss.risk(m, p_, q_)) == pytest.approx(found, rel=1e-9, abs=1e-12 * (p + q))
    balance = p * float(loss.dphi(m)) - q * float(loss.dphi(-m))
    assert abs(balance) <= 1e-10 * (p + q) * max(1.0, -float(loss.dphi(-abs(m))))


@losses
def test_one_sided_weights(loss: Loss) -> None:
    p, q = np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])
    np.testing.assert_array_equal(loss.best_margin(p, q), [-math.inf, math.inf, 0.0])
    floor = 0.0 if loss.upper == 0.0 else -math.inf  # the infimum of phi
    np.testing.assert_array_equal(loss.minimum_risk(p, q), [floor, floor, 0.0])


@losses
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_extreme_margins_stay_finite(loss: Loss, dtype: torch.dtype) -> None:
    m = torch.tensor(EXTREME, dtype=dtype, requires_grad=True)
    for f in (loss.phi, loss.dphi, loss.d2phi, loss.cost):
        assert torch.isfinite(f(m)).all()
        assert np.isfinite(f(EXTREME)).all()
    loss.phi(m).sum().backward()
    assert torch.isfinite(m.grad).all()


@losses
def test_torch_and_numpy_agree(loss: Loss) -> None:
    m, p, q = torch.tensor(MARGINS), torch.tensor(np.exp(-MARGINS / 4)), torch.full((len(MARGINS),), 0.7).double()
    pairs = [(f(m), f(MARGINS)) for f in (loss.phi, loss.dphi, loss.d2phi, loss.cost)]
    pairs += [(f(loss.cost(m)), f(loss.cost(MARGINS))) for f in (loss.g, loss.margin)]
    pairs += [(f(p, q), f(p.numpy(), q.numpy())) for f in (loss.best_margin, loss.minimum_risk)]
    for tensor, array in pairs:
        assert isinstance(tensor, torch.Tensor) and isinstance(array, np.ndarray)
        np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-12, atol=1e-12)


@losses
def test_autograd_gives_the_stated_derivatives(loss: Loss) -> None:
    m = torch.tensor(MARGINS, requires_grad=True)
    (slope,) = torch.autograd.grad(loss.phi(m).sum(), m, create_graph=True)
    np.testing.assert_allclose(slope.detach().numpy(), loss.dphi(MARGINS), rtol=1e-9, atol=1e-12)
    if slope.requires_grad:
        (curvature,) = torch.autograd.grad(slope.sum(), m)
        np.testing.assert_allclose(curvature.numpy(), loss.d2phi(MARGINS), rtol=1e-9, atol=1e-12)


def test_closed_forms_of_the_divergences() -> None:
    """Caveat of unnormalised weights included: p and q need not sum to one."""
    rng = np.random.default_rng(0)
    p, q = rng.random(50), 3 * rng.random(50)
    mean = (p + q) / 2
    js2 = (p * np.log(p / mean) + q * np.log(q / mean)).sum()
    hellinger = np.square(np.sqrt(p) - np.sqrt(q)).sum()
    jeffreys = ((p - q) * np.log(p / q)).sum()
    total = (p + q).sum()
    risk = {name: float(loss.minimum_risk(p, q).sum()) for name, loss in LOSSES.items()}
    assert -risk["logistic"] == pytest.approx(js2 - math.log(2) * total, rel=1e-12)
    assert -risk["exponential"] == pytest.approx(hellinger - total, rel=1e-12)
    assert -risk["exponential_linear"] == pytest.approx(jeffreys - total, rel=1e-12)


def test_the_smoothed_hinge_tends_to_total_variation() -> None:
    rng = np.random.default_rng(1)
    p, q = rng.random(50), rng.random(50)
    target = np.abs(p - q).sum() - (p + q).sum()
    errors = [abs(-float(SmoothedHinge(tau=t).minimum_risk(p, q).sum()) - target) for t in (0.2, 0.02, 0.002)]
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.02 * abs(target)


def test_a_hinge_without_smoothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tau must be a positive number, but is 0"):
        SmoothedHinge(tau=0.0)
    with pytest.raises(ValueError, match=r"tau must be a positive number, but is 'a'"):
        SmoothedHinge(tau="a")
