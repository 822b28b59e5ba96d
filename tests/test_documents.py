"""Documents: one normal form, strict JSON that gives back exactly what went in."""

from __future__ import annotations

import copy
import json
import math
import pickle
from enum import Enum
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchprobe.documents import FrozenDict, dumps, freeze, loads
from torchprobe.errors import FileFormatError, SettingError

NAMES = st.one_of(
    st.sampled_from(["$float", "$", "$$", "$x", "", "\ud800", "</script>"]), st.text()
)
ATOMS = st.one_of(st.none(), st.booleans(), st.integers(-(2**127), 2**127), st.floats(), NAMES)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=10,
)
PROPERTY = settings(max_examples=150, derandomize=True, deadline=None, database=None)


@PROPERTY
@given(VALUES)
def test_writing_and_reading_gives_the_normal_form(value):
    text = dumps(value)
    assert dumps(loads(text, "memory")) == text  # as text, NaN equals NaN
    assert freeze(freeze(value)) == freeze(value) or b"nan" in text
    json.loads(text, parse_constant=pytest.fail)
    assert text.isascii()


@PROPERTY
@given(st.dictionaries(NAMES, ATOMS, max_size=4))
def test_the_order_of_keys_is_kept_and_can_be_left_out_of_account(value):
    assert list(loads(dumps(value), "memory")) == list(value)
    turned = dict(reversed(value.items()))
    assert dumps(value, sort_keys=True) == dumps(turned, sort_keys=True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1])
def test_floats_come_back_to_the_bit(value):
    back = loads(dumps(value), "memory")
    assert np.float64(back).tobytes() == np.float64(value).tobytes()


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(2), 2.0),
        (np.int16(3), 3),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.arange(3), (0, 1, 2)),
        (torch.eye(2), ((1.0, 0.0), (0.0, 1.0))),
        ([1, (2, [3])], (1, (2, (3,)))),
        ({3, 1, 2}, (1, 2, 3)),
        ({1: "a"}, {"1": "a"}),
        (torch.float16, "torch.float16"),
        (torch.nn.functional.relu, "torch.nn.functional.relu"),
        (torch.nn.Linear, "torch.nn.modules.linear.Linear"),
        (PurePosixPath("a/b"), "PurePosixPath('a/b')"),
        (Colour.RED, "<Colour.RED: 1>"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_what_json_cannot_hold_is_recorded_in_words(value, normal):
    frozen = freeze(value)
    assert frozen == normal
    assert type(frozen) is (FrozenDict if isinstance(normal, dict) else type(normal))


def test_an_object_is_recorded_without_its_address():
    assert freeze(object()) == "<object object>"


def test_documents_that_cannot_be_read_back_are_refused_at_once():
    deep = [[]]
    for _ in range(40):
        deep = [deep]
    with pytest.raises(SettingError, match="deeper than 32"):
        freeze(deep)
    with pytest.raises(SettingError, match="40 digits"):
        freeze({"seed": 10**40})
    with pytest.raises(SettingError, match="same text"):
        freeze({1: "a", "1": "b"})


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        "Infinity",
        "1e400",
        "9" * 5000,
        "-" + "9" * 5000,
        "[" * 10**5,
        '{"a":' * 10**5,
        "[" * 34 + "]" * 34,
        '"\ud800"',
        "[1,]",
        "",
        '{"$float": "0x1"}',
        '{"$float": [1]}',
        '{"$float": "nan", "b": 1}',
        '{"$b": 1}',
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_anything_but_strict_json_is_refused_with_its_origin(text):
    with pytest.raises(FileFormatError, match=r"'here\.json' is not a document torchprobe wrote"):
        loads(text.encode("utf-8", "surrogatepass"), "here.json")


def test_a_frozen_dictionary_refuses_every_change_and_its_copies_too():
    frozen = freeze({"a": 1, "b": {"c": [2]}})
    for twin in (
        frozen,
        copy.copy(frozen),
        copy.deepcopy(frozen),
        pickle.loads(pickle.dumps(frozen)),
    ):
        assert twin == {"a": 1, "b": {"c": (2,)}}
        assert json.dumps(twin) == '{"a": 1, "b": {"c": [2]}}'
        for change in (
            lambda d: d.update(a=2),
            lambda d: d.pop("a"),
            lambda d: d.popitem(),
            lambda d: d.clear(),
            lambda d: d.setdefault("x", 1),
            lambda d: d.__setitem__("a", 2),
            lambda d: d.__delitem__("a"),
            lambda d: d.__ior__({"a": 2}),
            lambda d: d["b"].clear(),
        ):
            with pytest.raises(TypeError, match="frozen"):
                change(twin)
