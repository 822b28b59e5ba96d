import pytest
from torch import nn
from torchprobe_lda import LDA, study, torchprobe_report_sections
from torchprobe_lda.section import describe

import torchprobe as tp
from torchprobe import report


@pytest.fixture(scope="module")
def studied(batches, trio):
    model, rows, labels = trio(300)
    loaders = {"fit": batches(rows, labels), "score": batches(rows, labels)}
    return study(model, ["far", "output"], **loaders, lda=LDA(sample=200), progress=False)


def test_it_shows_the_table_and_every_picture(studied):
    section = describe(studied["lda"])
    assert section.title == "Linear discriminant analysis"
    assert section.analyzers == ("lda",)
    columns = section.tables[0].columns
    assert {"accuracy, fit", "accuracy, held out", "labels shuffled", "the network"} <= set(columns)
    assert len(section.figures) == 8
    assert "separable" in section.text
    assert "Not drawn" not in section.text
    assert all("`label`" in figure.caption for figure in section.figures)


def test_what_could_not_be_drawn_is_told_with_the_reason(batches, clouds):
    results = tp.Probe(nn.Identity(), "input", ["lda"]).run(batches(*clouds()), progress=False)
    section = describe(results["lda"])
    assert "Not drawn: t-SNE: the results of 'input' hold no points" in section.text
    assert "Not drawn: MDS" in section.text
    assert len(section.figures) == 2  # of a single layer: explained variance and confusions


def test_classes_are_drawn_and_what_is_said_about_them_is_not(batches, trio):
    model, rows, labels = trio(300)
    loader = batches(rows, {"phone": labels, "odd": labels % 2}, 100)
    probe = tp.Probe(model, ["input", "far"], [LDA(sample=100)])
    results = probe.run(fit=loader, score=loader, progress=False)
    captions = [figure.caption for figure in describe(results["lda"]).figures]
    assert sum("`phone`" in caption for caption in captions) > 4
    assert sum("`odd`" in caption for caption in captions) > 3
    computed = tp.Probe(
        model, ["input", "far"], [LDA(sample=100)], groupings={"correct": tp.correct("phone")}
    )
    loader = batches(rows, {"phone": labels}, 100)
    results = computed.run(fit=loader, score=loader, progress=False)
    section = describe(results["lda"])
    assert all("`phone`" in figure.caption for figure in section.figures)
    assert "the network" in section.tables[0].columns


def test_it_speaks_for_lda_and_leaves_linear_probes_a_plain_section(batches, clouds):
    loader = batches(*clouds(n=60))
    probe = tp.Probe(nn.Identity(), "input", {"mine": LDA(), "linear_probe": "linear_probe"})
    results = probe.run(loader, progress=False)
    (section,) = torchprobe_report_sections(results)
    assert section.analyzers == ("mine",)


def test_a_report_holds_it(studied, tmp_path):
    text = report.write(studied, tmp_path / "r.html").read_text()
    assert "Linear discriminant analysis" in text
    assert text.count("data:image") >= 8
