"""Generative adversarial imitation learning with neural networks, in reading order.

config       every setting, with its source                   envs      seeded simulators in batch
demos        demonstrations: files, subsampling, bundled      nets      policies, normaliser, networks
rollout      collect(policy, steps) -> Batch                  advantage generalised advantage estimation
value, trpo  value regression; the natural policy step        learner   the four above as one: collect, improve
costs        cost fitting: the maximiser over c               pairs     which demonstrations a run imitates
imitator     Algorithm 1, an iteration at a time              bc        behavioural cloning
expert       TRPO on the true cost                            gail      the command
run          run folder, checkpoints, interrupt and resume    evaluate  returns of a policy over whole episodes
result       closing tables and figures                       bundle    adding an expert to the bundled ones
cli          settings from presets and flags; errors          progress  the live display
backprop     derivatives of the tanh MLP by hand             strobe    an episode in one picture
tabular      policies and samples of finite MDPs as tables

E denotes simulators, T steps of each in a batch, N samples, O the observation and U the action dimension.
"""
