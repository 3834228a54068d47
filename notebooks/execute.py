"""Run notebooks from top to bottom in fresh kernels, and write their outputs in place.

    python notebooks/execute.py            all of them
    python notebooks/execute.py 02 05      those whose names begin so

What a machine would leave in the files (versions, timings, paths) is taken out, so that a diff shows what changed. A
cell tagged with a path, such as docs/proposition_3_2.png, has its picture copied there.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
TIMEOUT = 600
"""Seconds that a cell may take; they take a few."""


def execute(path: Path) -> NotebookNode:
    """The notebook with fresh outputs; raises nbclient's CellExecutionError at the first cell that fails.

    The kernel runs in an empty folder on one thread, so that sums come out the same everywhere, keeps its own files
    there too, and talks through sockets in that folder, without a network.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "IPYTHONDIR": folder,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        client = NotebookClient(
            notebook,
            config=Config(KernelManager={"transport": "ipc", "connection_file": str(Path(folder) / "kernel.json")}),
            timeout=TIMEOUT,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
        )
        client.execute(env=environment)
    return clean(notebook)


def clean(notebook: NotebookNode) -> NotebookNode:
    """Without what says more of the machine than of the mathematics, and with long lists of mime types cut to one."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output["metadata"] = {}
            if "image/png" in output.get("data", {}):
                output["data"] = {"image/png": output["data"]["image/png"]}
    return notebook


def tagged(notebook: NotebookNode) -> dict[str, bytes]:
    """The pictures of cells whose tag is a path ending in .png, by that path."""
    found = {}
    for cell in notebook.cells:
        for tag in (tag for tag in cell.metadata.get("tags", []) if tag.endswith(".png")):
            (picture,) = [o["data"]["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
            found[tag] = base64.b64decode(picture)
    return found


def main(beginnings: list[str]) -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        if beginnings and not path.name.startswith(tuple(beginnings)):
            continue
        print(path.name, flush=True)
        notebook = execute(path)
        nbformat.write(notebook, path)
        for name, picture in tagged(notebook).items():
            (ROOT / name).write_bytes(picture)


if __name__ == "__main__":
    main(sys.argv[1:])
