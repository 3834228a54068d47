"""A coverage-guided fuzzer over the parsers in Python: npz archives, npy headers, metadata, state.json.

    pip install atheris
    python benchmarks/fuzz_guided.py runs/fuzz/corpus -max_total_time=300 -len_control=0 2> runs/fuzz/guided.log

Runs in an environment of its own with NumPy and atheris (Linux, and the Pythons that atheris has wheels for). Inputs
are files, or the content of one member of an archive that is otherwise good, so that no checksum stands in the way.
Anything but valid demonstrations or DemoError stops it with a traceback and keeps the input. Arguments are libFuzzer's.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import atheris
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
with atheris.instrument_imports(include=["deep.demos", "zipfile", "numpy.lib", "json"]):
    from deep.demos import DemoError, npz
    from deep.demos.limits import Budget
    from deep.demos.metadata import from_text

ARRAYS = {
    "obs": np.zeros((5, 2)),
    "acts": np.zeros((5, 1)),
    "lengths": np.array([2, 3]),
    "time": np.array([0, 1, 0, 1, 2]),
    "terminated": np.array([True, False]),
    "last_obs": np.zeros((2, 2)),
    "metadata": np.array('{"subsample": 2}'),
}


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


GOOD = {name: npy(array) for name, array in ARRAYS.items()}


def archive(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name, data in content.items():
            out.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def one(data: bytes) -> None:
    """The first byte says what the rest is: a whole file, a text, or a member of an archive."""
    if not data:
        return
    which, rest = data[0] % (len(GOOD) + 2), data[1:]
    try:
        if which == 0:
            from_text(rest)
        elif which == 1:
            npz.read_own(io.BytesIO(rest), Budget(len(rest)))
        else:
            whole = archive(GOOD | {list(GOOD)[which - 2]: rest})
            demos = npz.read_own(io.BytesIO(whole), Budget(len(whole)))
            if demos.lengths.sum() != len(demos.obs) or not np.isfinite(demos.obs).all():
                raise AssertionError("loaded as invalid")
    except DemoError as error:
        if "\n" in str(error) or not str(error).isascii():
            raise AssertionError("more than one line") from error


def main() -> None:
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if folders:
        corpus = Path(folders[0])
        corpus.mkdir(parents=True, exist_ok=True)
        (corpus / "text").write_bytes(b"\0" + b'{"subsample": 2, "env": ["x", null, 1e5, true]}')
        (corpus / "file").write_bytes(b"\1" + archive(GOOD))
        for i, data in enumerate(GOOD.values()):
            (corpus / f"member{i}").write_bytes(bytes([i + 2]) + data)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
