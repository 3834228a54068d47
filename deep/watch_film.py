"""Putting pictures beside one another under labels, and writing them as MP4 or GIF."""

import errno
import os
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deep.envs.render import Shot
from deep.files import named

LABEL = 0.11  # height of the strip of text, as a share of the picture's
INK, PAPER = (20, 20, 20), (250, 250, 250)
COLOURS = 128  # of a GIF's palette: enough for rendered scenes, and a third smaller than 256
GIF_FPS = 50.0  # pictures a second at most: viewers slow down what is shorter than two hundredths
SEEN = 16  # pictures that the palette is made from
ENDINGS = {"terminated": "ended", "truncated": "time is up"}


def beside(names: list[str], shots: list[Shot], size: int) -> np.ndarray:
    """Shots of one moment side by side, each `size` pixels high, under its name, return so far, and how it ended."""
    strip = round(LABEL * size)
    font = ImageFont.load_default(0.55 * strip)
    columns = []
    for name, shot in zip(names, shots, strict=True):
        picture = Image.fromarray(shot.picture)
        if picture.height != size:
            picture = picture.resize((round(picture.width * size / picture.height), size), Image.Resampling.LANCZOS)
        column = Image.new("RGB", (picture.width, size + strip), PAPER)
        column.paste(picture, (0, strip))
        draw = ImageDraw.Draw(column)
        draw.text((strip // 3, strip // 2), name, INK, font, anchor="lm")
        told = f"{shot.total:,.0f}"
        if shot.ended:
            told += f" ({ENDINGS[shot.ended]}, step {shot.steps})"
        draw.text((picture.width - strip // 3, strip // 2), told, INK, font, anchor="rm")
        columns.append(np.asarray(column))
    together = np.concatenate(columns, axis=1)
    return together[: together.shape[0] // 2 * 2, : together.shape[1] // 2 * 2]  # video codecs want even sides


def default_suffix() -> str:
    """What a film is written as where nothing is said."""
    return ".mp4" if find_spec("imageio_ffmpeg") else ".gif"


def check_format(path: Path) -> None:
    """ValueError unless a film can be written there in the format that its suffix names."""
    if path.suffix not in (".mp4", ".gif"):
        raise ValueError(f"out must end in .mp4 or .gif, but is {path}")
    if path.suffix == ".mp4" and not find_spec("imageio_ffmpeg"):
        raise ValueError("an .mp4 needs the imageio-ffmpeg package: pip install 'occmatch[watch]', or write a .gif")
    if path.is_dir():
        raise ValueError(f"out must be a file, but {path} is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"out must lie in a folder that exists, but {path.parent} does not")


def write(path: Path, pictures: Iterator[np.ndarray], fps: float) -> int:
    """Write a film in one step, so that a reader sees the old one or the whole of the new; returns the pictures."""
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        number = (write_mp4 if path.suffix == ".mp4" else write_gif)(temporary, pictures, fps)
        os.replace(temporary, path)
    except OSError as error:
        raise named(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)
    return number


def write_mp4(path: Path, pictures: Iterator[np.ndarray], fps: float) -> int:
    """H.264 by imageio's ffmpeg."""
    import imageio.v2 as imageio

    first = next(pictures)
    with imageio.get_writer(path, fps=fps, codec="libx264", quality=7, macro_block_size=2) as film:
        number = 0
        for picture in chain([first], pictures):
            film.append_data(picture)
            number += 1
    _check_whole(path)
    return number


def _check_whole(path: Path) -> None:
    """OSError unless ffmpeg reads its film again: imageio does not look at how it ended, on a full disk for one."""
    import imageio_ffmpeg

    try:
        imageio_ffmpeg.count_frames_and_secs(path)
    except RuntimeError:
        raise OSError(errno.EIO, "ffmpeg left a film that it cannot read (is the disk full?)") from None


def write_gif(path: Path, pictures: Iterator[np.ndarray], fps: float) -> int:
    """An endless GIF with one palette, from its first pictures, so that what does not move is the same in every one."""
    first = list(islice(pictures, SEEN))
    seen = Image.fromarray(np.concatenate(first))
    palette = seen.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    frames = [
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in chain(first, pictures)
    ]
    # Times are in hundredths of a second: each picture's ends where the film's should be by then.
    ends = np.maximum(np.arange(1, len(frames) + 1) * 100 / fps, 1).round().astype(int)
    durations = (10 * np.diff(ends, prepend=0)).tolist()
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=False)
    return len(frames)
