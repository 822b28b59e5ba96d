"""Runs a model with hooks on all its modules, as the stream does, and asks for all axes."""

from torchprobe.errors import LayoutError
from torchprobe.layouts import Layouts
from torchprobe.naming import canonical_names, input_name, root_name
from torchprobe.outputs import leaves


class Followed:
    """One forward pass and what is known of its layers afterwards."""

    def __init__(self, model, args, kwargs=None, *, user=None, plugin=None):
        self.model, self.layouts = model, Layouts(model, user, plugin)
        self.modules = canonical_names(model)
        self.shapes = {}
        self.handles = []
        for name, module in self.modules.items():
            self._hook(name, module)
        try:
            self.output = model(*args, **(kwargs or {}))
        finally:
            for handle in self.handles:
                handle.remove()
            self.layouts.forget()

    def _hook(self, name, module):
        def enter(module, args, kwargs):
            tensors = _tensors(args, kwargs)
            self.layouts.enter(name, module, tensors)
            if name == root_name(self.model) and tensors:
                self.shapes[input_name(self.model), "", 0] = tuple(tensors[0].shape)

        def leave(module, args, kwargs, output):
            found = list(leaves(output))
            self.layouts.leave(name, module, _tensors(args, kwargs), found)
            call = len({key[2] for key in self.shapes if key[0] == name})
            for leaf in found:
                if leaf.tensor is not None:
                    self.shapes[name, leaf.path, call] = tuple(leaf.tensor.shape)

        self.handles += [
            module.register_forward_pre_hook(enter, with_kwargs=True),
            module.register_forward_hook(leave, with_kwargs=True),
        ]

    def axes(self, name, path="", call=0):
        """Axes of one layer."""
        shape = self.shapes[name, path, call]
        module = self.modules.get(name, self.model)
        return str(self.layouts.axes(name, path, module, shape, call))

    def all(self):
        """Axes of all layers, "?" where they are not known."""
        told = {}
        for name, path, call in self.shapes:
            key = name + path + (f"@{call + 1}" if call else "")
            try:
                told[key] = self.axes(name, path, call)
            except LayoutError:
                told[key] = "?"
        return told


def _tensors(args, kwargs):
    found = [*leaves(args), *leaves(kwargs)]
    return [leaf.tensor for leaf in found if leaf.tensor is not None]
