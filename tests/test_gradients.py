"""Tensor hooks give the gradient at a module's output, whatever happens to it afterwards."""

import gc
import weakref

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from torchprobe.gradients import GradientWatch
from torchprobe.hooks import HookManager


class Watching:
    """A listener that watches every module's output, also in recomputed segments."""

    follows_inputs = False

    def __init__(self):
        self.seen = {}
        self.watch = GradientWatch(self.deliver)

    def deliver(self, key, gradient, ordinal):
        self.seen.setdefault(key, []).append(gradient.clone())

    def returned(self, call, name, module, inputs, output, index):
        self.watch.watch(output, f"{name}@{index}")

    def recomputed(self, name, module, output):
        self.watch.watch(output, f"{name}@0")

    def opened(self, call): ...
    def entered(self, *args): ...
    def closed(self, *args): ...
    def failed(self, *args): ...
    def skipped(self, *args): ...


def watching(model):
    listener = Watching()
    modules = {name or "model": module for name, module in model.named_modules()}
    return listener, HookManager(modules, listener).attach()


def oracle(layers, x):
    """Gradients of the summed output at every layer, out of place, in fp64."""
    values = []
    for layer in layers:
        x = layer(x)
        x.retain_grad()
        values.append(x)
    x.sum().backward()
    return [value.grad for value in values]


def test_the_gradient_before_an_inplace_activation_is_the_one_at_the_layer():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    inplace = nn.Sequential(plain[0], nn.ReLU(inplace=True), plain[2])
    x = torch.randn(7, 4).double()
    expected = oracle(plain, x)
    listener, manager = watching(inplace)
    inplace(x).sum().backward()
    manager.detach()
    for index, gradient in enumerate(expected):
        assert torch.equal(listener.seen[f"{index}@0"][0], gradient)


def test_inplace_additions_and_writes_leave_the_layers_own_gradient():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(3, 3)

        def forward(self, x):
            y = self.lin(x)
            y += x
            y[:, 0] = 0
            return y

    model = Residual()
    listener, manager = watching(model)
    model(torch.randn(2, 3)).sum().backward()
    manager.detach()
    assert listener.seen["lin@0"][0].tolist() == [[0, 1, 1], [0, 1, 1]]


def test_two_forwards_and_one_backward_deliver_both():
    model = nn.Linear(3, 1)
    listener, manager = watching(model)
    (model(torch.ones(2, 3)) + model(2 * torch.ones(2, 3))).sum().backward()
    manager.detach()
    assert len(listener.seen["model@0"]) == 2


def test_two_backwards_over_one_forward_are_numbered():
    ordinals = []
    watch = GradientWatch(lambda key, gradient, ordinal: ordinals.append(ordinal))
    y = 2 * torch.ones(2, requires_grad=True)
    watch.watch(y, "y")
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert ordinals == [0, 1]


def test_a_leaf_output_carries_one_hook_however_often_it_is_seen():
    seen = []
    watch = GradientWatch(lambda key, gradient, ordinal: seen.append(key))
    parameter = nn.Parameter(torch.ones(3))
    for step in range(4):
        watch.watch(parameter, step)
    parameter.sum().backward()
    assert seen == [3]
    watch.close()
    parameter.sum().backward()
    assert seen == [3]


def test_frozen_outputs_are_reported_not_made_differentiable():
    model = nn.Linear(2, 2).requires_grad_(requires_grad=False)
    y = model(torch.ones(1, 2))
    assert not GradientWatch(print).watch(y, "y")
    assert not y.requires_grad


def test_checkpointing_delivers_each_gradient_once():
    for use_reentrant in (True, False):
        body = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
        listener, manager = watching(body)
        x = torch.ones(2, 3, requires_grad=True)
        checkpoint(body, x, use_reentrant=use_reentrant).sum().backward()
        manager.detach()
        assert {key: len(found) for key, found in listener.seen.items()}["0@0"] == 1


def test_watched_outputs_are_freed_after_backward():
    model = nn.Linear(3, 3)
    _, manager = watching(model)
    gc.disable()
    try:
        y = model(torch.ones(1, 3))
        dead = weakref.ref(y)
        y.sum().backward()
        del y
        assert dead() is None
    finally:
        gc.enable()
        manager.detach()
