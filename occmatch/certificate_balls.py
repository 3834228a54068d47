"""psi and psi* in ball arithmetic, written from their definitions and sharing nothing with `losses` or `regularisers`.

For each psi a pair of functions of exact numbers: the cost, pulled into the domain of psi, with -<rho_E, c> - psi(c);
and psi*(rho - rho_E) of balls rho > 0. With p = rho, q = rho_E, entry by entry:

    loss                 -min_m p phi(m) + q phi(-m)                             phi(-m) as a function of c = -phi(m)
    logistic             p log(p / (p+q)) + q log(q / (p+q))                     -log(1 - e^c)
    exponential          -2 sqrt(p q)                                            -1 / c
    exponential_linear   (p - q) log(p / q) - p - q                              1 / w - log w, w = W(e^-c)
    smoothed_hinge       at the root of q a u^2 + (q - p) u - p a = 0,           tau log(1 + e^((1+m)/tau)),
                         u = e^(m/tau), a = e^(-1/tau)                           m = 1 - tau log(e^(-c/tau) - 1)

and for f-divergences q f(p / q) and f*(c) as in Nowozin, Cseke & Tomioka (2016), Table 2, shifted so that f'(1) = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb
from scipy.optimize import nnls

from occmatch.checks import FloatArray
from occmatch.losses import Exponential, ExponentialLinear, Logistic, Loss, SmoothedHinge
from occmatch.regularisers import Box, FDivergence, L2Ball, Quadratic, Regulariser, Simplex, Surrogate

Ball = Any  # flint.arb, which has no type stubs


@dataclass(frozen=True)
class Form:
    """`dual`(psi, cost, rho_E) -> (cost in the domain, -<rho_E, c> - psi(c)); `divergence`(psi, rho, rho_E) -> psi*."""

    dual: Callable[[Any, FloatArray, list[Ball]], tuple[list[Ball], Ball]]
    divergence: Callable[[Any, list[Ball], list[Ball]], Ball]


@dataclass(frozen=True)
class Entry:
    """An entrywise psi: psi* of p > 0 and q > 0, the summand of -<rho_E, c> - psi(c) over q, and the slope at q = 0.

    `upper` is the supremum of the costs allowed; `at_zero` is psi* at p = 0 over q, None where it is infinite.
    """

    divergence: Callable[[Ball, Ball], Ball]
    value: Callable[[Ball], Ball]
    upper: float
    at_zero: Callable[[], Ball] | None


def ball(x: float) -> Ball:
    """A double, exactly."""
    return arb(float(x))


def total(terms: Iterable[Ball]) -> Ball:
    """Their sum, zero of none."""
    return sum(terms, arb(0))


def _square(x: Ball) -> Ball:
    """x^2; the power of a ball around zero is no number."""
    return x * x


def _hinge_risk(tau: float) -> Callable[[Ball, Ball], Ball]:
    def negative_risk(p: Ball, q: Ball) -> Ball:
        t = ball(tau)
        a = (-1 / t).exp()
        gap = p - q
        root = (gap * gap + 4 * a * a * p * q).sqrt()
        # Of the two forms of the positive root, the one that adds numbers of one sign.
        u = (gap + root) / (2 * q * a) if float(gap.mid()) >= 0 else 2 * p * a / (root - gap)
        up, down = (1 / (u * a)).log1p(), (u / a).log1p()
        return -t * (p * up + q * down)

    return negative_risk


def _hinge_value(tau: float) -> Callable[[Ball], Ball]:
    def value(c: Ball) -> Ball:
        t = ball(tau)
        m = 1 - t * (-c / t).expm1().log()
        return -t * ((1 + m) / t).exp().log1p()

    return value


def _exponential_linear_value(c: Ball) -> Ball:
    w = (-c).exp().lambertw()
    return w.log() - 1 / w


LOSS_ENTRIES: dict[type[Loss], Entry] = {  # a class derived from one of them may mean another loss
    Logistic: Entry(
        lambda p, q: p * (p / (p + q)).log() + q * (q / (p + q)).log(),
        lambda c: (-c.expm1()).log(),
        0.0,
        lambda: arb(0),
    ),
    Exponential: Entry(lambda p, q: -2 * (p * q).sqrt(), lambda c: 1 / c, 0.0, lambda: arb(0)),
    ExponentialLinear: Entry(lambda p, q: (p - q) * (p / q).log() - p - q, _exponential_linear_value, np.inf, None),
}

DIVERGENCE_ENTRIES: dict[str, Entry] = {
    "kl": Entry(lambda p, q: p * (p / q).log() - p + q, lambda c: -c.expm1(), np.inf, lambda: arb(1)),
    "reverse_kl": Entry(lambda p, q: q * (q / p).log() + p - q, lambda c: (-c).log1p(), 1.0, None),
    "chi2": Entry(
        lambda p, q: (p - q) * (p - q) / q,
        lambda c: -(c + c * c / 4) if c > -2 else arb(1),
        np.inf,
        lambda: arb(1),
    ),
    "hellinger": Entry(lambda p, q: _square(p.sqrt() - q.sqrt()), lambda c: -c / (1 - c), 1.0, lambda: arb(1)),
    "js": Entry(
        lambda p, q: p * (2 * p / (p + q)).log() + q * (2 * q / (p + q)).log(),
        lambda c: (-c.expm1()).log1p(),
        float(np.nextafter(np.log(2.0), 0.0)),  # the double below log 2, so that costs of unseen pairs stay inside
        lambda: arb(2).log(),
    ),
    "tv": Entry(lambda p, q: abs(p - q) / 2, lambda c: -c if c > -0.5 else arb(0.5), 0.5, lambda: arb(0.5)),
}


def _entrywise(entry: Entry, upper_slope: Ball) -> Form:
    # The supremum of the costs is the best for a pair that the expert never takes; for others psi is infinite there.
    below = np.nextafter(entry.upper, -np.inf)

    def dual(psi: Any, cost: FloatArray, q: list[Ball]) -> tuple[list[Ball], Ball]:
        c = [ball(min(x, below if m > 0 else entry.upper)) for x, m in zip(cost.reshape(-1), q, strict=True)]
        return c, total(m * entry.value(x) for x, m in zip(c, q, strict=True) if m > 0)

    def divergence(psi: Any, p: list[Ball], q: list[Ball]) -> Ball:
        terms = []
        for x, m in zip(p, q, strict=True):
            if m > 0 and x > 0:
                terms.append(entry.divergence(x, m))
            elif m > 0:
                terms.append(m * entry.at_zero() if entry.at_zero is not None and x.is_zero() else arb.pos_inf())
            elif not x.is_zero():
                terms.append(upper_slope * x)
        return total(terms)

    return Form(dual, divergence)


def _surrogate(psi: Surrogate) -> Form | None:
    loss = psi.loss
    if type(loss) is SmoothedHinge:
        return _entrywise(Entry(_hinge_risk(loss.tau), _hinge_value(loss.tau), 0.0, lambda: arb(0)), arb(0))
    entry = LOSS_ENTRIES.get(type(loss))
    return None if entry is None else _entrywise(entry, arb(entry.upper))


def _f_divergence(psi: FDivergence) -> Form:
    slope = arb(2).log() if psi.name == "js" else arb(DIVERGENCE_ENTRIES[psi.name].upper)
    return _entrywise(DIVERGENCE_ENTRIES[psi.name], slope)


def _linear(
    coordinates: Callable[[Any, FloatArray], list[Ball]],
    psi_of: Callable[[Any, list[Ball]], Ball],
    conjugate: Callable[[Any, list[Ball]], Ball],
) -> Callable[[Any], Form]:
    """psi through the coordinates of a cost: those pulled into the class, psi of them, and psi* of the feature gaps."""

    def dual(psi: Any, cost: FloatArray, q: list[Ball]) -> tuple[list[Ball], Ball]:
        w = coordinates(psi, cost)
        c = _combine(psi.features, w)
        return c, -total(m * x for x, m in zip(c, q, strict=True)) - psi_of(psi, w)

    def divergence(psi: Any, p: list[Ball], q: list[Ball]) -> Ball:
        return conjugate(psi, _gaps(psi.features, [x - m for x, m in zip(p, q, strict=True)]))

    return lambda psi: Form(dual, divergence)


def _weights(psi: Any, cost: FloatArray) -> FloatArray:
    """The coordinates that the claimed cost comes closest to, as doubles."""
    flat = cost.reshape(-1)
    if psi.features is None:
        return flat
    return np.linalg.lstsq(psi.features.reshape(flat.size, -1), flat, rcond=None)[0]


def _in_box(psi: Box, cost: FloatArray) -> list[Ball]:
    return [ball(x) for x in np.clip(cost.reshape(-1), -psi.bound, psi.bound)]


def _in_ball(psi: L2Ball, cost: FloatArray) -> list[Ball]:
    w = [ball(x) for x in _weights(psi, cost)]
    length = total(x * x for x in w).sqrt()
    factor = ball(psi.radius) / length if not length <= psi.radius else arb(1)
    return [x * factor for x in w]


def _in_simplex(psi: Simplex, cost: FloatArray) -> list[Ball]:
    weights = _weights(psi, cost)
    if psi.features is not None and weights.min() < 0:  # dependent features have many weights, and some >= 0
        F = psi.features.reshape(cost.size, -1)
        size = float(np.abs(F).max()) or 1.0  # of the sum of the weights beside the features
        weights = nnls(np.vstack([F, np.full(F.shape[1], size)]), np.append(cost.reshape(-1), size))[0]
    w = [ball(x) for x in np.maximum(weights, 0.0)]
    whole = total(w)
    return [x / whole for x in w]


def _plain(psi: Quadratic, cost: FloatArray) -> list[Ball]:
    return [ball(x) for x in _weights(psi, cost)]


def _penalties(psi: Quadratic, n: int) -> list[Ball]:
    return [ball(x) for x in np.broadcast_to(np.asarray(psi.weight).reshape(-1), (n,))]


def _combine(features: FloatArray | None, w: list[Ball]) -> list[Ball]:
    if features is None:
        return w
    return [total(ball(f) * x for f, x in zip(row, w, strict=True)) for row in features.reshape(-1, len(w))]


def _gaps(features: FloatArray | None, x: list[Ball]) -> list[Ball]:
    if features is None:
        return x
    columns = features.reshape(len(x), -1).T
    return [total(ball(f) * y for f, y in zip(column, x, strict=True)) for column in columns]


def _largest(x: list[Ball]) -> Ball:
    top = x[0]
    for y in x[1:]:
        top = top.max(y)
    return top


def _zero(psi: Regulariser, w: list[Ball]) -> Ball:
    return arb(0)


FORMS: dict[type, Callable[[Any], Form | None]] = {
    Surrogate: _surrogate,
    FDivergence: _f_divergence,
    Box: _linear(_in_box, _zero, lambda psi, x: ball(psi.bound) * total(abs(y) for y in x)),
    L2Ball: _linear(_in_ball, _zero, lambda psi, x: ball(psi.radius) * total(y * y for y in x).sqrt()),
    Simplex: _linear(_in_simplex, _zero, lambda psi, x: _largest(x)),
    Quadratic: _linear(
        _plain,
        lambda psi, w: total(k * x * x for k, x in zip(_penalties(psi, len(w)), w, strict=True)) / 2,
        lambda psi, x: total(y * y / k for k, y in zip(_penalties(psi, len(x)), x, strict=True)) / 2,
    ),
}
"""Class of psi -> its interval form, or None where it has none."""
