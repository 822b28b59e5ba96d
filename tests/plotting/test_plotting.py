import ast
import io
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from torchprobe import plotting
from torchprobe.errors import LayerNotFoundError, NothingToDrawError, SettingError
from torchprobe.plotting import dispatch
from torchprobe.results import Field, LayerResults, Result, Results

NUMBERS = Result("numbers", "fc", fields={"size": Field("", 3)})


@pytest.fixture
def offered(monkeypatch):
    """Plots as a plugin would offer them."""

    def overview(results, colour="red"):
        figure = plotting.figure(1, 1)
        figure.set_label(f"{results.layers} {colour} {mpl.rcParams['font.family']}")
        return figure

    def detail(results):
        return plotting.figure(2, 2)

    class Offered:
        def plots(self):
            return {"numbers": overview, "numbers:detail": detail, "other": detail}

    monkeypatch.setattr(dispatch, "plugins", Offered)


def test_a_gallery_has_every_view_and_says_what_there_was_nothing_to_draw_of(monkeypatch, tmp_path):
    def nothing(results):
        raise NothingToDrawError("no profiles here")

    class Offered:
        def plots(self):
            return {"numbers:profiles": nothing}

    monkeypatch.setattr(dispatch, "plugins", Offered)
    results = Results({"../numbers": LayerResults([NUMBERS])})
    found = results.gallery(tmp_path / "figures")
    assert found["../numbers:profiles"] == "no profiles here"
    written = {path for path in found.values() if isinstance(path, Path)}
    assert written == set(tmp_path.rglob("*.png"))
    assert {path.parent for path in written} == {tmp_path / "figures"}
    assert len(written) == 2  # the overview and "numbers"


def test_a_gallery_draws_groupings_one_by_one_where_a_view_cannot_show_them_together(
    monkeypatch, tmp_path
):
    def one(results):
        if len(results.groupings) > 1:
            raise SettingError("say which grouping")
        return plotting.figure(1, 1)

    class Offered:
        def plots(self):
            return {"numbers:one": one}

    monkeypatch.setattr(dispatch, "plugins", Offered)
    by = [Result("numbers", "fc", name, fields={"size": Field("", 3)}) for name in ("a", "b")]
    found = Results({"mine": LayerResults(by)}).gallery(tmp_path)
    assert {"mine:one:a", "mine:one:b"} < set(found)
    assert found["mine:one:b"].name == "mine-one-b.png"


def test_the_kind_and_view_decide_who_draws(offered):
    assert plotting.plot(NUMBERS).get_label().startswith("('fc',) red")
    assert plotting.plot(NUMBERS, view="detail").get_figwidth() == 2
    assert plotting.views("numbers") == ("", "numbers", "detail")


def test_drawings_are_made_in_torchprobe_s_style_and_leave_the_user_s(offered):
    before = dict(mpl.rcParams)
    assert "DejaVu Sans" in plotting.plot(NUMBERS).get_label()
    assert dict(mpl.rcParams) == before


def test_the_user_s_settings_do_not_reach_the_pictures():
    with mpl.rc_context({"text.usetex": True, "axes.facecolor": "black", "font.size": 40}):
        figure = plotting.by_layer({"$": {"$a$": 1, "b": 2}}, title="$")
        assert plotting.png(figure) == plotting.png(figure)
        axes = figure.axes[0]
    assert axes.get_facecolor() == (1, 1, 1, 1)
    assert not axes.get_xticklabels()[0].get_usetex()


def test_results_of_any_extent_can_be_drawn(offered):
    layers = LayerResults([NUMBERS])
    both = Results({"numbers": layers, "another": layers})
    for drawn in (
        plotting.plot(layers),
        plotting.plot(both, "numbers"),
        plotting.plot(Results({"numbers": layers})),
        both.plot("numbers", colour="red"),
    ):
        assert drawn.get_label().startswith("('fc',) red")
    with pytest.raises(SettingError, match="say whose results"):
        plotting.plot(both)


def test_wrong_names_are_told_with_those_there_are(offered):
    with pytest.raises(SettingError, match="did you mean 'detail'"):
        plotting.plot(NUMBERS, view="detial")
    with pytest.raises(SettingError, match="options of this drawing: colour"):
        plotting.plot(NUMBERS, color="blue")
    with pytest.raises(LayerNotFoundError, match="analyzer"):
        Results({"numbers": LayerResults([NUMBERS])}).plot("nubmers")


def test_an_analyzer_without_a_plot_gets_its_numbers_by_layer(offered):
    result = Result("mine", "fc", fields={"size": Field("", 3)}, kind="unheard of")
    assert plotting.plot(result).axes[0].get_ylabel() == "size"
    assert plotting.plot(NUMBERS, view="numbers", name="size").axes[0].get_ylabel() == "size"


def test_pyplot_which_opens_windows_is_never_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # an import would fail
    plotting.png(plotting.by_layer({"a": {"x": 1, "y": 2}}))
    plotting.png(plotting.clustergram([[0.0, 1], [1, 0]]))


def test_matplotlib_waits_for_the_first_figure():
    for path in Path(plotting.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)) and path.stem != "_figure":
                assert "matplotlib" not in ast.unparse(node), path


def test_a_notebook_shows_what_a_cell_returns():
    assert plotting.figure(1, 1)._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "PNG"])
def test_figures_are_saved_as_their_ending_says(tmp_path, ending):
    path = plotting.save(plotting.by_layer({"": {"a": 1}}), tmp_path / "new" / f"figure.{ending}")
    assert path.stat().st_size > 1000


def test_the_same_figure_gives_the_same_bytes(tree):
    def drawn():
        return plotting.clustergram([[0.0, 1, 2], [2, 1, 0]], row_names=["a", "b"], title="t")

    assert plotting.png(drawn()) == plotting.png(drawn())
    assert plotting.svg(drawn()) == plotting.svg(drawn())


def test_an_unknown_ending_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(SettingError, match=r"which is one of .*png.*svg"):
        plotting.save(plotting.figure(1, 1), tmp_path / "figure.docx")
    with pytest.raises(SettingError, match="ending says the format"):
        plotting.save(plotting.figure(1, 1), tmp_path / "figure")
    assert not list(tmp_path.iterdir())


def test_categories_keep_their_colours_in_order():
    colours = plotting.category_colours(["stop", "vowel", "stop"])
    assert list(colours) == ["stop", "vowel"]
    assert len(set(colours.values())) == 2


def test_56_things_look_different():
    assert len(set(plotting.marks(56))) == 56
    assert len(plotting.marks(100)) == 100


def test_of_many_items_some_are_taken_from_the_first_to_the_last():
    assert plotting.spread("abcdefgh", 3) == ["a", "e", "h"]
    assert plotting.spread(range(3), 3) == [0, 1, 2]


@pytest.mark.parametrize("layout", ["constrained", "tight", None])
@pytest.mark.parametrize("ending", ["svg", "png"])
def test_saving_lays_out_once_as_matplotlib_does_and_changes_no_figure(layout, ending):
    def made():
        figure = Figure(figsize=(4, 3), layout=layout)
        figure.colorbar(figure.subplots().imshow([[0, 1], [2, 3]]), label="a long label")
        return figure

    figure, expected = made(), made()
    engine = figure.get_layout_engine()
    encode = plotting.svg if ending == "svg" else plotting.png
    assert encode(figure) == encode(made())
    assert figure.get_layout_engine() is engine
    before = [axes.get_position().bounds for axes in made().axes]
    expected.savefig(io.BytesIO(), format=ending)
    for axes, theirs, first in zip(figure.axes, expected.axes, before, strict=True):
        mine = axes.get_position().bounds
        np.testing.assert_allclose(mine, theirs.get_position().bounds, atol=0.02)
        assert layout is None or not np.allclose(mine, first, atol=0.02)
