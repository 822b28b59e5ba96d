"""Watch a layer form: a probe in a training loop of one's own, a result every few epochs."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn

import torchprobe as tp


def main(epochs: int = 30, every: int = 10) -> list[tp.Results]:
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32) / 16
    y = torch.tensor(digits.target)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    history = []
    for epoch in range(1, epochs + 1):
        # the training stream itself: the units as they are in train mode, while they change
        with tp.Probe(model, layers=nn.ReLU, analyzers=["class_selectivity"]) as probe:
            for inputs, labels in zip(x.split(128), y.split(128), strict=True):
                optimizer.zero_grad()
                with probe.batch(labels=labels):
                    loss = nn.functional.cross_entropy(model(inputs), labels)
                loss.backward()
                optimizer.step()
        if epoch % every == 0:
            history.append(probe.results())
            clusters = history[-1]["class_selectivity"]["1"].n_clusters
            print(f"epoch {epoch:3}  loss {loss.item():.3f}  clusters of units {clusters:.0f}")
    return history


if __name__ == "__main__":
    main()
