"""Reading demonstration files: what other writers made, and the words for each kind of bad file."""

import dataclasses
import io
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from deep.demos import DemoError, load, npz
from deep.envs import EnvSpec

SPEC = EnvSpec("Hopper-v4", 2, False, 1, -np.ones(1), np.ones(1), 1000, True)


def plain(**changed: object) -> dict:
    """What a user's own np.savez would hold."""
    return {"obs": np.zeros((5, 2)), "acts": np.zeros((5, 1)), "lengths": np.array([2, 3])} | changed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "demos.npz"


@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_files_of_other_writers_load(path: Path, writer: object) -> None:
    arrays = plain(
        obs=np.asfortranarray(np.arange(10, dtype=">f4").reshape(5, 2)), terminated=np.array([0, 1], np.uint8)
    )
    writer(path, **arrays)
    loaded = load(path, SPEC)
    assert np.array_equal(loaded.obs, arrays["obs"]) and loaded.terminated.tolist() == [False, True]


def words(path: Path, spec: EnvSpec | None = None) -> str:
    """The message, without the file's name at its beginning."""
    with pytest.raises(DemoError) as error:
        load(path, spec)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and message.isascii()
    return message.removeprefix(f"{path}: ")


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.target,)


HEADS = [
    (b"", "is empty"),
    (b"hello world", "begins with b'hello '"),
    (b"\x93NUMPY\x01\x00", "is a single array (npy)"),
    (pickle.dumps({"obs": 1}), "looks like a pickle, which is never read"),
    (b"PK\x05\x06" + bytes(18), "is an archive with nothing in it"),
]


@pytest.mark.parametrize(("content", "found"), HEADS, ids=[found for _, found in HEADS])
def test_what_is_no_npz_file_is_recognised(path: Path, content: bytes, found: str) -> None:
    path.write_bytes(content)
    assert words(path) == f"must be an npz file, but {found}"


def test_a_format_that_is_asked_for_overrides_the_content(path: Path) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(DemoError, match="must be an npz file, but is HDF5"):
        load(path, format="npz")
    with pytest.raises(
        DemoError, match=f"{path}: format must be one of npz, hdf5, trajs, minari, imitation, but is 'x'"
    ):
        load(path, format="x")


def test_no_file_and_a_folder(path: Path) -> None:
    kinds = "must be a file, a folder or the id of a local Minari data set"
    assert words(path) == f"{kinds}, but there is none of that name"
    assert words(path.parent).startswith("must be a folder with metadata.json (Minari) or state.json (imitation), but")
    with pytest.raises(DemoError, match="must be an npz file, but is a folder"):
        load(path.parent, format="npz")


def test_a_truncated_file(path: Path) -> None:
    np.savez_compressed(path, **plain())
    whole = path.read_bytes()
    for length in {*range(4, len(whole), 7), len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert words(path).startswith("must be an npz file, but is cut short or damaged (")


def test_a_pickle_inside_is_never_run(path: Path) -> None:
    target = path.parent / "ran"
    array = np.empty((5, 2), object)
    array[:] = Bomb(target)
    np.savez(path, **plain(obs=array))
    assert words(path) == "obs must be real numbers [N, O], but holds Python objects (a pickle), which are never read"
    np.savez(path, **plain(), metadata=np.array({"a": Bomb(target)}, dtype=object))
    assert "metadata must be one text of JSON, but holds Python objects" in words(path)
    np.savez(path, **plain(extra=array))
    assert "keys must be among" in words(path)
    assert not target.exists()
    with np.load(path, allow_pickle=True) as archive:  # the bomb works: the test can fail
        archive["extra"]
    assert target.exists()


KEYS = [
    (
        {"actions": np.zeros(5)},
        "keys must be among obs, acts, lengths, rewards, terminated, time, last_obs, metadata, but there ",
    ),
    ({"obs": np.zeros((5, 2), "U3")}, "obs must be real numbers [N, O], but has dtype <U3"),
    ({"obs": np.zeros((5, 2), [("x", "f8")])}, "obs must be real numbers [N, O], but has dtype [('x', '<f8')]"),
    ({"obs": np.zeros(5)}, "obs must be real numbers [N, O], at least one, but has shape [5]"),
    ({"obs": np.zeros((0, 2))}, "obs must be real numbers [N, O], at least one, but has shape [0, 2]"),
    ({"obs": np.full((5, 2), np.nan)}, "obs[0, 0] must be finite, but is nan"),
    ({"lengths": np.array([2, 2])}, "lengths must add up to 5, the rows of obs, but add up to 4"),
    ({"lengths": np.array([2.0, 3.0])}, "lengths must be integers [E], but has dtype float64"),
    ({"terminated": np.zeros(2)}, "terminated must be booleans [E], but has dtype float64"),
    ({"metadata": np.array(b"{}")}, "metadata must be one text of JSON, but has dtype |S2"),
    ({"metadata": np.array(["{}"])}, "metadata must be one text of JSON, at least one, but has shape [1]"),
    ({"metadata": np.array("{]")}, "metadata must be JSON, but Expecting property name"),
    ({"metadata": np.array("[" * 10**5)}, "metadata must be JSON, but maximum recursion depth exceeded"),
    ({"metadata": np.array("[1]")}, "metadata must be a JSON object, but is [1]"),
    ({"metadata": np.array("a" * (2**20 + 1))}, "metadata must have at most 1048576 characters, but has 1048577"),
    ({"metadata": np.array('{"subsample": null}')}, "metadata must have an integer subsample of at least 1, but has "),
]


@pytest.mark.parametrize(("changed", "found"), KEYS, ids=[found[:50] for _, found in KEYS])
def test_wrong_keys_and_values_are_named(path: Path, changed: dict, found: str) -> None:
    np.savez_compressed(path, **plain(**changed))
    assert words(path).startswith(found)


@pytest.mark.parametrize("missing", ["obs", "acts", "lengths"])
def test_a_missing_key_is_named_with_what_there_is(path: Path, missing: str) -> None:
    arrays = plain()
    del arrays[missing]
    np.savez(path, **arrays)
    assert words(path).startswith(f"{missing} must be there (")
    assert words(path).endswith(f"but the file has {', '.join(arrays)}")


def test_the_task_is_checked_where_it_is_given(path: Path) -> None:
    np.savez(path, **plain(obs=np.zeros((5, 3))))
    assert load(path).obs.shape == (5, 3)
    assert words(path, SPEC) == "obs must have shape [N, 2] for Hopper-v4, but has [5, 3]"


def test_strange_names_inside_are_shown_in_ascii(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\x1b[31mé\n.npy", b"")
    assert r"there is '\x1b[31m\xe9\n'" in words(path)


def member(path: Path, name: str, content: bytes) -> None:
    """A good file, but for one member."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, array in plain().items():
            if key == name:
                archive.writestr(f"{key}.npy", content)
            else:
                buffer = io.BytesIO()
                np.save(buffer, array)
                archive.writestr(f"{key}.npy", buffer.getvalue())


def header(shape: str, descr: str = "<f8", version: int = 1) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (header("(99999999999, 8)"), "obs must have at most 268435456 entries, but has shape [99999999999, 8]"),
        (header("(1000, 1000)"), "obs must take 8000128 bytes, by its shape [1000, 1000], but takes 128"),
        (header("(5, 2)") + bytes(81), "obs must take 208 bytes, by its shape [5, 2], but takes 209"),
        (header("(5, -2)") + bytes(80), "obs must be real numbers [N, O], at least one, but has shape [5, -2]"),
        (
            header(f"({10**18}, 0)"),
            "obs must be real numbers [N, O], at least one, but has",
        ),
        (
            header("(5, 2)", version=3) + bytes(80),
            "obs must be an intact array, but is cut short or damaged (npy version",
        ),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "obs must be an intact array, but is cut short or damaged (a header of"),
        (header("(5, 2)")[:30], "obs must be an intact array, but is cut short or damaged ("),
        (b"", "obs must be an intact array, but is cut short or damaged ("),
        (header("[5, 2]") + bytes(80), "obs must be an intact array, but is cut short or damaged (shape is not valid"),
        (header("(5, 2)", "<q9") + bytes(80), "obs must be an intact array, but is cut short or damaged (descr is not"),
    ],
)
def test_headers_are_judged_before_the_data(path: Path, content: bytes, found: str) -> None:
    member(path, "obs", content)
    assert words(path).startswith(found)


def test_version_2_headers_load(path: Path) -> None:
    member(path, "obs", header("(5, 2)", version=2) + np.arange(10.0).tobytes())
    assert np.array_equal(load(path).obs, np.arange(10.0).reshape(5, 2))


def test_a_small_file_that_unpacks_to_too_much_is_refused_unread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(npz.KEYS, "obs", dataclasses.replace(npz.KEYS["obs"], limit=10**6))
    size = 10**7
    member(path, "obs", header(f"({size // 8}, 1)") + bytes(size))
    assert path.stat().st_size < size / 500
    tracemalloc.start()
    try:
        assert words(path).startswith("obs must have at most 1000000 entries, but has shape")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 10


def test_a_key_that_occurs_twice_is_refused(path: Path) -> None:
    np.savez(path, **plain())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("acts.npy", b"")
    assert words(path) == "acts must occur once, but occurs again"


def test_a_flipped_bit_in_the_data_is_found_by_the_checksum(path: Path) -> None:
    np.savez(path, **plain(obs=np.full((5, 2), 3.0)))
    content = bytearray(path.read_bytes())
    at = content.index(np.full((5, 2), 3.0).tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert words(path).startswith("obs must be an intact array, but is cut short or damaged (Bad CRC-32")


def test_a_wrong_checkchecksumof_compressed_data_is_found(path: Path) -> None:
    obs = np.random.default_rng(0).normal(size=(5, 2))
    np.savez_compressed(path, **plain(obs=obs))
    with zipfile.ZipFile(path) as archive:
        checksum = archive.getinfo("obs.npy").CRC.to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(checksum, bytes(4)))
    assert words(path).startswith("obs must be an intact array, but is cut short or damaged (Bad CRC-32")
