"""Layers in two dimensions: t-SNE, UMAP, autoencoders, and how far to trust each picture.

    probe = tp.Probe(model, "hidden.*", [tp.analyzer("projection", methods=("pca", "paper"))])
    results = probe.run(fit=train_loader, score=test_loader)
    print(table(results["projection"]))                     # Table 1 of Grósz & Kurimo 2020
    results.plot("projection", categories={"ah": "vowel"})  # panels by layer and method
    results.save("out/")
    places = encoder(tp.load("out/")["projection"]["hidden.3"]).transform(rows)  # [row, 2]

A method of your own is a `Projector` that `register_projector` makes known by its name; then
``tp.analyzer("projection", methods=("pca", "my_method"))`` draws, measures and tabulates it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_projection.analyzer import Projection
from torchprobe_projection.autoencoder import Autoencoder
from torchprobe_projection.linear import Pca
from torchprobe_projection.neighbour_maps import Tsne, TsneTrain, Umap, UmapTrain
from torchprobe_projection.network import PlaneNetwork, encoder
from torchprobe_projection.plots import draw_losses, draw_maps, draw_measures
from torchprobe_projection.projector import Fitted, Learner, Projector
from torchprobe_projection.registry import projectors, register_projector
from torchprobe_projection.streaming import streamed_procrustes
from torchprobe_projection.table import MeasureTable, table
from torchprobe_projection.tensorboard import export_tensorboard

if TYPE_CHECKING:
    from torchprobe import Analyzer, Results
    from torchprobe.plotting import PlotFunction
    from torchprobe.report import Section

__all__ = [
    "Autoencoder",
    "Fitted",
    "Learner",
    "MeasureTable",
    "Pca",
    "PlaneNetwork",
    "Projection",
    "Projector",
    "Tsne",
    "TsneTrain",
    "Umap",
    "UmapTrain",
    "encoder",
    "export_tensorboard",
    "projectors",
    "register_projector",
    "streamed_procrustes",
    "table",
]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer projection."""
    return [Projection]


@hookimpl
def torchprobe_plots() -> dict[str, PlotFunction]:
    """Offer the pictures, their measures by layer and the losses of training."""
    return {
        "projection": draw_maps,
        "projection:measures": draw_measures,
        "projection:losses": draw_losses,
    }


@hookimpl
def torchprobe_report_sections(results: Results) -> list[Section]:
    """Say how the layers look and how far that can be trusted."""
    from torchprobe_projection.section import describe  # torchprobe.report, once it is needed

    return [describe(each) for each in results.values() if each.kind == Projection.name]
