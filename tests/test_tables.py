"""Tables: every element once, under its own names; CSV that no spreadsheet executes."""

from __future__ import annotations

import csv
import io
import re
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchprobe.tables import array_frame, csv_bytes

PROPERTY = settings(max_examples=80, derandomize=True, deadline=None, database=None)
TEXTS = st.text(st.one_of(st.sampled_from("=+-@\t\r\n',\"1 "), st.characters(codec="utf-8")))
FORMULAS = [
    '=HYPERLINK("http://evil")',
    "+1+cmd|'/C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1",
    "\uff1d1+1",
]


def cells(rows):
    """What a reader of the CSV sees below the header."""
    text = csv_bytes(["x"], rows).decode()
    return list(csv.reader(io.StringIO(text, newline="")))[1:]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0), (2, 3, 4)])
def test_each_element_stands_in_one_row_with_its_place(shape):
    values = np.arange(np.prod(shape, dtype=int), dtype=float).reshape(shape)
    axes = ["class", "channel", "time"][: len(shape)]
    table = array_frame(axes, values, {})
    assert list(table.columns) == [*axes, "value"]
    assert len(table) == values.size
    for row in table.itertuples(index=False):
        assert values[tuple(map(int, row[:-1]))] == row[-1]


def test_names_stand_where_there_are_names():
    table = array_frame(["class", "channel"], np.eye(2), {"class": ("ʃ", "=x")})
    assert table["class"].tolist() == ["ʃ", "ʃ", "=x", "=x"]
    assert table["channel"].tolist() == [0, 1, 0, 1]


def test_a_repeated_axis_gets_columns_of_its_own():
    table = array_frame(["class", "class"], np.eye(2), {"class": ("a", "b")})
    assert table["class"].tolist() == ["a", "a", "b", "b"]
    assert table["class_2"].tolist() == ["a", "b", "a", "b"]
    assert list(array_frame(["value"], np.ones(1), {}).columns) == ["value", "value_2"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_become_text(formula):
    assert cells([[formula]]) == [[f"'{formula}"]]
    assert csv_bytes([formula], []).startswith((b"'", b"\"'"))


@pytest.mark.parametrize(
    "cell", ["-1", "+1.5", "-inf", "ʃ", "a=b", -1, -0.5, np.float64(-2), None, ""]
)
def test_numbers_and_harmless_names_stay_as_they_are(cell):
    assert cells([[cell, 0]]) == [["" if cell is None else str(cell), "0"]]


@PROPERTY
@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2), max_size=4))
def test_no_text_cell_begins_like_a_formula_and_all_come_back(rows):
    found = cells(rows)
    assert len(found) == len(rows)
    for cell, back in zip(chain(*rows), chain(*found), strict=True):
        assert back.removeprefix("'") in (cell, cell.removeprefix("'"))
        number = re.fullmatch(r"[+-]\s*\S+\s*", back)
        assert not back.startswith(("=", "@", "\t", "\r", "\n", "+", "-")) or number


def test_lone_surrogates_are_written_as_escapes():
    assert b"\\ud800" in csv_bytes(["x"], [["\ud800"]])
