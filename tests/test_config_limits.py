"""Every number of a configuration has a range, and what lies outside is refused by its name."""

import dataclasses
import math
import typing

import pytest

from deep.config import BcConfig, CloningConfig, ExpertConfig, cloning_defaults, gail_defaults
from deep.config_limits import LIMITS, check
from deep.sweep_grid import TASKS, cell

ELSEWHERE = {"trajectories", "subsample"}  # what the demonstrations allow: deep.pairs
PROGRAMS = {"gail": gail_defaults(), "bc": cloning_defaults(), "expert": ExpertConfig()}


def number(hint: object) -> bool:
    return any(t in (int, float) for t in (hint, *typing.get_args(hint)))


@pytest.mark.parametrize("kind", LIMITS, ids=lambda kind: kind.__name__)
def test_every_number_has_a_range(kind: type) -> None:
    hints = typing.get_type_hints(kind)
    numbers = {f.name for f in dataclasses.fields(kind) if number(hints[f.name])}
    assert numbers - ELSEWHERE == set(LIMITS[kind])


def test_every_preset_lies_within() -> None:
    for task in TASKS:
        check(gail_defaults(task, "fast"))
        check(gail_defaults(task, "paper"))
        check(cloning_defaults(task))
    check(ExpertConfig())


def outside(kind: type, name: str, whole: bool) -> list[float]:
    """Numbers next to the range's ends, and what no range holds."""
    span = LIMITS[kind][name]
    below = [span.low - 1] if span.with_low and whole else [span.low - 1e-9] if span.with_low else [span.low]
    above = [span.high + 1e-9] if span.with_high else [span.high]
    return [*below, *above, math.nan]


def places() -> list[tuple[str, str]]:
    """(program, dotted name) of every number with a range."""

    def below(config: object, part: str) -> list[str]:
        found = []
        for f in dataclasses.fields(config):
            value = getattr(config, f.name)
            if dataclasses.is_dataclass(value):
                found += below(value, f"{part}{f.name}.")
            elif f.name in LIMITS[type(config)]:
                found.append(part + f.name)
        return found

    return [(program, name) for program, config in PROGRAMS.items() for name in below(config, "")]


def changed(config: object, name: str, value: object) -> object:
    head, _, rest = name.partition(".")
    return dataclasses.replace(config, **{head: changed(getattr(config, head), rest, value) if rest else value})


@pytest.mark.parametrize(("program", "name"), places())
def test_numbers_outside_are_named(program: str, name: str) -> None:
    config = PROGRAMS[program]
    owner = config
    for part in name.split(".")[:-1]:
        owner = getattr(owner, part)
    field = name.rpartition(".")[2]
    now = getattr(owner, field)
    for x in outside(type(owner), field, isinstance(now, int)):
        value, said = ((now[0], x), f"{name}[1]") if isinstance(now, tuple) else (x, name)
        with pytest.raises(ValueError) as error:
            check(changed(config, name, value))
        assert str(error.value) == f"{said} must be {LIMITS[type(owner)][field].words}, but is {x}"


def test_ends_that_belong_are_allowed() -> None:
    check(changed(PROGRAMS["gail"], "learner.gamma", 1.0))
    check(changed(PROGRAMS["gail"], "std", ()))
    check(changed(PROGRAMS["gail"], "eval_every", 0))
    check(CloningConfig(bc=BcConfig(epochs=1)))


def test_a_grid_refuses_flags_before_it_runs() -> None:
    with pytest.raises(ValueError, match=r"learner\.batch must be at least 1, but is 0"):
        cell("gail", "CartPole-v0", 1, 0, flags=("--learner.batch", "0"))
