import torch
from hypothesis import given
from references import statistics as reference
from strategies import offset_rows, repeatable, seeds

from torchprobe.accumulators import GroupMeans


@repeatable
@given(rows=offset_rows(), seed=seeds)
def test_means_are_those_of_the_values_as_delivered(rows, seed):
    labels = torch.randint(-1, 3, (len(rows),), generator=torch.Generator().manual_seed(seed))
    labels[0] = 2
    means = GroupMeans(3)
    for part in zip(rows.split(7), labels.split(7), strict=True):
        means.update(*part)
    parts = reference.by_label(rows, labels)
    assert means.groups.tolist() == list(parts)
    for value, part in zip(means.value, parts.values(), strict=True):
        expected = torch.from_numpy(reference.mean(part).astype("float64"))
        torch.testing.assert_close(
            value, expected, rtol=1e-12, atol=1e-15 * float(part.abs().max())
        )


def test_a_bad_row_spoils_no_other_group():
    means = GroupMeans(1)
    means.update(torch.tensor([[torch.nan], [1], [torch.inf]]), torch.tensor([0, 1, -1]))
    assert means.value[1].item() == 1.0
