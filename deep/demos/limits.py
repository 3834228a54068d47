"""How much a file may ask for, judged from what it declares and before anything is read.

A few kilobytes of an archive can declare terabytes, or hold gigabytes of zeros. Recorded numbers hardly compress, so
that a file of n bytes may unpack to FREE + RATIO * n bytes (counted as float64, which is what they become), to TOTAL
at most; the largest ratio that deflate reaches is 1032. Reading then takes a small multiple of that allowance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deep.demos.format import DemoError

__all__ = ["MAX_ENTRIES", "MAX_TEXT", "Budget", "Key", "judge", "missing", "words"]

MAX_ENTRIES = 2**28  # numbers of one array: 2 GiB of float64
MAX_TEXT = 2**20  # characters of metadata
FREE = 2**26
RATIO = 100
TOTAL = 2**32


@dataclass(frozen=True)
class Key:
    """What an array of a file must be: dtype kinds, numbers of dimensions, and the words for both."""

    kinds: str
    dims: tuple[int, ...]
    words: str
    required: bool = False
    limit: int = MAX_ENTRIES
    empty: bool = False  # whether there may be none


class Budget:
    """What is left of the bytes that a file of `size` bytes may unpack to."""

    def __init__(self, size: int) -> None:
        self.total = min(FREE + RATIO * size, TOTAL)
        self.left = self.total

    def take(self, name: str, shape: tuple[int, ...], itemsize: int) -> None:
        """Reserve an array of that shape; DemoError where it is beyond what is left."""
        self.left -= math.prod(shape) * max(itemsize, 8)
        if self.left < 0:
            raise DemoError(
                f"{name} must leave the file within the {self.total} bytes that one of its size may unpack to, but has "
                f"shape {list(shape)}"
            )


def judge(name: str, key: Key, shape: tuple[int, ...], kind: str, itemsize: int, budget: Budget) -> None:
    """DemoError unless an array that is declared so is one of `key`, and within the budget."""
    if len(shape) not in key.dims or min(shape, default=1) < (0 if key.empty else 1):
        raise DemoError(f"{name} must be {key.words}, at least one, but has shape {list(shape)}")
    if math.prod(shape) > key.limit:
        raise DemoError(f"{name} must have at most {key.limit} entries, but has shape {list(shape)}")
    if kind in "US":
        length = itemsize // (4 if kind == "U" else 1)
        if length > MAX_TEXT:
            raise DemoError(f"{name} must have at most {MAX_TEXT} characters, but has {length}")
    budget.take(name, shape, itemsize)


def words(thing: object, most: int = 120) -> str:
    """Someone else's message on one short line of printable ASCII."""
    text = " ".join(str(thing).split()) or type(thing).__name__
    return ascii(text)[1:-1][:most]


def missing(error: ImportError) -> str:
    """That a format needs an optional package, and how to get it."""
    return f"needs a package that is not installed ({words(error)}): pip install 'occmatch[demos]'"
