"""Films: the same first state, returns as labelled, files written whole, and one line where nothing can be drawn."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import imageio.v2 as imageio
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from PIL import Image
from rich.console import Console

import deep
from deep import gail, watch, watch_film
from deep.cli import main_guard
from deep.envs.render import Shot, frame_rate, shots

DATA = Path(deep.__file__).parent / "data"
TASK = "CartPole-v0"


class Dial(gymnasium.Env):
    """Draws its state as a shade of grey: 10 for each step since the reset, from a first shade that the seed says."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space, action_space = Box(-np.inf, np.inf, (1,), np.float64), Discrete(2)

    def __init__(self, render_mode=None, broken=False):
        self.render_mode, self.broken = render_mode, broken

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.shade = int(self.np_random.integers(100))
        return np.array([float(self.shade)]), {}

    def step(self, action):
        self.shade += 10
        return np.array([float(self.shade)]), 1.5, self.shade >= 150, False, {}

    def render(self):
        return None if self.broken else np.full((8, 6, 3), self.shade, np.uint8)


@pytest.fixture
def dial():
    gymnasium.register("Dial-v0", entry_point=Dial, max_episode_steps=50)
    gymnasium.register("Dial-v1", entry_point=Dial, max_episode_steps=4)
    gymnasium.register("Undrawn-v0", entry_point=Dial, max_episode_steps=4, kwargs={"broken": True})
    yield
    for name in ("Dial-v0", "Dial-v1", "Undrawn-v0"):
        del gymnasium.registry[name]


def shades(found: list[Shot]) -> list[int]:
    return [int(shot.picture[0, 0, 0]) for shot in found]


def test_shots_follow_the_episode(dial: None) -> None:
    found = list(shots("Dial-v0", lambda obs: 0, 3, 2, None, 64))
    first, end = shades(found)[0], -(-(150 - shades(found)[0]) // 10)
    at = [*range(0, end, 2), end]
    assert [s.steps for s in found] == at and shades(found) == [first + 10 * k for k in at]
    assert [s.total for s in found] == [1.5 * k for k in at]
    assert [s.ended for s in found] == [""] * (len(at) - 1) + ["terminated"]
    assert shades(list(shots("Dial-v0", lambda obs: 0, 3, 2, 1, 64))) == [first, first + 10]
    assert len({shades(list(shots("Dial-v0", lambda obs: 0, seed, 1, 1, 64)))[0] for seed in range(5)}) > 2
    assert list(shots("Dial-v1", lambda obs: 0, 0, 1, None, 64))[-1].ended == "truncated"
    assert frame_rate("Dial-v0") == 10


def test_the_shorter_episode_waits_for_the_longer() -> None:
    def stream(n: int) -> list[Shot]:
        return [Shot(np.zeros((2, 2, 3), np.uint8), k, float(k), "") for k in range(n)]

    steps = [[s.steps for s in moment] for moment in watch.together([iter(stream(2)), iter(stream(4))])]
    assert steps == [[0, 0], [1, 1], [1, 2], [1, 3]]


def test_pictures_stand_side_by_side_under_their_labels() -> None:
    red, blue = (np.full((20, 31, 3), c, np.uint8) for c in ((200, 0, 0), (0, 0, 200)))
    found = watch_film.beside(["one", "two"], [Shot(red, 5, 12.0, ""), Shot(blue, 9, 3456.0, "terminated")], 100)
    height, width, _ = found.shape
    assert height % 2 == width % 2 == 0 and height == 100 + 11 - 1
    assert (found[60, 20] == (200, 0, 0)).all() and (found[60, width - 20] == (0, 0, 200)).all()
    strip = found[:11].min(axis=2) < 128  # ink on paper
    assert strip[:, : width // 2].any() and strip[:, width // 2 :].sum() > strip[:, : width // 2].sum()
    other = watch_film.beside(["one", "two"], [Shot(red, 5, 13.0, ""), Shot(blue, 9, 3456.0, "terminated")], 100)
    assert (other != found)[:11].any() and not (other != found)[11:].any()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    small = ["--learner.simulators", "8", "--learner.batch", "400", "--final-episodes", "1", "--eval-every", "0"]
    gail.main(["--env", TASK, "--steps", "400", "--bc.epochs", "20", "--out", str(out), *small])
    return out


def film(request: watch.Request) -> str:
    printed = io.StringIO()
    watch.watch(request, Console(file=printed, width=300))
    return printed.getvalue()


def test_a_run_is_filmed_beside_the_expert(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    told = film(watch.Request(run, path, episodes=2, steps=9, fps=10, size=80))
    with Image.open(path) as gif:
        # CartPole has 50 steps a second: of 9 steps, 0, 5 and the last are shown, twice.
        assert f"{TASK}: {path}, 6 pictures" in told and gif.n_frames == 6 and gif.info["loop"] == 0
        assert gif.info["duration"] == 100 and gif.size == (240, 88)
        middle = [np.asarray(gif.convert("RGB")) for k in range(6) if gif.seek(k) is None]
    assert np.array_equal(middle[0][9:, :120], middle[0][9:, 120:])  # the same first state
    assert [p.name for p in tmp_path.iterdir()] == ["film.gif"]
    assert not np.array_equal(middle[0][9:], middle[3][9:])  # another one in the second episode


def test_what_is_shown_of_which_folder(run: Path, tmp_path: Path) -> None:
    assert list(watch.policies(watch.Request(run))) == ["GAIL", "expert"]
    assert list(watch.policies(watch.Request(run, alone=True))) == ["GAIL"]
    assert "no bundled expert" not in film(watch.Request(run, tmp_path / "alone.gif", steps=2, size=64, alone=True))
    assert list(watch.policies(watch.Request(DATA / TASK))) == ["expert"]


@pytest.mark.parametrize("fps", [7.0, 30.0, 100.0])
def test_a_gif_takes_the_time_of_the_world(fps: float, tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    frames = (np.full((64, 64, 3), 8 * k, np.uint8) for k in range(31))
    watch_film.write(path, frames, fps)
    with Image.open(path) as gif:
        times = [gif.info["duration"] for k in range(gif.n_frames) if gif.seek(k) is None]
    assert sum(times) == pytest.approx(31_000 / fps, abs=10)
    told = film(watch.Request(DATA / TASK, path, steps=20, size=64, fps=500))
    assert f"{TASK}: {path}, 21 pictures" in told  # 50 steps a second, every one of which is shown at most once


def test_mp4_holds_every_picture(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    assert "5 pictures" in film(watch.Request(DATA / TASK, path, steps=8, size=96))
    with imageio.get_reader(path) as reader:
        assert reader.count_frames() == 5 and reader.get_meta_data()["fps"] == 25
        assert reader.get_data(0).shape == (106, 144, 3)


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from deep import watch_film

rng, path = np.random.default_rng(0), Path(sys.argv[1])
pictures = (rng.integers(0, 255, (128, 128, 3)).astype(np.uint8) for _ in range(20))
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
try:
    watch_film.write(path, pictures, 25.0)
except OSError as error:
    print(error.filename)
"""


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_a_full_disk_keeps_the_old_film_and_is_an_error_that_names_it(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"film{suffix}"
    path.write_bytes(b"old")
    found = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True)
    assert (found.stderr, found.stdout, found.returncode) == ("", f"{path}\n", 0)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def refused(request: watch.Request) -> str:
    err = io.StringIO()
    with contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        main_guard(lambda: film(request))
    assert stop.value.code == 2 and err.getvalue().count("\n") == 1
    return err.getvalue()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"out": Path("film.avi")}, "out must end in .mp4 or .gif, but is film.avi"),
        ({"out": Path("nowhere/film.gif")}, "out must lie in a folder that exists, but nowhere does not"),
        ({"episodes": 0}, "episodes must be at least 1, but is 0"),
        ({"steps": 0}, "steps must be at least 1, but is 0"),
        ({"size": 8}, "size must be at least 64, but is 8"),
        ({"run": Path("nowhere"), "out": Path("film.gif")}, "expected a JSON file, but there is none"),
    ],
)
def test_requests_that_cannot_be_met(more: dict, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(watch.Request(**({"run": DATA / TASK} | more)))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_called_like_a_film_is_refused_before_anything_is_filmed(tmp_path: Path) -> None:
    (folder := tmp_path / "film.gif").mkdir()
    assert f"out must be a file, but {folder} is a folder" in refused(watch.Request(DATA / TASK, out=folder))
    assert list(tmp_path.iterdir()) == [folder]


def bundle(folder: Path, env_id: str) -> Path:
    """CartPole's expert cut down to one observation, for another task."""
    from deep import files

    record = json.loads((DATA / TASK / "expert.json").read_text())
    tensors = files.load_tensors(DATA / TASK / "expert.safetensors")
    for name in ("normaliser.mean", "normaliser.m2"):
        tensors[name] = tensors[name][:1]
    tensors["net.0.weight"] = tensors["net.0.weight"][:, :1]
    folder.mkdir()
    (folder / "expert.json").write_text(json.dumps(record | {"env": env_id}))
    files.save_tensors(folder / "expert.safetensors", tensors)
    return folder


def test_a_task_that_draws_nothing_is_refused(dial: None, tmp_path: Path) -> None:
    folder = bundle(tmp_path / "expert", "Undrawn-v0")
    assert "Undrawn-v0 must draw itself to be watched, but render() gives" in refused(watch.Request(folder))
    assert {p.name for p in folder.iterdir()} == {"expert.json", "expert.safetensors"}


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    told = refused(watch.Request(DATA / TASK, tmp_path / "film.gif", steps=2))
    assert f"{TASK} must draw itself to be watched, but " in told and "pygame" in told
    monkeypatch.setattr(watch_film, "find_spec", lambda name: None)
    assert watch_film.default_suffix() == ".gif"
    assert "an .mp4 needs the imageio-ffmpeg package" in refused(watch.Request(DATA / TASK, tmp_path / "film.mp4"))
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_cannot_render_mujoco_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setitem(sys.modules, "mujoco.egl", None)
    told = refused(watch.Request(DATA / "Hopper-v4", tmp_path / "film.gif", steps=2))
    assert "Hopper-v4 must draw itself to be watched, but " in told
    assert "MUJOCO_GL=egl fails" in told and "try egl, osmesa or glfw" in told and list(tmp_path.iterdir()) == []
