"""A PCG64 generator as six unsigned 64-bit words, and the check of saved arrays before they are used."""

from __future__ import annotations

import numpy as np

__all__ = ["check_arrays", "from_array", "to_array"]

_WORD = (1 << 64) - 1


def to_array(rng: np.random.Generator) -> np.ndarray:
    """state (two words, low first), increment (two words), has_uint32, uinteger: [6] uint64."""
    saved = rng.bit_generator.state
    state, inc = saved["state"]["state"], saved["state"]["inc"]
    words = [state & _WORD, state >> 64, inc & _WORD, inc >> 64, saved["has_uint32"], saved["uinteger"]]
    return np.array(words, dtype=np.uint64)


def from_array(rng: np.random.Generator, words: np.ndarray) -> None:
    """Set a PCG64 generator to what `to_array` saved."""
    low, high, inc_low, inc_high, has_uint32, uinteger = (int(word) for word in words)
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": low | high << 64, "inc": inc_low | inc_high << 64},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


def check_arrays(env_id: str, expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    """Raise ValueError unless `found` has the keys, shapes and dtypes of `expected`."""
    if set(expected) != set(found):
        raise ValueError(f"state of {env_id} must have keys {sorted(expected)}, but has keys {sorted(found)}")
    for key, array in expected.items():
        if found[key].shape != array.shape or found[key].dtype != array.dtype:
            raise ValueError(
                f"state[{key!r}] of {env_id} must be {array.dtype} of shape {array.shape}, "
                f"but is {found[key].dtype} of shape {found[key].shape}"
            )
