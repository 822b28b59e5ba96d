"""The exceptions torchprobe raises; each is also the builtin a caller would expect.

Every message says what was got, what would work and how to fix it.
"""

__all__ = [
    "AttachError",
    "CompileError",
    "DistributedError",
    "EmptyStateError",
    "FileFormatError",
    "IncompleteWarning",
    "InsufficientDataError",
    "LabelError",
    "LayerNotFoundError",
    "LayoutError",
    "MemoryBudgetError",
    "MergeError",
    "MissingExtraError",
    "NonFiniteError",
    "NothingToDrawError",
    "PluginError",
    "PluginWarning",
    "SettingError",
    "ShapeError",
    "TorchprobeError",
    "TorchprobeWarning",
]


class TorchprobeError(Exception):
    """Base of all errors raised by torchprobe."""


class ShapeError(TorchprobeError, ValueError):
    """An array has a shape that does not fit."""


class SettingError(TorchprobeError, ValueError):
    """An argument or option has a value that is not allowed."""


class NothingToDrawError(SettingError):
    """Results hold nothing of what a view shows, whatever its options."""


class LabelError(TorchprobeError, ValueError):
    """Labels, lengths or masks do not fit the data they came with."""


class LayoutError(TorchprobeError, ValueError):
    """The meaning of a tensor's axes is unknown or contradicts what was said."""


class LayerNotFoundError(TorchprobeError, KeyError):
    """A layer, analyzer, class or field that was asked for does not exist."""

    def __str__(self) -> str:  # KeyError would print the message's repr
        return str(self.args[0]) if self.args else ""


class InsufficientDataError(TorchprobeError, ValueError):
    """Too few rows, classes or points for the quantity asked for."""


class EmptyStateError(TorchprobeError, RuntimeError):
    """A result was asked for before anything was seen."""


class NonFiniteError(TorchprobeError, FloatingPointError):
    """NaN or infinity was met and the policy is to raise."""


class MemoryBudgetError(TorchprobeError, MemoryError):
    """The state that was asked for exceeds the declared memory budget."""


class MergeError(TorchprobeError, ValueError):
    """Two states do not describe the same thing and cannot be merged."""


class AttachError(TorchprobeError, RuntimeError):
    """A probe cannot be attached to this model, or is already attached."""


class CompileError(AttachError):
    """Hooks would be ignored because the model is compiled, scripted or exported."""


class DistributedError(TorchprobeError, RuntimeError):
    """Another process failed, ended, or did not come in time."""


class FileFormatError(TorchprobeError, ValueError):
    """A file is damaged, hostile, or of another format or version."""


class PluginError(TorchprobeError, RuntimeError):
    """A plugin could not be loaded or breaks the contract."""


class MissingExtraError(TorchprobeError, ImportError):
    """An optional dependency is not installed."""


class TorchprobeWarning(UserWarning):
    """Base of all warnings given by torchprobe."""


class PluginWarning(TorchprobeWarning):
    """A plugin was left out; everything else works."""


class IncompleteWarning(TorchprobeWarning):
    """A result misses data that was offered."""
