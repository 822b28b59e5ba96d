import pytest
from torchprobe_projection import Fitted, Pca, Projection, Projector, projectors, register_projector
from torchprobe_projection import registry as module

import torchprobe as tp
from torchprobe.errors import MissingExtraError, SettingError


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """A registry that a test may fill."""
    monkeypatch.setattr(module, "_REGISTERED", dict(module._REGISTERED))


def first_two():
    class FirstTwo(Projector):
        name = "first_two"

        def __init__(self, scale=1.0):
            self.scale = scale

        def fit(self, rows, seed):
            return Fitted(self.scale * rows[:, :2])

    return FirstTwo


def test_a_registered_projector_is_used_by_its_name(feed, rows):
    register_projector(first_two())
    splits = {"fit": rows(40)[0], "score": rows(40, seed=1)[0]}
    options = {"first_two": {"scale": -2.0}}
    result = feed(splits, methods="first_two", options=options, keep_rows=True).compute()
    assert result.coords["method"] == ("first_two", "random")
    assert (result.coordinates[0] == -2 * result.rows[:, :2]).all()


def test_a_map_of_a_registered_projector_can_be_kept(feed, rows):
    class Flat(Pca):
        name = "flat"

    register_projector(Flat)
    result = feed({"fit": rows(90)[0]}, methods="flat", keep_rows=True).compute()
    from torchprobe_projection import encoder

    assert (abs(encoder(result, "flat")(result.rows).numpy() - result.coordinates[0]) < 1e-12).all()


def test_the_same_class_again_replaces_what_was_there():
    register_projector(first_two())
    again = register_projector(first_two())
    assert projectors()["first_two"] is again


def test_a_name_that_another_class_has_is_refused():
    class Usurper(Projector):
        name = "pca"

        def fit(self, rows, seed):
            return Fitted(rows[:, :2])

    with pytest.raises(SettingError, match=r"'pca' is taken by torchprobe_projection.linear.Pca"):
        register_projector(Usurper)
    assert projectors()["pca"] is Pca


@pytest.mark.parametrize("name", ["", "my method", "a-b"])
def test_a_name_that_fields_could_not_have_is_refused(name):
    class Nameless(first_two()):
        pass

    Nameless.name = name
    with pytest.raises(SettingError, match="name = 'my_method'"):
        register_projector(Nameless)


@pytest.mark.parametrize("thing", [int, "pca", Pca()])
def test_what_is_no_projector_is_refused(thing):
    with pytest.raises(SettingError, match="subclass of Projector"):
        register_projector(thing)


def test_a_package_of_somebody_s_own_is_named_without_an_extra():
    class Needy(first_two()):
        name = "needy"
        packages = ("no-such-package-anywhere",)

    register_projector(Needy)
    with pytest.raises(MissingExtraError, match="pip install 'no-such-package-anywhere'"):
        Projection(methods="needy")


def test_it_is_offered_as_an_analyzer():
    assert tp.plugins().analyzer("projection") is Projection
