"""Trust region policy optimisation (Schulman et al. 2015): one natural step under a KL bound.

    maximise  L(theta) = E[ pi_theta(a|s) / pi_old(a|s) * A(s,a) ] + extra(theta)
    subject to  E_s[ KL(pi_old(.|s) || pi_theta(.|s)) ] <= delta

The direction solves (F + damping I) x = grad L by conjugate gradients on Fisher-vector products, F being the Hessian
of the mean KL at theta_old; the first trial step sqrt(2 delta / x'(F + damping I)x) x lies on the damped quadratic
model's bound, within that of F, and backtracking makes L rise and the true KL hold. In the paper this is Eq 18's step
with A from the cost -c.

With `momentum` the gradient is a sum over past steps, grad L + momentum * (the last sum). The advantages of a few
thousand steps are mostly noise: of what a step gains on its own batch about a twentieth is left on a fresh one
(benchmarks/step_quality.py). Neighbouring steps share the signal and not the noise, so that adding them is like a
larger batch, at the price of a vector.

Parameters are float32; the conjugate gradients and the dot products run in float64. A step that meets a non-finite
number, negative curvature or a residual that does not fall is an event in the result, never a NaN in the weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deep import backprop
from deep.nets import Distribution, Policy


@dataclass(frozen=True)
class TrpoConfig:
    """How far a policy step goes and how exactly it is computed."""

    max_kl: float = 0.01
    """delta, the bound on the mean KL of a step (0.01 in Section 6 of the paper)."""
    damping: float = 0.1
    """Added to the Fisher matrix's diagonal (0.1 in the authors' configuration)."""
    cg_iterations: int = 10
    """Conjugate-gradient iterations (10 in Schulman et al. 2015, Appendix C)."""
    fisher_fraction: float = 0.1
    """Share of the batch on which the Fisher matrix is taken (0.1 in Schulman et al. 2015, Appendix C)."""
    momentum: float = 0.0
    """Factor on the gradients of earlier steps, which are added to this one's; 0: this one's alone."""
    backtracks: int = 10
    """Trials of the line search (10 in the authors' configuration)."""
    backtrack: float = 0.5
    """Factor on the step at each trial after the first."""


@dataclass(frozen=True)
class TrpoInfo:
    """What a step did. `accepted` is the fraction of the full step (0: none); `event` names a guard that acted."""

    kl: float
    entropy: float
    improvement: float
    accepted: float
    cg_residual: float
    grad_norm: float
    event: str


class PastGradients:
    """The sum over steps of momentum^age * grad L, flat float64; None before the first step."""

    def __init__(self, momentum: float) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, but is {momentum}")
        self.momentum = momentum
        self.total: Tensor | None = None

    def add(self, g: Tensor) -> Tensor:
        """Take in the newest gradient; returns the sum."""
        self.total = g if self.total is None or not self.momentum else self.momentum * self.total + g
        return self.total


def flat(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Concatenate as one float64 vector."""
    return torch.cat([t.reshape(-1) for t in tensors]).double()


def assign(params: list[nn.Parameter], vector: Tensor) -> None:
    """Write a flat vector back into parameters."""
    with torch.no_grad():
        start = 0
        for p in params:
            p.copy_(vector[start : start + p.numel()].view_as(p))
            start += p.numel()


def fisher_product(policy: Policy, x: Tensor) -> Callable[[Tensor], Tensor]:
    """v -> F v, F the Fisher matrix at the current parameters, mean over x [N, O]: the Hessian of the mean KL there.

    F = mean_n J_n' M_n J_n with J the derivative of the net's outputs and M the Fisher matrix of the distribution in
    them, so that a product is a forward and a reverse derivative; the information of a log deviation is 2.
    """
    params = trainable(policy)
    tape = backprop.forward(policy.net, x)
    with torch.no_grad():
        dist = policy.of(tape.out)

    def product(v: Tensor) -> Tensor:
        parts = dict(zip(params, v.float().split([p.numel() for p in params]), strict=True))
        weights = list(policy.net.parameters())
        tangent = [parts[p].view_as(p) if p in parts else torch.zeros_like(p) for p in weights]
        pulled = backprop.pullback(tape, dist.fisher(backprop.pushforward(tape, tangent)) / len(x))
        found = dict(zip(weights, pulled, strict=True))
        return flat([found[p] if p in found else 2 * parts[p] for p in params])

    return product


def trainable(policy: Policy) -> list[nn.Parameter]:
    """The policy's parameters in a fixed order."""
    return [p for p in policy.parameters() if p.requires_grad]


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tol: float = 1e-10
) -> tuple[Tensor, float, bool]:
    """Solve A x = b for positive definite A; returns x, the least |b - A x| / |b| met, and whether p'Ap <= 0 was.

    The iterate of largest b'x - x'Ax / 2 is returned, which is what a natural step is after: CG raises it at every
    iteration, while residuals swing for long.  Products in float32 are exact to seven digits, and a Fisher
    matrix of a small sample is singular but for the damping: late directions may lose conjugacy and gain nothing.
    """
    x, r, p = torch.zeros_like(b), b.clone(), b.clone()
    rr = r @ r
    norm = float(rr) ** 0.5
    best, most, least = x, 0.0, 1.0
    for _ in range(iterations):
        z = product(p)
        curvature = p @ z
        if not torch.isfinite(curvature) or curvature <= 0:
            return best, least, True
        alpha = rr / curvature
        x, r = x + alpha * p, r - alpha * z
        new = r @ r
        gain, residual = 0.5 * float((b + r) @ x), float(new) ** 0.5 / norm
        least = min(least, residual)
        if gain > most:
            best, most = x, gain
        if residual < tol:
            break
        p, rr = r + (new / rr) * p, new
    return best, least, False


def step(
    policy: Policy,
    x: Tensor,
    acts: Tensor,
    advantages: Tensor,
    config: TrpoConfig,
    generator: torch.Generator,
    extra: Callable[[Policy], Tensor] | None = None,
    past: PastGradients | None = None,
) -> TrpoInfo:
    """Change the policy's weights by one step; x [N, O] standardised, acts encoded, advantages [N] as used.

    `extra(policy)` is a scalar added to L (GAIL's auxiliary cloning term); `past` carries momentum from step to step.
    """
    params = trainable(policy)
    before = flat([p.detach() for p in params])
    # The net by hand, and what is small (the distribution, `extra`) by automatic differentiation.
    tape = backprop.forward(policy.net, x)
    outputs = tape.out.requires_grad_()
    dist = policy.of(outputs)
    old, old_logp = dist.detach(), dist.log_prob(acts).detach()

    def objective(dist: Distribution) -> Tensor:
        ratio = torch.exp(dist.log_prob(acts) - old_logp)
        value = (ratio * advantages).mean()
        return value if extra is None else value + extra(policy)

    start = objective(dist)
    on_outputs, *direct = torch.autograd.grad(start, [outputs, *params], materialize_grads=True)
    start = start.detach()
    through = dict(zip(policy.net.parameters(), backprop.pullback(tape, on_outputs), strict=True))
    g = flat([d + through[p] if p in through else d for d, p in zip(direct, params, strict=True)])
    entropy = float(dist.entropy().mean().detach())

    def nothing(event: str, residual: float = 1.0) -> TrpoInfo:
        assign(params, before)
        return TrpoInfo(0.0, entropy, 0.0, 0.0, residual, float(g.norm()), event)

    if not torch.isfinite(g).all():
        return nothing("non-finite gradient")
    if float(g.norm()) == 0.0:
        return nothing("zero gradient")
    if past is not None:
        g = past.add(g)
    rows = max(1, round(config.fisher_fraction * len(x)))
    subset = x if rows >= len(x) else x[torch.randperm(len(x), generator=generator)[:rows]]
    product = fisher_product(policy, subset)
    direction, residual, indefinite = conjugate_gradients(
        lambda v: product(v) + config.damping * v, g, config.cg_iterations
    )
    event = "negative curvature" if indefinite else ""
    if residual >= 1.0:
        event = event or "cg residual did not fall"
    if not torch.isfinite(direction).all() or not float(direction @ g) > 0:
        direction = g  # the plain gradient, which the line search bounds all the same
    quadratic = float(direction @ (product(direction) + config.damping * direction))
    if not quadratic > 0:
        return nothing("no curvature along the step", residual)
    full = direction * (2 * config.max_kl / quadratic) ** 0.5
    fraction = 1.0
    with torch.no_grad():
        for _ in range(config.backtracks):
            assign(params, before + fraction * full)
            new = policy(x)
            gain, kl = float(objective(new) - start), float(old.kl(new).mean())
            if gain > 0 and kl <= config.max_kl:
                return TrpoInfo(kl, entropy, gain, fraction, residual, float(g.norm()), event)
            fraction *= config.backtrack
    return nothing(event or "line search failed", residual)
