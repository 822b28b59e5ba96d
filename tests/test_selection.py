"""Which layers a selector means."""

import pytest
import torch
from torch import nn

from torchprobe.errors import CompileError, LayerNotFoundError, SettingError
from torchprobe.selection import select, types, where


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout()) for _ in range(2)
        )
        self.lstm, self.head = nn.LSTM(3, 3), nn.Linear(3, 2)

    def forward(self, x):
        return x


def chosen(selector, model=None):
    return list(select(model or Net(), selector).modules)


LEAVES = [f"blocks.{block}.{part}" for block in (0, 1) for part in (0, 1, 2)] + ["lstm", "head"]


# what a selector may be


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("head", ["head"]),
        (["head", "lstm"], ["lstm", "head"]),
        ("blocks.*.1", ["blocks.0.1", "blocks.1.1"]),
        ("blocks.?", ["blocks.0", "blocks.1"]),
        ("model", ["model"]),
        (nn.ReLU, ["blocks.0.1", "blocks.1.1"]),
        ([nn.ReLU, "head"], ["blocks.0.1", "blocks.1.1", "head"]),
        (types(nn.ReLU, nn.LSTM), ["blocks.0.1", "blocks.1.1", "lstm"]),
        (where(lambda name, _: name.endswith(".2")), ["blocks.0.2", "blocks.1.2"]),
        (lambda _, module: isinstance(module, nn.LSTM), ["lstm"]),
        (("head",), ["head"]),
        (iter(["head"]), ["head"]),
        (["*", "!blocks.*", "!model"], ["lstm", "head"]),
        (["!model", "!blocks.*", "*"], ["lstm", "head"]),
        ("!blocks.*", ["lstm", "head"]),
        (["lstm[1]"], ["lstm"]),
        (None, LEAVES),
        ([], LEAVES),
    ],
)
def test_layers_are_chosen_in_the_models_order_by(selector, names):
    assert chosen(selector) == names


def test_modules_of_the_model_choose_themselves():
    model = Net()
    assert chosen(model.head, model) == ["head"]
    assert chosen([model.lstm, "head"], model) == ["lstm", "head"]
    assert chosen(model.blocks[1], model) == ["blocks.1"]


def test_globs_pass_over_containers_that_are_never_called():
    assert "blocks" not in chosen("*")
    assert "blocks" not in chosen(lambda *_: True)


def test_subclasses_are_of_their_type():
    assert chosen(nn.modules.rnn.RNNBase) == ["lstm"]
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    assert chosen(nn.Linear, model) == ["0"]


# the default


def test_by_default_every_module_that_calls_no_other():
    assert chosen(None) == LEAVES
    assert chosen(None, nn.Linear(2, 2)) == ["model"]


def test_attention_is_one_layer_by_default():
    layer = nn.TransformerEncoderLayer(4, 2, batch_first=True)
    assert "self_attn" in chosen(None, layer)
    assert "self_attn.out_proj" not in chosen(None, layer)
    assert chosen(None, nn.MultiheadAttention(4, 2)) == ["model"]


def test_a_module_with_parametrized_weights_is_a_leaf():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), nn.ReLU())
    assert chosen(None, model) == ["0", "1"]


def test_a_module_that_holds_its_parent_is_a_leaf():
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].parent = model
    assert chosen(None, model) == ["0"]


def test_a_module_that_calls_a_shared_one_is_no_leaf():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential())
    model[1].append(model[0])
    assert chosen(None, model) == ["0"]


def test_parameters_are_no_layers():
    model = nn.Sequential(nn.Linear(2, 2))
    model.scales = nn.ParameterList([torch.ones(2)])
    assert chosen(None, model) == ["0"]


# shared modules


def shared():
    model = nn.Module()
    model.encoder = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 4))
    model.decoder = nn.Sequential(model.encoder[0], nn.Linear(4, 4))
    return model


def test_any_name_of_a_shared_module_chooses_it():
    assert chosen("decoder.0", shared()) == ["encoder.0"]
    assert chosen("decoder.*", shared()) == ["encoder.0", "decoder.1"]


def test_excluding_by_glob_leaves_what_stands_elsewhere_too():
    assert chosen(["encoder.*", "!decoder.*"], shared()) == ["encoder.0", "encoder.1"]
    assert chosen(["encoder.*", "!decoder.0"], shared()) == ["encoder.1"]


# parts and calls


def test_a_layer_chosen_whole_is_wanted_in_every_part_and_call():
    selection = select(Net(), ["lstm"])
    assert selection.wants("lstm", "[1][0]", 7)
    assert selection.wants("lstm", "[0]", None)
    assert not selection.wants("head")


def test_parts_and_calls_are_wanted_as_written():
    selection = select(Net(), ["lstm[1]", "blocks.*.1@2"])
    assert selection.wants("lstm", "[1][0]")
    assert not selection.wants("lstm", "[0]")
    assert selection.wants("blocks.0.1", "", 1)
    assert not selection.wants("blocks.0.1", "", 0)


def test_wholes_and_parts_add_up():
    selection = select(Net(), ["lstm[1]", "lstm"])
    assert selection.wants("lstm", "[0]")
    selection = select(Net(), ["lstm[0]", "lstm[1][1]"])
    assert [selection.wants("lstm", path) for path in ("[0]", "[1][0]", "[1][1]")] == [1, 0, 1]


def test_parts_can_be_excluded():
    selection = select(Net(), ["lstm", "!lstm[1]"])
    assert selection.wants("lstm", "[0]")
    assert not selection.wants("lstm", "[1][1]")


def test_patterns_for_parts_that_never_came_are_told():
    selection = select(Net(), ["lstm[0]", "lstm[7]", "blocks.*.1@2", "head", "!head[3]"])
    for path in ("[0]", "[1][0]", "[1][1]"):
        selection.wants("lstm", path)
    selection.wants("blocks.0.1", "", 1)
    selection.wants("head")
    assert set(selection.unmet()) == {"lstm[7]", "!head[3]"}


# the input


def test_the_input_is_chosen_by_its_name_only():
    assert select(Net(), ["input", "head"]).input
    assert not select(Net(), "*").input
    assert not select(Net()).input
    selection = select(Net(), "input")
    assert (selection.input, dict(selection.modules)) == (True, {})
    assert selection.wants("input")
    assert not select(Net(), ["input", "head", "!input"]).input


def test_the_input_goes_by_another_name_where_a_layer_has_it():
    model = nn.Sequential()
    model.add_module("input", nn.Linear(2, 2))
    assert not select(model, "input").input
    assert select(model, "input_").input


# errors


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("haed", r"layer 'haed' not found .*did you mean 'head'\?.*tp.layers\(model\)"),
        (["head", "conv9"], "layer 'conv9' not found"),
        (["head", "conv*"], r"layer 'conv\*' not found"),
        (["head", "!conv"], "layer '!conv' not found"),
        ("lstm9[0]", r"layer 'lstm9\[0\]' not found .*did you mean 'lstm'"),
        ("", "layer '' not found"),
        ("blocks", r"'blocks' is a ModuleList, which is never called itself; take 'blocks\.\*'"),
        (nn.Conv1d, r"no layer of \d+ matches types\(Conv1d\)"),
        (nn.Linear(2, 2), r"no layer of \d+ matches this Linear"),
        (nn.ModuleList, r"types\(ModuleList\).*'blocks' is a ModuleList"),
        (lambda *_: False, r"no layer of \d+ matches <function"),
        (["head", "!head"], "no layer is left after '!head'"),
    ],
)
def test_what_matches_nothing_is_an_error(selector, message):
    with pytest.raises(LayerNotFoundError, match=message):
        select(Net(), selector)


@pytest.mark.parametrize("selector", [3, [3], ["head", None], 2.5, [["head"]]])
def test_what_is_no_selector_is_an_error(selector):
    with pytest.raises(SettingError, match="is no selector"):
        select(Net(), selector)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(1, 2))])
def test_scripted_and_traced_layers_are_refused(make):
    model = nn.Sequential(nn.Linear(2, 2), make(nn.Sequential(nn.Linear(2, 2))))
    assert chosen("0", model) == ["0"]
    with pytest.raises(CompileError, match=r"'1' is a .*before scripting or tracing"):
        select(model, ["0", "1"])


def test_hostile_names_are_chosen_as_they_stand():
    names = ["a[0]", "a@2", "!a", "*", "a\nb"]
    model = nn.ModuleDict({name: nn.ReLU() for name in names})
    for name in names:
        assert chosen(name, model) == [name]
