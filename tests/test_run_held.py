"""A run folder is written to by one process at a time, and by the next one as soon as that ends."""

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from deep import expert, files, gail
from deep.run import Run

TASK = "CartPole-v0"
SMALL = ["--learner.simulators", "4", "--learner.batch", "40", "--threads", "1"]


@pytest.mark.parametrize("command", [gail, expert])
def test_a_run_under_way_is_not_resumed_beside_itself(command: object, tmp_path: Path) -> None:
    out = tmp_path / "run"
    more = ["--final-episodes", "2"] if command is gail else []
    command.main(["--env", TASK, "--steps", "80", "--out", str(out), *SMALL, *more])
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with Run(out), pytest.raises(ValueError) as error:
        command.main(["--resume", str(out), "--steps", "160"])
    assert str(error.value) == f"resume must be a run that no other process is at, but {out} is in use"
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    command.main(["--resume", str(out), "--steps", "160"])  # let go
    assert Run(out).metrics()[-1]["env_steps"] == 160


def test_a_kill_lets_go(tmp_path: Path) -> None:
    wait = "import sys; from pathlib import Path; from deep.run import Run; Run(Path(sys.argv[1])).__enter__()"
    process = subprocess.Popen(
        [sys.executable, "-c", wait + "; print(flush=True); sys.stdin.read()", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"\n"
    with pytest.raises(BlockingIOError):
        files.hold(tmp_path)
    process.kill()
    process.communicate()
    with Run(tmp_path):
        pass


def test_a_file_system_without_locks_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with Run(tmp_path), Run(tmp_path):
        pass
    monkeypatch.setattr(files, "fcntl", None)
    assert files.hold(tmp_path) is None
