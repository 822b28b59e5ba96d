"""Figures that tests can look into."""

import warnings

import numpy as np
import pytest

from torchprobe.numerics import upgma
from torchprobe.plotting import Tree, png, svg

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "{{7*7}}{% raw %}",
    r"$\frac{$",
    "$$",
    r"\$x$ y$",
    "\x1b[31mred\x1b[0m\x00",
    "a\nb\u202ec",
    "\ud800",
    "x" * 300,
    "_nolegend_",
    "",
]


@pytest.fixture
def hostile():
    """Names that would break a figure or a page that trusts them."""
    return HOSTILE


@pytest.fixture
def drawn():
    """Render a figure in both formats, with warnings as errors; the texts in it."""

    def drawn(figure):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert png(figure).startswith(b"\x89PNG")
            assert svg(figure).startswith(b"<?xml")
        return [
            text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))
        ]

    return drawn


@pytest.fixture
def tree():
    """The clustering of the rows of a matrix, as it is drawn."""

    def tree(rows):
        found = upgma(rows)
        return Tree(found.linkage, np.asarray(found.order))

    return tree
