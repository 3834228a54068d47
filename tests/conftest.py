"""Settings of every test run: one thread for linear algebra, no display, and the same examples every time."""

import os

# Before NumPy and torch are imported. The matrices here are small: more threads only wait for one another.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from hypothesis import settings  # noqa: E402

# A red test stays red and a green one green, on any machine: no clock and no chance. `--hypothesis-profile=explore`
# looks for new examples instead.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("repeatable")
