"""Wide layers: what state they need, turns within a budget, refusal before any is made."""

import numpy as np
import pytest
import torch
from torch import nn
from torchprobe_lda import LDA, LinearProbe, description

import torchprobe as tp
from torchprobe.errors import MemoryBudgetError, TorchprobeWarning

WIDE = 512


def wide_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, WIDE), nn.ReLU(), nn.Linear(WIDE, WIDE), nn.ReLU()).double()


def layer(channels, dtype=torch.float32):
    axes = tp.Axes.parse("sample channel")
    return tp.Layer("wide", axes, (64, channels), dtype=dtype)


@pytest.mark.parametrize("channels", [2048, 4096])
def test_the_state_of_a_wide_layer_is_its_scatter_the_bins_and_the_sample(channels):
    scatter, bins, sample = 8 * channels**2, 8 * 1024 * (channels + 2), 4 * 5000 * channels
    need = LDA().state_bytes(layer(channels))
    assert scatter + bins + sample < need < scatter + bins + sample + 200 * 5000
    bare = LDA(control=None, described=None).state_bytes(layer(channels))
    assert scatter <= bare < scatter + 2**20


@pytest.mark.parametrize("analyzer", [LDA(sample=50), LinearProbe(rows=60)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_state_declared_is_the_state_there_is(analyzer, dtype):
    """Up to what grows with the number of classes, which nobody knows beforehand."""
    fork = analyzer.fork(layer(40, dtype), "label")
    rng = torch.Generator().manual_seed(0)
    for number in range(40):
        labels, ids = torch.arange(64) % 3, torch.arange(64) + 64 * number
        values = torch.randn(64, 40, generator=rng).to(dtype)
        said = tp.labels.Labels(labels, ids=ids)
        batch = tp.LayerBatch(fork.layer, values, said)
        fork.update(batch.view("label", "each"))
    held = sum(tensor.nbytes for tensor in fork.state_dict().values())
    assert held <= analyzer.state_bytes(layer(40, dtype)) + 8 * 3 * (40 + 9)


def test_layers_take_turns_within_the_budget_and_their_numbers_stay(batches, clouds):
    loaders = {"fit": batches(*clouds(n=600), 200), "score": batches(*clouds(n=60, draw=1), 60)}
    options = {"layers": ["input", "1", "3"], "analyzers": [LDA(sample=20)]}
    need = LDA(sample=20).state_bytes(layer(WIDE, torch.float64))
    at_once = tp.Probe(wide_net(), **options).run(**loaders, progress=False)
    in_turns = tp.Probe(wide_net(), **options, memory_budget=int(1.5 * need)).run(
        **loaders, progress=False
    )
    assert in_turns.provenance["turns"] == 2
    assert in_turns["lda"].layers == at_once["lda"].layers
    for name, result in at_once["lda"].items():
        assert in_turns["lda"][name].fields == result.fields


def test_a_layer_beyond_the_budget_is_refused_with_its_bytes_before_any_data(batches, clouds):
    probe = tp.Probe(wide_net(), ["1"], [LDA()], memory_budget=2**20)
    need = f"{LDA().state_bytes(layer(WIDE, torch.float64)):,}"
    with pytest.raises(MemoryBudgetError, match=f"needs {need} bytes .* is 1,048,576 bytes"):
        probe.run(batches(*clouds()), progress=False)


def test_in_a_loop_of_ones_own_a_layer_beyond_the_budget_is_refused(clouds):
    rows, labels = clouds(n=20)
    probe = tp.Probe(wide_net(), ["1"], [LDA()], memory_budget=2**20)
    with (
        probe,
        pytest.raises(MemoryBudgetError, match=r"let probe\.run"),
        probe.batch(labels=labels),
    ):
        probe.model(torch.from_numpy(rows))


def test_pooling_makes_a_layer_fit(batches):
    maps, labels = torch.randn(60, 4, 300), np.arange(60) % 3
    probe = {"axes": {"input": "sample channel time"}, "memory_budget": 2**20}
    flat, pooled = LDA(), LDA()
    flat.positions, pooled.positions = "flatten", "mean"
    with pytest.raises(MemoryBudgetError):
        tp.Probe(nn.Identity(), "input", [flat], **probe).run(batches(maps, labels))
    results = tp.Probe(nn.Identity(), "input", [pooled], **probe).run(batches(maps, labels))
    assert results["lda"]["input"].scalings.shape[0] == 4


def test_a_budget_nobody_named_warns_of_turns(batches, clouds, monkeypatch):
    monkeypatch.setattr("torchprobe.options.Options.budget", property(lambda _: 12 * 2**20))
    probe = tp.Probe(wide_net(), ["1", "3"], [LDA(sample=20)])
    with pytest.warns(TorchprobeWarning, match="layers take 2 turns"):
        results = probe.run(batches(*clouds(n=300)), progress=False)
    assert results["lda"].layers == ("1", "3")


def test_spectra_of_too_many_classes_are_left_out_and_told(run, clouds, monkeypatch):
    monkeypatch.setattr(description, "_LARGEST", 100)
    found = run(LDA(), fit=clouds(), score=clouds(draw=1))
    assert "class_spectra" not in found
    assert "no class spectra: those of 4 classes in 3 dimensions would need 288 bytes" in " ".join(
        found.provenance["notes"]
    )
    assert found.accuracy > 0
