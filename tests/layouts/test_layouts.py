"""Who decides on axes, what is said where nobody can, and that nothing stays behind."""

import gc
import re
import subprocess
import sys
import threading
import weakref

import pytest
import torch
from layouts.following import Followed
from layouts.zoo import Calls
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from torchprobe.errors import LayerNotFoundError, LayoutError, SettingError
from torchprobe.layouts import Layouts
from torchprobe.outputs import leaves


class Unknown(nn.Module):
    """Something whose output no rule knows: [a, b, c, d] of a product that is not listed."""

    def forward(self, x):
        return torch.linalg.inv(x)


def squares():
    return (torch.eye(3).expand(2, 4, 3, 3).clone(),)


def dense(width=4):
    return nn.Sequential(nn.Linear(width, 6), nn.ReLU(), nn.LayerNorm(6))


# who decides


def test_what_the_user_says_of_the_input_is_known_of_every_layer():
    followed = Followed(dense(), (torch.ones(5, 2, 4),), user={"input": "token sample channel"})
    assert set(followed.all().values()) == {"token sample channel"}


def test_what_the_user_says_of_a_late_layer_is_known_of_earlier_ones():
    followed = Followed(dense(), (torch.ones(5, 2, 4),), user={"2": "frame sample channel"})
    assert set(followed.all().values()) == {"frame sample channel"}


def test_the_user_overrules_the_type_of_a_module():
    conv = nn.Sequential(nn.Conv1d(3, 4, 1), nn.ReLU())
    followed = Followed(conv, (torch.ones(2, 3, 5),), user={"0": "sample time channel"})
    assert followed.axes("0") == "sample time channel"


def test_the_user_overrules_plugins_and_plugins_overrule_types():
    def plugin(name, module, shape):
        return "time sample channel" if isinstance(module, nn.ReLU) else None

    model, x = dense(), torch.ones(5, 2, 4)
    assert Followed(model, (x,), plugin=plugin).axes("0") == "time sample channel"
    both = Followed(model, (x,), user={"1": "space sample channel"}, plugin=plugin)
    assert both.axes("1") == "space sample channel"


def test_a_plugin_is_asked_with_name_module_and_shape():
    asked = []
    model = dense()
    Followed(model, (torch.ones(2, 4),), plugin=lambda *args: asked.append(args))
    assert ("0", model[0], (2, 6)) in asked
    assert ("input", model, (2, 4)) in asked


def test_a_module_type_overrules_the_data_flow():
    """A convolution's output has its channels second, whatever its input was taken for."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Conv1d(5, 6, 1))
    followed = Followed(model, (torch.ones(2, 5, 4),))
    assert followed.axes("1") == "sample channel time"


def test_a_name_counts_more_than_a_glob():
    user = {"*": "space sample channel", "1": "time sample channel"}
    followed = Followed(dense(), (torch.ones(5, 2, 4),), user=user)
    assert followed.axes("1") == "time sample channel"
    assert followed.axes("0") == "space sample channel"


def test_a_glob_speaks_of_outputs_with_as_many_axes_only():
    model = nn.Sequential(nn.Conv1d(3, 4, 1), nn.Flatten(), nn.Linear(20, 2))
    followed = Followed(model, (torch.ones(2, 3, 5),), user={"*": "sample channel frame"})
    assert followed.axes("0") == "sample channel frame"
    assert followed.axes("2") == "sample channel"
    followed.layouts.check_used()


def test_a_key_without_a_part_means_the_first_of_several():
    lstm = nn.LSTM(3, 4)
    followed = Followed(lstm, (torch.ones(5, 2, 3),), user={"model": "space sample channel"})
    assert followed.axes("model", "[0]") == "space sample channel"
    assert followed.axes("model", "[1][0]") == "stack sample channel"


def test_a_key_may_name_a_part_or_a_call():
    def forward(m, x):
        return m.act(m.act(m.rnn(x)[0]).transpose(0, 1))

    user = {"rnn[1][*]": "layer sample channel", "act@2": "sample frame channel"}
    model = Calls(forward, rnn=nn.LSTM(3, 4), act=nn.ReLU())
    followed = Followed(model, (torch.ones(5, 2, 3),), user=user)
    assert followed.axes("rnn", "[1][1]") == "layer sample channel"
    assert followed.axes("act", call=0) == "frame sample channel"
    assert followed.axes("act", call=1) == "sample frame channel"


def test_all_names_of_a_shared_module_are_keys():
    model = Calls(lambda m, x: m.two(m.one(x)), one=nn.ReLU())
    model.two = model.one
    followed = Followed(model, (torch.ones(5, 2, 4),), user={"two": "time sample channel"})
    assert followed.axes("one") == "time sample channel"


def test_the_input_has_its_own_name_where_a_layer_is_called_input():
    model = nn.Sequential()
    model.add_module("input", nn.Linear(3, 4))
    followed = Followed(model, (torch.ones(2, 3),), user={"input": "time channel"})
    assert followed.axes("input") == "time channel"
    assert followed.axes("input_") == "time channel"


# what is said where nobody can tell


def test_unknown_axes_are_an_error_with_the_argument_that_settles_them():
    followed = Followed(nn.Sequential(Unknown()), squares())
    with pytest.raises(LayoutError) as error:
        followed.axes("0")
    text = str(error.value)
    assert "layer '0' (Unknown)" in text
    assert "(2, 4, 3, 3)" in text
    assert "'? ? ? ?'" in text
    argument = re.search(r"axes=(\{.*?\})", text).group(1)
    settled = Followed(nn.Sequential(Unknown()), squares(), user=eval(argument))
    assert settled.axes("0") == "sample channel time height"


def test_the_error_tells_what_is_known():
    model = Calls(lambda m, x: m.odd(m.conv(x)[:, :, :4]), conv=nn.Conv1d(4, 4, 1), odd=Unknown())
    followed = Followed(model, (torch.rand(2, 4, 9),), user={"model": "sample unit channel"})
    assert followed.axes("odd") == "sample unit channel"


def test_contradicting_modules_are_named():
    model = Calls(
        lambda m, x: (m.rnn(x), m.conv(x.transpose(1, 2))),
        rnn=nn.GRU(4, 4),
        conv=nn.Conv1d(4, 4, 1),
    )
    followed = Followed(model, (torch.ones(2, 5, 4),))
    with pytest.raises(LayoutError, match="'conv' calls an axis sample that 'rnn' calls time"):
        followed.axes("input")
    assert followed.axes("rnn", "[0]") == "time sample channel"


def test_numbers_without_channels_are_an_error():
    model = Calls(lambda m, x: m.drop(m.conv(x).sum(1)), conv=nn.Conv2d(3, 4, 1), drop=nn.Dropout())
    with pytest.raises(LayoutError, match=r"'sample height width'.*'sample height channel'"):
        Followed(model, (torch.ones(2, 3, 5, 5),)).axes("drop")


def test_given_axes_must_be_as_many_as_there_are():
    followed = Followed(dense(), (torch.ones(2, 4),), user={"1": "sample time channel"})
    with pytest.raises(LayoutError, match=r"1 has shape \(2, 6\) .*'sample time channel' \(3\)"):
        followed.axes("1")


def test_a_plugin_must_name_as_many_axes_as_there_are():
    followed = Followed(dense(), (torch.ones(2, 4),), plugin=lambda *_: "channel")
    with pytest.raises(LayoutError, match=r"'channel' \(1\)"):
        followed.axes("1")


def test_a_key_for_no_layer_is_an_error_at_once():
    with pytest.raises(LayerNotFoundError, match="did you mean '0'"):
        Layouts(dense(), {"00": "sample channel"})


def test_a_key_that_excludes_is_an_error_at_once():
    with pytest.raises(SettingError, match="'!0' excludes"):
        Layouts(dense(), {"!0": "sample channel"})


@pytest.mark.parametrize("axes", ["sample time", "sample channel channel", "time time channel", ""])
def test_axes_that_are_none_are_an_error_at_once(axes):
    with pytest.raises(LayoutError):
        Layouts(dense(), {"0": axes})


def test_a_key_that_fits_nothing_delivered_is_an_error():
    lstm = nn.Sequential(nn.LSTM(3, 4))
    followed = Followed(lstm, (torch.ones(5, 2, 3),), user={"0[2]": "time sample channel"})
    with pytest.raises(LayoutError, match=r"'0\[2\]'.*'0' delivered 0\[0\] \(5, 2, 4\)"):
        followed.layouts.check_used()


def test_a_key_for_a_layer_that_did_not_run_is_an_error():
    model = Calls(lambda m, x: x, idle=nn.ReLU(), busy=nn.ReLU())
    followed = Followed(model, (torch.ones(2, 3),), user={"idle": "sample channel"})
    with pytest.raises(LayoutError, match="'idle' did not run"):
        followed.layouts.check_used()


def test_keys_that_fitted_are_no_error():
    Followed(dense(), (torch.ones(2, 4),), user={"0": "time channel"}).layouts.check_used()


def test_calls_with_different_axes_must_be_told_apart():
    def forward(m, x):
        return m.act(m.conv(m.act(m.rnn(x)[0]).permute(1, 2, 0)))

    model = Calls(forward, rnn=nn.GRU(3, 4), conv=nn.Conv1d(4, 4, 1), act=nn.ReLU())
    followed = Followed(model, (torch.ones(5, 2, 3),))
    with pytest.raises(LayoutError, match="'sample channel time' and 'time sample channel'"):
        followed.layouts.axes("act", "", model.act, (5, 2, 4))


# later forward passes


def test_another_rank_later_is_settled_by_the_type():
    conv = nn.Sequential(nn.Conv1d(3, 4, 1))
    followed = Followed(conv, (torch.ones(2, 3, 5),))
    assert str(followed.layouts.axes("0", "", conv[0], (4, 5))) == "channel time"


def test_another_rank_later_without_a_type_is_an_error():
    model = nn.Sequential(nn.Conv1d(3, 4, 1), nn.ReLU())
    followed = Followed(model, (torch.ones(2, 3, 5),))
    with pytest.raises(LayoutError, match=r"'1' \(ReLU\) is not known"):
        followed.layouts.axes("1", "", model[1], (2, 4, 5, 5))


def test_a_tuple_later_where_a_tensor_was_keeps_its_axes():
    model = dense()
    followed = Followed(model, (torch.ones(5, 2, 4),), user={"input": "time sample channel"})
    assert str(followed.layouts.axes("1", "[0]", model[1], (5, 2, 6))) == "time sample channel"


def test_a_thousand_calls_are_not_kept():
    model = Calls(lambda m, x: [m.act(x) for _ in range(1000)][-1], act=nn.ReLU())
    followed = Followed(model, (torch.ones(2, 3),))
    assert len(followed.layouts._seen["act", ""]) < 100
    assert followed.axes("act", call=0) == "sample channel"
    assert str(followed.layouts.axes("act", "", model.act, (2, 3), 999)) == "sample channel"


# a kernel that cannot be followed


@torch.library.custom_op("torchprobe_tests::dense", mutates_args=())
def opaque_dense(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x @ weight.T


class OpaqueLinear(nn.Linear):
    """As quantized linear layers are: a subclass with its own kernel."""

    def forward(self, x):
        return opaque_dense(x, self.weight)


def test_a_linear_layer_keeps_leading_axes_whatever_its_kernel():
    model = Calls(lambda m, x: m.out(m.rnn(x)[0]), rnn=nn.GRU(3, 4), out=OpaqueLinear(4, 4))
    with torch.no_grad():
        followed = Followed(model, (torch.ones(4, 4, 3),))
    assert followed.axes("out") == "time sample channel"


# nothing stays behind


def test_tensors_are_not_kept_alive():
    born = []
    model = Calls(lambda m, x: m.act(m.act(x)), act=nn.ReLU())
    model.act.register_forward_hook(lambda module, args, output: born.append(weakref.ref(output)))
    layouts, x = Layouts(model), torch.ones(2, 3)
    layouts.enter("model", model, [x])
    model(x)
    gc.collect()
    assert [ref() for ref in born] == [None, None]
    layouts.forget()


def test_recycled_memory_is_another_tensor():
    """The first tensor dies and the second takes its place in memory, with other axes."""
    model = Calls(lambda m, x: m.act(x), act=nn.ReLU())
    layouts = Layouts(model, {"input": "time sample channel"})
    x = torch.ones(3, 3, 3)
    layouts.enter("model", model, [x])
    flow = layouts._pass.flow
    for _ in range(20):
        del x
        x = torch.ones(3, 3, 3)
        assert flow.axes(x)[0][0].label is None
    layouts.forget()


def test_an_exception_leaves_no_mode_behind():
    def fail(m, x):
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        Followed(Calls(fail, act=nn.ReLU()), (torch.ones(2, 3),))
    assert _get_current_dispatch_mode() is None


def test_an_exception_that_the_model_catches_is_no_end():
    def fail(m, x):
        raise ValueError

    def forward(m, x):
        try:
            m.bad(x)
        except ValueError:
            return m.conv(x)

    model = Calls(forward, bad=Calls(fail), conv=nn.Conv1d(3, 4, 1))
    followed = Followed(model, (torch.ones(2, 3, 5),))
    assert followed.axes("model") == "sample channel time"
    assert _get_current_dispatch_mode() is None


def test_after_an_interrupt_other_modes_keep_their_place():
    class Other(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    model, x = dense(), torch.ones(2, 4)
    layouts = Layouts(model)
    layouts.enter("model", model, [x])  # interrupted: no leave, no forget
    with Other() as other:
        layouts.forget()
        assert _get_current_dispatch_mode() is other
        assert torch.equal(x + 1, torch.full((2, 4), 2.0))
    stale = _get_current_dispatch_mode()
    assert stale is layouts._pass.flow
    stale.__exit__(None, None, None)


def test_a_second_pass_may_be_followed_too():
    model = Calls(
        lambda m, x: m.b(x) if x.ndim == 3 else m.a(x), a=nn.Linear(3, 2), b=nn.Linear(3, 2)
    )
    layouts = Layouts(model, {"input": "sample time channel"})
    for x in (torch.ones(2, 3), torch.ones(2, 5, 3)):
        part = model.a if x.ndim == 2 else model.b
        name = "a" if x.ndim == 2 else "b"
        layouts.enter("model", model, [x])
        layouts.enter(name, part, [x])
        output = part(x)
        layouts.leave(name, part, [x], list(leaves(output)))
        layouts.leave("model", model, [x], list(leaves(output)))
        layouts.forget()
    assert str(layouts.axes("a", "", model.a, (2, 2))) == "sample channel"
    assert str(layouts.axes("b", "", model.b, (2, 5, 2))) == "sample time channel"


def test_threads_do_not_meet():
    failures = []

    def follow(model, x, expected):
        try:
            for _ in range(5):
                assert Followed(model, (x,)).axes("0") == expected
        except AssertionError as error:
            failures.append(error)

    pairs = [
        (nn.Sequential(nn.Conv1d(3, 4, 1), nn.ReLU()), torch.ones(2, 3, 5), "sample channel time"),
        (dense(), torch.ones(2, 3, 4), "sample token channel"),
    ]
    threads = [threading.Thread(target=follow, args=pair) for pair in pairs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_one_layouts_in_two_threads_follows_each_by_itself():
    model = dense()
    layouts, x = Layouts(model), torch.ones(2, 4)
    layouts.enter("model", model, [x])

    def elsewhere():
        layouts.enter("model", model, [x])
        layouts.forget()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert _get_current_dispatch_mode() is layouts._pass.flow
    layouts.forget()
    assert _get_current_dispatch_mode() is None


def test_following_does_not_import_torchs_compiler():
    code = (
        "import sys, torch\n"
        "from torchprobe.layouts.flow import Flow\n"
        "flow = Flow(); flow.start(); torch.ones(2) + 1; flow.stop()\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
