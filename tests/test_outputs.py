"""Whatever a module returns: every tensor is found, and what is none is reported."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from analyzers import ChannelMean
from torch import nn

import torchprobe as tp
from torchprobe.outputs import leaves


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    states: tuple


class Opaque:
    pass


def paths(output):
    return {leaf.path: leaf.problem for leaf in leaves(output)}


def test_tensors_are_found_in_nested_containers():
    x = torch.ones(2, 3)
    named = torch.ones(2, 3).max(dim=0)  # a named tuple of values and integer indices
    found = paths([x, {"k": (x, None)}, named, Output(x, (x,)), 3, "text", x.shape])
    tensors = [path for path, problem in found.items() if not problem]
    assert tensors == ["[0]", "[1][k][0]", "[2][0]", "[3][logits]", "[3][states][0]"]
    assert "int64" in found["[2][1]"]


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (torch.ones(2, dtype=torch.int64), "int64"),
        (torch.ones(2, dtype=torch.bool), "bool"),
        (torch.ones(2, dtype=torch.complex64), "complex"),
        (torch.tensor(1.0), "single number"),
        (Opaque(), "unknown container Opaque"),
    ],
)
def test_what_cannot_be_probed_says_why(output, problem):
    assert problem in paths(output)[""]


def test_a_container_that_holds_itself_ends():
    endless = []
    endless.append(endless)
    assert "deeper than" in next(iter(paths(endless).values()))


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_sparse_tensors_are_read_as_dense(layout):
    (leaf,) = leaves(torch.eye(3).to_sparse(layout=layout))
    assert torch.equal(leaf.tensor, torch.eye(3))


@pytest.mark.filterwarnings("ignore")  # torch deprecates its own quantization
def test_quantized_tensors_are_dequantized():
    (leaf,) = leaves(torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.quint8))
    assert torch.allclose(leaf.tensor, torch.ones(2, 2))


class Returning(nn.Module):
    """Returns what a function makes of its input."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


def test_the_same_tensor_twice_is_two_layers():
    model = Returning(lambda x: (x, x))
    results = tp.Probe(model, "model", [ChannelMean]).run([torch.ones(4, 2)])
    assert list(results["mean"]) == ["model[0]", "model[1]"]


def test_a_structure_that_changes_between_batches_loses_nothing():
    wraps = iter([lambda x: x, lambda x: (x, x + 1), lambda x: {"a": x}])

    def wrap(x):
        return next(wraps)(x)

    probe = tp.Probe(Returning(wrap), "model", [ChannelMean])
    results = probe.run([torch.ones(4, 2)] * 3)
    assert {name: result.n for name, result in results["mean"].items()} == {
        "model": 4,
        "model[0]": 4,
        "model[1]": 4,
        "model[a]": 4,
    }


def test_a_rank_that_changes_between_batches_is_read_anew():
    model = nn.Linear(3, 2).double()
    results = tp.Probe(model, "model", [ChannelMean]).run(
        [torch.ones(4, 3).double(), torch.ones(4, 5, 3).double()]
    )
    assert results["mean"]["model"].n == 24


def test_parts_that_are_no_activations_are_skipped_and_counted():
    model = nn.Sequential(nn.MaxPool1d(2, return_indices=True))
    probe = tp.Probe(model, "0", [ChannelMean])
    assert list(probe.run([torch.randn(2, 3, 8)])["mean"]) == ["0[0]"]
    assert "int64" in next(iter(probe.coverage.skipped["0[1]"]))


@pytest.mark.parametrize("lengths", [None, [3, 5]])
def test_padded_rows_of_the_transformer_fast_path_are_left_out(lengths):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    model = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(2, 5, 8)
    mask = None
    if lengths:
        mask = torch.arange(5)[None] >= torch.tensor(lengths)[:, None]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", "The PyTorch API of nested tensors")
        warnings.filterwarnings("ignore", "enable_nested_tensor")
        with tp.Probe(model, "layers.*", [ChannelMean]) as probe, probe.batch(lengths=lengths):
            model(x, src_key_padding_mask=mask)
    rows = 10 if lengths is None else 8
    found = probe.results()["mean"]
    assert {found[name].n for name in ("layers.0", "layers.1")} == {rows}


def test_states_of_an_lstm_beside_frame_labels_are_skipped_and_counted():
    class Labelled(ChannelMean):
        name = "labelled"
        needs_labels = True

    model = nn.LSTM(3, 4, batch_first=True)
    probe = tp.Probe(model, "model", [Labelled])
    results = probe.run([(torch.randn(2, 6, 3), torch.zeros(2, 6).long())])
    assert list(results["labelled"]) == ["model[0]"]
    assert any("do not fit" in reason for reason in probe.coverage.skipped["model[1][0]"])


def test_large_layers_come_in_parts_with_the_same_result(monkeypatch):
    model, x = nn.Conv1d(2, 3, 1).double(), torch.randn(7, 2, 5).double()
    whole = tp.Probe(model, "model", [ChannelMean]).run([x])["mean"]["model"]
    monkeypatch.setattr("torchprobe.stream._LARGEST_PART", 300)
    parts = tp.Probe(model, "model", [ChannelMean]).run([x])["mean"]["model"]
    assert parts.n == whole.n == 35
    assert np.allclose(parts.mean, whole.mean, rtol=1e-12)


@pytest.mark.parametrize("n", [0, 1])
def test_batches_of_no_or_one_sample_are_fine(n):
    model = nn.Linear(3, 2).double()
    x = torch.randn(5, 3).double()
    result = tp.Probe(model, "model", [ChannelMean]).run([x, x[:n]])["mean"]["model"]
    assert result.n == 5 + n
    assert np.isfinite(result.mean).all()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_of_vectors_are_reported_not_guessed_at(layout):
    parts = [torch.ones(2), torch.ones(3)]
    (leaf,) = leaves(torch.nested.nested_tensor(parts, layout=layout))
    assert leaf.tensor is None
    assert "a nested tensor of 2 dimensions" in leaf.problem
