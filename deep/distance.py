"""How far apart two occupancy measures are, from whole episodes of two policies.

The return alone does not say "imitates": many policies share it. The paper's objective does, since psi_GA* is the
Jensen-Shannon divergence of the occupancy measures up to a constant (Eq 14 and 15). Here it is estimated afresh:

    JS(p, q) = log 2 - min over m of ( E_p[phi(m)] + E_q[phi(-m)] ) / 2,     phi logistic, in nats

Any margin m gives a lower bound, if it did not see the pairs that it is judged on. So m is cross-fitted: a net trained
and stopped on some episodes is judged on others, until every episode has been judged once. Whole episodes, because
pairs of one episode resemble each other; and for the same reason n episodes give no more than odds of n + 1 to one
(Laplace's rule of succession): margins are cut at log(n + 1), lest a few odd episodes cost more than all others tell.
0 bits: no difference found; 1 bit: every pair says whose it is.

The measures are the undiscounted, normalised ones: every recorded pair counts the same, as in training. Where the clock
is geometric (deep.envs.register_table) that is the discounted measure. Steps after termination do not exist here: the
length of episodes stands beside the distance. deep.distance_kernel holds the second opinion, the kernel's.
"""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deep import costs, demos
from deep.costs import CostConfig, MarginNet, Scores, Side
from deep.demos import Demos
from deep.envs import EnvSpec
from deep.stats import Interval, stratified_bootstrap
from occmatch.losses import LOSSES

LOGISTIC = LOSSES["logistic"]
FOLDS = 4  # one judged, one to stop by, the rest to train on
LEAST = 3  # episodes, one for each of these
MOST = 20_000  # pairs of a side; more are thinned as demonstrations are
BLOCK = CostConfig(steps=50, minibatch=256, lr=1e-3, gradient_penalty=0.0)
BLOCKS = 60
PATIENCE = 4  # blocks without a better risk on the episodes to stop by


@dataclass(frozen=True)
class Points:
    """Pairs in the expert's units, one-hot where discrete: rows [N, D], and the pairs of each episode, lengths [E]."""

    rows: Tensor
    lengths: np.ndarray

    @property
    def episode(self) -> np.ndarray:
        """The episode of each row, [N]."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


def thinned(data: Demos, most: int, rng: np.random.Generator) -> Demos:
    """At most about `most` pairs, every k-th of those that there are of each episode, whenever they were recorded."""
    every = -(-len(data.obs) // most)
    return demos.subsample(dataclasses.replace(data, time=None), every, rng) if every > 1 else data


def points(spec: EnvSpec, learner: Demos, expert: Demos) -> tuple[Points, Points]:
    """Both samples, standardised by the expert's mean and deviation as everywhere in training."""
    encoder = MarginNet(spec, False, (), torch.Generator())
    encoder.normaliser.update(encoder.continuous(expert.obs, expert.acts))
    mine, theirs = (Points(encoder.rows(d.obs, d.acts), d.lengths) for d in (learner, expert))
    return mine, theirs


def jensen_shannon(spec: EnvSpec, learner: Demos, expert: Demos, rng: np.random.Generator) -> Interval:
    """A lower bound on the Jensen-Shannon divergence of two normalised occupancy measures, in bits, 95 % interval.

    1 - (held-out risk) / (2 log 2). The interval draws episodes anew and takes the classifiers as they are; below 0
    means that they were no better than none. Raises ValueError with fewer than LEAST episodes on a side.
    """
    for name, data in (("learner", learner), ("expert", expert)):
        if data.episodes < LEAST:
            raise ValueError(f"{name} must have at least {LEAST} episodes, but has {data.episodes}")
    sides = points(spec, *(thinned(d, MOST, rng) for d in (learner, expert)))
    folds = min(FOLDS, learner.episodes, expert.episodes)
    parts = [rng.permutation(np.arange(len(side.lengths)) % folds) for side in sides]  # the fold of each episode
    losses = [np.zeros(len(side.lengths)) for side in sides]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    for k in range(folds):
        judged, stop, train = (
            [_rows(side, np.isin(part, chosen)) for side, part in zip(sides, parts, strict=True)]
            for chosen in ([k], [(k + 1) % folds], [(k + i) % folds for i in range(2, folds)])
        )
        bound = math.log(1 + min(int(np.sum(part != k)) for part in parts))
        net = classifier(spec, train, stop, bound, generator)
        with torch.no_grad():
            for i, sign in enumerate((1.0, -1.0)):
                loss = LOGISTIC.phi(sign * net(judged[i]).clamp(-bound, bound).double()).numpy()
                of = sides[i].episode[parts[i][sides[i].episode] == k]
                losses[i] += np.bincount(of, loss, minlength=len(losses[i]))
    table = [np.stack([loss, side.lengths], 1) for loss, side in zip(losses, sides, strict=True)]
    return stratified_bootstrap(_bits, table, rng)


def _rows(side: Points, episodes: np.ndarray) -> Tensor:
    """The rows of the chosen episodes, booleans [E]."""
    return side.rows[torch.from_numpy(episodes[side.episode])]


def _bits(table: list[np.ndarray]) -> float:
    """From the summed losses and pairs of each episode, [E, 2] a side."""
    return 1.0 - sum(float(t[:, 0].sum() / t[:, 1].sum()) for t in table) / (2 * math.log(2))


def classifier(
    spec: EnvSpec, train: list[Tensor], stop: list[Tensor], bound: float, generator: torch.Generator
) -> MarginNet:
    """A margin net trained on rows of learner and expert until the risk on the rows to stop by no longer falls, margins
    cut at +-bound.

    It starts at m = 0, no opinion, and is that still where nothing does better.
    """
    net = MarginNet(spec, False, BLOCK.hidden, generator)
    with torch.no_grad():
        net.net[-1].weight.zero_()
    optimiser = torch.optim.Adam(net.net.parameters(), lr=BLOCK.lr, fused=True)
    sides = [Side(rows, 0.0) for rows in train]

    def risk() -> float:
        with torch.no_grad():
            return float(costs.risk(LOGISTIC, *(Scores(net(rows).clamp(-bound, bound), None, 0.0) for rows in stop)))

    best, kept, since = risk(), [p.clone() for p in net.net.state_dict().values()], 0
    for _ in range(BLOCKS):
        costs.fit(net, optimiser, LOGISTIC, *sides, BLOCK, generator)
        now = risk()
        if now < best:
            best, kept, since = now, [p.clone() for p in net.net.state_dict().values()], 0
        else:
            since += 1
            if since == PATIENCE:
                break
    net.net.load_state_dict(dict(zip(net.net.state_dict(), kept, strict=True)))
    return net
