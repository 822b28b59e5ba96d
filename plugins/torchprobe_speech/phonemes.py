"""Phonemes with their categories, and the inventories that corpora are labelled with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from torchprobe.errors import LabelError

__all__ = [
    "CATEGORIES",
    "CMU40",
    "INVENTORIES",
    "MANNERS",
    "RELEASES",
    "SILENCE",
    "TIMIT39",
    "TIMIT61",
    "Inventory",
    "category",
    "inventory",
    "manner",
]

SILENCE = "sil"

CATEGORIES = ("silence", "vowel", "semivowel", "consonant")
"""The main categories of Grósz & Kurimo 2020, figures 1 and 2."""

MANNERS = (
    "silence", "vowel", "semivowel", "stop", "fricative", "affricate", "nasal", "aspirate",
)  # fmt: skip
"""Manners of articulation; the last five are the consonants of Grósz & Kurimo 2020, figure 3."""

_BY_MANNER = {
    "silence": "sil h# pau epi bcl dcl gcl pcl tcl kcl",
    "vowel": "aa ae ah ao aw ay eh er ey ih iy ow oy uh uw ix ux ax axr ax-h",
    "semivowel": "l r w y el",
    "stop": "b d g k p t dx q",
    "fricative": "dh f s sh th v z zh",
    "affricate": "ch jh",
    "nasal": "m n ng em en eng nx",
    "aspirate": "hh hv",
}
_MANNER_OF = {symbol: name for name, symbols in _BY_MANNER.items() for symbol in symbols.split()}

_CMU = (
    "sil aa ae ah ao aw ay b ch d dh eh er ey f g hh ih iy jh k l m n ng ow oy p r s sh t th uh uw "
    "v w y z zh"
)
_TIMIT = (
    "h# aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl hh hv "
    "ih ix iy jh k kcl l m n ng nx ow oy p pau pcl q r s sh t tcl th uh uw ux v w y z zh"
)
_ALLOPHONES = {
    "ix": "ih", "ax": "ah", "ax-h": "ah", "axr": "er", "ux": "uw", "el": "l", "em": "m", "en": "n",
    "nx": "n", "eng": "ng", "hv": "hh", "h#": SILENCE, "pau": SILENCE, "epi": SILENCE,
}  # fmt: skip
_STOPS = "bdgptk"

RELEASES = {
    "bcl": ("b",), "dcl": ("d", "jh"), "gcl": ("g",), "pcl": ("p",), "tcl": ("t", "ch"),
    "kcl": ("k",),
}  # fmt: skip
"""TIMIT's closures and the phonemes that each may release into."""


def manner(symbol: str) -> str:
    """Returns a phoneme's manner of articulation, one of `MANNERS`.

    Raises:
        LabelError: The symbol is in neither the CMU nor the TIMIT alphabet.

    >>> manner("ch"), manner("hh"), manner("sil")
    ('affricate', 'aspirate', 'silence')
    """
    if symbol not in _MANNER_OF:
        raise LabelError(f"unknown phoneme {symbol!r}; known are {' '.join(sorted(_MANNER_OF))}")
    return _MANNER_OF[symbol]


def category(symbol: str) -> str:
    """Returns a phoneme's main category, one of `CATEGORIES`.

    Raises:
        LabelError: The symbol is in neither the CMU nor the TIMIT alphabet.

    >>> [category(symbol) for symbol in ("sil", "ay", "w", "ng")]
    ['silence', 'vowel', 'semivowel', 'consonant']
    """
    kind = manner(symbol)
    return kind if kind in CATEGORIES else "consonant"


@dataclass(frozen=True)
class Inventory:
    """The classes that frames are labelled with, and how other symbols fold into them.

    Attributes:
        name: What the inventory is called in settings and files.
        symbols: The classes in the order of their indices.
        folds: Symbols of other alphabets and the class that each becomes; None leaves the time
            of the symbol without a label.
        joins_closures: Whether the closure of a stop or affricate becomes part of the phoneme
            that it releases into, instead of silence.

    >>> CMU40.index("aa"), CMU40.fold("ix"), len(CMU40)
    (1, 'ih', 40)
    """

    name: str
    symbols: tuple[str, ...]
    folds: Mapping[str, str | None] = field(default_factory=dict, repr=False, compare=False)
    joins_closures: bool = False

    @cached_property
    def indices(self) -> Mapping[str, int]:
        """The index of each class."""
        return {symbol: index for index, symbol in enumerate(self.symbols)}

    def __len__(self) -> int:
        return len(self.symbols)

    def fold(self, symbol: str) -> str | None:
        """Returns the class that a symbol belongs to, or None where it is left out.

        Raises:
            LabelError: The symbol is not known to this inventory.
        """
        if symbol in self.indices:
            return symbol
        if symbol not in self.folds:
            known = " ".join([*self.symbols, *self.folds])
            raise LabelError(f"unknown phoneme {symbol!r} for {self.name}; known are {known}")
        return self.folds[symbol]

    def index(self, symbol: str) -> int:
        """Returns the index of a symbol's class, or -1 where the symbol is left out.

        Raises:
            LabelError: The symbol is not known to this inventory.
        """
        folded = self.fold(symbol)
        return -1 if folded is None else self.indices[folded]

    def categories(self) -> tuple[str, ...]:
        """Returns the main category of each class, in the order of the classes."""
        return tuple(category(symbol) for symbol in self.symbols)

    def manners(self) -> tuple[str, ...]:
        """Returns the manner of articulation of each class, in the order of the classes."""
        return tuple(manner(symbol) for symbol in self.symbols)


CMU40 = Inventory(
    "cmu40",
    tuple(_CMU.split()),
    {**_ALLOPHONES, **{stop + "cl": stop for stop in _STOPS}, "dx": "t", "q": None},
    joins_closures=True,
)
"""39 phonemes of the CMU dictionary and silence: the 40 classes of Nagamine & Mesgarani 2017.

Closures belong to the phoneme they release into, TIMIT's flap `dx` is a `t`, of which it mostly is
a variant, and its glottal stop is left out.
"""

TIMIT39 = Inventory(
    "timit39",
    tuple(symbol for symbol in [*_CMU.split(), "dx"] if symbol not in ("ao", "zh")),
    {
        **_ALLOPHONES,
        **{stop + "cl": SILENCE for stop in _STOPS},
        "ao": "aa",
        "zh": "sh",
        "q": None,
    },
)
"""The usual folding of TIMIT's 61 phones into 39 classes (Lee & Hon 1989, table 1): closures are
silence, `ao` is `aa`, `zh` is `sh`, and the glottal stop is left out."""

TIMIT61 = Inventory("timit61", tuple(_TIMIT.split()))
"""TIMIT's 61 phones as they are in its .PHN files."""

INVENTORIES = MappingProxyType({each.name: each for each in (CMU40, TIMIT39, TIMIT61)})
"""The inventories by name."""


def inventory(name: str | Inventory) -> Inventory:
    """Returns an inventory by name; an inventory passes through.

    Raises:
        LabelError: No inventory has this name.

    >>> len(inventory("timit39"))
    39
    """
    if isinstance(name, Inventory):
        return name
    if name not in INVENTORIES:
        raise LabelError(f"unknown inventory {name!r}; there are {', '.join(INVENTORIES)}")
    return INVENTORIES[name]
