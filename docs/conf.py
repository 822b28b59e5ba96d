"""Sphinx settings; `make docs` builds strictly: a warning is an error."""

from torchprobe.version import __version__

project = "torchprobe"
author = "The torchprobe developers"
project_copyright = "2026, the torchprobe developers"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = "torchprobe"
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
default_role = "any"
suppress_warnings = ["ref.any", "ref.python"]  # single backquotes mark code as well as links
