"""Small problems of occupancy matching, the certified gap of an answer, and MDPs that take each way of solving."""

import numpy as np
from corner_mdps import random_policy

import occmatch as om
from occmatch.candidate import Candidate


def problem(seed=0, S=8, A=3, gamma=0.9):
    rng = np.random.default_rng(seed)
    mdp = om.examples.garnet(S, A, min(S, 3), gamma, rng)
    return mdp, om.occupancy(mdp, random_policy(mdp, rng)), rng


def gap(mdp, rho_E, psi, found):
    assert isinstance(found, Candidate)
    certificate = om.certify(mdp, rho_E, psi, found)
    assert certificate.flow_residual <= 1e-12
    return abs(certificate.relative_gap)


def grids_and_garnets():
    rng = np.random.default_rng(0)
    return {
        "garnet by GMRES": om.examples.garnet(400, 3, 4, 0.95, rng),
        "grid by LU": om.examples.gridworld(16, slip=0.1, gamma=0.95, start=0),
        "few states": om.examples.garnet(30, 3, 4, 0.95, rng),
    }
