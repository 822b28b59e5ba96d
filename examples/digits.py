"""What do the units of a small digit classifier respond to? `python examples/digits.py [OUT]`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import torchprobe as tp


def trained(x: torch.Tensor, y: torch.Tensor, steps: int = 200) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def main(out: Path) -> tp.Results:
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32) / 16
    y = torch.tensor(digits.target)
    model = trained(x, y)
    print(tp.layers(model, x[:2]))

    loader = list(zip(x.split(128), y.split(128), strict=True))
    probe = tp.Probe(model, layers=["input", nn.ReLU], analyzers=["class_selectivity"])
    results = probe.run(loader)
    print(results["class_selectivity"].to_frame())
    print(probe.coverage)

    results.save(out / "results")
    print(results.report(out / "report.html", title="A digit classifier"))
    return results


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
