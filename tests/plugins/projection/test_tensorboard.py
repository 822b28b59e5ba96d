import numpy as np
import pytest
from torchprobe_projection import export_tensorboard

from torchprobe.errors import SettingError
from torchprobe.results import Field, LayerResults, Result


def result(layer, *, rows=False, labelled=True, classes=("aa", "t")):
    places = np.arange(12.0).reshape(2, 3, 2) / 3
    own = {"coordinates": Field("method point axis", places), "ids": Field("point", [7, 5, 9])}
    coords = {"method": ("pca", "random")}
    if rows:
        own["rows"] = Field("point channel", np.eye(3, 4))
    if labelled:
        own["labels"] = Field("grouping point", [[1, -1, 0]])
        coords |= {"class": classes, "grouping": ("phone",)}
    return Result("projection", layer, fields=own, coords=coords)


def test_every_picture_has_its_points_and_their_labels(tmp_path):
    config = export_tensorboard(LayerResults([result("h.1"), result("h.2")]), tmp_path / "tb")
    assert config.name == "projector_config.pbtxt"
    assert sorted(path.name for path in (tmp_path / "tb").iterdir()) == [
        "000-h.1-pca", "001-h.2-pca", "projector_config.pbtxt",
    ]  # fmt: skip
    part = tmp_path / "tb" / "000-h.1-pca"
    found = np.loadtxt(part / "tensors.tsv", delimiter="\t")
    assert np.allclose(found, np.arange(6).reshape(3, 2) / 3, rtol=1e-8)
    lines = (part / "metadata.tsv").read_text().splitlines()
    assert lines == ["id\tphone", "7\tt", "5\tno label", "9\taa"]


def test_the_configuration_names_every_file(tmp_path):
    text = export_tensorboard(LayerResults([result('a"b\\c')]), tmp_path).read_text()
    assert text == (
        "embeddings {\n"
        '  tensor_name: "a\\"b\\\\c pca"\n'
        '  tensor_path: "000-a-b-c-pca/tensors.tsv"\n'
        '  metadata_path: "000-a-b-c-pca/metadata.tsv"\n'
        "}\n"
    )


def test_activations_are_written_where_they_were_kept(tmp_path):
    text = export_tensorboard(LayerResults([result("a", rows=True)]), tmp_path).read_text()
    assert "a activations" in text
    found = np.loadtxt(tmp_path / "000-a-activations" / "tensors.tsv", delimiter="\t")
    assert np.array_equal(found, np.eye(3, 4))


def test_categories_are_a_further_column(tmp_path):
    export_tensorboard(LayerResults([result("a")]), tmp_path, categories={"aa": "vowel"})
    lines = (tmp_path / "000-a-pca" / "metadata.tsv").read_text().splitlines()
    assert lines == ["id\tphone\tcategory", "7\tt\tt", "5\tno label\tno label", "9\taa\tvowel"]


def test_points_without_labels_have_their_ids_alone(tmp_path):
    """A single column has no heading: the projector would take it for a point."""
    export_tensorboard(LayerResults([result("a", labelled=False)]), tmp_path)
    assert (tmp_path / "000-a-pca" / "metadata.tsv").read_text().splitlines() == ["7", "5", "9"]


def test_names_cannot_add_columns_points_or_folders(tmp_path):
    hostile = result("../../etc\n", classes=("a\tb", "c\nd"))
    text = export_tensorboard(LayerResults([hostile]), tmp_path / "tb").read_text()
    assert len(text.splitlines()) == 5
    (part,) = [path for path in (tmp_path / "tb").iterdir() if path.is_dir()]
    assert part.name == "000-etc-pca"
    lines = (part / "metadata.tsv").read_text().splitlines()
    assert [line.count("\t") for line in lines] == [1] * 4


def test_nothing_to_export_is_told(tmp_path):
    with pytest.raises(SettingError, match="no result"):
        export_tensorboard(LayerResults([]), tmp_path)
