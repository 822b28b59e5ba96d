"""What holds on a GPU as it does on the CPU; skipped where there is none."""

import numpy as np
import pytest
import torch
from torch import nn

import torchprobe as tp
from torchprobe.accumulators import GroupMeans, Mean, WithinScatter

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


class Statistics(tp.Analyzer):
    """The three kinds of accumulators that LDA, selectivity and profiles stand on."""

    name = "statistics"
    needs_labels = True

    def start(self, layer):
        self.mean = Mean(layer.channels)
        self.groups = GroupMeans(layer.channels)
        self.scatter = WithinScatter(layer.channels)

    def update(self, batch):
        self.mean.update(batch.rows())
        self.groups.update(batch.rows(), batch.groups)
        self.scatter.update(batch.rows(), batch.groups)

    def compute(self):
        return self.result(
            mean=("channel", self.mean.value),
            groups=("class channel", self.groups.value),
            scatter=("channel other", self.scatter.within),
        )


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(3, 8, 5, padding=2), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Conv1d(8, 6, 1)
    ).double()


def batches(n=4):
    torch.manual_seed(1)
    return [(torch.randn(5, 3, 11).double(), torch.randint(-1, 4, (5, 11))) for _ in range(n)]


def results_on(device, loader):
    probe = tp.Probe(net().to(device), analyzers=[Statistics], layers=["input", "*"])
    return probe.run(loader)["statistics"]


def test_results_are_those_of_the_cpu():
    cpu, gpu = results_on("cpu", batches()), results_on("cuda", batches())
    assert list(cpu) == list(gpu)
    for layer in cpu:
        for name, field in cpu[layer].fields.items():
            assert np.allclose(field.values, gpu[layer][name].values, rtol=1e-9, atol=1e-9), name


def test_repeating_gives_the_same_bits():
    first, second = results_on("cuda", batches()), results_on("cuda", batches())
    for layer in first:
        for name, field in first[layer].fields.items():
            assert np.array_equal(field.values, second[layer][name].values)


def test_rows_that_are_not_finite_are_left_out():
    loader = batches()
    loader[1][0][2, 0, 5] = float("nan")
    cpu, gpu = results_on("cpu", loader), results_on("cuda", loader)
    assert gpu["0"].provenance["nonfinite_rows"] == cpu["0"].provenance["nonfinite_rows"] > 0
    assert np.allclose(cpu["0"].groups, gpu["0"].groups, rtol=1e-9, atol=1e-9)


def test_training_on_the_gpu_is_not_disturbed():
    def train(probed):
        torch.manual_seed(3)
        model = nn.Sequential(
            nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(inplace=True), nn.Linear(8, 3)
        )
        model.cuda()
        optimizer = torch.optim.SGD(model.parameters(), 1e-2)
        probe = tp.Probe(model, analyzers=[Statistics])
        if probed:
            probe.attach()
        for _ in range(10):
            x, y = torch.randn(16, 4, device="cuda"), torch.randint(0, 3, (16,), device="cuda")
            optimizer.zero_grad()
            with probe.batch(labels=y):
                loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        probe.detach()
        return model.state_dict(), torch.cuda.get_rng_state(), loss

    plain, probed = train(probed=False), train(probed=True)
    assert all(torch.equal(plain[0][name], probed[0][name]) for name in plain[0])
    assert torch.equal(plain[1], probed[1])


def test_half_precision_layers_give_float64_statistics_of_what_was_delivered():
    model = nn.Linear(4, 3).cuda()
    x, y = torch.randn(64, 4, device="cuda"), torch.zeros(64).long()
    with torch.autocast("cuda", torch.bfloat16), tp.Probe(model, "model", [Statistics]) as probe:
        with probe.batch(labels=y):
            delivered = model(x)
    expected = delivered.double().mean(0).cpu().detach()
    assert np.allclose(probe.results()["statistics"]["model"].mean, expected, rtol=1e-12)


def test_nothing_is_recorded_while_a_cuda_graph_is_captured():
    model = nn.Sequential(nn.Linear(4, 3)).cuda()
    x = torch.randn(8, 4, device="cuda")
    with torch.no_grad(), tp.Probe(model, "0", {"s": Statistics()}) as probe:
        with probe.batch(labels=torch.zeros(8).long()):
            model(x)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                model(x)
            graph.replay()
    assert probe.coverage.seen["0"].calls == 1
    assert probe.coverage.skipped["0"] == {"CUDA graph capture": 1}


def test_memory_stays_flat():
    model, loader = net().cuda(), batches(2)
    probe = tp.Probe(model, analyzers=[Statistics])
    with probe, torch.no_grad():
        used = []
        for _ in range(30):
            for x, y in loader:
                with probe.batch(labels=y):
                    model(x.cuda())
            torch.cuda.synchronize()
            used.append(torch.cuda.memory_allocated())
    assert used[-1] == used[5]
