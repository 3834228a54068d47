"""Poses are what MuJoCo says, rigid limb by limb, and the picture shows each of them to scale."""

import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from deep import envs
from deep.strobe import capsule, plot_strobe

LIMBS = {"torso": (0.4, 0.05), "thigh": (0.45, 0.05), "leg": (0.5, 0.04), "foot": (0.39, 0.06)}
"""Length and radius in metres of the Hopper's capsules in the order of its XML (Gymnasium, hopper.xml)."""
ROUNDING = 1e-9  # metres of size one, through rotations by quaternions in double precision


@pytest.fixture(autouse=True)
def close_figures():
    mpl.use("Agg")
    yield
    plt.close("all")


def fallen(steps=1000):
    """A Hopper whose motors do nothing."""
    return envs.film("Hopper-v4", lambda obs: np.zeros((len(obs), 3)), steps, seed=0)


def test_limbs_keep_their_lengths_and_the_fall_ends_the_episode():
    poses = fallen()
    lengths = np.linalg.norm(poses.ends[:, :, 1] - poses.ends[:, :, 0], axis=2)
    np.testing.assert_allclose(lengths, np.tile([length for length, _ in LIMBS.values()], (len(lengths), 1)), rtol=1e-6)
    np.testing.assert_allclose(poses.radii, [radius for _, radius in LIMBS.values()])
    assert poses.terminated and len(poses.time) == len(poses.reward) < 200
    np.testing.assert_allclose(np.diff(poses.time), 0.008, rtol=1e-6)  # 4 frames of 0.002 s
    top = poses.ends[:, 0, :, 2].max(axis=1)
    assert top[0] > 1.4 and top[-1] < top[0] - 0.03  # a lean of 0.2 radians ends it
    np.testing.assert_allclose(poses.ends[..., 1], 0.0, atol=ROUNDING)  # the body is planar


def test_the_same_seed_films_the_same_episode_and_steps_cut_it():
    whole, start = fallen(), fallen(steps=7)
    assert (whole.ends[:7] == start.ends).all() and len(start.time) == 7 and not start.terminated


def test_a_capsule_keeps_its_distance_from_its_axis():
    start, end, radius = np.array([0.0, 1.0]), np.array([3.0, 5.0]), 0.5
    outline = capsule(start, end, radius)
    along = np.clip((outline - start) @ (end - start) / 25.0, 0.0, 1.0)
    gaps = np.linalg.norm(outline - start - along[:, None] * (end - start), axis=1)
    np.testing.assert_allclose(gaps, radius, atol=ROUNDING)
    assert np.ptp(outline @ (end - start) / 5.0) == pytest.approx(5.0 + 2 * radius)


def test_the_picture_holds_every_limb_of_every_pose_it_shows():
    poses = fallen(steps=21)
    ax = plot_strobe(poses, every=5)
    (bodies,) = ax.collections
    assert len(bodies.get_paths()) == 5 * len(LIMBS)
    np.testing.assert_allclose(np.unique(bodies.get_array()), poses.time[::5])
    torso = bodies.get_paths()[0].vertices
    assert np.ptp(torso[:, 1]) == pytest.approx(
        LIMBS["torso"][0] + 2 * LIMBS["torso"][1], rel=1e-3
    )  # it starts upright
    given = plt.subplots()[1]
    assert plot_strobe(poses, given) is given
    given.figure.canvas.draw()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fallen(steps=0), "steps must be at least 1, but is 0"),
        (
            lambda: envs.film("CartPole-v1", lambda obs: np.zeros(1, int), 5, seed=0),
            "env_id must be a MuJoCo task with capsules, but is 'CartPole-v1'",
        ),
        (lambda: plot_strobe(fallen(steps=2), every=0), "every must be at least 1, but is 0"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
