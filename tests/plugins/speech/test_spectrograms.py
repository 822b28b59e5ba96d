import pytest
import torch
from torchprobe_speech import SpectrogramDataset

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError


def make(lengths):
    arrays = [torch.randn(n, 3) for n in lengths]
    labels = [torch.randint(0, 5, (n,)) for n in lengths]
    return SpectrogramDataset(arrays, [f"text {n}" for n in lengths], labels, range(len(lengths)))


def test_batches_pad_behind_the_end_and_only_there():
    data = make([4, 7])
    batch = data.take(torch.tensor([1, 0]))
    assert batch.spectrograms.shape == (2, 3, 7)
    assert batch.lengths.tolist() == [7, 4]
    assert batch.texts == ("text 7", "text 4")
    assert torch.equal(batch.spectrograms[1, :, :4], data.spectrograms[0].T)
    assert (batch.spectrograms[1, :, 4:] == 0).all()
    assert torch.equal(batch.phonemes[1, :4], data.phonemes[0])
    assert (batch.phonemes[1, 4:] == -1).all()


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_show_every_utterance_once(shuffle):
    data = make(list(range(1, 31)))
    batches = list(data.batches(4, shuffle=shuffle))
    assert len(batches) == len(data.batches(4)) == 8
    ids = torch.cat([batch.ids for batch in batches])
    assert sorted(ids.tolist()) == list(range(30))
    assert shuffle == (ids.tolist() != list(range(30)))


def test_drawn_batches_hold_utterances_of_similar_length():
    lengths = torch.randint(1, 200, (300,)).tolist()

    def padding(batches):
        return sum(int((b.lengths.max() - b.lengths).sum()) for b in batches)

    data = make(lengths)
    assert padding(data.batches(8, shuffle=True)) < 0.3 * padding(data.batches(8))


def test_the_order_is_drawn_by_seed_and_anew_each_time():
    data = make([5] * 40)

    def orders(seed):
        batches = data.batches(8, shuffle=True, seed=seed)
        return [torch.cat([b.ids for b in batches]).tolist() for _ in range(2)]

    assert orders(1) == orders(1) != orders(2)
    assert orders(1)[0] != orders(1)[1]


def test_a_corpus_becomes_spectrograms_with_texts_and_phonemes(corpus):
    data = SpectrogramDataset.from_utterances(corpus.test)
    assert data.texts == tuple(each.text for each in corpus.test)
    assert data.ids.tolist() == [each.id for each in corpus.test]
    assert all(array.shape == (len(labels), 128) for array, labels in
               zip(data.spectrograms, data.phonemes, strict=True))  # fmt: skip
    assert all((labels >= 0).all() for labels in data.phonemes)


@pytest.mark.parametrize(
    ("arrays", "texts", "labels", "error"),
    [
        ([], [], [], InsufficientDataError),
        ([torch.zeros(3, 2)], ["a", "b"], [torch.zeros(3)], ShapeError),
        ([torch.zeros(3, 2)], ["a"], [torch.zeros(4)], ShapeError),
        ([torch.zeros(3)], ["a"], [torch.zeros(3)], ShapeError),
    ],
)
def test_what_does_not_fit_is_refused(arrays, texts, labels, error):
    with pytest.raises(error):
        SpectrogramDataset(arrays, texts, labels, range(len(arrays)))


def test_a_batch_needs_a_positive_size():
    with pytest.raises(SettingError, match="positive size"):
        make([3]).batches(0)
