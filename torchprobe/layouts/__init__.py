"""Which axis is which: user > plugin > module type > data flow > error."""

from torchprobe.layouts.layouts import Layouts

__all__ = ["Layouts"]
