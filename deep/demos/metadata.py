"""What is known about demonstrations, as the text of one JSON object; every format keeps it somewhere."""

from __future__ import annotations

import json
from typing import Any

from deep.demos.format import DemoError
from deep.demos.limits import MAX_TEXT, words

__all__ = ["from_text", "to_text"]


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
