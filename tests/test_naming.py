"""Names of modules: the same whatever wraps the model, one for each module."""

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.utils.parametrizations import weight_norm
from torch.optim.swa_utils import AveragedModel

from torchprobe.naming import aliases, canonical_names, input_name, never_called, root_name


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))


NAMES = ["model", "0", "1", "1.0", "1.1"]


class DistributedDataParallel(nn.Module):
    """Wraps as torch's class of this name does, without processes."""

    def __init__(self, module):
        super().__init__()
        self.module = module


def with_checkpointed_part(model):
    model[1] = checkpoint_wrapper(model[1])
    return model


def with_compiled_part(model):
    model[1] = torch.compile(model[1])
    return model


def with_weight_norm(model):
    weight_norm(model[0])
    return model


WRAPPERS = [
    nn.DataParallel,
    DistributedDataParallel,
    torch.compile,
    checkpoint_wrapper,
    AveragedModel,
    torch.jit.script,
    with_checkpointed_part,
    with_compiled_part,
    with_weight_norm,
    lambda model: DistributedDataParallel(torch.compile(checkpoint_wrapper(model))),
]


@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda wrap: getattr(wrap, "__name__", "?"))
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_names_are_the_same_in_any_wrapper(wrap):
    assert list(canonical_names(wrap(net()))) == NAMES


def test_names_are_those_of_torch():
    model = net()
    assert list(canonical_names(model).items())[1:] == list(model.named_modules())[1:]


def test_of_a_wrapper_and_what_it_wraps_the_latter_has_the_name():
    model = net()
    inner = model[1]
    wrapped = nn.DataParallel(with_checkpointed_part(model))
    assert canonical_names(wrapped)["model"] is model
    assert canonical_names(wrapped)["1"] is inner


def test_a_module_that_a_user_called_module_keeps_its_name():
    model = nn.Module()
    model.module = nn.Linear(2, 2)
    model._orig_mod = nn.ReLU()
    assert list(canonical_names(model)) == ["model", "module", "_orig_mod"]


def test_the_model_is_renamed_where_a_child_is_called_model():
    model = nn.Module()
    model.model = nn.Linear(2, 2)
    model.model_ = nn.ReLU()
    assert root_name(model) == "model__"
    assert list(canonical_names(model)) == ["model__", "model", "model_"]


def test_the_input_is_renamed_where_a_child_is_called_input():
    model = nn.Module()
    assert (root_name(model), input_name(model)) == ("model", "input")
    model.input = nn.Linear(2, 2)
    assert input_name(model) == "input_"


def test_a_shared_module_has_one_name_and_others_beside_it():
    model = nn.Module()
    model.encoder = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model.decoder = model.encoder
    model.out = model.encoder[0]
    assert list(canonical_names(model)) == ["model", "encoder", "encoder.0", "encoder.1"]
    assert aliases(model) == {
        "encoder": ("decoder",),
        "encoder.0": ("decoder.0", "out"),
        "encoder.1": ("decoder.1",),
    }


def test_a_cycle_of_modules_ends():
    model = nn.Module()
    model.child = nn.Linear(2, 2)
    model.child.parent = model
    model.me = model
    assert list(canonical_names(model)) == ["model", "child"]
    assert aliases(model) == {"model": ("child.parent", "me")}


def test_nested_sharing_is_bounded():
    """Each level holds the next one twice: 2 ** 40 names."""
    module = nn.Linear(2, 2)
    for _ in range(40):
        parent = nn.Module()
        parent.a = parent.b = module
        module = parent
    assert len(canonical_names(module)) == 41
    assert max(map(len, aliases(module).values())) < 100


HOSTILE = ["/etc/passwd", "CON", "a\nb\0", "é" * 200, "<script>", "a[0]", "a@2", "*", "!a", "..."]


def test_hostile_names_are_names():
    model = nn.ModuleDict({name.replace(".", "·"): nn.ReLU() for name in HOSTILE})
    assert len(canonical_names(model)) == len(HOSTILE) + 1


def test_two_modules_never_have_one_name():
    """torch's own names collide where a child's name holds a dot."""
    model = nn.Module()
    model._modules["a.b"] = nn.ReLU()
    model.a = nn.Module()
    model.a.b = nn.Tanh()
    model._modules["model"] = None
    assert list(canonical_names(model)) == ["model", "a.b", "a", "a.b~2"]
    assert len({id(module) for module in canonical_names(model).values()}) == 4


def test_a_module_without_init_is_no_obstacle():
    class Broken(nn.Module):
        def __init__(self):
            pass

    model = nn.Module()
    model._modules["broken"] = object.__new__(Broken)
    assert list(canonical_names(model)) == ["model", "broken"]


@pytest.mark.parametrize("container", [nn.ModuleList(), nn.ModuleDict(), nn.ParameterList()])
def test_mere_containers_are_never_called(container):
    assert never_called(container)
    assert not never_called(nn.Sequential())


def test_a_container_with_a_forward_of_its_own_is_called():
    class Stack(nn.ModuleList):
        def forward(self, x):
            return x

    assert not never_called(Stack())
