"""A probe's state: saved, loaded, gone on with."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from analyzers import Above, ClassMean, feed
from torch import nn

import torchprobe as tp
from torchprobe.errors import AttachError, IncompleteWarning, MergeError
from torchprobe.state import metas, shapes


class Fussy(ClassMean):
    """Raises at the second batch."""

    name = "fussy"

    def update(self, batch):
        if self.means.state:
            raise RuntimeError("enough")
        super().update(batch)


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv1d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv1d(4, 5, 1)).double()


def data(n=6, labels=lambda at: torch.arange(4) % 3):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(4, 3, 9, generator=generator, dtype=torch.float64), labels(at))
        for at in range(n)
    ]


def made(analyzers=(ClassMean, Above), **options):
    return tp.Probe(net(), "*", list(analyzers), **options)


def reloaded(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def in_two_halves(make, batches, at=3):
    """A probe that was saved after some batches and gone on with as another."""
    first, second = make(), make()
    feed(first, batches[:at])
    second.load_state_dict(reloaded(first.state_dict()))
    feed(second, batches[at:])
    return second


def whole(make, batches):
    probe = make()
    feed(probe, batches)
    return probe


def alike(one, two):
    for analyzer in one:
        assert [*one[analyzer]] == [*two[analyzer]]
        for key, result in one[analyzer].items():
            other = two[analyzer][key]
            assert result.coords == other.coords
            assert result.provenance["samples"] == other.provenance["samples"]
            for name, field in result.fields.items():
                np.testing.assert_array_equal(field.values, other.fields[name].values)
    return True


@pytest.mark.parametrize(
    "labels",
    [
        lambda at: torch.arange(4) % 3,
        lambda at: ["b", "a", None, "c"] if at % 2 else ["d", "a", "a", "b"],
        lambda at: {"one": torch.arange(4) % 2, "two": ["x", "y", "x", "y"]},
        lambda at: torch.arange(36).reshape(4, 9) % 5,
    ],
    ids=["integers", "strings", "two groupings", "by position"],
)
def test_going_on_from_a_saved_state_gives_the_same_bits(labels):
    batches = data(labels=labels)
    assert alike(
        whole(lambda: made([ClassMean]), batches).results(),
        in_two_halves(lambda: made([ClassMean]), batches).results(),
    )


def test_a_state_without_further_data_gives_equal_results():
    probe, other = made(), made()
    results = probe.run(data())
    other.load_state_dict(reloaded(probe.state_dict()))
    assert other.results() == results
    assert str(other.coverage) == str(probe.coverage)


def test_a_state_of_nothing_is_a_fresh_probe():
    probe = made([ClassMean])
    probe.load_state_dict(reloaded(made([ClassMean]).state_dict()))
    feed(probe, data())
    assert alike(probe.results(), whole(lambda: made([ClassMean]), data()).results())


def test_what_a_pass_found_is_known_again():
    batches = data()
    expected = made([Above]).run(batches)

    first, second = made([Above]), made([Above])
    feed(first, batches)
    first.next_pass()
    feed(first, batches[:2])
    second.load_state_dict(reloaded(first.state_dict()))
    feed(second, batches[2:])

    assert alike(expected, second.results())


def test_samples_without_ids_are_numbered_on():
    class Ids(ClassMean):
        name = "ids"
        needs_labels = False

        def update(self, batch):
            self.means.update(batch.rows(), batch.sample_ids.repeat_interleave(4))

    probe = in_two_halves(lambda: made([Ids]), data())
    groups = probe.results()["ids"]["0"].coords["class"]
    assert groups == tuple(map(str, range(24)))


def test_an_analyzer_that_was_left_out_stays_left_out():
    first, second = made([Fussy]), made([Fussy])
    with pytest.warns(IncompleteWarning):
        feed(first, data(2))
    second.load_state_dict(reloaded(first.state_dict()))
    feed(second, data(4)[2:])
    results = second.results()
    assert not results.complete
    assert "enough" in results["fussy"]["0"].provenance["disabled"]


def test_layers_that_wait_for_their_turn_are_known_again():
    probe, other = made([Above], memory_budget=200), made([Above], memory_budget=200)
    results = probe.run(data())
    assert results.provenance["turns"] > 1
    other.load_state_dict(reloaded(probe.state_dict()))
    assert alike(results, other.results())


def test_where_positions_lie_is_known_again():
    class Placed(ClassMean):
        name = "placed"
        needs_positions = True

    first, second = made([Placed]), made([Placed])
    feed(first, data(1))
    second.load_state_dict(reloaded(first.state_dict()))
    maps = [probe.layers["0"].positions_map for probe in (first, second)]
    assert maps[0] == maps[1]
    assert maps[1]["time"].stride == 2


def test_a_failed_pass_after_loading_loses_nothing():
    probe = in_two_halves(lambda: made([ClassMean]), data(), at=6)
    with pytest.raises(RuntimeError), probe:
        probe.model(torch.zeros(1, 99, 9, dtype=torch.float64))
    assert alike(probe.results(), whole(lambda: made([ClassMean]), data()).results())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: tp.Probe(net(), "0", [ClassMean, Above]), "layers"),
        (lambda: made([ClassMean]), "analyzers"),
        (lambda: made(nonfinite="raise"), "options"),
        (lambda: made(axes={"0": "sample time channel"}), "axes"),
        (lambda: made(groupings={"guess": tp.predicted()}), "groupings"),
    ],
)
def test_a_probe_made_otherwise_is_told_what_differs(other, said):
    probe = other()
    feed(probe, data(1)) if said in ("layers", "analyzers") else None
    before = str(probe.coverage)
    saved = whole(made, data()).state_dict()
    with pytest.raises(MergeError, match=f"other {said}"):
        probe.load_state_dict(saved)
    assert str(probe.coverage) == before


def test_another_schema_and_an_attached_probe_are_refused():
    probe = made()
    with pytest.raises(MergeError, match="schema 99"):
        probe.load_state_dict({**probe.state_dict(), "schema": 99})
    with probe, pytest.raises(AttachError, match="detach"):
        probe.load_state_dict(made().state_dict())


def test_a_state_is_a_copy():
    probe = made([ClassMean])
    feed(probe, data(2))
    saved = probe.state_dict()
    before = saved["forks"][0]["tensors"]["means.sums"].clone()
    feed(probe, data(2))
    assert torch.equal(saved["forks"][0]["tensors"]["means.sums"], before)


def test_shapes_travel_without_values():
    tensors = {"b": torch.ones(2, 3), "a": torch.ones((), dtype=torch.int64)}
    there = metas(shapes(tensors))
    assert [*there] == ["a", "b"]
    assert all(tensor.is_meta for tensor in there.values())
    assert shapes(there) == shapes(tensors)
