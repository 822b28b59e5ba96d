import re
from pathlib import Path

import pytest

from torchprobe import plotting
from torchprobe.errors import PluginWarning
from torchprobe.report import Figure, Section, Table, contents, write
from torchprobe.results import Results

# -- nothing on the page is what it must not be


def test_no_name_from_data_becomes_markup(page, selective, hostile):
    results = selective(hostile[:2], hostile, grouping=hostile[3], notes=hostile, axes=hostile[4])
    extra = [Section(hostile[0], hostile[1], [Table(hostile, [hostile], hostile[2])])]
    shown = page(results, title=hostile[0], intro="\n\n".join(hostile), extra=extra)
    assert len(shown.all("script")) == 1
    assert {tuple(sorted(image)) for image in shown.all("img")} <= {
        ("alt", "height", "src", "width"),
        ("alt", "class", "height", "src", "width"),
    }
    assert "49" not in re.findall(r"\b\d+\b", shown.text)
    assert "</script><img src=x onerror=alert(1)>" in shown.text
    assert r"\x1b[31mred\x00" in shown.text
    assert not set(shown.source) & {"\x1b", "\x00", "\u202e"}


def test_the_page_loads_nothing_and_runs_nothing(page, selective):
    shown = page(selective())
    policy = next(each["content"] for each in shown.all("meta") if "http-equiv" in each)
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert all(image["src"].startswith("data:image/") for image in shown.all("img"))
    assert all(link["href"].startswith("#") for link in shown.all("a"))
    assert shown.all("script") == [{"type": "application/json", "id": "torchprobe-data"}]
    assert not any(name in shown.source for name in ("http:", "https:", "@import", "url("))
    assert not any(key.startswith("on") for _, each in shown.elements for key in each)


def test_every_picture_says_what_it_shows(page, selective):
    images = page(selective()).all("img")
    assert images
    assert all(image["alt"] and int(image["width"]) > 100 for image in images)


def test_links_lead_to_sections_that_exist(page, selective, hostile):
    shown = page(selective(), extra=[Section(name) for name in hostile])
    ids = {each["id"] for _, each in shown.elements if "id" in each}
    targets = {link["href"].removeprefix("#") for link in shown.all("a")}
    assert targets <= ids
    assert all(re.fullmatch(r"[a-z0-9-]+", each) for each in ids)


# -- what stands on it


def test_the_single_numbers_are_there_as_data(page, selective):
    results = selective()
    first = page(results).data[0]
    assert (first["analyzer"], first["layer"], first["grouping"]) == (
        "class_selectivity",
        "relu.1",
        "label",
    )
    assert first["numbers"] == results["class_selectivity"]["relu.1"].scalars()
    assert first["settings"]["cutoff"] == 0.5
    assert first["provenance"]["rows"] == 60


def test_numbers_that_json_has_not_stay_readable(page, selective):
    assert page(selective(classes=["one"])).data[0]["numbers"]["n_clusters"] == {"$float": "nan"}


def test_class_selectivity_has_a_section_with_clusters_and_clustergrams(page, selective):
    shown = page(selective(["relu.1", "relu.2"]))
    assert "Class selectivity" in shown.text
    assert "clusters at 0.5" in shown.text
    assert len(shown.all("img")) == 3  # clusters by layer, and a clustergram of each


def test_an_analyzer_without_a_plugin_has_its_numbers_and_a_drawing(page, numbers):
    shown = page(Results({"mine": numbers()}))
    assert "Mine" in shown.text
    assert "fc.1" in shown.text
    assert len(shown.all("img")) == 1


def test_sections_of_one_s_own_come_first(page, numbers):
    figure = Figure(plotting.by_layer({"": {"a": 1}}), "My caption with `code`")
    extra = [Section("Before", "First\n\nSecond `x < y`.", [Table(["k"], [["v"]])], [figure])]
    shown = page(Results({"mine": numbers()}), extra=extra)
    assert shown.text.index("Before") < shown.text.index("Mine")
    assert ("code", "x < y") in shown.texts
    assert "My caption with code" in [image["alt"] for image in shown.all("img")]


def test_settings_and_coverage_are_told(page, selective):
    left = {"nonfinite_rows": 3, "skipped": {"torch.func transform": 2}, "axes": "sample channel"}
    text = page(selective(**left)).text
    assert "cutoff 0.5" in text
    assert "3 rows with NaN or infinity" in text
    assert "2 forward passes: torch.func transform" in text
    assert "sample channel" in text


def test_what_is_incomplete_says_so_before_anything_else(page, selective):
    lost = {"complete": False, "rolled_back": {"KeyboardInterrupt": 1}, "notes": ["stopped early"]}
    shown = page(selective(**lost), intro="The intro.")
    assert shown.text.index("Incomplete") < shown.text.index("The intro.")
    assert "1 forward pass forgotten: KeyboardInterrupt" in shown.text
    assert "stopped early" in shown.text
    assert {"class": "badge"} in shown.all("span")


def test_an_incomplete_run_says_so(page, numbers):
    provenance = {"complete": False, "notes": ["a process was lost"], "seed": 7}
    shown = page(Results({"mine": numbers()}, provenance))
    assert "a process was lost" in shown.text[: shown.text.index("fc.1")]
    assert "seed 7" in shown.text


def test_what_is_complete_raises_no_alarm(page, selective):
    shown = page(selective())
    assert "Incomplete" not in shown.text
    assert {"class": "alarm", "role": "note"} not in shown.all("aside")


def test_notes_of_an_analyzer_stand_in_its_section(page, selective):
    assert "no two classes" in page(selective(classes=["one"])).text


def test_no_results_are_a_page_too(page):
    assert "There are no results." in page(Results({})).text


# -- plugins that misbehave


def test_a_drawing_that_fails_is_told_and_the_rest_is_written(page, numbers, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(contents, "plot", fail)
    with pytest.warns(PluginWarning, match="drawing '' of 'mine' failed: ZeroDivisionError"):
        shown = page(Results({"mine": numbers()}))
    assert "fc.1" in shown.text
    assert not shown.all("img")


def test_sections_follow_the_order_of_the_analyzers(page, numbers, monkeypatch):
    offered = [Section("About none"), Section("About b", analyzers=["b"])]

    class Offered:
        def report_sections(self, results):
            return offered

        def analyzers(self):
            return {}

        def plots(self):
            return {}

    monkeypatch.setattr(contents, "plugins", Offered)
    results = Results({name: numbers(analyzer=name) for name in ("a", "b", "c")})
    titles = [text for tag, text in page(results).texts if tag == "h2"]
    assert titles == ["A", "About b", "C", "About none"]


# -- the file


def test_the_page_is_replaced_in_one_step(tmp_path, numbers, monkeypatch):
    path = write(Results({"mine": numbers()}), tmp_path / "a" / "report.html")
    assert path == tmp_path / "a" / "report.html"
    before = path.read_bytes()

    def fail(self, target):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail, raising=True)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(Results({"mine": numbers()}), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_results_write_their_own_report(tmp_path, numbers):
    results = Results({"mine": numbers()})
    assert "My title" in results.report(tmp_path / "r.html", title="My title").read_text("utf-8")


def test_more_figures_are_folded_away_until_asked_for(page, numbers):
    picture = Figure(plotting.figure(1, 1), "Behind the fold.")
    told = page(Results({"mine": numbers()}), extra=[Section("Mine", more=[picture, picture])])
    assert "2 more figures" in told.text
    assert told.text.count("Behind the fold.") == 2


def test_figures_lie_beside_the_page_where_asked_for(page, numbers, tmp_path):
    picture = Figure(plotting.figure(1, 1), "One.")
    extra = [Section("../Mine & yours", figures=[picture], more=[picture])]
    page(Results({"mine": numbers()}), extra=extra, figures=tmp_path / "figures")
    files = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert files[:2] == ["01-mine-yours-01.svg", "01-mine-yours-02.svg"]
