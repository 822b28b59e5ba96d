"""Sample-dependent linear transforms, one derivative after the other."""

from __future__ import annotations

import torch


def jacobian(function, x):
    """∂function(x)[m]/∂x[f] for each sample: function [sample, node], x → [sample, node, value]."""
    found = []
    for sample in x:
        one = sample[None].clone().requires_grad_()
        values = function(one)[0]
        rows = [torch.autograd.grad(value, one, retain_graph=True)[0].flatten() for value in values]
        found.append(torch.stack(rows))
    return torch.stack(found)


def rectifier_transform(weights, biases, x):
    """W^L·diag(mask)···W^1 of one sample [node, input], and what the biases add [node]."""
    transform, offset = torch.eye(len(x), dtype=x.dtype), torch.zeros_like(x)
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        transform, offset = weight @ transform, weight @ offset + bias
        if layer < len(weights) - 1:
            mask = (transform @ x + offset > 0).to(x.dtype)
            transform, offset = mask[:, None] * transform, mask * offset
    return transform, offset
