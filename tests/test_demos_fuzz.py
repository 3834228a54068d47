"""The reader fed with damage: whatever a file's bytes are, it loads as valid demonstrations or raises DemoError.

Mutations of good files, at the level of bytes and, so that the archive's checksums do not catch all of them, at the
level of the arrays inside.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from deep.demos import DemoError, Demos, load, save

GOOD, FILES = 15, 300  # mutations of each kind, in turn of a few good files


def good(rng: np.random.Generator) -> Demos:
    lengths = rng.integers(1, 5, size=3)
    n = int(lengths.sum())
    acts = rng.integers(0, 3, n) if rng.random() < 0.5 else rng.normal(size=(n, 2))
    time = np.arange(n) if rng.random() < 0.5 else None
    metadata = {"env": "Hopper-v4", "subsample": 2}
    return Demos(rng.normal(size=(n, 3)), acts, lengths, rng.normal(size=n), rng.random(3) < 0.5, time, metadata)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, removed, repeated or inserted."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 9))
        match rng.integers(5):
            case 0:
                data[at] ^= 1 << rng.integers(8)
            case 1:
                data[at : at + length] = rng.bytes(length)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                data[at : at + length] = bytes([rng.choice([0, 0xFF])]) * length
        if not data:
            break
    return bytes(data)


def repacked(content: bytes, rng: np.random.Generator) -> bytes:
    """The archive with one array's bytes mutated and correct checksums, in another order or with one left out."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        arrays = [(name, archive.read(name)) for name in archive.namelist()]
    i = int(rng.integers(len(arrays)))
    # Half of the changes to the header: its 128 bytes decide most.
    data = arrays[i][1]
    cut = 128 if rng.random() < 0.5 else len(data)
    arrays[i] = (arrays[i][0], mutated(data[:cut], rng) + data[cut:])
    if rng.random() < 0.1:
        arrays.pop(int(rng.integers(len(arrays))))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for j in rng.permutation(len(arrays)):
            archive.writestr(*arrays[j])
    return out.getvalue()


def assert_valid(demos: Demos) -> None:
    """What the format promises, checked without its code."""
    n, e = len(demos.obs), len(demos.lengths)
    assert demos.obs.dtype == np.float64 and demos.obs.ndim == 2 and demos.obs.size and np.isfinite(demos.obs).all()
    assert len(demos.acts) == n and (demos.acts.dtype, demos.acts.ndim) in ((np.float64, 2), (np.int64, 1))
    assert np.isfinite(demos.acts).all() and (demos.acts.ndim == 2 or demos.acts.min() >= 0)
    assert demos.lengths.dtype == np.int64 and demos.lengths.min() >= 1 and sum(demos.lengths.tolist()) == n
    assert demos.rewards is None or (demos.rewards.shape == (n,) and np.isfinite(demos.rewards).all())
    assert demos.terminated is None or (demos.terminated.shape == (e,) and demos.terminated.dtype == bool)
    assert demos.time is None or (demos.time.shape == (n,) and demos.time.min() >= 0)
    assert isinstance(demos.metadata, dict)


@pytest.mark.parametrize(("mutate", "seed"), [(mutated, 1), (repacked, 2)], ids=["bytes", "arrays"])
def test_every_mutated_file_loads_as_valid_or_is_refused(tmp_path: Path, mutate: object, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path / "demos.npz"
    originals = []
    for _ in range(GOOD):
        save(path, good(rng))
        originals.append(path.read_bytes())
    refused = set()
    loaded = 0
    for i in range(FILES):
        path.write_bytes(mutate(originals[i % GOOD], rng))
        try:
            demos = load(path)
        except DemoError as error:
            message = str(error)
            assert message.startswith(f"{path}: ") and "\n" not in message and message.isascii() and len(message) < 500
            refused.add(message.partition(": ")[2].partition(" but ")[0])
        else:
            assert_valid(demos)
            loaded += 1
    # The mutations reach both outcomes, and many ways to be wrong.
    assert loaded >= 5 and len(refused) >= 5


TYPES = """() [] {} None 1 -1 1j {1,2} [()] [(1,)] ['f8'] [('a',)] [('a','f8',-1)] [('a','f8')] 'O' '|O' 'V8' '<q9' 'f2'
b'f8' ('f8',) ('f8',(2,)) ('V',3) [('','V4'),('b','f8')] 'f8,f8' [('a','f8'),('a','f8')] [('a',[('b','O')])] 'M8[D]' 'T'
{'names':['a'],'formats':['f8']} {[]:1} '>c16' '?' [[[[]]]]""".split()
DEEP = ["(" * 200, "[" * 5000, "-" * 5000 + "1", "'" + "f" * 9000 + "'"]
SHAPES = ["(5, 2)", "(True, 2)", "(5.0, 2)", "(-5, -2)", "()", "(5,) * 3", "[5, 2]"]


@pytest.mark.parametrize("descr", TYPES + DEEP, ids=lambda d: d[:20])
def test_odd_headers_are_refused(tmp_path: Path, descr: str) -> None:
    path = tmp_path / "demos.npz"
    for shape in SHAPES:
        text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("acts", "lengths"):
                archive.writestr(f"{name}.npy", b"")
            archive.writestr("obs.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(80))
        with pytest.raises(DemoError, match=r"demos\.npz: obs must (be|take) "):
            load(path)
