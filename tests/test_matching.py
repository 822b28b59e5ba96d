"""Labels, masks and lengths of the input's or output's rate meet every layer of another."""

from collections import Counter
from fractions import Fraction
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import receptive_fields as reference
from torch import nn

import torchprobe as tp
from torchprobe.errors import LabelError, SettingError


class Heard(tp.Analyzer):
    """Writes down the labels of all rows that count, by layer."""

    name = "heard"
    needs_labels = True
    labels: ClassVar[dict[str, list[int]]] = {}

    def start(self, layer):
        """Nothing to keep."""

    def update(self, batch):
        type(self).labels[batch.layer.name] = batch.labels.tolist()


@torch.no_grad()
def heard(model, x, labels, *, layers="*", lengths=None, mask=None, **options):
    """The labels of every layer's rows."""
    Heard.labels = {}
    probe = tp.Probe(model, layers, [Heard], on_error="raise", **options)
    with probe, probe.batch(labels, lengths=lengths, mask=mask):
        model(x)
    return dict(Heard.labels)


@st.composite
def stacks(draw):
    """Convolutions with strides and padding, and the same for the reference."""
    windows = [
        reference.Window(size, draw(st.integers(1, 3)), draw(st.integers(0, size // 2)))
        for size in draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    ]
    torch.manual_seed(0)
    convs = [nn.Conv1d(2, 2, each.size, each.stride, each.padding) for each in windows]
    return nn.Sequential(*convs), windows


def middle(operations, at):
    """The input position at the middle of what a position sees; of two the later."""
    first, last = reference.span(operations, at)
    return (Fraction(first + last, 2) + Fraction(1, 2)).__floor__()


many = settings(derandomize=True, deadline=None, max_examples=25)


@many
@given(stacks(), st.integers(70, 90))
def test_each_position_takes_the_label_at_the_middle_of_what_it_sees(stack, size):
    model, operations = stack
    labels = torch.randint(0, 4, (2, size))
    found = heard(model, torch.randn(2, 2, size), labels, labels_at="input")
    n = size
    for at in range(len(operations)):
        n = model[: at + 1](torch.zeros(1, 2, size)).shape[2]
        places = [middle(operations[: at + 1], position) for position in range(n)]
        assert found[str(at)] == [
            int(row[place]) if 0 <= place < size else -1 for row in labels for place in places
        ]
    assert found[str(len(operations) - 1)] == found["model"]


@many
@given(stacks(), st.integers(70, 90))
def test_labels_of_the_output_go_to_the_positions_nearest_to_them(stack, size):
    model, operations = stack
    x = torch.randn(2, 2, size)
    n_out = model(x).shape[2]
    labels = torch.randint(0, 4, (2, n_out))
    found = heard(model, x, labels, labels_at="output")["0"]
    stride, offset = reference.stride(operations), reference.offset(operations)
    expected = []
    for position in range(len(found) // 2):
        place = reference.offset(operations[:1]) + reference.stride(operations[:1]) * position
        nearest = ((place - offset) / Fraction(stride) + Fraction(1, 2)).__floor__()
        expected.append(nearest if 0 <= nearest < n_out else -1)
    assert found == [int(row[at]) if at >= 0 else -1 for row in labels for at in expected]


@many
@given(stacks(), st.integers(70, 90))
def test_the_majority_is_that_of_the_labels_within_the_field(stack, size):
    model, operations = stack
    labels = torch.randint(-1, 3, (1, size))
    options = {"labels_at": "input", "label_rule": "majority"}
    found = heard(model, torch.randn(1, 2, size), labels, **options)["model"]
    if len(found) == size:  # as many positions as labels: one to one, whatever the rule
        assert found == labels[0].tolist()
        return
    for position, label in enumerate(found):
        first, last = reference.span(operations, position)
        seen = labels[0, max(first, 0) : max(last + 1, 0)].tolist()
        counts = Counter(each for each in seen if each >= 0)
        best = max(counts.values(), default=0)
        assert label == min((each for each in counts if counts[each] == best), default=-1)


def test_lengths_of_the_input_count_the_positions_whose_middle_is_data():
    model = nn.Sequential(nn.Conv1d(2, 3, 5, 2, 2), nn.Conv1d(3, 2, 3, 2, 1))  # at 0, 4, 8, ...
    labels = torch.arange(2)
    found = heard(model, torch.randn(2, 2, 40), labels, lengths=torch.tensor([40, 17]))
    assert found["0"] == [0] * 20 + [1] * 9
    assert found["1"] == [0] * 10 + [1] * 5


@pytest.mark.parametrize(("rule", "rows"), [("center", 5), ("any_valid", 6), ("all_valid", 3)])
def test_a_rule_says_when_a_position_counts(rule, rows):
    model = nn.Sequential(nn.Conv1d(2, 3, 7, 4, 3))  # position i sees 4 i - 3 to 4 i + 3
    counts = heard(
        model,
        torch.randn(1, 2, 40),
        torch.tensor([0]),
        lengths=torch.tensor([18]),
        mask_rule=rule,
    )
    assert len(counts["0"]) == rows


def test_lengths_may_count_the_output():
    model = nn.Sequential(nn.Conv1d(2, 3, 3, 1, 1), nn.Conv1d(3, 2, 3, 2, 1))
    found = heard(
        model,
        torch.randn(1, 2, 20),
        torch.tensor([0]),
        lengths=torch.tensor([4]),
        lengths_at="output",
    )
    assert len(found["1"]) == 4
    assert len(found["0"]) == 7  # 0 to 6 are nearest to 0, 2, 4, 6; 7 is nearer to 8, of two


def test_groupings_of_both_rates_meet_one_layer():
    model = nn.Sequential(nn.Conv1d(2, 3, 3, 1, 1), nn.Conv1d(3, 2, 3, 2, 1))
    x, frames = torch.randn(2, 2, 20), torch.randint(0, 3, (2, 20))
    said = {"phoneme": frames, "grapheme": torch.randint(0, 3, (2, 10))}
    for grouping in said:
        probe = tp.Probe(
            model,
            "1",
            [tp.analyzer("class_selectivity", groupings=grouping)],
            labels_at={"phoneme": "input", "grapheme": "output"},
            on_error="raise",
        )
        with probe, probe.batch(said), torch.no_grad():
            model(x)
        result = probe.results()["class_selectivity"]["1"]
        at_layer = said["grapheme"] if grouping == "grapheme" else frames[:, ::2]
        counts = torch.bincount(at_layer.flatten(), minlength=3)
        assert result.counts.tolist() == counts.tolist()


def test_labels_over_height_and_width_meet_an_image_layer():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1))
    labels = torch.randint(0, 5, (2, 12, 20))
    found = heard(model, torch.randn(2, 1, 12, 20), labels)
    assert found["0"] == labels[:, ::2, ::2].flatten().tolist()


# -- what cannot be matched


def test_labels_at_no_known_rate_say_which_there_are():
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Conv1d(3, 2, 5, stride=2))
    with pytest.raises(
        LabelError, match=r"input has positions \(41\).*output has positions \(18\)"
    ):
        heard(model, torch.randn(2, 2, 41), torch.zeros(2, 30, dtype=torch.long))


def test_lengths_beyond_the_input_are_refused():
    model = nn.Sequential(nn.Conv1d(2, 3, 3, 2))
    with pytest.raises(LabelError, match="a length of 21 exceeds the 20 positions"):
        heard(model, torch.randn(1, 2, 20), torch.tensor([0]), lengths=torch.tensor([21]))


def test_labels_along_one_of_two_equal_axes_are_ambiguous():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1))
    with pytest.raises(LabelError, match="along height or width"):
        heard(model, torch.randn(2, 1, 12, 12), torch.zeros(2, 12, dtype=torch.long))


@pytest.mark.parametrize("name", ["label_rule", "mask_rule"])
def test_rules_are_checked_at_the_door(name):
    with pytest.raises(SettingError, match=f"{name}='mean'"):
        tp.Probe(nn.Conv1d(2, 2, 3), "*", [Heard], **{name: "mean"})


class Fickle(nn.Module):
    """Pools more where the input is long."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv1d(2, 3, 3, padding=1), nn.Conv1d(3, 2, 3, padding=1)

    def forward(self, x):
        pooled = nn.functional.avg_pool1d(self.conv(x), 2 if x.shape[2] < 100 else 4)
        return self.out(pooled)


@pytest.mark.parametrize("sizes", [(80, 200), (200, 80)])
@pytest.mark.parametrize("analyzer", ["class_selectivity", "nap"])
def test_a_stride_that_changes_with_the_length_is_found_out(sizes, analyzer):
    probe = tp.Probe(Fickle(), ["conv", "out"], [analyzer], on_error="raise")
    batches = [(torch.randn(2, 2, size), torch.zeros(2, size).long()) for size in sizes]
    with pytest.raises(LabelError, match="stride changes with the input's length"):
        probe.run(batches)


def test_a_stride_that_changes_is_no_obstacle_where_it_is_stated():
    probe = tp.Probe(
        Fickle(), "out", ["class_selectivity"], positions={"out": "ratio"}, on_error="raise"
    )
    with probe, torch.no_grad():
        for size in (80, 200):
            with probe.batch(torch.arange(size).lt(size // 2).long().expand(2, -1)):
                probe.model(torch.randn(2, 2, size))
    assert probe.results()["class_selectivity"]["out"].counts.tolist() == [90, 90]
