"""From the letters of a word to its phonemes: which phoneme each letter stands for.

The network of step 4 of the cascade of Krug, Knaebel & Stober 2018, section 3.2: an encoder of two
bidirectional LSTM layers, global attention (Luong, Pham & Manning 2015), a decoder of two LSTM
layers. Sizes and training are not the paper's, which does not state them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from torchprobe.errors import InsufficientDataError, SettingError

from .graphemes import edit_distance
from .label_cascade import phoneme_of_grapheme
from .phonemes import CMU40, SILENCE
from .pronunciation import LETTERS, PronunciationBatch, PronunciationDataset, spell
from .training import train

__all__ = [
    "G2pTraining",
    "GraphemeToPhoneme",
    "Pronunciation",
    "PronunciationError",
    "pronunciation_error",
    "train_g2p",
]

_LONGEST = 2  # phonemes for each letter, and a few: where decoding that finds no end is cut off


@dataclass(frozen=True, eq=False)
class Pronunciation:
    """How a network says a word.

    Attributes:
        word: Its letters.
        phonemes: What was written.
        attention: How much each phoneme looked at each letter, rows sum to 1, shape [phoneme,
            letter].
    """

    word: str
    phonemes: tuple[str, ...]
    attention: NDArray[np.float64]

    @property
    def of_letters(self) -> tuple[str | None, ...]:
        """For each letter the phoneme that looks at it most; None where there is no phoneme."""
        if not self.phonemes:
            return (None,) * len(self.word)
        return phoneme_of_grapheme(self.attention, self.phonemes)


class GraphemeToPhoneme(nn.Module):
    """Writes the phonemes of a word.

    Args:
        symbols: The phonemes; those of the CMU dictionary by default.
        embedding: Numbers that stand for a letter or phoneme.
        hidden: Units of each direction of the encoder's layers; the decoder has twice as many.
        seed: Draws the initial weights without touching the global random state.

    Raises:
        SettingError: A number is not positive.

    >>> said = GraphemeToPhoneme(hidden=8).eval().pronounce(["cab"])[0]
    >>> said.attention.shape == (len(said.phonemes), 3)
    True
    """

    def __init__(
        self,
        symbols: Sequence[str] | None = None,
        *,
        embedding: int = 64,
        hidden: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(embedding, hidden) <= 0:
            raise SettingError(f"sizes must be positive, not {embedding} and {hidden}")
        known = (each for each in CMU40.symbols if each != SILENCE) if symbols is None else symbols
        self.symbols = tuple(known)
        classes, width = len(self.symbols) + 1, 2 * hidden  # class 0 begins and ends a word
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.letters = nn.Embedding(len(LETTERS) + 1, embedding, padding_idx=0)
            self.encoder = nn.LSTM(embedding, hidden, 2, batch_first=True, bidirectional=True)
            self.phonemes = nn.Embedding(classes, embedding)
            self.decoder = nn.LSTM(embedding, width, 2, batch_first=True)
            self.score = nn.Linear(width, width, bias=False)
            self.mix = nn.Linear(2 * width, width)
            self.output = nn.Linear(width, classes)

    def forward(self, words: Tensor, lengths: Tensor, phonemes: Tensor) -> tuple[Tensor, Tensor]:
        """Returns logits [sample, step, class] and attention [sample, step, letter].

        Args:
            words: Numbers of letters, 0 behind a word's end, shape [sample, letter].
            lengths: Letters of each word, shape [sample].
            phonemes: What was written before each step, 0 at the first, shape [sample, step].
        """
        memory = self._encode(words, lengths)
        states, _ = self.decoder(self.phonemes(phonemes))
        return self._attend(states, memory, words)

    def _encode(self, words: Tensor, lengths: Tensor) -> Tensor:
        """What the encoder makes of each letter: [sample, letter, width]."""
        packed = pack_padded_sequence(
            self.letters(words), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        memory, _ = pad_packed_sequence(
            self.encoder(packed)[0], batch_first=True, total_length=words.shape[1]
        )
        return memory

    def _attend(self, states: Tensor, memory: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.score(states) @ memory.transpose(1, 2)  # [sample, step, letter]
        attention = scores.masked_fill((words == 0)[:, None], -torch.inf).softmax(-1)
        mixed = self.mix(torch.cat([attention @ memory, states], -1)).tanh()
        return self.output(mixed), attention

    @torch.no_grad()
    def pronounce(self, words: Sequence[str]) -> list[Pronunciation]:
        """Returns how words are said, decoded greedily; in any company a word is said the same.

        Raises:
            LabelError: A word is empty or holds other signs than letters and apostrophes.
        """
        mode = self.training
        self.eval()
        try:
            return [self._pronounce(word) for word in words]
        finally:
            self.train(mode)

    def _pronounce(self, word: str) -> Pronunciation:
        letters = spell(word)[None].to(self.output.weight.device)
        memory = self._encode(letters, torch.tensor([len(word)]))
        last, state = letters.new_zeros(1, 1), None
        written: list[int] = []
        looked: list[Tensor] = []
        for _ in range(_LONGEST * len(word) + 4):
            states, state = self.decoder(self.phonemes(last), state)
            logits, attention = self._attend(states, memory, letters)
            last = logits.argmax(-1)
            if not int(last):
                break
            written.append(int(last))
            looked.append(attention[0, 0])
        rows = torch.stack(looked) if looked else memory.new_zeros(0, len(word))
        phonemes = tuple(self.symbols[number - 1] for number in written)
        return Pronunciation(word, phonemes, rows.double().numpy(force=True))


@dataclass(frozen=True)
class G2pTraining:
    """How to train: Adam with one cycle of the learning rate, cross entropy of the next phoneme.

    Attributes:
        epochs: Passes over the pairs.
        batch_size: Words in a step.
        peak_rate: Highest learning rate of the cycle.
        seed: Draws the batches.

    Raises:
        SettingError: A number is not positive.
    """

    epochs: int = 10
    batch_size: int = 64
    peak_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.peak_rate) <= 0:
            raise SettingError(f"epochs, batch size and peak rate must be positive: {self}")


def train_g2p(
    model: GraphemeToPhoneme,
    pairs: Sequence[tuple[str, Sequence[str]]],
    settings: G2pTraining | None = None,
    *,
    progress: bool | None = None,
) -> None:
    """Trains a network of words in place, each step told the phonemes before it.

    With the same model, pairs and settings on the same machine and number of threads, the trained
    weights are the same to the last bit; the global random state stays as it was.

    Args:
        model: What is trained; it is left in eval mode.
        pairs: Words and their phonemes, such as those of `read_cmudict`.
        settings: How.
        progress: Whether to show a bar; None shows it in a terminal.

    Raises:
        LabelError: A word or phoneme is not among the network's letters and symbols.
        InsufficientDataError: There is no pair.
    """
    settings = settings or G2pTraining()
    data = PronunciationDataset(pairs, model.symbols)
    train(
        model,
        torch.optim.Adam(model.parameters()),
        data.batches(settings.batch_size, shuffle=True, seed=settings.seed),
        lambda batch: _loss(model, batch),
        settings,
        progress=progress,
    )


def _loss(model: GraphemeToPhoneme, batch: PronunciationBatch) -> Tensor:
    before = functional.pad(batch.phonemes[:, :-1], (1, 0))  # [sample, step]
    logits, _ = model(batch.words, batch.lengths, before)
    counted = functional.pad(batch.phonemes[:, :-1] > 0, (1, 0), value=True)  # up to the first 0
    return functional.cross_entropy(logits[counted], batch.phonemes[counted])


@dataclass(frozen=True)
class PronunciationError:
    """How far what a network says is from a dictionary.

    Attributes:
        words: Share of words that are not said as the dictionary has them, 0 to 1.
        phonemes: Edits by phoneme over all words, divided by the dictionary's phonemes, 0 or more.
    """

    words: float
    phonemes: float


def pronunciation_error(
    model: GraphemeToPhoneme, pairs: Sequence[tuple[str, Sequence[str]]]
) -> PronunciationError:
    """Returns how far greedily decoded words are from a dictionary.

    Of several pronunciations of a word the one counts that takes the fewest edits.

    Args:
        model: What says the words.
        pairs: Words and their phonemes, such as those of `read_cmudict` that training left out.

    Raises:
        InsufficientDataError: There is no phoneme to say.
        LabelError: A word holds other signs than letters and apostrophes.
    """
    known: dict[str, list[Sequence[str]]] = {}
    for word, phonemes in pairs:
        known.setdefault(word, []).append(phonemes)
    edits = [
        min((edit_distance(said.phonemes, each), len(each)) for each in known[said.word])
        for said in model.pronounce(list(known))
    ]
    total = sum(length for _, length in edits)
    if not total:
        raise InsufficientDataError("there is no phoneme to compare with")
    wrong = sum(count > 0 for count, _ in edits)
    return PronunciationError(wrong / len(edits), sum(count for count, _ in edits) / total)
