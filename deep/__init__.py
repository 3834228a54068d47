"""Generative adversarial imitation learning with neural networks, in reading order.

config       every setting, with its source                  envs      seeded simulators in batch
demos        demonstrations: files, subsampling, bundled     nets      policies, normaliser, networks
rollout      collect(policy, simulator) -> Batch             advantage generalised advantage estimation
costs        cost fitting: the maximiser over c              value     value regression
trpo         the natural policy step                         gail      Algorithm 1
bc, expert   behavioural cloning; TRPO on the true cost      run       run folder, checkpoints, metrics
evaluate     returns of a policy                             report    closing tables and figures

E denotes simulators, T steps of each in a batch, N samples, O the observation and U the action dimension.
"""
