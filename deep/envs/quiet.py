"""Old tasks are used on purpose, so two notices about their age are not passed on; every other warning is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import mujoco

__all__ = ["old_tasks"]


@contextmanager
def old_tasks() -> Iterator[None]:
    """Silence Gymnasium's "is out of date" and MuJoCo's notices on the XML of its old assets.

    MuJoCo would also append the latter to a log file in the working directory.
    """
    heard = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*The environment \S+ is out of date", DeprecationWarning)
            yield
    finally:
        mujoco.set_mju_user_warning(heard)
