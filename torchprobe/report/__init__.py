"""Results as one self-contained HTML page; sections, tables and figures for plugins to fill."""

from torchprobe.report.contents import number_table, sections
from torchprobe.report.history import history_sections, write_history
from torchprobe.report.page import write
from torchprobe.report.parts import Figure, Section, Table

__all__ = [
    "Figure",
    "Section",
    "Table",
    "history_sections",
    "number_table",
    "sections",
    "write",
    "write_history",
]
