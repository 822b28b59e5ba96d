from torchprobe_speech import CorpusSettings, FrameTraining, recipes


def test_the_defaults_are_the_recipe_of_the_demo():
    assert CorpusSettings() == recipes.PHONEME_CORPUS
    assert FrameTraining() == recipes.PHONEME_TRAINING


def test_full_and_demo_corpora_share_validation_and_test_sentences():
    from torchprobe_speech.synthesis import plan

    def heldout(settings):
        return [each for each in plan(settings) if not each.name.startswith("TRAIN")]

    assert heldout(recipes.FULL_PHONEME_CORPUS) == heldout(recipes.PHONEME_CORPUS)
    assert len(heldout(recipes.PHONEME_CORPUS)) == 180
