"""Demonstrations: what an expert did, as data.

format      Demos: whole or subsampled episodes, validated once, and checked against a task
files       load(path, spec) and save(path, demos): every format behind one name
npz, d4rl, trajs, minari, imitation    the formats: npz, HDF5 in two layouts, Minari, Hugging Face folders
archive, hdf5, arrow, limits           how they are read: as data, judged before anything is unpacked
quarantine, child                      foreign formats are parsed in a child process
subsample   every k-th pair of each trajectory; a choice of trajectories
sample      episodes of a policy in a simulator
bundled     the demonstrations that come with the package
summary     a table of what a file holds; `python -m deep.demos` shows, samples, records, exports

A file is data, never code: whatever its bytes are, it loads as valid demonstrations or raises DemoError.
N denotes samples (pairs), E episodes here, O the observation and U the action dimension.
"""

from deep.demos.bundled import bundled
from deep.demos.files import FORMATS, load, save
from deep.demos.format import DemoError, Demos, check
from deep.demos.sample import sample_episodes
from deep.demos.subsample import subsample, take

__all__ = ["FORMATS", "DemoError", "Demos", "bundled", "check", "load", "sample_episodes", "save", "subsample", "take"]
