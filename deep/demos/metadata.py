"""What is known about demonstrations, as the text of one JSON object; every format keeps it somewhere."""

from __future__ import annotations

import json
from typing import Any

from deep.demos.format import DemoError
from deep.demos.limits import MAX_TEXT, words

__all__ = ["from_text", "to_text", "unwrap", "wrap"]


def to_text(metadata: dict[str, Any]) -> str:
    """JSON in ASCII; DemoError where a value has no such form, or the text could not be read back."""
    try:
        text = json.dumps(metadata, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DemoError(f"metadata must be JSON values, but {error}") from None
    if len(text) > MAX_TEXT:
        raise DemoError(f"metadata must be JSON of at most {MAX_TEXT} characters, but has {len(text)}")
    return text


def from_text(text: str | bytes, name: str = "metadata") -> dict[str, Any]:
    """The object that a JSON text stands for; DemoError names `name` where it is none."""
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DemoError(f"{name} must be JSON, but {words(error)}") from None
    if not isinstance(metadata, dict):
        raise DemoError(f"{name} must be a JSON object, but is {ascii(metadata)[:60]}")
    return metadata


def wrap(metadata: dict[str, Any], unknown: list[str]) -> dict[str, Any]:
    """The metadata beside the names of parts that a format demands and the demonstrations do not have."""
    return {"metadata": metadata, "unknown": unknown}


def unwrap(stored: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """What `wrap` was given."""
    metadata, unknown = stored.get("metadata"), stored.get("unknown")
    if not isinstance(metadata, dict):
        raise DemoError(f"metadata must be a JSON object, but is {ascii(metadata)[:60]}")
    if not isinstance(unknown, list) or not all(isinstance(name, str) for name in unknown):
        raise DemoError(f"unknown must be a list of names, but is {ascii(unknown)[:60]}")
    return metadata, set(unknown)
