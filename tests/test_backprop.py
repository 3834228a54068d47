"""Derivatives by hand against automatic differentiation, at every depth."""

import pytest
import torch
from torch import Tensor, nn

from deep import backprop
from deep.nets import mlp

DOUBLE = 1e-12  # float64 sums over a few dozen terms of order one

depths = pytest.mark.parametrize("hidden", [(), (7,), (7, 5), (7, 5, 6)])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net_and_rows(hidden: tuple[int, ...], outputs: int) -> tuple[nn.Sequential, Tensor]:
    net = mlp(3, outputs, hidden, 1.0, generator()).double()
    with torch.no_grad():
        for p in net.parameters():  # biases start at zero, where mistakes about them would not show
            p.add_(0.1 * torch.randn(p.shape, generator=generator(1), dtype=p.dtype))
    return net, torch.randn(9, 3, generator=generator(2), dtype=torch.float64)


@depths
def test_forward_is_the_net(hidden: tuple[int, ...]) -> None:
    net, x = net_and_rows(hidden, 2)
    out = backprop.forward(net, x).out
    torch.testing.assert_close(out, net(x).detach(), atol=DOUBLE, rtol=0)
    assert torch.equal(out, backprop.evaluate(net, x))


@depths
def test_pullback_is_reverse_differentiation(hidden: tuple[int, ...]) -> None:
    net, x = net_and_rows(hidden, 2)
    u = torch.randn(9, 2, generator=generator(3), dtype=torch.float64)
    expected = torch.autograd.grad(net(x), list(net.parameters()), u)
    for found, want in zip(backprop.pullback(backprop.forward(net, x), u), expected, strict=True):
        torch.testing.assert_close(found, want, atol=DOUBLE, rtol=0)


@depths
def test_pushforward_is_forward_differentiation(hidden: tuple[int, ...]) -> None:
    net, x = net_and_rows(hidden, 2)
    v = [torch.randn(p.shape, generator=generator(4), dtype=p.dtype) for p in net.parameters()]
    # J v is the derivative in u of <J'u, v>, whatever u is.
    u = torch.zeros(9, 2, dtype=torch.float64, requires_grad=True)
    pulled = torch.autograd.grad(net(x), list(net.parameters()), u, create_graph=True)
    (expected,) = torch.autograd.grad(sum((g * t).sum() for g, t in zip(pulled, v, strict=True)), u)
    torch.testing.assert_close(backprop.pushforward(backprop.forward(net, x), v), expected, atol=DOUBLE, rtol=0)


@depths
def test_penalty_is_the_squared_slope_and_its_gradient(hidden: tuple[int, ...]) -> None:
    net, x = net_and_rows(hidden, 1)
    at = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(at).sum(), at, create_graph=True)
    value = 0.7 * slope.square().sum(1).mean()
    expected = torch.autograd.grad(value, list(net.parameters()), materialize_grads=True)
    penalty, grads = backprop.penalty(backprop.forward(net, x), 0.7)
    torch.testing.assert_close(penalty, value.detach(), atol=DOUBLE, rtol=0)
    for got, want in zip(grads, expected, strict=True):
        torch.testing.assert_close(got, want, atol=DOUBLE, rtol=0)


@pytest.mark.parametrize("block", [1, 2, 4, 9])
def test_blocks_change_nothing_but_rounding(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = net_and_rows((7, 5), 1)
    u = torch.randn(9, 1, generator=generator(3), dtype=torch.float64)
    v = [torch.randn(p.shape, generator=generator(4), dtype=p.dtype) for p in net.parameters()]

    def everything() -> list[Tensor]:
        tape = backprop.forward(net, x)
        value, grads = backprop.penalty(tape, 0.7)
        found = [tape.out, backprop.evaluate(net, x), backprop.pushforward(tape, v), value]
        return [*found, *grads, *backprop.pullback(tape, u)]

    expected = everything()
    monkeypatch.setattr(backprop, "BLOCK", block)
    for got, want in zip(everything(), expected, strict=True):
        torch.testing.assert_close(got, want, atol=DOUBLE, rtol=0)


@depths
def test_without_gradients_a_net_is_evaluated(hidden: tuple[int, ...]) -> None:
    net, x = net_and_rows(hidden, 2)
    expected = net(x).detach()
    with torch.no_grad():
        assert torch.equal(net(x), backprop.evaluate(net, x))
        torch.testing.assert_close(net(x), expected, atol=DOUBLE, rtol=0)
