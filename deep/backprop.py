"""The tanh MLP over N rows at once, and its derivatives by hand.

    h_0 = x,   z_i = W_i h_{i-1} + b_i,   h_i = tanh z_i,   y = z_L,   slopes d_i = 1 - h_i^2

    evaluate      y, nothing kept
    pullback      u [N, outputs] -> u' dy/dtheta, summed over rows       (reverse mode)
    pushforward   v (as theta)   -> dy/dtheta v, [N, outputs]            (forward mode)
    penalty       weight * mean |dy/dx|^2 of a scalar net, and its gradient

Automatic differentiation computes the same; it is the oracle in the tests. These take two thirds to three quarters of
its time, because a net this small spends much on bookkeeping, and about half of it for a Fisher-vector product, which
is a pushforward and a pullback where differentiating twice passes through the graph of a gradient.

Rows go by blocks of BLOCK, from the first layer to the last: what fifty thousand leave between two layers does not
stay in a cache.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

BLOCK = 8192  # rows: 3 MB for 100 units; smaller ones are no quicker, and keep other threads waiting more often


@dataclass(frozen=True)
class Block:
    """What a forward pass leaves of some rows: inputs h_0, ..., h_{L-1} of the layers, slopes d_1, ..., d_{L-1}."""

    inputs: list[Tensor]
    slopes: list[Tensor]


@dataclass(frozen=True)
class Tape:
    """A forward pass over N rows: its blocks, and out y [N, outputs]."""

    layers: list[nn.Linear]
    blocks: list[Block]
    out: Tensor


def linear(net: nn.Sequential) -> list[nn.Linear]:
    """The linear layers of an MLP of deep.nets.mlp; every one but the last has a tanh behind it."""
    return [m for m in net if isinstance(m, nn.Linear)]


def tanh_(z: Tensor) -> Tensor:
    """tanh z in place to an ulp of 1, in under half the time of torch's."""
    return z.mul_(2).sigmoid_().mul_(2).sub_(1)


@torch.no_grad()
def evaluate(net: nn.Sequential, x: Tensor) -> Tensor:
    """y [N, outputs] at rows x [N, inputs]."""
    layers = linear(net)
    return whole([_run(layers, rows)[1] for rows in x.split(BLOCK)])


@torch.no_grad()
def forward(net: nn.Sequential, x: Tensor) -> Tape:
    """Run an MLP of deep.nets.mlp on rows x [N, inputs], and keep what its derivatives need."""
    layers, blocks, out = linear(net), [], []
    for rows in x.split(BLOCK):
        inputs, y = _run(layers, rows)
        blocks.append(Block(inputs, [h.square().neg_().add_(1) for h in inputs[1:]]))
        out.append(y)
    return Tape(layers, blocks, whole(out))


def _run(layers: list[nn.Linear], rows: Tensor) -> tuple[list[Tensor], Tensor]:
    """The inputs of every layer, and y."""
    inputs = [rows]
    for layer in layers[:-1]:
        inputs.append(tanh_(torch.addmm(layer.bias, inputs[-1], layer.weight.t())))
    return inputs, torch.addmm(layers[-1].bias, inputs[-1], layers[-1].weight.t())


def whole(blocks: list[Tensor]) -> Tensor:
    """Blocks of rows as one tensor."""
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)


@torch.no_grad()
def pullback(tape: Tape, u: Tensor) -> list[Tensor]:
    """Gradients of sum(u * y) for u [N, outputs], in the order of net.parameters()."""
    return _sum([_pull(tape.layers, block, part) for block, part in zip(tape.blocks, u.split(BLOCK), strict=True)])


def _pull(layers: list[nn.Linear], block: Block, u: Tensor) -> list[Tensor]:
    grads: list[Tensor] = []
    for i in range(len(layers) - 1, -1, -1):
        grads += [u.sum(0), u.t() @ block.inputs[i]]
        if i > 0:
            u = (u @ layers[i].weight).mul_(block.slopes[i - 1])
    return grads[::-1]


def _sum(parts: list[list[Tensor]]) -> list[Tensor]:
    """The sum over blocks, in their order."""
    total = parts[0]
    for part in parts[1:]:
        for kept, more in zip(total, part, strict=True):
            kept += more
    return total


@torch.no_grad()
def pushforward(tape: Tape, v: list[Tensor]) -> Tensor:
    """The derivative of y along v, which is in the order of net.parameters(), [N, outputs]."""
    return whole([_push(tape.layers, block, v) for block in tape.blocks])


def _push(layers: list[nn.Linear], block: Block, v: list[Tensor]) -> Tensor:
    d = None
    for i, layer in enumerate(layers):
        z = torch.addmm(v[2 * i + 1], block.inputs[i], v[2 * i].t())
        if d is not None:
            z.addmm_(d, layer.weight.t())
        d = z.mul_(block.slopes[i]) if i < len(block.slopes) else z
    return d


@torch.no_grad()
def penalty(tape: Tape, weight: float) -> tuple[Tensor, list[Tensor]]:
    """weight * mean_n |dy_n/dx_n|^2 of a scalar net, and its gradients in the order of net.parameters()."""
    n = len(tape.out)
    values, grads = zip(*(_penalty(tape.layers, block, weight / n) for block in tape.blocks), strict=True)
    return torch.stack(values).sum(), _sum(list(grads))


def _penalty(layers: list[nn.Linear], block: Block, weight: float) -> tuple[Tensor, list[Tensor]]:
    """weight * sum_n |dy_n/dx_n|^2 over a block's rows, and its gradients.

    With b_{L-1} = W_L, a_i = d_i b_i and b_{i-1} = a_i W_i the slope is dy/dx = a_1 W_1. Barred quantities are
    derivatives of the penalty: first along the slope's own chain, from a_1 to b_{L-1}, then through the slopes d_i,
    d(d_i)/d(z_i) = -2 h_i d_i, back along the net.
    """
    weights, hidden = [layer.weight for layer in layers], len(layers) - 1
    rows = len(block.inputs[0])
    a: list[Tensor] = [torch.empty(0)] * hidden
    b: list[Tensor] = [torch.empty(0)] * hidden
    for i in range(hidden - 1, -1, -1):
        b[i] = weights[-1] if i == hidden - 1 else a[i + 1] @ weights[i + 1]
        a[i] = block.slopes[i] * b[i]
    slope = a[0] @ weights[0] if hidden else weights[0].expand(rows, -1)
    bar = slope * (2 * weight)
    direct, inject = [a[0].t() @ bar if hidden else bar.sum(0, keepdim=True)], []
    for i in range(hidden):
        a_bar = bar @ weights[i].t()
        bar = a_bar * block.slopes[i]  # with respect to b_i
        inject.append((bar * b[i]).mul_(block.inputs[i + 1]).mul_(-2))  # with respect to z_i
        direct.append(bar.sum(0, keepdim=True) if i == hidden - 1 else a[i + 1].t() @ bar)
    grads, u = [torch.zeros_like(layers[-1].bias), direct[-1]], None
    for i in range(hidden - 1, -1, -1):
        u = inject[i] if u is None else (u @ weights[i + 1]).mul_(block.slopes[i]).add_(inject[i])
        grads += [u.sum(0), (u.t() @ block.inputs[i]).add_(direct[i])]
    return weight * slope.square().sum(), grads[::-1]
