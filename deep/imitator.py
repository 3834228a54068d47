"""Algorithm 1 of Ho & Ermon (2016): fit the cost, improve the policy, and so on.

    collect      a batch from the policy                                        (line 3)
    fit          the margin net: ascent on E_pi[log D] + E_piE[log(1 - D)]      (line 4, Eq 17)
                 (FEM and GTAL: the best cost of a linear class instead         Eq 9 to 11)
    improve      a TRPO step with the cost log D, less lam * H                  (line 5, Eq 18)
    average      the weights of the last few policies, which is what the run returns

Beyond the paper, each with a switch: the policy starts from behavioural cloning, and a light cloning term joins the
policy's objective, so that the first batches are worth comparing with the expert's. Steps look at the last few batches
(deep/reuse.py). A Gaussian policy's deviation is set rather than learned: held while the policy learns, mostly lowered
at the end, and always the last in the averaged policy and in what a run returns. The two players of a saddle point
circle it and the average of their path is nearer to it: a gait that one step unsettles and the next repairs counts as
little as it should. Simulators are driven by the last policy all the same.
"""

import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from deep import bc, config_limits, costs, costs_method, diagnostics, envs
from deep.averaging import Averaged
from deep.config import GailConfig
from deep.costs import Side
from deep.learner import Learner, adam_state, below, load_adam_state, torch_generator
from deep.nets import GaussianPolicy, Policy
from deep.pairs import absorbing_share, digest, thinned, trajectories
from deep.rollout import Batch
from deep.run import Metrics
from occmatch.losses import LOSSES


def usable_device(name: str) -> torch.device:
    """The torch device of that name; ValueError if this machine has none such."""
    try:
        probe = torch.zeros(1, device=name)
        probe.item()  # some hold shapes and no numbers
        return probe.device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split(chr(10))[0].split(". ")[0]
        raise ValueError(f"device must be a torch device of this machine, but is {name!r} ({reason})") from None


class Imitator:
    """GAIL on one task, an iteration at a time."""

    def __init__(self, config: GailConfig) -> None:
        config_limits.check(config)
        # Independent streams; the first is that of deep.pairs, the fourth that of bc.CLONING.
        _, physics, learner, cloning, fitting, weights = np.random.SeedSequence(config.seed).spawn(6)
        self.config = config
        simulator = envs.make(
            config.env,
            config.learner.simulators,
            int(physics.generate_state(1)[0]),
            threads=config.threads,
            stagger=True,
        )
        self.spec = simulator.spec
        whole, drawing = trajectories(config, self.spec)
        self.pairs = thinned(config, whole, drawing)
        self.learner = Learner(simulator, config.learner, learner)
        self.policy = self.learner.policy
        self.policy.normaliser.update(self.pairs.obs)
        if config.expert_units and isinstance(self.policy, GaussianPolicy):
            self.policy.set_units(self.pairs.acts)
        self.cloning_seed = cloning
        if config.bc_init:
            self._start_from_clone()
        if config.std and isinstance(self.policy, GaussianPolicy):
            self.policy.log_std.requires_grad_(False)
        self.fitting = torch_generator(fitting)
        self.player = costs_method.make(
            config.method,
            self.spec,
            config.absorbing,
            LOSSES[config.loss],
            config.cost,
            usable_device(config.device),
            torch_generator(weights),
        )
        self.margin = self.player.margin
        self.margin.normaliser.update(self.margin.continuous(self.pairs.obs, self.pairs.acts))
        self.share = absorbing_share(whole, self.spec) if config.absorbing else 0.0
        self._expert_rows: Tensor | None = None
        self.average = Averaged(self.policy, config.average)
        self._expert_x = self.policy.normaliser(self.pairs.obs)
        self._expert_y = self.policy.encode(self.pairs.acts)
        self.iteration = 0

    @cached_property
    def clone(self) -> tuple[Policy, bc.BcInfo]:
        """Behavioural cloning of this run's demonstrations, as by `python -m deep.bc`: the baseline, and the start."""
        c = self.config
        return bc.clone(self.spec, self.pairs, c.learner.hidden, c.bc, self.cloning_seed, c.expert_units)

    def _start_from_clone(self) -> None:
        cloned, _ = self.clone
        self.policy.net.load_state_dict(cloned.net.state_dict())
        if isinstance(self.policy, GaussianPolicy) and isinstance(cloned, GaussianPolicy):
            with torch.no_grad():
                # Maximum likelihood on a few pairs leaves almost no noise, and TRPO nothing to learn from.
                self.policy.log_std.copy_(cloned.log_std.clamp(min=self.config.bc_floor))

    @property
    def env_steps(self) -> int:
        """Environment steps taken so far."""
        return self.learner.env_steps

    @property
    def averaged(self) -> Policy:
        """The policy that the run returns."""
        return self.average.policy

    @property
    def cloning_weight(self) -> float:
        """Weight of the demonstrations' likelihood in this iteration's policy objective."""
        return self.config.bc_weight * self.config.bc_decay**self.iteration

    def iterate(self) -> Metrics:
        """One iteration of Algorithm 1."""
        self._explore()
        batch = self.learner.collect()
        learner, expert = self._sides(batch)
        guard = self.player.fit(learner, expert, self.fitting)
        with torch.no_grad():
            mine, theirs = costs.scores(self.margin, learner), costs.scores(self.margin, expert)
            found = self.player.diagnostics(mine, theirs)
        recent, margins = self.learner.recent.batch, mine.margins
        if recent is not batch:
            with torch.no_grad():
                margins = self.margin(self.margin.rows(recent.flat("obs"), recent.flat("acts")))
        rewards, end_value = self._rewards(recent, margins)
        found |= diagnostics.measures(found, rewards, None if self.config.absorbing else recent.terminated)
        metrics = self.learner.improve(recent, rewards, end_value, self._cloning_term())
        metrics["event"] = "; ".join(text for text in (guard, metrics["event"]) if text)
        if self.config.cost.update_normaliser:
            self.margin.normaliser.update(self.margin.continuous(batch.flat("obs"), batch.flat("acts")))
            self._expert_rows = None
        self._average()
        self.iteration += 1
        head = {"iteration": self.iteration, "env_steps": self.env_steps}
        return head | batch.episodes() | {"reward": float(rewards.mean())} | found | metrics

    @torch.no_grad()
    def _explore(self) -> None:
        """Set the deviation of a Gaussian policy to what is due: config.std[0] for long, then down to config.std[1]."""
        if self.config.std and isinstance(self.policy, GaussianPolicy):
            first, last = self.config.std
            hold, done = self.config.std_hold, min(1.0, self.env_steps / self.config.steps)
            moved = (done - hold) / (1 - hold) if done > hold else 0.0
            self.policy.log_std.fill_(math.log(first) + moved * math.log(last / first))

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged policy towards the last one, at the deviation that the run returns."""
        self.average.update(self.iteration + 1)
        learning = self.averaged is self.policy and self.env_steps < self.config.steps
        if self.config.std and isinstance(self.averaged, GaussianPolicy) and not learning:
            self.averaged.log_std.fill_(math.log(self.config.std[1]))  # wide is for learning, not for the result

    def _sides(self, batch: Batch) -> tuple[Side, Side]:
        """The two samples that the margin tells apart."""
        mine = self.margin.rows(batch.flat("obs"), batch.flat("acts"))
        if self._expert_rows is None:  # once, unless the normaliser moves
            self._expert_rows = self.margin.rows(self.pairs.obs, self.pairs.acts)
        share = 0.0
        if self.config.absorbing:
            after = self.spec.steps_left(batch.elapsed + 1)[batch.terminated].sum()
            share = float(after / (batch.size + after))
        return Side(mine, share), Side(self._expert_rows, self.share)

    def _rewards(self, batch: Batch, margins: Tensor) -> tuple[np.ndarray, np.ndarray | float]:
        """Rewards [T, E] of the batch, and the return that termination brings."""
        gamma, form = self.config.learner.gamma, self.config.reward_form
        with torch.no_grad():
            flat = self.player.reward(form, margins).cpu().double().numpy()
            rewards = flat.reshape(batch.rewards.shape)
            if self.config.entropy:
                # Lemma A.1: the gradient of H is a policy gradient with reward -log pi.
                x, acts = self.policy.normaliser(batch.flat("obs")), self.policy.encode(batch.flat("acts"))
                rewards = rewards - self.config.entropy * self.policy(x).log_prob(acts).double().numpy().reshape(
                    rewards.shape
                )
            if not self.config.absorbing:
                return rewards, 0.0
            after = float(self.player.reward(form, self.margin(self.margin.end_row())))
        left = (self.spec.horizon - batch.elapsed - 1)[batch.terminated]
        return rewards, after * (left if gamma == 1 else (1 - gamma**left) / (1 - gamma))

    def _cloning_term(self):
        """weight * mean log-likelihood of the demonstrations per action dimension, or None."""
        weight = self.cloning_weight
        if weight < 1e-4:
            return None
        if self.config.learner.update_normaliser:
            self._expert_x = self.policy.normaliser(self.pairs.obs)
        scale = weight / (1 if self.spec.discrete else self.spec.act_dim)
        return lambda policy: scale * policy(self._expert_x).log_prob(self._expert_y).mean()

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the next iteration depends on, as tensors by name."""
        state = {f"learner.{k}": v for k, v in self.learner.state_dict().items()}
        state |= {f"margin.{k}": v for k, v in self.margin.state_dict().items()}
        if self.player.optimiser is not None:
            state |= {f"margin_adam.{k}": v for k, v in adam_state(self.player.optimiser).items()}
        state |= {f"averaged.{k}": v for k, v in self.average.state_dict().items()}
        state |= {"fitting": self.fitting.get_state(), "iteration": torch.tensor(self.iteration)}
        return state | {"demos_sha256": torch.from_numpy(digest(self.pairs))}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a state_dict to the same bits; ValueError where it was reached with other demonstrations."""
        began = state.get("demos_sha256")  # earlier runs have none
        if began is not None and not torch.equal(began, torch.from_numpy(digest(self.pairs))):
            path = self.config.demos or f"the bundled file of {self.config.env}"
            raise ValueError(f"demos must hold what the run began with, but {path} has changed since")
        self.learner.load_state_dict(below(state, "learner."))
        self.margin.load_state_dict(below(state, "margin."))
        self._expert_rows = None
        if self.player.optimiser is not None:
            load_adam_state(self.player.optimiser, below(state, "margin_adam."))
        self.average.load_state_dict(below(state, "averaged."))
        self.fitting.set_state(state["fitting"])
        self.iteration = int(state["iteration"])

    def close(self) -> None:
        """Stop the simulators and the thread that fits values."""
        self.learner.close()
