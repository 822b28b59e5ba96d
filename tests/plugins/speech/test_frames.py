import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from torchprobe_speech import FrameDataset

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError


def make(lengths, bands=3, context=2):
    features = [torch.randn(n, bands) for n in lengths]
    labels = [torch.randint(-1, 5, (n,)) for n in lengths]
    return features, labels, FrameDataset(features, labels, range(len(lengths)), context=context)


def slow_splice(features, context):
    """Row by row: the frames around each frame, the first and last repeated at the ends."""
    last = len(features) - 1
    rows = []
    for t in range(len(features)):
        around = [features[min(max(t + d, 0), last)] for d in range(-context, context + 1)]
        rows.append(torch.cat(around))
    return torch.stack(rows)


shapes = st.tuples(
    st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 4), st.integers(0, 6)
)


@given(shapes)
@given_settings(derandomize=True, deadline=None, max_examples=50)
def test_splicing_is_exact_and_never_crosses_utterances(shape):
    lengths, bands, context = shape
    features, labels, data = make(lengths, bands, context)
    wanted = torch.cat([slow_splice(each, context) for each in features])
    assert data.width == wanted.shape[1] == bands * (2 * context + 1)
    assert torch.equal(data[:].features, wanted)
    assert torch.equal(data[:].labels, torch.cat(labels))


def test_any_index_gives_the_same_frames():
    _, _, data = make([5, 4])
    everything = data[:]
    for index in (3, slice(2, 7), [8, 0, 0], torch.tensor([1, 5]), torch.arange(9) % 2 == 0):
        rows = torch.as_tensor(index) if isinstance(index, list) else index
        for got, whole in zip(data[index], everything, strict=True):
            assert torch.equal(got, whole[rows])


def test_the_spliced_features_are_never_stored():
    _, _, data = make([50, 50], bands=23, context=5)
    assert data._windows.untyped_storage().nbytes() == (100 + 2 * 10) * 23 * 4
    assert data.select(data.labels >= 0)._padded is data._padded


def test_ids_tell_all_frames_apart_and_do_not_depend_on_the_selection():
    features, labels = [torch.randn(4, 2)] * 2, [torch.arange(4)] * 2
    data = FrameDataset(features, labels, [7, 2**43 - 1])
    assert len(set(data.ids.tolist())) == 8
    assert (data.ids >= 0).all()
    alone = FrameDataset(features[1:], labels[1:], [2**43 - 1])
    assert torch.equal(data.select(data.utterances == 1).ids, alone.ids)


@given(st.integers(1, 40), st.integers(1, 12), st.booleans())
@given_settings(derandomize=True, deadline=None, max_examples=30)
def test_batches_show_every_frame_once(frames, size, shuffle):
    data = FrameDataset([torch.randn(frames, 2)], [torch.arange(frames)], [0])
    batches = list(data.batches(size, shuffle=shuffle))
    assert len(batches) == len(data.batches(size))
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == list(range(frames))
    assert all(len(labels) == size for _, labels in batches[:-1])


def test_batches_of_whole_size_leave_out_the_rest_but_never_everything():
    data = FrameDataset([torch.randn(10, 2)], [torch.arange(10)], [0])
    assert [len(y) for _, y in data.batches(4, whole=True)] == [4, 4]
    assert [len(y) for _, y in data.batches(20, whole=True)] == [10]


def test_the_order_is_drawn_by_seed_and_anew_each_time():
    data = FrameDataset([torch.randn(50, 2)], [torch.arange(50)], [0])

    def orders(seed):
        batches = data.batches(50, shuffle=True, seed=seed)
        return [next(iter(batches))[1].tolist() for _ in range(2)]

    assert orders(1) == orders(1) != orders(2)
    assert orders(1)[0] != orders(1)[1]


def test_batches_carry_ids_when_asked():
    _, _, data = make([4])
    ((features, labels, ids),) = data.batches(9, ids=True)
    assert features.shape == (4, 15)
    assert torch.equal(ids, data.ids)
    assert torch.equal(labels, data.labels)


def test_a_loader_of_torch_works_with_workers_too():
    _, _, data = make([5, 4])
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    assert torch.equal(torch.cat([batch.features for batch in loader]), data[:].features)
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy[:].features, data[:].features)


def test_a_corpus_becomes_frames_with_labels(corpus):
    data = FrameDataset.from_utterances(corpus.test)
    assert data.width == 253
    assert (data.labels >= 0).all()
    assert len(data) == sum(1 + (len(u.audio()) - 1) // 160 for u in corpus.test)
    silent = data.labels[data.frames == 0]
    assert (silent == data.inventory.index("sil")).all()


@pytest.mark.parametrize(
    ("features", "labels", "ids", "error"),
    [
        ([], [], [], InsufficientDataError),
        ([torch.zeros(3, 2)], [torch.zeros(4)], [0], ShapeError),
        ([torch.zeros(3, 2), torch.zeros(3, 4)], [torch.zeros(3)] * 2, [0, 1], ShapeError),
        ([torch.zeros(3)], [torch.zeros(3)], [0], ShapeError),
        ([torch.zeros(3, 2)], [torch.zeros(3)], [0, 1], ShapeError),
        ([torch.zeros(3, 2)], [torch.zeros(3)], [2**43], SettingError),
        ([torch.zeros(3, 2)], [torch.zeros(3)], [-1], SettingError),
    ],
)
def test_what_does_not_fit_is_refused(features, labels, ids, error):
    with pytest.raises(error):
        FrameDataset(features, labels, ids)


def test_a_negative_context_or_size_is_refused():
    features, labels, data = make([3])
    with pytest.raises(SettingError, match="context"):
        FrameDataset(features, labels, [0], context=-1)
    with pytest.raises(SettingError, match="positive size"):
        data.batches(0)
