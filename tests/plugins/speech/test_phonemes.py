import pickle

import pytest
from torchprobe_speech import CATEGORIES, CMU40, MANNERS, TIMIT39, TIMIT61, category, manner
from torchprobe_speech.phonemes import inventory

from torchprobe.errors import LabelError

# Lee & Hon 1989, table 1 with the usual merging of 48 phones to 39
LEE_HON = (
    "aa ao/ah ax ax-h/er axr/hh hv/ih ix/l el/m em/n en nx/ng eng/sh zh/uw ux/"
    "sil pcl tcl kcl bcl dcl gcl h# pau epi"
)


def test_the_folding_of_timit_has_39_classes_and_merges_what_lee_and_hon_merge():
    assert len(TIMIT61) == 61
    folded = {symbol: TIMIT39.fold(symbol) for symbol in TIMIT61.symbols}
    assert {each for each in folded.values() if each is not None} == set(TIMIT39.symbols)
    assert len(TIMIT39) == 39
    merged = dict.fromkeys(TIMIT61.symbols)
    for group in LEE_HON.split("/"):
        merged.update(dict.fromkeys(group.split(), group.split()[0]))
    assert folded == {s: None if s == "q" else merged[s] or s for s in TIMIT61.symbols}


def test_the_cmu_inventory_has_39_phonemes_and_silence():
    assert len(CMU40) == 40
    assert CMU40.symbols[0] == "sil"
    assert [CMU40.fold(symbol) for symbol in ("ao", "zh", "axr", "dx", "h#")] == [
        "ao", "zh", "er", "t", "sil",
    ]  # fmt: skip


def test_every_symbol_of_every_inventory_has_a_category_and_a_manner():
    for each in (CMU40, TIMIT39, TIMIT61):
        assert set(each.categories()) == set(CATEGORIES)
        assert set(each.manners()) == set(MANNERS)


def test_categories_follow_gk20():
    assert [category(s) for s in ("sil", "uw", "y", "hh", "jh")] == [
        "silence", "vowel", "semivowel", "consonant", "consonant",
    ]  # fmt: skip
    assert [manner(s) for s in ("t", "sh", "jh", "m", "hh")] == [
        "stop", "fricative", "affricate", "nasal", "aspirate",
    ]  # fmt: skip


def test_indices_are_positions_and_left_out_symbols_are_minus_one():
    assert [CMU40.index(symbol) for symbol in CMU40.symbols] == list(range(40))
    assert TIMIT39.index("q") == -1


def test_an_unknown_symbol_or_inventory_is_named():
    with pytest.raises(LabelError, match="'xx' for cmu40; known are sil aa"):
        CMU40.index("xx")
    with pytest.raises(LabelError, match="'xx'"):
        manner("xx")
    with pytest.raises(LabelError, match="cmu40, timit39, timit61"):
        inventory("arpabet")
    assert inventory(CMU40) is CMU40


def test_an_inventory_survives_pickling():
    assert pickle.loads(pickle.dumps(TIMIT39)).fold("zh") == "sh"
