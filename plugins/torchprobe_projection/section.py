"""What a report says about projections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.plotting import plot
from torchprobe.report import Figure, Section
from torchprobe_projection.table import table

if TYPE_CHECKING:
    from torchprobe.results import LayerResults

__all__ = ["describe"]

_TEXT = """\
Every layer is drawn in two dimensions: {points} rows of each, the same for all methods. What a \
picture loses differs from method to method, so each comes with measures of how far to trust it. \
The arrows say which direction is better.

PD is the share of the layer's variance that the picture misses, and no picture can miss less than \
the PCA bound beside it; it favours maps that minimise a squared error. MI, in nats, is the mutual \
information of rows and picture and speaks of neighbourhoods; DC, the distance correlation, of the \
whole. Trustworthiness falls where neighbours in the picture are none in the layer, continuity \
where neighbours in the layer are torn apart. Random coordinates show what each number is worth.
"""
_LABELS = """

Hit is the share of a point's {neighbours} neighbours in the picture that have its label, accuracy \
how often their majority is right; their reference is the same in the layer itself.
"""
_READING = (
    "Each dot is a row of the layer. Where dots would cover each other one of them is drawn. Axes "
    "have no meaning beyond distance."
)


def describe(results: LayerResults) -> Section:
    """The section about one analyzer's results."""
    first = next(iter(results.values()))
    text = _TEXT.format(points=f"{first.n_points:,}")
    if any("labels" in result for result in results.values()):
        text += _LABELS.format(neighbours=first.settings["neighbours"])
    return Section(
        title=results.analyzer.replace("_", " ").capitalize(),
        text=text,
        tables=[table(results).to_report("Every measure of every picture.")],
        figures=_figures(results),
        analyzers=[results.analyzer],
    )


def _figures(results: LayerResults) -> list[Figure]:
    figures = [Figure(plot(results), _READING)]
    if len(results.layers) > 1:
        caption = (
            "The measures by layer. The grey line is the PCA bound of the Procrustes distance, or "
            "what hit and accuracy are in the layer itself."
        )
        figures.append(Figure(plot(results, view="measures"), caption))
    if any("autoencoder_loss" in result for result in results.values()):
        caption = "How the autoencoders learnt; a loss of 1 is that of giving back the mean."
        figures.append(Figure(plot(results, view="losses"), caption))
    return figures
