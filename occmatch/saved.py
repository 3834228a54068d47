"""MDPs, answers and candidates in files: npz archives of plain arrays, read without unpickling anything.

A file is written beside its place and then moved there, so that a stopped program leaves the old file or the new one
and never half of one.  A file that is not what is asked for raises one line that names it, the key, what was expected
and what was found; arrays go through the same checks as arguments do, so that a loaded MDP is a valid one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import numpy as np
from scipy.sparse import csr_array

from occmatch import checks
from occmatch.bellman import RL
from occmatch.candidate import Candidate
from occmatch.matrix_free import AnyMDP
from occmatch.mdp import MDP, Layout

# Sums of a million shares of one, and quotients by them, are off by less.
_ROUNDING = 1e-12

__all__ = ["load_candidate", "load_mdp", "load_rl", "save"]


def save(path: str | Path, thing: MDP | RL | Candidate) -> None:
    """Write an MDP, an answer of `rl` (without its MDP) or a candidate (without its history) to `path`, whole or not.

    Raises OSError where there is no room, ValueError for anything else than these three.
    """
    if isinstance(thing, MDP):
        kind, arrays = "mdp", _mdp_arrays(thing)
    elif isinstance(thing, RL):
        names = ("V", "pi", "error", "iterations", "method", "lam")
        kind, arrays = "rl", {name: np.asarray(getattr(thing, name)) for name in names}
    elif isinstance(thing, Candidate):
        names = ("rho", "cost", "V", "pi", "lam", "method", "attained", "iterations", "seconds", "margin", "gradient")
        values = {name: getattr(thing, name) for name in names}
        kind, arrays = "candidate", {name: np.asarray(value) for name, value in values.items() if value is not None}
    else:
        raise ValueError(f"thing must be an MDP, an RL or a Candidate, but is {type(thing).__name__}")
    _write(Path(path), {"kind": np.asarray(kind), **arrays})


def load_mdp(path: str | Path) -> MDP:
    """The MDP that `save` wrote, to the bit.

    Raises ValueError for a file that holds none, FileNotFoundError for no file.
    """
    data = _read(Path(path), "mdp")
    data_ = _array(path, data, "P_data", 1)
    indices, indptr = (_array(path, data, f"P_{part}", 1, "iu") for part in ("indices", "indptr"))
    p0 = _array(path, data, "p0", 1)
    places = None
    if "cells" in data or "moves" in data:
        places = [_array(path, data, name, 2) for name in ("cells", "moves")]
    try:
        layout = None if places is None else Layout(*places)
        P = csr_array((data_, indices, indptr), shape=(indptr.size - 1, p0.size))
        P.check_format(full_check=True)
        mdp = MDP(P, p0, float(_array(path, data, "gamma", 0)), layout)
    except ValueError as error:
        raise ValueError(f"{path} must hold an MDP, but {error}") from None
    _restore(mdp.P.data, data_)
    _restore(mdp.p0, p0)
    return mdp


def load_rl(path: str | Path, mdp: AnyMDP) -> RL:
    """The answer that `save` wrote, of `mdp`; `rl(mdp, cost, V0=load_rl(path, mdp).V)` goes on from it."""
    data = _read(Path(path), "rl")
    try:
        V = checks.state_vector(mdp, _array(path, data, "V", 1))
        pi = _array(path, data, "pi", 2)
        checks.policy(mdp, pi)
        error, lam = (checks.lam(_array(path, data, name, 0), name) for name in ("error", "lam"))
        iterations, method = _count(path, data, "iterations"), str(_array(path, data, "method", 0, "U"))
    except ValueError as error:
        raise _wrong(path, error) from None
    return RL(V, pi, mdp, error, iterations, method, lam)


def load_candidate(path: str | Path) -> Candidate:
    """The candidate that `save` wrote; how good it is the certificate says, as of any other."""
    data = _read(Path(path), "candidate")
    try:
        numbers = {
            name: checks.lam(_array(path, data, name, 0), name)
            for name in ("lam", "seconds", "gradient")
            if name != "gradient" or name in data
        }
        return Candidate(
            **({"cost": None} | _tables(path, data)),
            **numbers,
            method=str(_array(path, data, "method", 0, "U")),
            attained=bool(_array(path, data, "attained", 0, "b")),
            iterations=_count(path, data, "iterations"),
        )
    except ValueError as error:
        raise _wrong(path, error) from None


def _restore(array: np.ndarray, stored: np.ndarray) -> None:
    """Take back a division by sums that were one but for rounding: it moved last digits, at each loading anew."""
    if array.shape == stored.shape and np.allclose(array, stored, rtol=_ROUNDING, atol=0.0):
        array.setflags(write=True)
        array[:] = stored
        array.setflags(write=False)


def _tables(path: str | Path, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """rho, cost, pi and V of a candidate and its margin, where it has one, checked as `certify` does."""
    shape = _array(path, data, "rho", 2).shape
    shapes = {"rho": shape, "cost": shape, "pi": shape, "V": shape[:1]}
    if "margin" in data and "cost" not in data:  # the margin of a surrogate is a cost to `certify`
        del shapes["cost"]
    arrays = {name: _array(path, data, name, len(shape)) for name, shape in shapes.items()}
    for name, array in arrays.items():
        checks.real_array(array, name, shapes[name])
    checks.nonnegative(arrays["rho"], "rho")
    checks.distributions(arrays["pi"], "pi", shape)
    if "margin" in data:
        arrays["margin"] = margin = _array(path, data, "margin", 2)
        # It is infinite where a cost is at the end of its range.
        checks.real_array(np.where(np.isinf(margin), 0.0, margin), "margin", shape)
    return arrays


def _mdp_arrays(mdp: MDP) -> dict[str, np.ndarray]:
    P = mdp.P
    arrays = {"P_data": P.data, "P_indices": P.indices, "P_indptr": P.indptr, "p0": mdp.p0}
    arrays["gamma"] = np.asarray(mdp.gamma)
    if mdp.layout is not None:
        arrays |= {"cells": mdp.layout.cells, "moves": mdp.layout.moves}
    return arrays


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """All arrays under a temporary name in the same folder, flushed to the disk, then moved to `path`."""
    # Opened like any other file, so that whoever may read those may read this one: `tempfile` keeps its own private.
    name = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with name.open("xb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError as error:  # of the temporary file, which nobody asked for
        name.unlink(missing_ok=True)
        raise type(error)(error.errno, error.strerror, str(path)) from None
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def _read(path: Path, kind: str) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                data = {name: archive[name] for name in archive.files}
        except Exception as error:
            # NumPy would have to unpickle, or the bytes are damaged: its parsers and those of zipfile raise all kinds.
            raise ValueError(f"{path} must be an npz archive of plain arrays, but reading it says: {error}") from None
    found = str(data.get("kind", "missing"))
    if found != kind:
        raise ValueError(f"{path}: kind must be {kind!r}, but is {found!r}")
    return data


def _array(path: str | Path, data: Mapping[str, np.ndarray], name: str, ndim: int, kinds: str = "fiu") -> np.ndarray:
    if name not in data:
        raise ValueError(f"{path}: {name} must be an array of {ndim} dimensions, but is missing")
    array = np.asarray(data[name])  # bytes, where a part of the archive is no array
    if array.ndim != ndim or array.dtype.kind not in kinds:
        raise ValueError(
            f"{path}: {name} must have {ndim} dimensions and numbers or text as `save` writes them, but is "
            f"{array.dtype} of shape {array.shape}"
        )
    return array


def _count(path: str | Path, data: Mapping[str, np.ndarray], name: str) -> int:
    return checks.count(_array(path, data, name, 0)[()], name, least=0)


def _wrong(path: str | Path, error: ValueError) -> ValueError:
    text = str(error)
    return ValueError(text if text.startswith(str(path)) else f"{path}: {text}")
