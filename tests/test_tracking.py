"""Logging to Weights & Biases, against a stand-in for its package that keeps what it is given."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deep import expert, gail, tracking
from deep.run import Interrupted

SMALL = ["--learner.simulators", "4", "--learner.batch", "200", "--threads", "1"]


class Session:
    def __init__(self, **given):
        self.given, self.lines, self.finished = given, [], False
        self.id = given["id"] or "fresh"

    def log(self, numbers, step):
        assert not self.finished
        self.lines.append((step, numbers))

    def finish(self):
        self.finished = True


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    found: list[Session] = []

    def init(**given):
        found.append(Session(**given))
        return found[-1]

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    return found


def test_numbers_go_there_and_on_in_the_same_record_when_resumed(sessions: list[Session], tmp_path: Path) -> None:
    out = tmp_path / "run"
    expert.main(["--env", "CartPole-v0", "--steps", "400", "--wandb", "mine", "--out", str(out), *SMALL])
    expert.main(["--resume", str(out), "--steps", "600"])
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    expected = [(m["env_steps"], {k: v for k, v in m.items() if not isinstance(v, str)}) for m in lines]
    assert sessions[0].lines + sessions[1].lines == expected and len(expected) == 3
    first, second = (s.given for s in sessions)
    assert (first["project"], first["name"], first["dir"], first["id"]) == ("mine", "run", str(out), None)
    assert (second["id"], second["resume"]) == ("fresh", "allow") and first["config"]["env"] == "CartPole-v0"
    assert all(s.finished for s in sessions)


@pytest.mark.parametrize("content", ["[]", "{}", '{"id": 3}'])
def test_a_damaged_note_of_the_record_is_named(sessions: list[Session], content: str, tmp_path: Path) -> None:
    (tmp_path / "wandb.json").write_text(content)
    with pytest.raises(ValueError, match=r"wandb\.json: expected the record's id under id, but found (None|3)"):
        list(tracking.follow([], "mine", tmp_path, {}))
    assert not sessions


def test_gail_asks_for_it_and_the_default_does_not(sessions: list[Session], tmp_path: Path) -> None:
    quick = [
        "--env",
        "CartPole-v0",
        "--steps",
        "200",
        "--no-bc-init",
        "--bc.epochs",
        "5",
        "--final-episodes",
        "1",
        *SMALL,
    ]
    gail.main([*quick, "--out", str(tmp_path / "without")])
    assert not sessions and not (tmp_path / "without" / "wandb.json").exists()
    gail.main([*quick, "--out", str(tmp_path / "with"), "--wandb", "mine"])
    assert [step for step, _ in sessions[0].lines] == [200] and "kl" in sessions[0].lines[0][1]


def test_an_interrupted_run_ends_its_record(sessions: list[Session], tmp_path: Path) -> None:
    def stopping():
        yield {"env_steps": 7, "kl": 0.5, "event": "a word"}
        raise Interrupted(tmp_path)

    passed = []
    with pytest.raises(Interrupted):
        passed.extend(tracking.follow(stopping(), "mine", tmp_path, {}))
    assert sessions[0].finished and sessions[0].lines == [(7, {"env_steps": 7, "kl": 0.5})]


def test_without_the_package_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    for program in (gail, expert):
        argv = ["--env", "CartPole-v0", "--wandb", "mine", "--out", str(tmp_path / "run")]
        with pytest.raises(ValueError, match="wandb needs the wandb package: pip install wandb"):
            program.main(argv)
    with pytest.raises(ValueError, match="wandb must be the name of a project, but is ' '"):
        tracking.check(" ")
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**given):
        raise RuntimeError("no\nnetwork")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.raises(ValueError, match=r"wandb must be able to log to 'mine' \(WANDB_MODE=offline .*: no network$"):
        list(tracking.follow(iter([]), "mine", tmp_path, {}))
