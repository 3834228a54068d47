"""Configurations as JSON values, as command-line flags, and back, with each value's type checked."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def differences(config: Any, other: Any, part: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(name, value, the other's value) of each setting that differs, those of a part as part.name."""
    for f in dataclasses.fields(config):
        mine, theirs = getattr(config, f.name), getattr(other, f.name)
        if dataclasses.is_dataclass(mine):
            yield from differences(mine, theirs, f"{part}{f.name}.")
        elif mine != theirs:
            yield part + f.name, mine, theirs


def as_flags(config: Any, defaults: Any) -> list[str]:
    """The command-line flags that turn one configuration into another."""
    flags: list[str] = []
    for name, new, _ in differences(config, defaults):
        part, dot, own = name.replace("_", "-").rpartition(".")
        off = "no-" if new is False else ""
        flags.append(f"--{part}{dot}{off}{own}")
        if not isinstance(new, bool):
            flags += [str(v) for v in (new if isinstance(new, tuple) else (new,))]
    return flags


def as_dict(config: Any) -> dict[str, Any]:
    """A configuration as JSON values."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, tuple):
            return [plain(v) for v in value]
        return str(value) if isinstance(value, Path) else value

    return plain(dataclasses.asdict(config))


def from_dict(kind: type[T], values: dict[str, Any]) -> T:
    """Inverse of as_dict; ValueError for a key that the configuration does not have, or a value of another type."""
    if not isinstance(values, dict):
        raise ValueError(f"config.json: {kind.__name__} must be settings by name, but is {str(values)[:60]!a}")
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise ValueError(f"config.json: {name} is not a setting of {kind.__name__}")

    def typed(hint: Any, value: Any) -> Any:
        if dataclasses.is_dataclass(hint):
            return from_dict(typing.cast(type, hint), value)
        if isinstance(value, list):
            return tuple(value)
        return Path(value) if isinstance(value, str) and Path in (hint, *typing.get_args(hint)) else value

    for name, value in values.items():
        if not _fits(hints[name], value):
            kind_name = getattr(hints[name], "__name__", hints[name])
            raise ValueError(f"config.json: {name} must be of type {kind_name}, but is {str(value)[:60]!a}")
    return kind(**{name: typed(hints[name], value) for name, value in values.items()})


def check_names(config: Any) -> None:
    """Raise ValueError for the first setting of a configuration that is none of the names it may have here."""
    hints = typing.get_type_hints(type(config))
    for f in dataclasses.fields(config):
        names, value = typing.get_args(hints[f.name]), getattr(config, f.name)
        if typing.get_origin(hints[f.name]) is typing.Literal and value not in names:
            own = "; a loss of one's own must be registered before deep is imported" if f.name == "loss" else ""
            raise ValueError(f"{f.name} must be one of {', '.join(map(str, names))}, but is {value!r}{own}")


def _fits(hint: Any, value: Any) -> bool:
    """Whether a JSON value is one of that type; names of a Literal are left to the checks of the setting itself."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(argument, value) for argument in arguments)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, list | tuple) and all(_fits(arguments[0], entry) for entry in value)
    if typing.get_origin(hint) is typing.Literal:
        return any(_fits(type(argument), value) for argument in arguments)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, str)
    if hint in (int, str, bool, types.NoneType):
        return type(value) is hint
    return True
