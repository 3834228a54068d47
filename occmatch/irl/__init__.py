"""IRL_psi: which cost explains the expert, by one convex program, by dual ascent, and by Newton on the dual.

solve     the entry `irl`                      dual       both objectives, and what the methods share
support   which pairs can carry mass, and whether an optimal cost exists      failures  the typed answers
forbidden its graph side, what psi* forbids            recession  its linear programs, what psi cannot see
program   max over (c, V), no inner loop       ascent     RL(c) inside, as the paper tells it
newton    second order on the dual             weights    the same over feature weights
"""

from occmatch.irl.dual import History
from occmatch.irl.solve import irl

__all__ = ["History", "irl"]
