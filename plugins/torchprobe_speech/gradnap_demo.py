"""The demo's gradient-adjusted profiles: what a grapheme recogniser looks for, and where."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import torchprobe as tp
from torchprobe.optimal_input import most_responsive, optimal_inputs
from torchprobe.positions import Map

from .grapheme_net import GraphemeNet
from .graphemes import Alphabet
from .phonemes import CMU40, category
from .spectrograms import SpectrogramBatch, SpectrogramDataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from torchprobe.report import Section

__all__ = ["GradNAPDemo", "run_gradnap_demo"]

ANALYZER = "grapheme_gradnap"
GROUPINGS = ("grapheme", "phoneme")
LAYERS = ["input", "layers.*.relu", "output"]
"""What is probed: the spectrogram, every hidden layer after its rectifier, the logits."""

SHOWN = {"phoneme": ["aa", "ae", "iy", "s", "sh", "t"], "grapheme": ["a", "e", "m", "o", "s", "t"]}
"""Groups whose pictures differ in ways that are known from phonetics: formants, noise, bursts."""

_TEXT = """\
Each window holds what the network sees of the spectrogram ({width} frames) for one output frame \
at which it writes a letter: {windows:,} windows of {utterances} sentences; {left_out:,} more \
would reach beyond their sentence. They are grouped by that letter, and by the phoneme that was \
spoken then.

Lines are the profiles of all neurons of `{layer}` over aligned time, the five most responsive \
coloured. Beside them is the input that drives these five, with their signs, as far as its \
regularisation lets it: {field} frames, which is all that a neuron there sees. Compare it with the \
profiles of the input.
"""


@dataclass(frozen=True)
class GradNAPDemo:
    """Profiles of a grapheme recogniser and the inputs that its most responsive neurons look for.

    Attributes:
        results: Gradient-adjusted profiles of the input and every layer, of graphemes and phonemes.
        optimal: By grouping and group, the optimal input, shape [band, time].
        layer: Whose neurons these inputs drive.
        text: What a report says of it all.
    """

    results: tp.Results
    optimal: Mapping[str, Mapping[str, Tensor]]
    layer: str
    text: str

    def figures(self) -> Iterator[tuple[str, "Figure"]]:
        """Yields pictures with names for their files: stages, images, lines, silhouettes."""
        from torchprobe.plotting import plot

        found = self.results[ANALYZER]
        yield "silhouettes", plot(found)
        for grouping in GROUPINGS:
            groups, mine = _known(self, grouping), {"grouping": grouping}
            yield f"stages-{grouping}", plot(found, view="stages", layer=self.layer, **mine)
            yield f"images-{grouping}", plot(found, view="images", groups=groups, **mine)
            yield f"neurons-{grouping}", self._lines(grouping, groups[:3])
            kinds = (
                {name: category(name) for name in CMU40.symbols} if grouping == "phoneme" else {}
            )
            deep = {"layer": found.layers[-2], **mine}  # before the logits
            clusters = plot(found, view="clusters", categories=kinds, **deep)
            yield f"clusters-{grouping}", clusters

    def section(self) -> "Section":
        """Returns a report's section on how profiles are made and what neurons look for."""
        from torchprobe.plotting import plot
        from torchprobe.report import Figure, Section

        found = self.results[ANALYZER]
        group = _known(self, "phoneme")[-1]
        stages = plot(found, view="stages", layer=self.layer, grouping="phoneme", group=group)
        lines = [
            Figure(
                self._lines(grouping, _known(self, grouping)[:3]),
                f"Profiles in `{self.layer}` by {grouping}, and optimal inputs of the five most "
                "responsive neurons; low frequencies are at the bottom.",
            )
            for grouping in GROUPINGS
        ]
        how = Figure(stages, f"How the profile of {group} in `{self.layer}` is made.")
        return Section("What a grapheme recogniser looks for", self.text, figures=[how, *lines])

    def _lines(self, grouping: str, groups: list[str]) -> "Figure":
        from torchprobe.plotting import plot

        optimal = {name: inputs.numpy() for name, inputs in self.optimal[grouping].items()}
        return plot(
            self.results[ANALYZER], view="neurons", layer=self.layer, grouping=grouping,
            groups=groups, optimal=optimal,
        )  # fmt: skip


def run_gradnap_demo(
    model: GraphemeNet,
    data: SpectrogramDataset,
    *,
    utterances: int = 60,
    layer: str = "layers.1.relu",
    progress: bool | None = None,
) -> GradNAPDemo:
    """Profiles a trained recogniser at every letter that it writes, and what its neurons look for.

    60 utterances take 10 s on one core.

    Args:
        model: A trained recogniser.
        data: What to show it; phonemes are those of the corpus.
        utterances: How many of these, the first ones.
        layer: Whose most responsive neurons optimal inputs are made for; the paper's Fig. 3 shows
            the second.
        progress: Whether to show bars; None shows them in a terminal.

    Raises:
        InsufficientDataError: The model writes no letter whose window lies in its utterance.
    """
    numbers = torch.arange(min(utterances, len(data))).split(16)
    batches = [_said(model, data.take(some)) for some in numbers]
    windows = tp.Windows(batches, _seen(model, "model"), grouping="grapheme")
    bare = model.without_padding()
    probe = tp.Probe(
        bare,
        LAYERS,
        {ANALYZER: tp.analyzer("gradnap", stages=True)},
        objective=tp.Objective(dim=1),
        class_names={"grapheme": Alphabet().symbols, "phoneme": CMU40.symbols},
    )
    results = probe.run(windows, progress=progress)
    field = _seen(bare, layer).field or model.receptive_field
    optimal = {
        grouping: _optimal(bare, results[ANALYZER].grouping(grouping)[layer], field, progress)
        for grouping in GROUPINGS
    }
    counted = int(results[ANALYZER].grouping("grapheme")[layer].counts.sum())
    text = _TEXT.format(
        width=windows.width, windows=counted, utterances=min(utterances, len(data)),
        left_out=windows.left_out, layer=layer, field=field,
    )  # fmt: skip
    return GradNAPDemo(results, optimal, layer, text)


def _said(model: GraphemeNet, batch: SpectrogramBatch) -> tp.Batch:
    """Utterances with the grapheme that the model writes at each output frame, and the phoneme."""
    lengths = model.output_lengths(batch.lengths)
    with torch.no_grad():
        best = model(batch.spectrograms, batch.lengths).argmax(1)  # [sample, frame]
    written = (torch.arange(best.shape[1]) < lengths[:, None]) & (best > 0)
    labels = {"grapheme": best.masked_fill(~written, -1), "phoneme": batch.phonemes}
    return tp.Batch(batch.spectrograms, labels=labels, lengths=batch.lengths)


def _seen(model: GraphemeNet, layer: str) -> Map:
    """What the positions of a layer see of the spectrogram."""
    sample = torch.zeros(1, model.bands, 4 * model.receptive_field)
    place = tp.layers(model, sample, layer)[layer].positions
    return place.maps[0] if place else Map()


def _optimal(
    model: GraphemeNet, found: tp.Result, field: int, progress: bool | None
) -> dict[str, Tensor]:
    """The input that drives the most responsive neurons of each group, by group."""
    weights = most_responsive(found.responsiveness)
    shape = model.bands, field
    inputs = optimal_inputs(model, found.layer, weights, shape, progress=progress).inputs
    return dict(zip(found.coords["group"], inputs, strict=True))


def _known(demo: GradNAPDemo, grouping: str) -> list[str]:
    """The groups to be shown, of those that there are."""
    there = list(demo.optimal[grouping])
    return [name for name in SHOWN.get(grouping, ()) if name in there] or there[:6]
