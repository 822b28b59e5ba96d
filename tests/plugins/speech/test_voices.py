import pytest
from torchprobe_speech.voices import choose_voices

from torchprobe.errors import SettingError


def test_heldout_variants_occur_in_no_other_split():
    for train, heldout in ((40, 8), (120, 5), (1, 1)):
        splits = choose_voices(train, heldout, seed=1)
        assert [len(split) for split in splits] == [train, heldout, heldout]
        variants = [{voice.variant for voice in split} for split in splits]
        assert len(set().union(*variants)) == sum(len(each) for each in variants)


def test_every_voice_is_a_speaker_of_its_own_also_when_variants_repeat():
    train, validation, test = choose_voices(150, 4, seed=0)
    speakers = [voice.speaker for voice in (*train, *validation, *test)]
    assert len(set(speakers)) == 158
    assert len({(voice.variant, voice.pitch, voice.rate) for voice in train}) > 140


def test_without_heldout_voices_all_splits_share_the_training_voices():
    train, validation, test = choose_voices(3, 0, seed=0)
    assert train == validation == test


def test_the_seed_draws_the_voices():
    assert choose_voices(5, 2, seed=0) == choose_voices(5, 2, seed=0) != choose_voices(5, 2, seed=1)


@pytest.mark.parametrize(("train", "heldout"), [(0, 1), (5, -1), (5, 40)])
def test_numbers_out_of_range_are_refused(train, heldout):
    with pytest.raises(SettingError, match="voices must be positive"):
        choose_voices(train, heldout, seed=0)
