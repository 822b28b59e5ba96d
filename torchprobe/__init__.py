"""Ask a PyTorch model what its layers encode.

Hooks on any module stream activations, with named axes and matched labels, to analyzers that keep
mergeable statistics in constant memory and turn them into results. See `Probe`.
"""

from torchprobe import callbacks
from torchprobe.analyzer import Analyzer
from torchprobe.axes import Axes
from torchprobe.batch import LayerBatch
from torchprobe.comparison import compare
from torchprobe.configured import analyzer
from torchprobe.groupings import correct, of_layer, predicted
from torchprobe.history import History
from torchprobe.hookspecs import hookimpl
from torchprobe.layer import Layer
from torchprobe.layer_table import layers
from torchprobe.loading import Batch, unpack
from torchprobe.network import Network, NetworkBatch
from torchprobe.objective import Objective
from torchprobe.plugins import plugins
from torchprobe.probe import Probe
from torchprobe.results import Field, Result, Results, load
from torchprobe.selection import types, where
from torchprobe.training_loss import TrainingLoss
from torchprobe.version import __version__
from torchprobe.windows import Windows

__all__ = [
    "Analyzer",
    "Axes",
    "Batch",
    "Field",
    "History",
    "Layer",
    "LayerBatch",
    "Network",
    "NetworkBatch",
    "Objective",
    "Probe",
    "Result",
    "Results",
    "TrainingLoss",
    "Windows",
    "__version__",
    "analyzer",
    "callbacks",
    "compare",
    "correct",
    "hookimpl",
    "layers",
    "load",
    "of_layer",
    "plugins",
    "predicted",
    "types",
    "unpack",
    "where",
]
