"""Validation of arguments, done once at every public entry.

Each function returns its argument as a fresh or shared float64 array of the stated shape, or raises `ValueError` whose
message names the argument, the expected form, and the first offending index with its value:

    pi[2] must be a probability distribution, but has least entry -0.1 and sum 1

Probabilities whose sum is off by no more than `SUM_SLACK` are rounding, not mistakes: they are divided by their sum.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse, sparray, spmatrix

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

# A sum of n <= 1e6 terms in [0, 1] rounds by less than n * 2^-53 ~ 1e-10; ten times that is still no real mistake.
SUM_SLACK = 1e-9

# Kinds of dtype that hold real numbers: text, dates and complex numbers NumPy would cast, and drop what does not fit.
_REAL = "biuf"

# Relative size of a flow residual that is still rounding: solvers stop near 1e-12, hand-typed measures near 1e-6.
FLOW_SLACK = 1e-8


class Process(Protocol):
    """What a check needs to know of an MDP."""

    @property
    def S(self) -> int: ...
    @property
    def A(self) -> int: ...


def numbers(x: ArrayLike, name: str) -> FloatArray:
    """`x` as float64, finite or not, or ValueError where NumPy would have to drop or guess something."""
    index: tuple[int, ...] = ()
    try:
        found = np.asarray(x)
        if found.dtype.kind in _REAL and not np.ma.is_masked(x):
            return found.astype(np.float64, copy=False)
        index, other = _first_other(x, found)
        if not other:
            return found.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        other = f"{type(x).__name__}: {error}"
    wanted = "a real number" if index else "an array of real numbers"
    raise ValueError(f"{name}{_subscript(index)} must be {wanted}, but is {other}")


def real_array(x: ArrayLike, name: str, shape: tuple[int, ...] | None = None) -> FloatArray:
    """`x` as a finite float64 array; with `shape`, of exactly that shape.

    Raises ValueError at the first bad entry; text, dates, complex numbers and masked entries are bad ones.
    """
    array = numbers(x, name)
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, but has shape {array.shape}")
    finite = np.isfinite(array)
    if not finite.all():
        index = tuple(np.argwhere(~finite)[0])
        raise ValueError(f"{name}{_subscript(index)} must be finite, but is {array[index]:g}")
    return array


def real_axes(x: ArrayLike, name: str, *axes: str) -> FloatArray:
    """`x` as a finite array with one dimension for each name in `axes`, of any sizes but 0: where no MDP gives them."""
    array = real_array(x, name)
    if array.ndim != len(axes) or array.size == 0:
        raise ValueError(f"{name} must have shape {_form(axes)}, but has shape {array.shape}")
    return array


def integers(x: ArrayLike, name: str, *axes: str) -> NDArray[np.integer]:
    """`x` as an array of integers with one dimension for each name in `axes`; fractions and bools are refused."""
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} must be integers of shape {_form(axes)}, but: {error}") from None
    if array.ndim != len(axes) or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be integers of shape {_form(axes)}, but is {array.dtype} of shape {array.shape}")
    return array


def mask(x: ArrayLike, name: str, form: str) -> NDArray[np.bool_]:
    """`x` as an array of bools with two dimensions, or ValueError that asks for `form`."""
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} must be bool {form}, but: {error}") from None
    if array.ndim != 2 or array.dtype != bool:
        raise ValueError(f"{name} must be bool {form}, but is {array.dtype} of shape {array.shape}")
    return array


def sparse_matrix(x: sparray | spmatrix, name: str, form: str) -> csr_array:
    """A copy of sparse `x` as CSR of float64.  Raises ValueError where it has not the two dimensions of `form`."""
    if x.dtype.kind not in _REAL:
        raise ValueError(f"{name} must be an array of real numbers, but is {type(x).__name__} of {x.dtype}")
    if x.ndim != 2:
        raise ValueError(f"{name} must be sparse of shape {form}, but has shape {x.shape}")
    return csr_array(x, dtype=np.float64, copy=True)


def distributions(x: ArrayLike, name: str, shape: tuple[int, ...]) -> FloatArray:
    """`x` of `shape` whose last axis holds probability distributions, each divided by its sum if off by rounding."""
    array = real_array(x, name, shape)
    if array.size == 0:
        raise ValueError(f"{name} must hold probabilities, but has shape {shape}")
    rows = array.reshape(-1, shape[-1])
    least, total = rows.min(axis=1), rows.sum(axis=1)
    bad = (least < 0.0) | (np.abs(total - 1.0) > SUM_SLACK)
    if bad.any():
        row = int(np.argmax(bad))
        index = tuple(int(i) for i in np.unravel_index(row, shape[:-1])) if len(shape) > 1 else ()
        raise ValueError(
            f"{name}{_subscript(index)} must be a probability distribution, "
            f"but has least entry {least[row]:.10g} and sum {total[row]:.10g}"
        )
    return array / array.sum(axis=-1, keepdims=True)


def explicit(mdp: object) -> None:
    """Raise ValueError where `mdp` does not store its kernel as the sparse matrix `P`, as an MDP does."""
    if not issparse(getattr(mdp, "P", None)):
        raise ValueError(f"mdp must be an MDP, which stores its kernel, but is {type(mdp).__name__}")


# 1 - gamma below which matching and IRL lose their digits, or call what they cannot solve infeasible: measures have a
# mass of 1 / (1 - gamma), rounding is relative to that, and I - gamma P has a condition number as large.
_NEAREST_ONE = 1e-7


def solvable(mdp: object, name: str) -> None:
    """Raise ValueError where `mdp` is not explicit, or its gamma too near to one for the solver `name`."""
    explicit(mdp)
    if mdp.gamma > 1.0 - _NEAREST_ONE:
        raise ValueError(f"mdp.gamma must be at most 1 - {_NEAREST_ONE:g} for `{name}`, but is {mdp.gamma!r}")


def shape(mdp: Process) -> tuple[int, int]:
    """(S, A), or ValueError where `mdp` is no MDP in any form, such as the cost that should have come second."""
    try:
        return mdp.S, mdp.A
    except AttributeError:
        raise ValueError(f"mdp must be an MDP or a MatrixFree, but is {type(mdp).__name__}") from None


def made_by(mdp: Process, like: tuple[int, int], form: str) -> None:
    """Raise ValueError unless `mdp` has the shape `like`, the nearest of `form`: where a cost belongs to one model."""
    if shape(mdp) != like:
        raise ValueError(f"mdp must have shape {form}, but has shape {shape(mdp)}")


def policy(mdp: Process, pi: ArrayLike, name: str = "pi") -> FloatArray:
    """`pi` [S, A] with a distribution over actions in each row (a row of zeros is refused)."""
    return distributions(pi, name, shape(mdp))


def cost(mdp: Process, c: ArrayLike, name: str = "cost") -> FloatArray:
    """`c` [S, A], finite."""
    return real_array(c, name, shape(mdp))


def state_vector(mdp: Process, V: ArrayLike, name: str = "V") -> FloatArray:
    """`V` [S], finite."""
    return real_array(V, name, shape(mdp)[:1])


def measure(mdp: Process, rho: ArrayLike, name: str = "rho") -> FloatArray:
    """`rho` [S, A], finite and nonnegative; it need not satisfy the flow equations."""
    return nonnegative(real_array(rho, name, shape(mdp)), name)


def nonnegative(array: FloatArray, name: str) -> FloatArray:
    """`array` without negative entries, or ValueError at the least one."""
    if array.size and array.min() < 0.0:
        index = tuple(int(i) for i in np.unravel_index(int(np.argmin(array)), array.shape))
        raise ValueError(f"{name}{_subscript(index)} must be at least 0, but is {array[index]:g}")
    return array


def lam(value: float, name: str = "lam", *, positive: bool = False) -> float:
    """The entropy weight: finite, >= 0, or > 0 where `positive`."""
    number = scalar(value, name)
    if number < 0.0 or (positive and number == 0.0):
        raise ValueError(f"{name} must be {'positive' if positive else 'at least 0'}, but is {number:g}")
    return number


def discount(value: float, name: str = "gamma") -> float:
    """The discount: a number in [0, 1)."""
    number = scalar(value, name)
    if not 0.0 <= number < 1.0:
        raise ValueError(f"{name} must lie in [0, 1), but is {number!r}")
    return number


def probability(value: float, name: str) -> float:
    """A number in [0, 1]."""
    number = scalar(value, name)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name} must lie in [0, 1], but is {number:g}")
    return number


def scalar(value: float, name: str) -> float:
    """A finite real number."""
    return float(real_array(value, name, ()))


def generator(rng: np.random.Generator, name: str = "rng") -> np.random.Generator:
    """A generator of NumPy, where a seed would have to be guessed to be one."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"{name} must be a numpy.random.Generator, but is {type(rng).__name__}")
    return rng


def count(value: int, name: str, least: int = 1) -> int:
    """An integer of at least `least`; bools and floats are refused."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, but is {value!r}")
    return int(value)


def state(S: int, index: int, name: str) -> int:
    """A state index in 0 .. S-1."""
    index = count(index, name, least=0)
    if index >= S:
        raise ValueError(f"{name} must be a state in 0 .. {S - 1}, but is {index}")
    return index


def _first_other(x: ArrayLike, found: np.ndarray) -> tuple[tuple[int, ...], str]:
    """Where `found`, made of `x`, first holds something else than a real number, and what; ((), "") if nowhere."""
    if found.dtype.kind not in _REAL + "O":
        return (), type(x).__name__ if found.ndim == 0 else f"{type(x).__name__} of {found.dtype}"
    masked = np.ma.getmaskarray(x)
    for index, entry in np.ndenumerate(found):
        if masked[index]:
            return index, "masked"
        if not hasattr(entry, "__float__"):
            return index, type(entry).__name__
    return (), ""


def _form(axes: tuple[str, ...]) -> str:
    return f"({axes[0]},)" if len(axes) == 1 else f"({', '.join(axes)})"


def _subscript(index: tuple[int, ...]) -> str:
    return f"[{', '.join(str(int(i)) for i in index)}]" if index else ""
