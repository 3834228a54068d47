"""Files of MDPs, answers and candidates: the same arrays back, and nothing half written or half believed."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from zipfile import ZipFile

import numpy as np
import pytest

import occmatch as om
from occmatch import examples
from occmatch.candidate import Candidate


@pytest.fixture
def mdp():
    return examples.gridworld(4, slip=0.2, gamma=0.9)


def candidate(mdp, **changes):
    solved = om.rl(mdp, np.ones(mdp.shape), 0.5)
    values = {"rho": solved.rho, "cost": np.ones(mdp.shape), "V": solved.V, "pi": solved.pi, "lam": 0.5, "method": "x"}
    return Candidate(**(values | changes))


@pytest.mark.parametrize(
    "make",
    [
        lambda: examples.gridworld(3),
        lambda: examples.puterman(),
        lambda: examples.gridworld(10),  # the sum of p0 rounds to other than 1, and of the next the sums of P
        lambda: examples.mountain_car(10),
    ],
)
def test_an_mdp_comes_back_to_the_bit(make, tmp_path):
    mdp = make()
    om.save(tmp_path / "a.npz", mdp)
    back = om.load_mdp(tmp_path / "a.npz")
    assert (back.P != mdp.P).nnz == 0 and (back.p0 == mdp.p0).all()
    assert (back.gamma, back.layout) == (mdp.gamma, mdp.layout)
    assert os.listdir(tmp_path) == ["a.npz"], "no temporary file stays"


def test_an_answer_comes_back_and_starts_the_next_run(mdp, tmp_path):
    cost = examples.gridworld_cost(mdp)
    solved = om.rl(mdp, cost, 0.1)
    om.save(tmp_path / "a.npz", solved)
    back = om.load_rl(tmp_path / "a.npz", mdp)
    assert (back.V == solved.V).all() and (back.pi == solved.pi).all() and (back.rho == solved.rho).all()
    assert (back.error, back.iterations, back.method, back.lam) == (
        solved.error,
        solved.iterations,
        solved.method,
        solved.lam,
    )
    assert om.rl(mdp, cost, 0.1, V0=back.V).iterations < solved.iterations


@pytest.mark.parametrize("changes", [{}, {"margin": np.ones((16, 4)), "gradient": 1e-9, "attained": False}])
def test_a_candidate_comes_back(mdp, tmp_path, changes):
    made = candidate(mdp, **changes)
    om.save(tmp_path / "c.npz", made)
    back = om.load_candidate(tmp_path / "c.npz")
    for name in ("rho", "cost", "V", "pi", "margin"):
        assert np.array_equal(getattr(back, name), getattr(made, name)) or getattr(made, name) is None
    assert (back.lam, back.method, back.attained, back.gradient) == (0.5, "x", made.attained, made.gradient)


def test_a_candidate_of_a_margin_alone_comes_back_and_is_certified(mdp, tmp_path):
    rho_E = om.occupancy(mdp, np.full(mdp.shape, 0.25))
    psi = om.regularisers.Surrogate(om.LOSSES["logistic"], rho_E)
    made = replace(om.match(mdp, rho_E, psi, 0.5), margin=np.zeros(mdp.shape), cost=None)
    om.save(tmp_path / "c.npz", made)
    back = om.load_candidate(tmp_path / "c.npz")
    assert back.cost is None
    assert om.certify(mdp, rho_E, psi, back).gap == om.certify(mdp, rho_E, psi, made).gap
    om.save(tmp_path / "d.npz", replace(made, margin=None))
    with pytest.raises(ValueError, match="cost must be an array of 2 dimensions, but is missing"):
        om.load_candidate(tmp_path / "d.npz")


def written(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": np.asarray("rl")}, "kind must be 'mdp', but is 'rl'"),
        ({"p0": None}, "p0 must be an array of 1 dimensions, but is missing"),
        ({"p0": np.ones((2, 2))}, "p0 must have 1 dimensions and numbers"),
        ({"p0": np.full(16, np.nan)}, "must hold an MDP, but p0[0] must be finite, but is nan"),
        ({"gamma": np.asarray(1.5)}, "must hold an MDP, but gamma must lie in [0, 1), but is 1.5"),
        ({"P_indices": np.full(240, 99)}, "must hold an MDP, but "),
        ({"P_indices": np.full(240, 0.5)}, "P_indices must have 1 dimensions and numbers or text as `save` writes"),
        ({"P_data": np.full(240, -1.0)}, "must hold an MDP, but P[0, 0] must be a probability distribution"),
        ({"cells": np.zeros((3, 2), dtype=int)}, "must hold an MDP, but layout must have one cell a state"),
    ],
)
def test_wrong_files_are_named_with_key_expected_and_found(mdp, tmp_path, change, message):
    om.save(tmp_path / "a.npz", mdp)
    arrays = dict(np.load(tmp_path / "a.npz", allow_pickle=False))
    assert arrays["P_data"].size == 240, "the changes below are of this size"
    arrays = {name: value for name, value in (arrays | change).items() if value is not None}
    path = written(tmp_path / "b.npz", **arrays)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        om.load_mdp(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_archive_is_refused_and_never_unpickled(mdp, tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "object.npz", kind=np.asarray("mdp"), P_data=np.array([{}], dtype=object))
    om.save(tmp_path / "whole.npz", mdp)
    (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:700])
    for name in ("text", "empty", "object", "half"):
        with pytest.raises(ValueError, match=re.escape(f"{name}.npz must be an npz archive of plain arrays")):
            om.load_mdp(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError):
        om.load_mdp(tmp_path / "none.npz")


def test_damaged_bytes_are_one_line_that_names_the_file(tmp_path):
    """Every third byte of a small file, one at a time: zipfile has a dozen ways to say that it cannot read."""
    om.save(tmp_path / "a.npz", examples.puterman())
    whole, path, refused = (tmp_path / "a.npz").read_bytes(), tmp_path / "b.npz", 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            om.load_mdp(path)
        except ValueError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > len(whole) // 6


def test_a_part_that_is_no_array_is_refused(tmp_path):
    om.save(tmp_path / "a.npz", examples.puterman())
    with ZipFile(tmp_path / "a.npz") as whole, ZipFile(tmp_path / "b.npz", "w") as other:
        for name in whole.namelist():
            other.writestr(name, b"hello" if name == "p0.npy" else whole.read(name))
    with pytest.raises(ValueError, match=re.escape("b.npz: p0 must have 1 dimensions and numbers or text as `save`")):
        om.load_mdp(tmp_path / "b.npz")


def test_answers_of_another_mdp_are_refused(mdp, tmp_path):
    om.save(tmp_path / "a.npz", om.rl(mdp, np.ones(mdp.shape)))
    with pytest.raises(ValueError, match=re.escape("a.npz: V must have shape (4,), but has shape (16,)")):
        om.load_rl(tmp_path / "a.npz", examples.gridworld(2))
    om.save(tmp_path / "c.npz", candidate(mdp, V=np.zeros(3)))
    with pytest.raises(ValueError, match=re.escape("V must have shape (16,), but has shape (3,)")):
        om.load_candidate(tmp_path / "c.npz")
    with pytest.raises(ValueError, match="thing must be an MDP, an RL or a Candidate, but is dict"):
        om.save(tmp_path / "d.npz", {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"error": np.asarray(np.nan)}, "error must be finite, but is nan"),
        ({"lam": np.asarray(-3.0)}, "lam must be at least 0, but is -3"),
        ({"iterations": np.asarray(1.5)}, "iterations must be an integer of at least 0, but is"),
    ],
)
def test_numbers_of_an_answer_that_rl_would_not_give_are_refused(mdp, tmp_path, change, message):
    om.save(tmp_path / "a.npz", om.rl(mdp, np.ones(mdp.shape)))
    path = written(tmp_path / "b.npz", **(dict(np.load(tmp_path / "a.npz", allow_pickle=False)) | change))
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        om.load_rl(path, mdp)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rho", np.full((16, 4), np.nan), "rho[0, 0] must be finite, but is nan"),
        ("rho", np.full((16, 4), -1.0), "rho[0, 0] must be at least 0, but is -1"),
        ("cost", np.full((16, 4), np.inf), "cost[0, 0] must be finite, but is inf"),
        ("pi", np.ones((16, 4)), "pi[0] must be a probability distribution, but has least entry 1 and sum 4"),
        ("V", np.full(16, np.nan), "V[0] must be finite, but is nan"),
        ("margin", np.full((16, 4), np.nan), "margin[0, 0] must be finite, but is nan"),
        ("lam", -1.0, "lam must be at least 0, but is -1"),
        ("gradient", np.nan, "gradient must be finite, but is nan"),
        ("iterations", 1.5, "iterations must be an integer of at least 0, but is"),
    ],
)
def test_a_candidate_that_no_solver_would_give_is_refused(mdp, tmp_path, name, value, message):
    om.save(tmp_path / "c.npz", candidate(mdp))
    path = written(tmp_path / "d.npz", **(dict(np.load(tmp_path / "c.npz", allow_pickle=False)) | {name: value}))
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        om.load_candidate(path)


def test_a_margin_may_be_infinite(mdp, tmp_path):
    made = candidate(mdp, margin=np.full(mdp.shape, np.inf))
    om.save(tmp_path / "c.npz", made)
    assert (om.load_candidate(tmp_path / "c.npz").margin == np.inf).all()


def test_a_file_may_be_read_by_whom_the_umask_lets(mdp, tmp_path):
    umask = os.umask(0o022)
    try:
        om.save(tmp_path / "a.npz", mdp)
    finally:
        os.umask(umask)
    assert (tmp_path / "a.npz").stat().st_mode & 0o777 == 0o644


def test_an_interrupted_save_keeps_the_old_file(mdp, tmp_path, monkeypatch):
    om.save(tmp_path / "a.npz", mdp)
    before = (tmp_path / "a.npz").read_bytes()

    def stopped(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", stopped)
    with pytest.raises(KeyboardInterrupt):
        om.save(tmp_path / "a.npz", examples.puterman())
    assert (tmp_path / "a.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npz"]


def test_without_memory_the_message_is_one_line_and_the_file_the_old_one(mdp, tmp_path):
    """A child process that may hold half a GB more than it has asks for an MDP of several, to save it."""
    path = tmp_path / "a.npz"
    om.save(path, mdp)
    before = path.read_bytes()
    code = f"""
import resource, sys
import occmatch as om
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29,) * 2)
try:
    om.save({str(path)!r}, om.examples.gridworld(10_000))
except MemoryError as error:
    sys.exit(f"out of memory: {{error}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=om.__path__[0] + "/..")
    assert done.returncode == 1 and done.stderr.startswith("out of memory: Unable to allocate")
    assert done.stderr.count("\n") == 1
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.npz"]


def test_a_folder_that_is_not_there_is_named_by_the_file_that_was_asked_for(mdp, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        om.save(tmp_path / "none" / "a.npz", mdp)
    assert str(error.value) == f"[Errno 2] No such file or directory: '{tmp_path / 'none' / 'a.npz'}'"
