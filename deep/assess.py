"""How good an imitation a finished run is: returns, and the distance of its occupancy measure from the expert's.

Fresh episodes of the stochastic policy are set against as many of the expert's, by deep.distance and
deep.distance_kernel. Two references come with them: the expert against other episodes of itself, which is the zero that
chance allows, and uniformly random actions. The expert is the bundled one of the task where the run imitates bundled
demonstrations, and otherwise the demonstrations are all that is known of it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deep import demos, envs
from deep.config import ExpertConfig
from deep.demos import Demos
from deep.distance import jensen_shannon
from deep.distance_kernel import Discrepancy, Kernel, discrepancy
from deep.evaluate import Returns, random_actions
from deep.expert import load_expert, recorded
from deep.learner import torch_generator
from deep.result import Row, evaluate_policy, normalised
from deep.stats import Interval
from deep.trained import Trained

AT_ONCE = 64  # simulators that run together
ASSESSMENT = 11  # the stream of these episodes, apart from those of training and of its evaluations
MEASURE = "undiscounted normalised occupancy of (observation, action), standardised by the expert"


@dataclass(frozen=True)
class Distance:
    """From the expert: a lower bound on the Jensen-Shannon divergence in bits, and MMD^2."""

    js: Interval
    mmd: Discrepancy


@dataclass(frozen=True)
class Assessment:
    """What was found. `rows` and `distances` have entries for some of learner, expert, random; `without` says why
    distances lack.
    """

    rows: dict[str, Row]
    reference: float | None
    random: float
    distances: dict[str, Distance]
    without: str | None

    def to_json(self) -> dict[str, Any]:
        """JSON values: statistics of each row, and distances."""
        found: dict[str, Any] = {"measure": MEASURE, "expert_return": self.reference, "returns": {}}
        for name, row in self.rows.items():
            for kind, returns in (("stochastic", row.stochastic), ("deterministic", row.deterministic)):
                if returns is not None:
                    found["returns"].setdefault(name, {})[kind] = {
                        "mean": returns.mean,
                        "std": returns.std,
                        "length": float(returns.lengths.mean()),
                        "episodes": len(returns.returns),
                        "normalised": normalised(returns.mean, self.random, self.reference),
                    }
        found["distances"] = {k: {"js_bits": asdict(d.js), "mmd": asdict(d.mmd)} for k, d in self.distances.items()}
        return found if self.without is None else found | {"without": self.without}


def assess(run: Trained, episodes: int, seed: int, threads: int = 0) -> Assessment:
    """Evaluate a run over `episodes` episodes each of its policy, the expert (twice) and random actions."""
    if episodes < 3:
        raise ValueError(f"episodes must be at least 3, but is {episodes}")
    streams = iter(np.random.SeedSequence([seed, ASSESSMENT]).spawn(6))
    env, config = run.config.env, run.config

    def sample(act: Callable[..., np.ndarray], generator: Callable[[np.random.SeedSequence], Any]) -> Demos:
        physics, acts = next(streams).spawn(2)
        simulator = envs.make(env, min(episodes, AT_ONCE), int(physics.generate_state(1)[0]), threads=threads)
        found = demos.sample_episodes(act, simulator, episodes, generator(acts))
        simulator.close()
        return found

    learner = sample(run.policy.act, torch_generator)
    random = sample(random_actions(run.spec), np.random.default_rng)
    _, mode = evaluate_policy(env, run.policy, episodes, next(streams), threads)
    rows = {"random": Row("random", returns(random), None), "learner": Row(run.label, returns(learner), mode)}
    own = None if isinstance(config, ExpertConfig) else config.demos
    record = recorded(env, own)
    samples = {"learner": learner, "random": random}
    if own is None and record is not None:
        policy = load_expert(env)
        expert, samples["expert"] = sample(policy.act, torch_generator), sample(policy.act, torch_generator)
        rows["expert"] = Row("expert", returns(expert), None)
    else:
        path = own or demos.bundled(env)
        expert = None if path is None else demos.load(path, run.spec)
    reference, zero = record["stochastic"]["mean"] if record else None, float(returns(random).mean)
    if expert is None or expert.episodes < 3:
        have = "nothing of it is known" if expert is None else f"its demonstrations are {expert.episodes} episodes"
        return Assessment(rows, reference, zero, {}, f"no distance to the expert: {have}")
    rng = np.random.default_rng(next(streams))
    kernel = Kernel.of(run.spec, expert, rng)
    order = [name for name in ("learner", "expert", "random") if name in samples]
    distances = {
        name: Distance(jensen_shannon(run.spec, samples[name], expert, rng), discrepancy(samples[name], kernel, rng))
        for name in order
    }
    return Assessment(rows, reference, zero, distances, None)


def returns(data: Demos) -> Returns:
    """Returns and lengths of sampled episodes, which have rewards."""
    found = data.returns()
    if found is None:
        raise ValueError("returns need whole episodes with rewards")
    return Returns(found, data.lengths)
