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
    """The commit of the source tree, with "+changes" where the two packages were edited; None outside its own."""
    root = Path(__file__).resolve().parent.parent
    edited = ["status", "--porcelain", "-uno", "--", "deep", "occmatch"]  # results that grow meanwhile change nothing
    try:
        git = ["git", "-C", str(root)]
        place = [*git, "rev-parse", "HEAD", "--show-toplevel"]
        head = subprocess.run(place, capture_output=True, text=True, timeout=10)
        status = subprocess.run([*git, *edited], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if head.returncode != 0:
        return None
    name, top = head.stdout.splitlines()
    if Path(top).resolve() != root:  # installed below the repository of something else
        return None
    return name + ("+changes" if status.stdout.strip() else "")
