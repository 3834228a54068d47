"""Derivatives of the tanh MLP by hand, over N rows at once.

    h_0 = x,   z_i = W_i h_{i-1} + b_i,   h_i = tanh z_i,   y = z_L,   slopes d_i = 1 - h_i^2

    pullback      u [N, outputs] -> u' dy/dtheta, summed over rows       (reverse mode)
    pushforward   v (as theta)   -> dy/dtheta v, [N, outputs]            (forward mode)
    penalty       weight * mean |dy/dx|^2 of a scalar net, and what its gradient adds to a pullback

Automatic differentiation computes the same; it is the oracle in the tests. These take half its time or less, because
a net this small spends more on bookkeeping than on arithmetic, and a Fisher-vector product is a pushforward and a
pullback where differentiating twice passes through the graph of a gradient.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Tape:
    """What a forward pass leaves: inputs h_0, ..., h_{L-1}, slopes d_1, ..., d_{L-1}, out y [N, outputs]."""

    layers: list[nn.Linear]
    inputs: list[Tensor]
    slopes: list[Tensor]
    out: Tensor

    def tail(self, start: int) -> "Tape":
        """The rows from `start` on, as views."""
        cut = [[t[start:] for t in tensors] for tensors in (self.inputs, self.slopes)]
        return Tape(self.layers, *cut, self.out[start:])


@torch.no_grad()
def forward(net: nn.Sequential, x: Tensor) -> Tape:
    """Run an MLP of deep.nets.mlp on rows x [N, inputs]."""
    layers = [m for m in net if isinstance(m, nn.Linear)]
    inputs, slopes = [x], []
    for layer in layers[:-1]:
        z = torch.addmm(layer.bias, inputs[-1], layer.weight.t())
        h = z.mul_(2).sigmoid_().mul_(2).sub_(1)  # tanh z to an ulp of 1, in under half the time of tanh_
        inputs.append(h)
        slopes.append(h.square().neg_().add_(1))
    return Tape(layers, inputs, slopes, torch.addmm(layers[-1].bias, inputs[-1], layers[-1].weight.t()))


@torch.no_grad()
def pullback(tape: Tape, u: Tensor, injected: list[Tensor] | None = None) -> list[Tensor]:
    """Gradients in the order of net.parameters(). `injected` [n, units] of each hidden layer are added to the
    gradients with respect to z_1, ..., z_{L-1} of the last n rows."""
    grads: list[Tensor] = []
    for i in range(len(tape.layers) - 1, -1, -1):
        grads += [u.sum(0), u.t() @ tape.inputs[i]]
        if i > 0:
            u = (u @ tape.layers[i].weight).mul_(tape.slopes[i - 1])
            if injected is not None:
                u[len(u) - len(injected[i - 1]) :] += injected[i - 1]
    return grads[::-1]


@torch.no_grad()
def pushforward(tape: Tape, v: list[Tensor]) -> Tensor:
    """The derivative of y along v, which is in the order of net.parameters()."""
    d = None
    for i, layer in enumerate(tape.layers):
        z = torch.addmm(v[2 * i + 1], tape.inputs[i], v[2 * i].t())
        if d is not None:
            z.addmm_(d, layer.weight.t())
        d = z.mul_(tape.slopes[i]) if i < len(tape.slopes) else z
    return d


@torch.no_grad()
def penalty(tape: Tape, weight: float) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """weight * mean_n |dy_n/dx_n|^2 of a scalar net: its value, its direct gradients with respect to W_1, ..., W_L,
    and those with respect to z_1, ..., z_{L-1} through the slopes, to be injected into a pullback.

    With b_{L-1} = W_L, a_i = d_i b_i and b_{i-1} = a_i W_i the slope is dy/dx = a_1 W_1; barred quantities below are
    derivatives of the penalty, and d(d_i)/d(z_i) = -2 h_i d_i.
    """
    layers, n = tape.layers, len(tape.out)
    weights, hidden = [layer.weight for layer in layers], len(layers) - 1
    a: list[Tensor] = [torch.empty(0)] * hidden
    b: list[Tensor] = [torch.empty(0)] * hidden
    for i in range(hidden - 1, -1, -1):
        b[i] = weights[-1] if i == hidden - 1 else a[i + 1] @ weights[i + 1]
        a[i] = tape.slopes[i] * b[i]
    slope = a[0] @ weights[0] if hidden else weights[0].expand(n, -1)
    value = weight * slope.square().sum() / n
    bar = slope * (2 * weight / n)
    direct, inject = [a[0].t() @ bar if hidden else bar.sum(0, keepdim=True)], []
    for i in range(hidden):
        a_bar = bar @ weights[i].t()
        bar = a_bar * tape.slopes[i]  # with respect to b_i
        inject.append((bar * b[i]).mul_(tape.inputs[i + 1]).mul_(-2))
        direct.append(bar.sum(0, keepdim=True) if i == hidden - 1 else a[i + 1].t() @ bar)
    return value, direct, inject
