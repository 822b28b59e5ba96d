"""Speakers made from espeak-ng's voice variants: formants, pitch and tempo differ."""

import random
from dataclasses import dataclass
from itertools import cycle, islice

from torchprobe.errors import SettingError

__all__ = ["Voice", "choose_voices"]

# variants that sound like people and have no echo, which would fill the closures of stops
_FEMALE = "Andrea Annie AnxiousAndy anika aunty belinda f1 grandma linda shelby steph steph3 zac"
_MALE = (
    "Alex Andy Denis Diogo Gene Henrique Jacky Lee Mario Michael Mike Nguyen adam antonio benjamin "
    "boris david ed edward2 grandpa gustave ian iven john klatt2 m1 m3 m4 m5 m6 m7 m8 marcelo max "
    "michel miguel mike2 norbert paul pedro quincy rob sandro victor"
)
_VARIANTS = (*(("F", name) for name in _FEMALE.split()), *(("M", name) for name in _MALE.split()))
_PITCHES = (42, 58)
_RATES = (150, 190)


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker.

    Attributes:
        speaker: A name in the manner of TIMIT, F or M and a number.
        variant: The name of espeak-ng's voice variant.
        pitch: 0 to 99; 50 is the variant's own pitch.
        rate: Words a minute.
    """

    speaker: str
    variant: str
    pitch: int
    rate: int

    @property
    def name(self) -> str:
        """What espeak-ng calls the voice: American English in this variant."""
        return f"en-us+{self.variant}"


def choose_voices(
    train: int, heldout: int, seed: int
) -> tuple[tuple[Voice, ...], tuple[Voice, ...], tuple[Voice, ...]]:
    """Returns the voices of the training, validation and test sentences.

    Args:
        train: How many voices to train with; where there are more than variants left, the
            variants return with another pitch and tempo.
        heldout: How many voices to validate with and how many to test with, all of variants that
            occur in no other split; 0 gives all splits the training voices.
        seed: Draws variants, pitch and tempo.

    Raises:
        SettingError: A number is out of range.

    >>> train, validation, test = choose_voices(40, 8, seed=0)
    >>> len({voice.variant for voice in (*train, *validation, *test)})
    56
    """
    most = (len(_VARIANTS) - 1) // 2
    if train <= 0 or not 0 <= heldout <= most:
        raise SettingError(
            f"voices must be positive and heldout_voices 0 to {most}, not {train} and {heldout}"
        )
    generator = random.Random(seed)
    order = generator.sample(range(len(_VARIANTS)), len(_VARIANTS))
    repeated = islice(cycle(order[2 * heldout :]), train)
    numbered = enumerate([*order[: 2 * heldout], *repeated])
    voices = tuple(_voice(number, variant, generator) for number, variant in numbered)
    test, validation, rest = voices[:heldout], voices[heldout : 2 * heldout], voices[2 * heldout :]
    return (rest, validation, test) if heldout else (rest, rest, rest)


def _voice(number: int, variant: int, generator: random.Random) -> Voice:
    sex, name = _VARIANTS[variant]
    return Voice(
        speaker=f"{sex}{number:03d}",
        variant=name,
        pitch=generator.randint(*_PITCHES),
        rate=generator.randint(*_RATES),
    )
