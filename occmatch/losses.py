"""Surrogate losses phi: one definition for the exact and the neural side.

A margin m(s, a) scores a state-action pair: large where the pair looks like the learner's. A loss phi, convex and
decreasing, turns the margin into the quantities of Ho & Ermon (2016), Appendix A.1:

    risk of margins      sum_{s,a} rho(s,a) phi(m(s,a)) + rho_E(s,a) phi(-m(s,a))
    cost of a margin     c = -phi(m)
    Proposition A.1      g(x) = -x + phi(-phi^{-1}(-x)) on T = range of -phi, +inf elsewhere
    regulariser          psi(c) = <rho_E, g(c)>,   psi*(rho - rho_E) = -minimum risk (Eq 29)

Sign conventions of the whole project, said here once: the classifier D = 1 means "learner"; a policy MINIMISES cost;
for the logistic loss D = sigmoid(m) and c = log D = -phi(m) (Corollary A.1.1). Working in m and not in c is what
keeps the sums exact, since -<rho_E, c> - psi(c) = -<rho_E, phi(-m)> needs no cancellation.

Every function is elementwise, on NumPy arrays or on torch tensors alike, and differentiable where torch is used.
Exponentials saturate at the largest number of the dtype, so that margins of +-700 stay finite.
"""

import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

Array = Any  # a NumPy array or a torch tensor; the two share the names used below


def _namespace(x: Array) -> Any:
    """The module whose exp, where, ... act on x; torch is never imported from here."""
    return sys.modules["torch"] if type(x).__module__.partition(".")[0] == "torch" else np


def _array(x: Array) -> Array:
    if _namespace(x) is not np:
        return x
    x = np.asarray(x)
    return x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)


def _exp(x: Array) -> Array:
    xp = _namespace(x)
    limit = math.log(float(xp.finfo(x.dtype).max)) - 1e-3  # the rounding of exp must not push it over
    return xp.exp(xp.clip(x, None, limit))


def _softplus(x: Array) -> Array:
    xp = _namespace(x)
    return xp.logaddexp(xp.zeros_like(x), x)


def _sigmoid(x: Array) -> Array:
    return _exp(-_softplus(-x))


def _log(x: Array) -> Array:
    """log with log 0 = -inf and no warning."""
    with np.errstate(divide="ignore"):
        return _namespace(x).log(x)


def _log_ratio(p: Array, q: Array) -> Array:
    """log(p / q), zero where both vanish."""
    xp = _namespace(p)
    both = (p == 0) & (q == 0)
    return _log(xp.where(both, xp.ones_like(p), p)) - _log(xp.where(both, xp.ones_like(q), q))


def _xlog(x: Array, log: Array) -> Array:
    """x * log with 0 * (+-inf) = 0."""
    xp = _namespace(x)
    return xp.where(x == 0, xp.zeros_like(x), x * xp.where(x == 0, xp.zeros_like(log), log))


@dataclass(frozen=True)
class Loss(ABC):
    """A convex decreasing loss phi and everything that follows from it.

    Subclasses give phi, its two derivatives, its inverse, and the minimiser and minimum of the pointwise risk
    p phi(m) + q phi(-m). `upper` is the supremum of T, the costs that some margin reaches: T = (-inf, upper).
    """

    name: str
    upper: float

    @abstractmethod
    def phi(self, m: Array) -> Array:
        """phi(m), elementwise."""

    @abstractmethod
    def dphi(self, m: Array) -> Array:
        """phi'(m) <= 0, elementwise."""

    @abstractmethod
    def d2phi(self, m: Array) -> Array:
        """phi''(m) >= 0, elementwise."""

    @abstractmethod
    def inverse(self, y: Array) -> Array:
        """The margin m with phi(m) = y, for y in the range of phi."""

    @abstractmethod
    def best_margin(self, p: Array, q: Array) -> Array:
        """argmin_m p phi(m) + q phi(-m) for p, q >= 0; +-inf where it is not attained, 0 where p = q = 0."""

    @abstractmethod
    def minimum_risk(self, p: Array, q: Array) -> Array:
        """min_m p phi(m) + q phi(-m), the summand of R_phi (Eq 29); -inf where unbounded."""

    def cost(self, m: Array) -> Array:
        """c = -phi(m): the cost that a margin stands for, increasing in m."""
        return -self.phi(_array(m))

    def margin(self, c: Array) -> Array:
        """The margin of a cost, phi^{-1}(-c), for c < upper."""
        return self.inverse(-_array(c))

    def g(self, x: Array) -> Array:
        """g(x) = -x + phi(-phi^{-1}(-x)) for x in T, +inf elsewhere (Proposition A.1)."""
        x = _array(x)
        xp = _namespace(x)
        inside = x < self.upper
        safe = xp.where(inside, x, xp.full_like(x, min(self.upper, 0.0) - 1.0))
        return xp.where(inside, -safe + self.phi(-self.inverse(-safe)), xp.full_like(x, math.inf))

    def risk(self, m: Array, p: Array, q: Array) -> Array:
        """p phi(m) + q phi(-m), elementwise, with 0 * inf = 0."""
        return _xlog(p, self.phi(m)) + _xlog(q, self.phi(-m))


@dataclass(frozen=True)
class Logistic(Loss):
    """phi(m) = log(1 + e^-m): GAIL. -R_phi is 2 JS - 2 log 2 on normalised measures (Section 5, Eq 15)."""

    name: str = "logistic"
    upper: float = 0.0

    def phi(self, m: Array) -> Array:
        return _softplus(-_array(m))

    def dphi(self, m: Array) -> Array:
        return -_sigmoid(-_array(m))

    def d2phi(self, m: Array) -> Array:
        m = _array(m)
        return _sigmoid(m) * _sigmoid(-m)

    def inverse(self, y: Array) -> Array:
        # m = -log(e^y - 1) = -y - log(1 - e^-y), the second form being finite for large y.
        y = _array(y)
        return -y - _log(-_namespace(y).expm1(-y))

    def best_margin(self, p: Array, q: Array) -> Array:
        return _log_ratio(_array(p), _array(q))

    def minimum_risk(self, p: Array, q: Array) -> Array:
        p, q = _array(p), _array(q)
        m = self.best_margin(p, q)
        return self.risk(m, p, q)


@dataclass(frozen=True)
class Exponential(Loss):
    """phi(m) = e^-m: -R_phi is the squared Hellinger distance less a constant, sum (sqrt p - sqrt q)^2 - p - q."""

    name: str = "exponential"
    upper: float = 0.0

    def phi(self, m: Array) -> Array:
        return _exp(-_array(m))

    def dphi(self, m: Array) -> Array:
        return -_exp(-_array(m))

    def d2phi(self, m: Array) -> Array:
        return _exp(-_array(m))

    def inverse(self, y: Array) -> Array:
        return -_log(_array(y))

    def best_margin(self, p: Array, q: Array) -> Array:
        return 0.5 * _log_ratio(_array(p), _array(q))

    def minimum_risk(self, p: Array, q: Array) -> Array:
        p, q = _array(p), _array(q)
        return 2 * p**0.5 * q**0.5


@dataclass(frozen=True)
class ExponentialLinear(Loss):
    """phi(m) = e^-m - m, onto R: -R_phi is Jeffreys' divergence sum (p - q) log(p / q) less p + q."""

    name: str = "exponential_linear"
    upper: float = math.inf

    def phi(self, m: Array) -> Array:
        m = _array(m)
        return _exp(-m) - m

    def dphi(self, m: Array) -> Array:
        return -_exp(-_array(m)) - 1

    def d2phi(self, m: Array) -> Array:
        return _exp(-_array(m))

    def inverse(self, y: Array) -> Array:
        # Newton on the convex decreasing f(m) = e^-m - m - y, from the left of its root (f > 0 at both starts), where
        # it increases monotonically to the root; eight steps reach rounding for every double y.
        y = _array(y)
        xp = _namespace(y)
        m = xp.where(y > 1, -_log(xp.where(y > 1, y, xp.ones_like(y))), -y)
        for _ in range(8):
            e = _exp(-m)
            m = m + (e - m - y) / (e + 1)
        return m

    def best_margin(self, p: Array, q: Array) -> Array:
        return _log_ratio(_array(p), _array(q))

    def minimum_risk(self, p: Array, q: Array) -> Array:
        p, q = _array(p), _array(q)
        return p + q - _xlog(p - q, _log_ratio(p, q))


@dataclass(frozen=True)
class Linear(Loss):
    """phi(m) = -m: g = 0, so that psi is constant and -R_phi is 0 where the measures agree, +inf elsewhere."""

    name: str = "linear"
    upper: float = math.inf

    def phi(self, m: Array) -> Array:
        return -_array(m)

    def dphi(self, m: Array) -> Array:
        m = _array(m)
        return -_namespace(m).ones_like(m)

    def d2phi(self, m: Array) -> Array:
        m = _array(m)
        return _namespace(m).zeros_like(m)

    def inverse(self, y: Array) -> Array:
        return -_array(y)

    def best_margin(self, p: Array, q: Array) -> Array:
        p, q = _array(p), _array(q)
        xp = _namespace(p)
        sign = xp.sign(p - q)
        return xp.where(sign == 0, sign, xp.copysign(xp.full_like(sign, math.inf), sign))

    def minimum_risk(self, p: Array, q: Array) -> Array:
        p, q = _array(p), _array(q)
        xp = _namespace(p)
        return xp.where(p == q, xp.zeros_like(p), xp.full_like(p, -math.inf))


@dataclass(frozen=True)
class SmoothedHinge(Loss):
    """phi(m) = tau log(1 + e^((1 - m) / tau)): tends to the hinge max(0, 1 - m), and -R_phi to ||p - q||_1 - p - q.

    Strictly decreasing for every tau > 0, which the hinge itself is not, so that Proposition A.1 applies.
    """

    name: str = "smoothed_hinge"
    upper: float = 0.0
    tau: float = 0.25

    def __post_init__(self) -> None:
        if not (isinstance(self.tau, Real) and 0 < self.tau < math.inf):
            raise ValueError(f"tau must be a positive number, but is {self.tau!r}")

    def phi(self, m: Array) -> Array:
        return self.tau * _softplus((1 - _array(m)) / self.tau)

    def dphi(self, m: Array) -> Array:
        return -_sigmoid((1 - _array(m)) / self.tau)

    def d2phi(self, m: Array) -> Array:
        z = (1 - _array(m)) / self.tau
        return _sigmoid(z) * _sigmoid(-z) / self.tau

    def inverse(self, y: Array) -> Array:
        z = _array(y) / self.tau
        return 1 - self.tau * (z + _log(-_namespace(z).expm1(-z)))

    def best_margin(self, p: Array, q: Array) -> Array:
        # Stationarity is a quadratic in u = e^(m / tau) with a = e^(-1 / tau): q a u^2 + (q - p) u - p a = 0. Of the
        # two forms of its positive root, take for each entry the one that adds numbers of one sign.
        p, q = _array(p), _array(q)
        xp = _namespace(p)
        gap = xp.abs(p - q)
        root = gap + (gap**2 + 4 * math.exp(-2 / self.tau) * p * q) ** 0.5
        size = 1 / self.tau + _log_ratio(root, 2 * xp.where(p >= q, q, p))
        size = xp.where(p == q, xp.zeros_like(p), size)
        return self.tau * xp.where(p >= q, size, -size)

    def minimum_risk(self, p: Array, q: Array) -> Array:
        p, q = _array(p), _array(q)
        return self.risk(self.best_margin(p, q), p, q)


LOSSES: dict[str, Loss] = {
    loss.name: loss for loss in (Logistic(), Exponential(), ExponentialLinear(), Linear(), SmoothedHinge())
}
"""Every registered loss by name; contracts in the tests and the command line run over this table."""
