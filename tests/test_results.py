"""Results: frozen, named, comparable, readable; saved and loaded without loss or trust."""

from __future__ import annotations

import copy
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchprobe import storage
from torchprobe.errors import FileFormatError, LayerNotFoundError, SettingError, ShapeError
from torchprobe.results import Field, LayerResults, Result, Results, load

PROPERTY = settings(max_examples=60, derandomize=True, deadline=None, database=None)
HOSTILE = [
    "../../evil",
    "nul\0",
    "x" * 300,
    "CON",
    "</script>",
    "=1+1",
    "\x1b[2J",
    "$float",
    "\ud800",
    "ʃ",
]
NAMES = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=6))
RESERVED = {*dir(Result), *Result.__dataclass_fields__}
FIELD_NAMES = NAMES.filter(lambda name: not name.startswith("_") and name not in RESERVED)
DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?"]


@st.composite
def results(draw):
    """A result of any fields along axes of fixed lengths, some of them with names."""
    sizes = {"class": draw(st.integers(0, 3)), "channel": draw(st.integers(0, 3))}
    axes = st.lists(st.sampled_from(list(sizes)), max_size=2, unique=True)
    fields = {
        name: Field(names, draw(arrays([sizes[axis] for axis in names])), draw(NAMES))
        for name, names in draw(st.dictionaries(FIELD_NAMES, axes, max_size=3)).items()
    }
    classes = draw(st.lists(NAMES, min_size=sizes["class"], max_size=sizes["class"]))
    return Result(
        draw(NAMES),
        draw(NAMES),
        draw(st.none() | NAMES),
        fields=fields,
        coords={"class": tuple(classes)},
        settings=draw(st.dictionaries(NAMES, st.floats() | NAMES, max_size=2)),
        provenance=draw(st.dictionaries(NAMES, st.integers() | st.booleans(), max_size=2)),
    )


@st.composite
def arrays(draw, shape):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    bits = np.random.default_rng(draw(st.integers(0, 99))).bytes(
        int(np.prod(shape)) * dtype.itemsize
    )
    if dtype.kind == "b":
        return np.frombuffer(bits, np.uint8).reshape(shape) % 2 == 0
    return np.frombuffer(bits, dtype).reshape(shape)


def lda(layer="hidden.0", grouping=None, accuracy=0.5, **provenance):
    return Result(
        "lda",
        layer,
        grouping,
        fields={
            "accuracy": Field("", accuracy, range=(0, 1)),
            "means": Field("class channel", np.arange(6.0).reshape(2, 3), "V"),
        },
        coords={"class": ("aa", "b")},
        settings={"shrinkage": None},
        provenance={"rows": 12000, **provenance},
    )


@pytest.fixture
def one():
    return lda()


@pytest.fixture
def by_layer():
    return LayerResults([lda("hidden.0"), lda("hidden.1"), lda("out")])


@pytest.fixture
def by_grouping():
    return LayerResults(
        [lda(layer, grouping) for layer in ("hidden.0", "out") for grouping in ("phoneme", "word")]
    )


# -- fields


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (torch.ones(3, requires_grad=True), "float32"),
        (torch.ones(3, dtype=torch.bfloat16), "float32"),
        (torch.ones(3, dtype=torch.float64), "float64"),
        (torch.ones(3).bool(), "bool"),
        ([1, 2, 3], "int64"),
        ((1.0, 2, 3), "float64"),
        (np.ones(3, ">f8"), "float64"),
        (np.ones(6, "u1")[::2], "uint8"),
    ],
    ids=str,
)
def test_values_of_any_kind_become_a_plain_array(values, dtype):
    field = Field("channel", values)
    assert field.values.dtype == np.dtype(dtype)
    assert field.values.dtype.isnative
    assert field.values.shape == (3,)


@pytest.mark.parametrize("source", [np.zeros(3), torch.zeros(3)], ids=["numpy", "torch"])
def test_values_can_be_changed_neither_from_inside_nor_from_outside(source):
    field = Field("channel", source)
    source[0] = 5
    assert field.values[0] == 0
    for twin in (field, copy.copy(field), copy.deepcopy(field), pickle.loads(pickle.dumps(field))):
        assert twin == field
        with pytest.raises(ValueError, match="read-only"):
            twin.values[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            twin.values.setflags(write=True)
        with pytest.raises(AttributeError):
            twin.unit = "V"


@pytest.mark.parametrize(("axes", "shape"), [("class", (2, 3)), ("", (1,)), ("class channel", ())])
def test_axes_that_do_not_fit_are_told_with_the_shape(axes, shape):
    with pytest.raises(ShapeError) as raised:
        Field(axes, np.zeros(shape))
    assert repr(axes) in str(raised.value)
    assert str(shape) in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("class", ["a", "b"]), "names as coords"),
        (("class", [1j]), "real numbers"),
        (("class", [object()]), "real numbers"),
        (("class", np.ones(1, np.longdouble)), "float64"),
        ((("a b",), [1]), "malformed"),
        ((("1a",), [1]), "malformed"),
        (("class", [1], 5), "unit 5 is no text"),
        (("class", [1], "", (1, 0)), "lowest, highest"),
        (("class", [1], "", (0, 1, 2)), "lowest, highest"),
    ],
)
def test_what_is_no_named_array_of_numbers_is_refused(arguments, match):
    with pytest.raises(SettingError, match=match):
        Field(*arguments)


def test_fields_are_equal_by_content_with_nan_equal_to_nan():
    field = Field("class", [np.nan, 1.0], "V", (0, 1))
    assert field == Field(("class",), torch.tensor([np.nan, 1.0]).double(), "V", (0, 1))
    for other in (
        Field("channel", [np.nan, 1.0], "V", (0, 1)),
        Field("class", [np.nan, 0.5], "V", (0, 1)),
        Field("class", [np.nan, 1.0], "", (0, 1)),
        Field("class", [np.nan, 1.0], "V"),
        Field("class", np.float32([np.nan, 1.0]), "V", (0, 1)),
        "a field",
    ):
        assert field != other


# -- one result


def test_fields_are_attributes_numbers_where_there_are_no_axes(one):
    assert one.accuracy == 0.5
    assert type(one.accuracy) is float
    assert type(Result("a", "b", fields={"n": Field("", 7)}).n) is int
    assert one.means is one["means"].values
    assert one.axes("means") == ("class", "channel")
    assert one["means"].unit == "V"
    assert "means" in dir(one)
    assert list(one) == ["accuracy", "means"]
    assert "means" in one
    assert "rows" not in one


@pytest.mark.parametrize(
    "find", [lambda r: r.acuracy, lambda r: r["acuracy"], lambda r: r.axes("acuracy")]
)
def test_a_misspelt_field_gets_a_hint(one, find):
    with pytest.raises((AttributeError, LayerNotFoundError), match=r"mean 'accuracy'.*'means'"):
        find(one)


def test_attributes_python_looks_for_are_absent_not_broken(one):
    assert not hasattr(one, "__array__")
    assert not hasattr(one, "_repr_html_")
    assert not hasattr(Result.__new__(Result), "anything")  # as while copying
    assert getattr(one, "nothing", "default") == "default"


def test_a_result_and_its_copies_are_equal_and_frozen(one):
    for twin in (one, copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert twin == one
        with pytest.raises(AttributeError):
            twin.layer = "other"
        with pytest.raises(AttributeError):
            twin.accuracy = 1.0
        with pytest.raises(ValueError, match="read-only"):
            twin.means[0] = 1
        for mapping in (twin.fields, twin.coords, twin.settings, twin.provenance):
            with pytest.raises(TypeError, match="frozen"):
                mapping["x"] = 1


def test_what_was_handed_over_can_change_without_changing_the_result():
    coords, settings_ = {"class": ["a", "b"]}, {"cut": [1]}
    result = Result("a", "b", coords=coords, settings=settings_)
    coords["class"][0] = "z"
    settings_["cut"].append(2)
    assert result.coords["class"] == ("a", "b")
    assert result.settings["cut"] == (1,)


@pytest.mark.parametrize(
    "name", ["layer", "fields", "scalars", "to_frame", "", "_x", "__array__", 3]
)
def test_a_field_cannot_take_a_name_that_is_in_use(name):
    with pytest.raises(SettingError, match="rename it"):
        Result("a", "b", fields={name: Field("", 1)})


def test_lengths_along_an_axis_must_agree():
    two, three = Field("class", [1, 2]), Field("class", [1, 2, 3])
    with pytest.raises(ShapeError, match=r"'b' has 3 along 'class' but field 'a' 2"):
        Result("x", "y", fields={"a": two, "b": three})
    with pytest.raises(ShapeError, match=r"'a' has 2 along 'class' but its names 3"):
        Result("x", "y", fields={"a": two}, coords={"class": ("p", "q", "r")})
    Result("x", "y", fields={"a": two}, coords={"time": ("p",)})  # names nobody uses do no harm


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([0, 1.1], (0, 1)),
        ([-0.1, 1], (0, 1)),
        ([-1.0], (0, None)),
        ([np.inf], (None, 5)),
        ([2], (0, 1)),
    ],
)
def test_values_outside_the_declared_range_are_refused_by_name(values, bounds):
    with pytest.raises(SettingError, match=r"field 'purity' has values from .* outside its range"):
        Result("a", "b", fields={"purity": Field("class", values, range=bounds)})


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([0, 1], (0, 1)),
        ([np.nan, 0.5], (0, 1)),
        ([np.nan], (0, 1)),
        ([], (0, 1)),
        ([1 + 1e-12, -1e-12], (0, 1)),
        (np.float32([1 + 1e-6]), (0, 1)),
        ([True, False], (0, 1)),
        ([-np.inf, np.inf], (None, None)),
    ],
)
def test_nan_and_rounding_are_within_any_range(values, bounds):
    Result("a", "b", fields={"purity": Field("class", values, range=bounds)})


@pytest.mark.parametrize("wrong", [{"analyzer": 1}, {"layer": None}, {"grouping": 3}, {"kind": 5}])
def test_names_must_be_strings(wrong):
    with pytest.raises(SettingError, match="give its name as a string"):
        Result(**{"analyzer": "a", "layer": "b", **wrong})


def test_scalars_are_floats_and_leave_arrays_out():
    fields = {
        "n": Field("", 3),
        "ok": Field("", True),
        "x": Field("", np.nan),
        "v": Field("a", [1]),
    }
    scalars = Result("a", "b", fields=fields).scalars()
    assert list(scalars) == ["n", "ok", "x"]
    assert all(type(value) is float for value in scalars.values())


def test_completeness_is_in_the_provenance(one):
    assert one.complete
    assert not lda(complete=False).complete
    assert one.kind == "lda"
    assert Result("a", "b", kind="map").kind == "map"


def test_a_printed_result_says_what_is_in_it_and_no_more(one):
    assert repr(one) == (
        "lda of hidden.0, 12,000 rows\n"
        "  accuracy  0.5 (0..1)\n"
        "  means     class channel  [2, 3] float64 V"
    )
    assert repr(lda(grouping="word", complete=False)).splitlines()[0] == (
        "lda of hidden.0 by word, 12,000 rows, INCOMPLETE"
    )
    large = Result("a", "b", fields={"x": Field("row", np.zeros(10**5))})
    assert len(repr(large)) < 100


@PROPERTY
@given(results())
def test_printing_obeys_no_name(result):
    for text in (
        repr(result),
        repr(LayerResults([result])),
        repr(Results({"a": LayerResults([result])})),
    ):
        assert all(line.isprintable() for line in text.split("\n"))
        assert len(text.splitlines()) <= 2 + len(result.fields)
        assert max(map(len, text.splitlines())) < 600


def test_tables_of_a_result(one):
    table = one.to_frame("means")
    assert list(table.columns) == ["class", "channel", "value"]
    assert table["class"].tolist() == ["aa"] * 3 + ["b"] * 3
    assert table["value"].tolist() == list(range(6))
    assert one.to_frame().to_dict("records") == [{"accuracy": 0.5}]
    assert one.to_frame("accuracy")["value"].tolist() == [0.5]


# -- results of the layers


def test_layers_keep_their_order(by_layer):
    assert list(by_layer) == ["hidden.0", "hidden.1", "out"] == list(by_layer.layers)
    assert by_layer["out"].layer == "out"
    assert by_layer["out", None] is by_layer["out"]
    assert dict(by_layer.items())["hidden.1"] is by_layer["hidden.1"]
    assert by_layer.groupings == (None,)
    assert by_layer.analyzer == "lda"
    assert len(by_layer) == 3


def test_with_several_groupings_a_key_is_a_pair(by_grouping):
    assert next(iter(by_grouping)) == ("hidden.0", "phoneme")
    assert by_grouping["out", "word"].grouping == "word"
    assert by_grouping.grouping("word")["out"] is by_grouping["out", "word"]
    assert by_grouping.groupings == ("phoneme", "word")
    assert by_grouping.layers == ("hidden.0", "out")
    assert [result.layer for result in by_grouping.values()] == ["hidden.0"] * 2 + ["out"] * 2
    with pytest.raises(LayerNotFoundError, match=r"'phoneme', 'word'.*\['out', 'phoneme'\]"):
        by_grouping["out"]


def test_a_layer_with_one_of_several_groupings_needs_no_pair():
    mixed = LayerResults([lda("a", "phoneme"), lda("a", "word"), lda("b", "word")])
    assert mixed["b"].grouping == "word"
    assert len(dict(mixed)) == len(mixed) == 3


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("hiden.0", "mean 'hidden.0'"),
        (("hiden.0", "word"), "mean 'hidden.0'"),
        (("out", "wrd"), "grouping 'wrd' not found; did you mean 'word'"),
        (("out", None), "grouping None not found"),
    ],
)
def test_misspelt_layers_and_groupings_get_a_hint(by_grouping, key, hint):
    with pytest.raises(LayerNotFoundError, match=hint):
        by_grouping[key]
    assert key not in by_grouping


def test_one_layer_cannot_have_two_results():
    with pytest.raises(SettingError, match="two results"):
        LayerResults([lda("a"), lda("a")])


def test_scalars_and_table_by_layer(by_layer, by_grouping):
    assert by_layer.scalars()["hidden.1/accuracy"] == 0.5
    assert by_grouping.scalars()["out/word/accuracy"] == 0.5
    table = by_grouping.to_frame()
    assert list(table.columns) == ["layer", "grouping", "accuracy"]
    assert len(table) == 4
    other = Result("lda", "new", fields={"n": Field("", 1)})
    uneven = LayerResults([lda("a"), other]).to_frame()
    assert uneven["n"].isna().tolist() == [True, False]


# -- everything


@pytest.fixture
def everything(by_layer, by_grouping):
    other = LayerResults([lda("hidden.0", complete=False)])
    return Results({"lda": by_layer, "words": by_grouping, "dead": other}, {"seed": 3})


def test_results_are_found_by_analyzer(everything):
    assert everything["lda"]["hidden.1"].accuracy == 0.5
    assert list(everything) == ["lda", "words", "dead"]
    assert everything.provenance["seed"] == 3
    with pytest.raises(LayerNotFoundError, match=r"mean 'words'.*'lda', 'words', 'dead'"):
        everything["wrods"]


def test_all_scalars_and_their_tidy_table_agree(everything):
    scalars = everything.scalars()
    assert scalars["words/out/phoneme/accuracy"] == 0.5
    table = everything.to_frame()
    assert list(table.columns) == ["analyzer", "layer", "grouping", "quantity", "value"]
    assert table["value"].tolist() == list(scalars.values())


def test_completeness_is_that_of_the_least_complete(everything, by_layer):
    assert not everything.complete
    assert Results({"lda": by_layer}).complete
    assert not Results({"lda": by_layer}, {"complete": False}).complete


def test_printed_results_are_a_table(everything):
    assert repr(everything).splitlines() == [
        "Results of 3 analyzers INCOMPLETE",
        "  lda    3 layers",
        "  words  2 layers by phoneme, word",
        "  dead   1 layer, 1 of 1 INCOMPLETE",
    ]
    assert repr(everything["words"]).splitlines()[1] == (
        "  hidden.0 by phoneme, 12,000 rows: accuracy 0.5"
    )
    many = LayerResults(lda(str(i)) for i in range(100))
    assert repr(many).splitlines()[-1] == "… and 60 more"
    assert repr(Results({})) == "Results of 0 analyzers"


def test_csv_is_the_tidy_table_with_formulas_disarmed(tmp_path, everything):
    everything.to_csv(tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "analyzer,layer,grouping,quantity,value"
    assert lines[1] == "lda,hidden.0,,accuracy,0.5"
    assert len(lines) == 1 + len(everything.scalars())
    evil = Results({"=cmd": LayerResults([lda("@SUM(1)", "-2+3")])})
    evil.to_csv(tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text().splitlines()[1] == "'=cmd,'@SUM(1),'-2+3,accuracy,0.5"


def test_doors_upwards_hand_everything_over(monkeypatch, everything):
    import torchprobe

    for name, door in (("plotting", "plot"), ("report", "write")):
        module = ModuleType(f"torchprobe.{name}")
        setattr(module, door, lambda *args, **options: (args, options))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(torchprobe, name, module, raising=False)
    assert everything.plot("lda", layer="out") == ((everything, "lda"), {"layer": "out"})
    assert everything.report("x.html") == ((everything, "x.html"), {})
    with pytest.raises(LayerNotFoundError, match="mean 'lda'"):
        everything.plot("ldaa")


# -- saved and loaded


@PROPERTY
@given(st.lists(results(), max_size=3, unique_by=lambda r: (r.layer, r.grouping)), st.data())
def test_any_results_come_back_equal(tmp_path_factory, found, data):
    folder = tmp_path_factory.mktemp("saved")
    layers = LayerResults(found)
    saved = Results({data.draw(NAMES): layers}, {"seed": 1, "note": data.draw(NAMES)})
    saved.save(folder / "x")
    back = load(folder / "x")
    assert back == saved
    for key, result in layers.items():
        twin = back[next(iter(saved))][key]
        assert list(twin.fields) == list(result.fields)
        for name, field in result.fields.items():
            assert twin[name].values.tobytes() == field.values.tobytes()
            assert not twin[name].values.flags.writeable
    assert sorted(path.name for path in folder.iterdir()) == ["x"]


def test_saving_twice_gives_the_same_bytes(tmp_path, everything):
    everything.save(tmp_path / "a")
    load(tmp_path / "a").save(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / path.name).read_bytes() == path.read_bytes()


def test_a_report_beside_the_results_survives_saving_again(tmp_path, everything):
    everything.save(tmp_path)
    (tmp_path / "report.html").write_text("page")
    everything.save(tmp_path)
    assert (tmp_path / "report.html").read_text() == "page"
    assert load(tmp_path) == everything


def test_results_that_differ_are_not_equal(everything, by_layer):
    assert everything != Results({"lda": by_layer})
    assert Results({"lda": by_layer}, {"a": 1}) != Results({"lda": by_layer})
    assert Results({"lda": by_layer}, {"a": np.nan}) == Results({"lda": by_layer}, {"a": np.nan})
    assert lda() != lda(accuracy=0.25)
    assert lda(rows=1) != lda()
    assert lda() != "lda"
    assert Results({}) != {}


def test_a_folder_of_something_else_is_no_results(tmp_path):
    storage.save_arrays(tmp_path, {}, {"results": {}, "provenance": {}}, kind="probe")
    with pytest.raises(FileFormatError, match="holds 'probe', not 'results'"):
        load(tmp_path)


ENTRY = {
    "analyzer": "lda",
    "layer": "a",
    "grouping": None,
    "kind": "lda",
    "coords": {},
    "settings": {},
    "provenance": {},
    "fields": {"x": {"array": "0/x", "axes": ["class"], "unit": "", "range": None}},
}


def document(changes=None, field=None):
    fields = {"x": {**ENTRY["fields"]["x"], **(field or {})}}
    return {"results": {"lda": [{**ENTRY, "fields": fields, **(changes or {})}]}, "provenance": {}}


def test_the_forged_document_of_the_next_test_would_be_valid(tmp_path):
    storage.save_arrays(tmp_path, {"0/x": torch.ones(2)}, document(), kind="results")
    assert load(tmp_path)["lda"]["a"].x.tolist() == [1, 1]


@pytest.mark.parametrize(
    "forged",
    [
        None,
        [],
        {},
        {"results": []},
        {"results": {"lda": 3}, "provenance": {}},
        {"results": {"lda": [3]}, "provenance": {}},
        {"results": {}},
        {"results": {}, "provenance": 3},
        document({"layer": 3}),
        document({"grouping": ["a"]}),
        document({"coords": 3}),
        document({"coords": {"class": 5}}),
        document({"coords": {"class": ["only one"]}}),
        document({"settings": 3}),
        document({"provenance": [1]}),
        document({"fields": 3}),
        document({"fields": {"__reduce__": ENTRY["fields"]["x"]}}),
        document(field={"array": "../0"}),
        document(field={"array": ["0/x"]}),
        document(field={"axes": 5}),
        document(field={"axes": [5]}),
        document(field={"axes": ["class", "channel"]}),
        document(field={"unit": 3}),
        document(field={"range": 3}),
        document(field={"range": [1, 2, 3]}),
        document(field={"range": ["a", "b"]}),
        document(field={"range": [2, 3]}),
    ],
    ids=lambda forged: str(forged)[-60:],
)
def test_forged_results_are_refused_with_the_folder(tmp_path, forged):
    storage.save_arrays(tmp_path, {"0/x": torch.ones(2)}, forged, kind="results")
    with pytest.raises(FileFormatError, match="torchprobe cannot have written") as raised:
        load(tmp_path)
    assert str(tmp_path) in str(raised.value)
