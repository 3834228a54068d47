"""What a result was made with: versions and commit."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("occmatch", "torch", "numpy", "gymnasium", "mujoco")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def commit() -> str | None:
    """The commit of the source tree, with "+changes" where the two packages were edited; None outside a repository."""
    root = Path(__file__).resolve().parent.parent
    edited = ["status", "--porcelain", "-uno", "--", "deep", "occmatch"]  # results that grow meanwhile change nothing
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        status = subprocess.run([*git, *edited], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if head.returncode != 0:
        return None
    return head.stdout.strip() + ("+changes" if status.stdout.strip() else "")
