"""Where a Minari data set lies on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["dataset_folder"]

ID = re.compile(r"(?:[-\w]+/)*[-\w]+-v\d+")


def dataset_folder(path: Path) -> Path:
    """`path` itself where there is something; else the folder of the data set with that id, where there is one.

    Local data sets lie in MINARI_DATASETS_PATH, as Minari itself has it, or else in ~/.minari/datasets.
    """
    if path.exists() or not ID.fullmatch(path.as_posix()):
        return path
    root = os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets"
    found = Path(root).expanduser() / path
    return found if found.is_dir() else path
