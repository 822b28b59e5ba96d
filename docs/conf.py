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


def escape_shapes(_app, _what, _name, _obj, _options, lines):  # noqa: ANN001, ANN201
    """Docstrings write shapes as people do ([sample, *positions], |x|): escape what RST reads."""
    import re

    for number, line in enumerate(lines):
        if ">>>" not in line and not line.lstrip().startswith(".. "):
            line = re.sub(r"(?<![\w*`\\])\*(?=\w)(?!\w[^*]*\w\*(?!\w))", r"\\*", line)
            line = re.sub(r"(?<![`|\\])\|(?=\w)", r"\\|", line)
            lines[number] = re.sub(r'"(\w+)_"', r'"\1\\_"', line)


def setup(app):  # noqa: ANN001, ANN201
    """Sphinx's door for extensions."""
    app.connect("autodoc-process-docstring", escape_shapes)
