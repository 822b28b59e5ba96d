"""The stream on a GPU: what hooks, labels and the test for non-finite rows cost there."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

import torchprobe as tp
from benchmarks.measure import Comparison, overhead
from benchmarks.selectivity import SETUP, conv_batch, conv_net


def run() -> Iterator[Comparison]:
    """Nothing where there is no GPU."""
    if not torch.cuda.is_available():
        print("  no GPU here")
        return
    for dtype in (torch.float32, torch.bfloat16):
        for nonfinite in ("ignore", "propagate"):
            yield against_bare_forward(dtype, nonfinite)


@torch.no_grad()
def against_bare_forward(dtype: torch.dtype, nonfinite: str) -> Comparison:
    model, (x, y) = conv_net().to("cuda", dtype), conv_batch()
    x, bare = x.to("cuda", dtype), copy.deepcopy(model)
    probe = tp.Probe(model, tp.types(nn.Conv1d), ["class_selectivity"], nonfinite=nonfinite)

    def probed() -> None:
        with probe.batch(y):
            model(x)
        torch.cuda.synchronize()

    def plain() -> None:
        bare(x)
        torch.cuda.synchronize()

    with probe:
        probed()
        before, after = overhead(plain, probed)
    name = f"class selectivity on the GPU, {str(dtype).removeprefix('torch.')}, {nonfinite}"
    return Comparison(name, after, before, "bare forward", "s", SETUP)
