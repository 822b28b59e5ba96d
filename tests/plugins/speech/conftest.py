"""A synthetic corpus of a few sentences, made once in a folder of its own."""

import pytest
from torchprobe_speech import CorpusSettings, espeak_corpus


@pytest.fixture(scope="session")
def settings():
    return CorpusSettings(train=8, validation=2, test=4, voices=3, heldout_voices=2, seed=3)


@pytest.fixture(scope="session")
def corpus(settings, tmp_path_factory):
    pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed")
    return espeak_corpus(settings, folder=tmp_path_factory.mktemp("cache") / "corpus")
