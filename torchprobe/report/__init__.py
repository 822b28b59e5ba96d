"""Results as one self-contained HTML page; sections, tables and figures for plugins to fill."""

from torchprobe.report.contents import number_table, sections
from torchprobe.report.page import write
from torchprobe.report.parts import Figure, Section, Table

__all__ = ["Figure", "Section", "Table", "number_table", "sections", "write"]
