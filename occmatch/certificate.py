"""The judge: how far a claimed saddle point is from optimal, proved from the claim alone.

For a regulariser psi the two sides of Proposition 3.2 are, with D the flow polytope and T_c the soft Bellman operator,

    primal   min over rho in D of     -lam Hbar(rho) + psi*(rho - rho_E)
    dual     max over c and V of      p0.V - <rho_E, c> - psi(c)      subject to V <= T_c V,

and any point of the one lies above any point of the other. From (rho, c, V), whoever found them, this file makes

    a point of D:          rho' = occupancy measure of the policy of rho, by a linear solve of its own;
    a feasible dual point: V + min(T_c V - V) / (1 - gamma), by one sweep (T_c is monotone, and T_c (V + k) = T_c V +
    gamma k).

The difference of the two values bounds how far either is from optimal. It is a sum of three terms,

    fenchel    psi*(rho' - rho_E) + psi(c) - <rho' - rho_E, c> >= 0     the cost is not the best against rho
    slackness  <rho', c + lam log pi + gamma P V - V>                   the policy is not the one of (c, V)
    bellman    -min(T_c V - V) / (1 - gamma)                            V is not the value of c

so that a large gap says what is wrong. What the re-projection hides is reported beside it: `flow_residual` of rho as
claimed. `rounding` bounds to first order what float64 may have done to the gap; a gap below `-rounding` is impossible
unless psi and psi* are not conjugate to each other. `certificate_interval` needs no such bound. No solver is imported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from occmatch import checks
from occmatch.bellman import hard_backup, q_values, soft_backup
from occmatch.candidate import Candidate
from occmatch.certificate_rounding import SOLVED, dual_rounding, is_indicator, primal_rounding, psi_rounding, steepest
from occmatch.linear import resolvent
from occmatch.mdp import MDP
from occmatch.occupancy import flow_residual, occupancy, policy
from occmatch.regularisers import Regulariser, Surrogate, fitting, same_expert

FloatArray = checks.FloatArray


@dataclass(frozen=True)
class Certificate:
    """What is proved of a candidate: dual <= optimum <= primal, up to `rounding`.

    `gap` = primal - dual = fenchel + slackness + bellman; `relative_gap` = gap / `scale`,
    scale = max(|primal|, |dual|, lam / (1 - gamma)), the last being lam H of a policy with one nat in every state.
    Without entropy there is |psi*(rho_E)| in its place, what psi* is at a difference as large as the expert's measure,
    or where that is 0 or inf the largest for some plain players, or the expert's mass (`_unit`): where the expert can
    be matched, the others vanish with the optimum. No cost of the claim makes it larger.
    `flow_residual` is (1 - gamma) ||d - p0 - gamma P' rho||_1 of rho as claimed, `moved` = (1 - gamma) ||rho' -
    rho||_1, `turned` = (1 - gamma) ||d' (pi - pi')||_1 of pi as claimed, pi' the policy and d' the visits of rho'; they
    are shares of the whole mass. `rounding` bounds the floating-point error of `gap`, to first order, and
    where psi and psi* are a solver's numbers (`solved`) its tolerances too.
    """

    primal: float
    dual: float
    gap: float
    relative_gap: float
    scale: float
    rounding: float
    fenchel: float
    slackness: float
    bellman: float
    flow_residual: float
    moved: float
    turned: float
    lam: float
    method: str
    solved: bool = False

    def faults(self, tolerance: float = 1e-7) -> tuple[str, ...]:
        """What exceeds `tolerance` (of the gap's scale, or of the mass), with likely causes; () if all is well."""
        scale = self.scale
        parts = {
            "fenchel": "the cost is not the best against rho (its sign, g, or psi is another)",
            "slackness": "the policy of rho is not the soft optimal one of cost and V (another lam, MDP or cost)",
            "bellman": "V is not the value of the cost (not converged, or another lam, MDP or cost)",
        }
        found = []
        if not self.relative_gap <= tolerance:
            found.append(f"gap: relative {self.relative_gap:.3g}")
            found += [f"{k}: {getattr(self, k):.3g}, {cause}" for k, cause in parts.items()
                      if not getattr(self, k) <= tolerance * scale]  # fmt: skip
        least, name = min((self.gap, "gap"), (self.fenchel, "fenchel"))
        if least < -max(self.rounding, tolerance * scale):
            found.append(f"{name}: {least:.3g} < 0, so that psi and psi* are not conjugate to each other")
        if not self.rounding <= tolerance * scale:
            cause = "the costs or values are too large for float64 to tell (certificate_interval can)"
            if self.solved:
                cause = f"psi and psi* come from a solver, whose tolerances are no finer beside a scale of {scale:.3g}"
            found.append(f"rounding: {self.rounding:.3g}, {cause}")
        if not self.flow_residual <= tolerance:
            found.append(
                f"flow_residual: {self.flow_residual:.3g}, rho is no occupancy measure of this MDP "
                "(another MDP, another scale, or not converged)"
            )
        if not self.turned <= tolerance:
            found.append(f"turned: {self.turned:.3g}, pi is not the policy of rho where that goes")
        return tuple(found)

    def holds(self, tolerance: float = 1e-7) -> bool:
        """Whether nothing exceeds `tolerance`: see `faults`."""
        return not self.faults(tolerance)

    def __str__(self) -> str:
        rows = [
            ("primal", f"{self.primal:.15g}", "-lam Hbar + psi* at the policy of rho: an upper bound"),
            ("dual", f"{self.dual:.15g}", "p0.V - <rho_E, c> - psi at (c, V): a lower bound"),
            ("gap", f"{self.gap:.3e}", f"relative {self.relative_gap:.1e}; rounding at most {self.rounding:.1e}"),
            ("  fenchel", f"{self.fenchel:.3e}", "psi* + psi - <rho - rho_E, c>"),
            ("  slackness", f"{self.slackness:.3e}", "<rho, c + lam log pi + gamma P V - V>"),
            ("  bellman", f"{self.bellman:.3e}", "-min(T V - V) / (1 - gamma)"),
            ("flow residual", f"{self.flow_residual:.3e}", "of rho as claimed, share of its mass"),
            ("moved", f"{self.moved:.3e}", "by projection through the policy, share of its mass"),
            ("turned", f"{self.turned:.3e}", "pi as claimed from the policy of rho, share of the mass"),
        ]
        head = f"certificate of {self.method}, lam = {self.lam:g}"
        return "\n".join([head, *(f"  {name:<14}{value:>23}  {note}" for name, value, note in rows)])


def certify(
    mdp: MDP, rho_E: FloatArray, psi: Regulariser, candidate: Candidate, lam: float | None = None
) -> Certificate:
    """Judge rho [S, A], cost or margin [S, A], V [S] and pi [S, A] of a candidate by primal and dual bounds; see the
    module.

    `lam` defaults to the candidate's own. A cost off the domain of psi by rounding is repaired; one further off has
    dual -inf. Raises ValueError where a shape is wrong or an entry is not finite, TypeError for a typed failure.
    """
    claim = read(mdp, rho_E, psi, candidate, lam)
    rho_E, rho, V, lam = claim.rho_E, claim.rho, claim.V, claim.lam
    cost = np.asarray(psi.repair(claim.cost)) if psi.value(claim.cost) < np.inf else claim.cost
    feasible, claimed = project(mdp, rho)

    pi = policy(rho)
    negative_entropy = lam * float(xlogy(feasible, pi).sum())
    pairing = float((feasible * cost).sum())
    dual_psi = psi.dual_value(cost, rho_E)
    divergence = psi.divergence(feasible, rho_E)
    if is_indicator(psi) and divergence < np.inf:
        divergence = max(divergence, pairing + dual_psi)  # x is off the point by rounding; Fenchel and Young hold at x
    primal = negative_entropy + divergence

    # A constant in V, which the dual does not see, would only cost digits: it goes out first, and comes back below.
    level = float((V.max() + V.min()) / 2)
    V, share = V - level, 1.0 - mdp.gamma
    TV = soft_backup(mdp, cost, V, lam)[0] if lam > 0.0 else hard_backup(mdp, cost, V)[0]
    bellman = -float((TV - V).min()) / share
    dual = float((mdp.p0 * V).sum()) - bellman + dual_psi

    # 0 log 0 = 0, also where the policy is zero.
    slackness = float((feasible * (q_values(mdp, cost, V) - V[:, None])).sum()) + negative_entropy
    gap = primal - dual
    unit = lam / share if lam > 0.0 else _unit(mdp, psi, rho_E)
    scale = max(abs(x) for x in (primal, dual, unit) if np.isfinite(x)) or 1.0
    rounding = (
        primal_rounding(mdp, feasible, pi, V - bellman, lam, steepest(psi))
        + psi_rounding(psi, cost, feasible, rho_E, divergence)
        + dual_rounding(mdp, cost, V, lam)
    )
    return Certificate(
        primal=primal,
        dual=dual,
        gap=gap,
        relative_gap=gap / scale if np.isfinite(gap) else np.inf,
        scale=scale,
        rounding=rounding,
        fenchel=divergence - pairing - dual_psi,
        slackness=slackness - level,
        bellman=bellman + level,
        flow_residual=share * float(np.abs(claimed).sum()),
        moved=share * float(np.abs(feasible - rho).sum()),
        turned=share * float((feasible.sum(axis=1)[:, None] * np.abs(claim.pi - pi)).sum()),
        lam=lam,
        method=candidate.method,
        solved=isinstance(psi, SOLVED),
    )


@dataclass(frozen=True, eq=False)
class Claim:
    """What there is to judge, checked: rho_E, rho, cost and pi [S, A], V [S], and lam."""

    rho_E: FloatArray
    rho: FloatArray
    cost: FloatArray
    V: FloatArray
    pi: FloatArray
    lam: float


def read(mdp: MDP, rho_E: FloatArray, psi: Regulariser, candidate: Candidate, lam: float | None) -> Claim:
    """The claim of a candidate; its cost is that of its margin where it holds no other. Raises as `certify` does."""
    if not isinstance(candidate, Candidate):
        message = getattr(candidate, "message", "")  # of a typed failure
        reason = f": {message} (members of NotAttained.sequence are candidates)" if message else ""
        raise TypeError(f"candidate must be a Candidate, but is {type(candidate).__name__}{reason}")
    checks.explicit(mdp)
    lam = checks.lam(candidate.lam if lam is None else lam)
    rho_E = checks.measure(mdp, rho_E, "rho_E")
    same_expert(fitting(mdp, psi), rho_E)
    rho = checks.measure(mdp, candidate.rho, "candidate.rho")
    V = checks.state_vector(mdp, candidate.V, "candidate.V")
    cost = candidate.cost
    if cost is None and candidate.margin is not None and isinstance(psi, Surrogate):
        cost = psi.loss.cost(checks.cost(mdp, candidate.margin, "candidate.margin"))
    if cost is None:
        raise ValueError("candidate must hold a cost, or a margin where psi is a Surrogate, but has neither")
    pi = checks.cost(mdp, candidate.pi, "candidate.pi")
    return Claim(rho_E, rho, checks.cost(mdp, cost, "candidate.cost"), V, pi, lam)


def project(mdp: MDP, rho: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(rho' in D with the policy of rho [S, A], flow residual of rho itself [S]).

    Where the claimed visits satisfy the flow equations better than those of the linear solve, they are kept.
    """
    pi = policy(rho)
    P_pi = resolvent(mdp, pi)
    d = P_pi.solve_transposed(mdp.p0).clip(min=0.0)
    claimed = flow_residual(mdp, rho)
    mine = d - mdp.p0 - mdp.gamma * (P_pi.P_pi.T @ d)
    if np.abs(claimed).sum() < np.abs(mine).sum():
        return rho, claimed
    return d[:, None] * pi, claimed


def _unit(mdp: MDP, psi: Regulariser, rho_E: FloatArray) -> float:
    """The unit of a gap without entropy: psi* of twice the expert's measure, which has its support, or where that is 0
    or infinite the largest of players that take actions at random, always the first, and always the last.

    Where none of these has a size either, and where psi* is an indicator, costs of one are the unit. The claim has no
    part in it: psi may not see constants, of all costs or of those of some pairs, and they may be huge.
    """
    mass = float(rho_E.sum())
    if is_indicator(psi):
        return mass
    size = abs(psi.divergence(2.0 * rho_E, rho_E))
    if 0.0 < size < np.inf:
        return size
    players = np.full(mdp.A, 1.0 / mdp.A), *np.eye(mdp.A)[[0, -1]]
    sizes = [abs(psi.divergence(occupancy(mdp, np.tile(pi, (mdp.S, 1))), rho_E)) for pi in players]
    return max((x for x in sizes if 0.0 < x < np.inf), default=mass)
