"""The errors that `mutations.py` plants: mistakes that one makes with these formulas, one line each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`old`, found exactly once in occmatch/`file`, becomes `new`; `first`: files of theory/, or tests, tried first."""

    name: str
    file: str
    old: str
    new: str
    first: tuple[str, ...] = ()


MUTANTS = (
    # measures
    Mutant(
        "measure normalised to one",
        "occupancy.py",
        "return solve_visits(mdp, pi)[:, None] * pi",
        "return (1.0 - mdp.gamma) * solve_visits(mdp, pi)[:, None] * pi",
        ("test_3_1_occupancy_measures.py",),
    ),
    Mutant(
        "transposed P",
        "linear.py",
        "trans=0 if transposed else 1",
        "trans=1 if transposed else 0",
        ("test_3_1_occupancy_measures.py",),
    ),
    Mutant(
        "states and actions exchanged in P V",
        "mdp.py",
        "return product(self.P)(V).reshape(self.shape)",
        "return product(self.P)(V).reshape(self.A, self.S).T",
        ("test_2_reinforcement_learning.py",),
    ),
    Mutant(
        "no gamma in the flow equations",
        "occupancy.py",
        "return rho.sum(axis=1) - mdp.p0 - mdp.gamma * mdp.flow(rho)",
        "return rho.sum(axis=1) - mdp.p0 - mdp.flow(rho)",
        ("test_caveat_7_one_sweep_certificate.py",),
    ),
    Mutant(
        "policy of a measure by columns",
        "occupancy.py",
        'with np.errstate(over="ignore"):\n        total = rho.sum(axis=1, keepdims=True)',
        'with np.errstate(over="ignore"):\n        total = rho.sum(axis=0, keepdims=True)',
        ("test_3_1_occupancy_measures.py",),
    ),
    Mutant(
        "no policy where nothing is visited",
        "occupancy.py",
        "out=np.full(rho.shape, 1.0 / rho.shape[1])",
        "out=np.zeros(rho.shape)",
        ("test_caveat_1_unvisited_states.py", "test_3_1_occupancy_measures.py"),
    ),
    # entropy
    Mutant(
        "sign of H",
        "occupancy.py",
        "return float(-(solve_visits(mdp, pi) @ xlogy(pi, pi).sum(axis=1)))",
        "return float(solve_visits(mdp, pi) @ xlogy(pi, pi).sum(axis=1))",
        ("test_3_1_lemma_causal_entropy.py",),
    ),
    Mutant(
        "joint entropy for causal entropy",
        "occupancy.py",
        "return float(-rel_entr(rho, visits(rho)[:, None]).sum())",
        "return float(-xlogy(rho, rho).sum())",
        ("test_3_1_lemma_causal_entropy.py",),
    ),
    Mutant(
        "sign of the gradient of Hbar",
        "occupancy.py",
        "return -np.log(policy(rho))",
        "return np.log(policy(rho))",
        ("test_a_1_lemma_entropy_gradient.py",),
    ),
    # Bellman
    Mutant(
        "no gamma in Q",
        "bellman_sweep.py",
        "np.multiply(expected, mdp.gamma,",
        "np.multiply(expected, 1.0,",
        ("test_2_reinforcement_learning.py", "test_beyond_iq_learn.py"),
    ),
    Mutant(
        "no lam before log sum exp",
        "bellman_sweep.py",
        "return (least - lam * np.log(total))[:, 0], weights",
        "return (least - np.log(total))[:, 0], weights",
        ("test_2_reinforcement_learning.py",),
    ),
    Mutant(
        "a constant cost counted once",
        "bellman.py",
        "offset = centre / (1.0 - mdp.gamma)",
        "offset = centre",
        ("test_2_reinforcement_learning.py",),
    ),
    Mutant(
        "one-sweep bound without 1 - gamma",
        "bellman.py",
        "step = (TV - V) / (1.0 - checks.discount(gamma))",
        "step = TV - V",
        ("test_caveat_7_one_sweep_certificate.py",),
    ),
    # gradients
    Mutant(
        "no gamma in the policy gradient's Q",
        "gradients.py",
        "Q = signal + mdp.gamma * mdp.expect(",
        "Q = signal + mdp.expect(",
        ("test_18_policy_step.py",),
    ),
    Mutant(
        "no baseline in the softmax score",
        "gradients.py",
        "return rho * (Q - (pi * Q).sum(axis=1, keepdims=True))",
        "return rho * Q",
        ("test_18_policy_step.py",),
    ),
    Mutant(
        "entropy rewarded with the wrong sign",
        "gradients.py",
        "checks.cost(mdp, cost) + lam * _log_softmax(theta)",
        "checks.cost(mdp, cost) - lam * _log_softmax(theta)",
        ("test_18_policy_step.py",),
    ),
    Mutant(
        "learner and expert exchanged in the best cost",
        "gradients.py",
        'psi.best_cost(rho, checks.measure(mdp, rho_E, "rho_E"))',
        'psi.best_cost(checks.measure(mdp, rho_E, "rho_E"), rho)',
        ("test_12_apprenticeship_gradient.py",),
    ),
    Mutant(
        "sign of Q_log",
        "gradients.py",
        "return _expected_score(mdp, theta, -_log_softmax(theta))",
        "return _expected_score(mdp, theta, _log_softmax(theta))",
        ("test_a_1_lemma_entropy_gradient.py",),
    ),
    # losses
    Mutant(
        "sign of c",
        "losses.py",
        "return -self.phi(_array(m))",
        "return self.phi(_array(m))",
        ("test_a_1_1_logistic.py",),
    ),
    Mutant(
        "g without the sign of x",
        "losses.py",
        "-safe + self.phi(-self.inverse(-safe))",
        "safe + self.phi(-self.inverse(-safe))",
        ("test_13_psi_ga.py",),
    ),
    Mutant(
        "g with phi at the wrong margin",
        "losses.py",
        "-safe + self.phi(-self.inverse(-safe))",
        "-safe + self.phi(self.inverse(-safe))",
        ("test_13_psi_ga.py",),
    ),
    Mutant(
        "g finite off T",
        "losses.py",
        "xp.full_like(x, math.inf))",
        "xp.full_like(x, 0.0))",
        ("test_13_psi_ga.py",),
    ),
    Mutant(
        "D = 1 for the expert",
        "losses.py",
        "m = self.best_margin(p, q)\n        return self.risk(m, p, q)",
        "m = self.best_margin(p, q)\n        return self.risk(-m, p, q)",
        ("test_29_margin_risk.py",),
    ),
    Mutant(
        "exponential loss without its half",
        "losses.py",
        "return 0.5 * _log_ratio(",
        "return _log_ratio(",
        ("test_29_margin_risk.py",),
    ),
    Mutant(
        "Hellinger without its factor of two",
        "losses.py",
        "return 2 * p**0.5 * q**0.5",
        "return p**0.5 * q**0.5",
        ("test_29_margin_risk.py",),
    ),
    Mutant(
        "sign of Jeffreys' divergence",
        "losses.py",
        "return p + q - _xlog(p - q, _log_ratio(p, q))",
        "return p + q + _xlog(p - q, _log_ratio(p, q))",
        ("test_29_margin_risk.py",),
    ),
    Mutant(
        "the smoothed hinge at half its width",
        "losses.py",
        "4 * math.exp(-2 / self.tau) * p * q",
        "4 * math.exp(-1 / self.tau) * p * q",
        ("test_29_margin_risk.py",),
    ),
    # psi
    Mutant(
        "R_phi for -R_phi",
        "regularisers/surrogate.py",
        "return -float(self.loss.minimum_risk(mass, self.rho_E).sum())",
        "return float(self.loss.minimum_risk(mass, self.rho_E).sum())",
        ("test_14_discriminator.py",),
    ),
    Mutant(
        "learner and expert exchanged in the margin",
        "regularisers/surrogate.py",
        "return self.loss.best_margin(self._mass(rho, rho_E), self.rho_E)",
        "return self.loss.best_margin(self.rho_E, self._mass(rho, rho_E))",
        ("test_14_discriminator.py",),
    ),
    Mutant(
        "cost left free where the expert never goes",
        "regularisers/surrogate.py",
        "if (c > self.loss.upper).any():\n            return np.inf\n        seen",
        "seen",
        ("test_caveat_5_unseen_pairs.py",),
    ),
    Mutant(
        "the dual's margin without its sign",
        "regularisers/surrogate.py",
        "return shift - float(self.rho_E[seen] @ self.loss.phi(-margin[seen]))",
        "return shift - float(self.rho_E[seen] @ self.loss.phi(margin[seen]))",
        ("test_a_1_1_logistic.py",),
    ),
    Mutant(
        "mass off the expert's support forgotten",
        "regularisers/f_divergence.py",
        "return total + f.upper * float(mass[unseen].sum()) if unseen.any() else total",
        "return total",
        ("test_beyond_f_divergences.py",),
    ),
    Mutant(
        "chi-square weighed by the learner",
        "regularisers/generators.py",
        "return (p - q) * ((p - q) / q)",
        "return (p - q) * ((p - q) / p)",
        ("test_beyond_f_divergences.py",),
    ),
    Mutant(
        "the ball without its radius",
        "regularisers/l2_ball.py",
        "return self.radius * float(np.linalg.norm(linear.gaps(self.features, x)))",
        "return float(np.linalg.norm(linear.gaps(self.features, x)))",
        ("test_10_cost_classes.py",),
    ),
    Mutant(
        "the least feature gap for the largest",
        "regularisers/simplex.py",
        "return float(linear.gaps(self.features, x).max())",
        "return float(linear.gaps(self.features, x).min())",
        ("test_10_cost_classes.py",),
    ),
    Mutant(
        "l1 distance by its largest entry",
        "regularisers/box.py",
        "return self.bound * float(np.abs(x).sum())",
        "return self.bound * float(np.abs(x).max())",
        ("test_8_relaxed_matching.py::test_divergence_is_the_supremum_over_costs",),
    ),
    Mutant(
        "a conjugate weighed like its psi",
        "regularisers/quadratic.py",
        "return 0.5 * float((linear.gaps(self.features, x) ** 2 / self.weight).sum())",
        "return 0.5 * float((linear.gaps(self.features, x) ** 2 * self.weight).sum())",
        ("test_8_relaxed_matching.py::test_divergence_is_the_supremum_over_costs",),
    ),
    # solvers
    Mutant(
        "no gamma in the program of IRL",
        "irl/program.py",
        "(head - mdp.gamma * mdp.P[rows]) @ V",
        "(head - mdp.P[rows]) @ V",
        ("test_3_regularised_irl.py", "test_3_2_duality.py"),
    ),
    Mutant(
        "no lam in the program of IRL",
        "irl/program.py",
        "bellman = problem.lam * x == advantage",
        "bellman = x == advantage",
        ("test_3_regularised_irl.py", "test_3_2_duality.py"),
    ),
    Mutant(
        "sign of E_piE[c] in the program of IRL",
        "cvx/psi.py",
        "return -inner(rho_E, c), [c <= regulariser.bound, c >= -regulariser.bound]",
        "return inner(rho_E, c), [c <= regulariser.bound, c >= -regulariser.bound]",
        ("test_3_regularised_irl.py::test_no_cost_is_better_than_the_one_found",),
    ),
    Mutant(
        "sign of the cost of an exact match",
        "matching_exact.py",
        "-lam * np.log(pi), np.inf)",
        "lam * np.log(pi), np.inf)",
        ("test_8_relaxed_matching.py::test_the_cost_of_an_exact_match_makes_the_expert_optimal",),
    ),
    Mutant(
        "the expert left out of the game",
        "lp.py",
        "gaps = over(rows, rows @ rho_E.ravel(),",
        "gaps = over(rows, 0.0 * (rows @ rho_E.ravel()),",
        ("test_9_apprenticeship.py",),
    ),
    Mutant(
        "time stands still in the lift",
        "horizon.py",
        "(step.col + (time + 1) * S)",
        "(step.col + time * S)",
        ("test_beyond_finite_horizon.py",),
    ),
    # the judge
    Mutant(
        "a dual point that is not feasible",
        "certificate.py",
        "bellman = -float((TV - V).min()) / share",
        "bellman = -float((TV - V).min())",
        ("test_8_relaxed_matching.py::test_any_claim_brackets_the_optimum",),
    ),
)
