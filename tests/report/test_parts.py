import numpy as np
import pytest
import torch

from torchprobe import plotting
from torchprobe.errors import SettingError
from torchprobe.report import Figure, Section, Table
from torchprobe.report.wording import cells


def shown(table):
    return [[cell.text for cell in row] for row in cells(table)]


def test_numbers_of_numpy_and_torch_are_numbers():
    table = Table(["a"], [[np.float32(1)], [np.int64(2)], [torch.tensor(3.0)]])
    assert table.rows == ((1.0,), (2,), (3.0,))
    assert table.numeric == (True,)


def test_a_column_of_numbers_has_one_number_of_decimals():
    table = Table(["x"], [[0.415], [0.0523], [None], [float("nan")], [-0.1]])
    assert shown(table) == [["0.4150"], ["0.0523"], ["–"], ["–"], ["−0.1000"]]


def test_whole_numbers_are_shown_in_full():
    assert shown(Table(["x", "y"], [[1234567, 2048.0]])) == [["1,234,567", "2,048"]]


def test_numbers_of_very_different_size_keep_their_digits():
    assert shown(Table(["x"], [[1e-7], [0.25], [float("inf")]])) == [["1e−07"], ["0.25"], ["inf"]]


def test_a_column_with_text_is_text():
    table = Table(["x", "y"], [["a", True], [1, None]])
    assert table.numeric == (False, False)
    assert shown(table) == [["a", "yes"], ["1", "–"]]


def test_bars_are_as_long_as_numbers_are_large():
    def bars(*numbers):
        rows = cells(Table(["x"], [[number] for number in numbers], bars=True))
        return [row[0].share for row in rows]

    assert bars(5, 10, 0) == [50, 100, 0]
    assert bars(5, None, 10) == [50, None, 100]
    assert bars(5, 5) == [None, None]  # equal bars say nothing
    assert bars(-5, 10) == [None, None]  # nor can a length be negative


def test_a_table_without_rows_is_a_table():
    assert shown(Table(["x", "y"], [])) == []


def test_malformed_parts_are_told_where_they_are_made():
    with pytest.raises(SettingError, match="3 cells for 2 columns"):
        Table(["a", "b"], [[1, 2, 3]])
    with pytest.raises(SettingError, match="give text, a number or None"):
        Table(["a"], [[object()]])
    with pytest.raises(SettingError, match="no matplotlib figure"):
        Figure("figure.png")
    with pytest.raises(SettingError, match=r"wrap it in torchprobe\.report\.Figure"):
        Section("Title", figures=[plotting.figure(1, 1)])


def test_sections_take_any_sequence_and_one_analyzer_by_name():
    section = Section("Title", tables=iter([Table(["a"], [])]), analyzers="mine")
    assert len(section.tables) == 1
    assert section.analyzers == ("mine",)
