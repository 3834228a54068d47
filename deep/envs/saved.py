"""Simulator states as plain arrays: a PCG64 generator as words, and the check of arrays before use."""

from __future__ import annotations

import numpy as np

__all__ = ["RNG_WORDS", "check", "check_below", "from_rng", "set_rng"]

RNG_WORDS = 6
_WORD = (1 << 64) - 1


def from_rng(rng: np.random.Generator) -> np.ndarray:
    """state (two words, low first), increment (two words), has_uint32, uinteger of a PCG64: [6] uint64."""
    content = rng.bit_generator.state
    state, inc = content["state"]["state"], content["state"]["inc"]
    words = [state & _WORD, state >> 64, inc & _WORD, inc >> 64, content["has_uint32"], content["uinteger"]]
    return np.array(words, dtype=np.uint64)


def set_rng(rng: np.random.Generator, words: np.ndarray) -> None:
    """Set a PCG64 generator to what `from_rng` returned."""
    low, high, inc_low, inc_high, has_uint32, uinteger = (int(word) for word in words)
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": low | high << 64, "inc": inc_low | inc_high << 64},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


Expected = dict[str, tuple[type | np.dtype, tuple[int, ...]]]


def check(env_id: str, state: dict[str, np.ndarray], expected: Expected) -> None:
    """Raise ValueError unless `state` has exactly the expected keys, dtypes and shapes."""
    if set(expected) != set(state):
        raise ValueError(f"state of {env_id} must have keys {sorted(expected)}, but has {sorted(state)}")
    for key, (dtype, shape) in expected.items():
        array = state[key]
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"state[{key!r}] of {env_id} must be {np.dtype(dtype)} of shape {shape}, "
                f"but is {array.dtype} of shape {array.shape}"
            )


def check_below(env_id: str, key: str, array: np.ndarray, bound: int) -> None:
    """Raise ValueError unless every integer of `array` is in 0..bound-1."""
    wrong = array[(array < 0) | (array >= bound)]
    if wrong.size:
        raise ValueError(f"state[{key!r}] of {env_id} must be in 0..{bound - 1}, but holds {wrong[0]}")
