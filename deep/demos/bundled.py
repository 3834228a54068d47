"""Demonstrations that come with the package: deep/data/<env>/demos.npz, beside the expert that gave them."""

from pathlib import Path

__all__ = ["bundled"]

DATA = Path(__file__).parent.parent / "data"


def bundled(env_id: str) -> Path | None:
    """The file of bundled demonstrations for a Gymnasium id; None where there is none."""
    # Compared with the folders there are, and never made into a path, so that no id leads outside.
    return next((path for path in DATA.glob("*/demos.npz") if path.parent.name == env_id), None)
