"""Ways to damage a file: bytes changed, lengths blown up, members of archives and values of JSON replaced."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np

Case = dict[str, bytes]
NUMBERS = [0, 1, 2, 7, 8, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**48, 2**63 - 1, 2**63, 2**64 - 1]
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**63, 10**400, 1e308, -0.0, float("nan"), float("inf"), "", "x", "..", "../../x",
    "\0", "\ud800", "9" * 5000, [], {}, [[]], [None], {"": {}}, "hdf5", "arrow", "gail",
]  # fmt: skip


def mutate(case: Case, rng: np.random.Generator) -> Case:
    """The case with one of its files damaged; now and then another one is left out, or two."""
    names = sorted(case)
    weights = np.array([np.log2(len(case[name]) + 2) for name in names])
    name = str(rng.choice(names, p=weights / weights.sum()))
    changed = dict(case)
    changed[name] = _file(name, case[name], rng)
    if len(names) > 1 and rng.random() < 0.03:
        del changed[str(rng.choice(names))]
    return changed


def _file(name: str, content: bytes, rng: np.random.Generator) -> bytes:
    draw = rng.random()
    if content[:4] == b"PK\x03\x04" and draw < 0.6:
        return repacked(content, rng)
    if name.endswith((".json", ".jsonl")) and draw < 0.7:
        return rewritten(content, rng)
    return damaged(content, rng)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes flipped, overwritten, removed, repeated, inserted; a number replaced by one at an edge; a cut."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 9))
        match rng.integers(8):
            case 0 | 1:
                data[at] ^= 1 << int(rng.integers(8))
            case 2:
                data[at : at + length] = rng.bytes(length)
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + length]
            case 5 | 6:  # lengths, offsets and sizes of binary formats are aligned numbers of 2, 4 or 8 bytes
                width = int(rng.choice([2, 4, 8]))
                number = int(NUMBERS[rng.integers(len(NUMBERS))]) % 256**width
                at -= at % width
                data[at : at + width] = number.to_bytes(width, "little")
            case 7 if rng.random() < 0.3:
                del data[at:]
    return bytes(data)


def repacked(content: bytes, rng: np.random.Generator) -> bytes:
    """An archive with a member damaged and correct checksums, so that not all is caught by them."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # damaged already
        return damaged(content, rng)
    i = int(rng.integers(len(members)))
    name, data = members[i]
    if data[:4] == b"PK\x03\x04":  # the tensors of torch are an archive in an archive
        data = repacked(data, rng)
    elif data[:1] == b"{":
        data = rewritten(data, rng)
    else:  # half of the changes to the header, whose 128 bytes decide most
        cut = 128 if rng.random() < 0.5 else len(data)
        data = damaged(data[:cut], rng) + data[cut:]
    members[i] = (name, data)
    if rng.random() < 0.1:
        members[i] = (str(rng.choice(["obs.npy", "../x.npy", "/x", "lengths.npy", "a" * 300])), data)
    if rng.random() < 0.1:
        members.pop(int(rng.integers(len(members))))
    out = io.BytesIO()
    method = int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in dict(members).items():
            archive.writestr(name, data)
    return out.getvalue()


def rewritten(content: bytes, rng: np.random.Generator) -> bytes:
    """JSON with one of its values replaced, one of its keys removed, or far too deep; lines are taken one by one."""
    lines = (
        content.decode(errors="replace").splitlines() if content.count(b"\n{") else [content.decode(errors="replace")]
    )
    i = int(rng.integers(len(lines)))
    if rng.random() < 0.05:
        lines[i] = "[" * int(rng.choice([10, 10_000, 200_000]))
    else:
        try:
            value = json.loads(lines[i])
        except (ValueError, RecursionError):
            return damaged(content, rng)
        lines[i] = json.dumps(_replaced(value, rng))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _replaced(value: Any, rng: np.random.Generator) -> Any:
    places = list(_places(value))
    if not places:
        return VALUES[rng.integers(len(VALUES))]
    parent, key = places[rng.integers(len(places))]
    if isinstance(parent, dict) and rng.random() < 0.2:
        del parent[key]
    else:
        parent[key] = VALUES[rng.integers(len(VALUES))]
    return value


def _places(value: Any) -> Any:
    """Every (container, key) inside."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])
