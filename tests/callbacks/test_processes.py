"""Loops in several processes."""

import pytest
from callbacks.training import failing, looped
from processes import succeed

import torchprobe as tp


@pytest.mark.parametrize("on_training", [False, True])
def test_two_loops_have_the_history_of_one(two, tmp_path, on_training):
    first, second = succeed(two.run(Looped(on_training), 2, tmp_path / "two"))
    assert first == second == tp.History.load(tmp_path / "two")
    one = looped(0, 1, tmp_path / "one", on_training=on_training)
    assert one.steps == first.steps
    for step, results in one.items():
        for analyzer, layers in results.items():
            for layer, result in layers.items():
                found = first[step][analyzer][layer]
                assert found.mean == pytest.approx(result.mean, abs=1e-6)
                assert found.provenance["samples"] == result.provenance["samples"]


class Looped:
    """`looped` with its keyword, as a process can be sent it."""

    def __init__(self, on_training):
        self.on_training = on_training

    def __call__(self, *args):
        return looped(*args, on_training=self.on_training)


@pytest.mark.filterwarnings("ignore::torchprobe.errors.IncompleteWarning")
def test_a_process_that_fails_alone_waits_for_nobody(two):
    assert two.run(failing) == [({}, 0), ({}, 0)]
