"""Where a Minari data set lies on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["dataset_folder", "datasets_root"]

ID = re.compile(r"(?:[-\w]+/)*[-\w]+-v\d+")


def datasets_root() -> Path:
    """Where local data sets lie: MINARI_DATASETS_PATH, as Minari itself has it, or else ~/.minari/datasets."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets").expanduser()


def dataset_folder(path: Path) -> Path:
    """`path` itself where there is something; else the folder of the data set with that id, where there is one."""
    if path.exists() or not ID.fullmatch(path.as_posix()):
        return path
    found = datasets_root() / path
    return found if found.is_dir() else path
