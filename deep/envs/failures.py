"""What code of others raises, as one line: tasks, and the packages that register them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from deep.envs.base import SimulatorFault

__all__ = ["FAILURES", "failing", "one_line"]

FAILURES = (Exception, SystemExit)
"""Anything, sys.exit among it, but Ctrl-C."""


def one_line(error: BaseException) -> str:
    """Its type and its message."""
    return " ".join(f"{type(error).__name__}: {error}".split())


@contextmanager
def failing(env_id: str, what: str) -> Iterator[None]:
    """Whatever an environment raises is a fault of the simulator."""
    try:
        yield
    except FAILURES as error:
        raise SimulatorFault(env_id, np.empty(0, dtype=np.int64), f"{what} raised {one_line(error)}") from error
