"""Whether the groups that look alike to a layer are phonetic ones: a section of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.numerics import Agreement, agreement

from .phonemes import category, manner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torchprobe as tp
    from torchprobe.report import Section
    from torchprobe.results import LayerResults

__all__ = ["phonetic_agreement", "phonetic_section"]

_TEXT = """\
Do groups of one phonetic category lie near to each other? The silhouette says so of the distances \
between all groups, −1..1: above 0, groups lie nearer to their own category than to the next. The \
adjusted Rand index compares the clusters, at the percentile of the profiles, with the categories: \
1 if they are the same, 0 on average by chance.

Categories are vowels, semivowels and consonants; manners tell consonants apart: stops, \
fricatives, affricates, nasals, aspirates. Letters are vowels (a, e, i, o, u) or consonants. \
Silence and signs are left out.
"""


def _category(symbol: str) -> str | None:
    return None if symbol == "sil" else category(symbol)


def _manner(symbol: str) -> str | None:
    return None if symbol == "sil" else manner(symbol)


def _letter(symbol: str) -> str | None:
    if not symbol.isalpha():
        return None
    return "vowel" if symbol in "aeiou" else "consonant"


_KINDS: Mapping[str, tuple[str, Callable[[str], str | None]]] = {
    "phonemes, category": ("phoneme", _category),
    "phonemes, manner": ("phoneme", _manner),
    "letters, vowel or not": ("grapheme", _letter),
}
"""By what a reader is told, a grouping and what its groups are."""


def phonetic_agreement(profiles: LayerResults) -> dict[str, dict[str, Agreement]]:
    """Compares what looks alike to a layer with phonetic categories.

    Args:
        profiles: Neuron activation profiles by the groupings "phoneme" and "grapheme".

    Returns:
        By category (of phonemes, their manner, of letters) and layer, how far distances and
        clusters agree with it.
    """
    return {
        told: {
            result.layer: _agreement(result, kind)
            for result in profiles.grouping(grouping).values()
        }
        for told, (grouping, kind) in _KINDS.items()
        if grouping in profiles.groupings
    }


def _agreement(result: tp.Result, kind: Callable[[str], str | None]) -> Agreement:
    kinds = [kind(name) for name in result.coords["group"]]
    return agreement(result.distances, result.cluster, kinds)


def phonetic_section(profiles: LayerResults) -> Section:
    """What a report says of that: a table and lines over layers."""
    from torchprobe import plotting
    from torchprobe.report import Figure, Section, Table

    found = phonetic_agreement(profiles)
    titles = {"silhouette": "silhouette", "rand": "adjusted Rand index"}
    panels = {
        title: {
            told: {layer: getattr(each, name) for layer, each in layers.items()}
            for told, layers in found.items()
        }
        for name, title in titles.items()
    }
    columns = [f"{told}: {title}" for title, series in panels.items() for told in series]
    lines = [line for series in panels.values() for line in series.values()]
    rows = [[layer, *(line[layer] for line in lines)] for layer in profiles.layers]
    return Section(
        "Phonetic groups",
        _TEXT,
        [Table(["layer", *columns], rows, "How far layers' profiles agree with categories.")],
        [Figure(plotting.by_layer_panels(panels), "The same as lines, from the input up.")],
    )
