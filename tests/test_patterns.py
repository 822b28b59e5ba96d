"""How layers are written down."""

import pytest

from torchprobe.patterns import Pattern


@pytest.mark.parametrize(
    ("text", "name", "path", "call", "exclude"),
    [
        ("conv1", "conv1", "", None, False),
        ("lstm[0]", "lstm", "[0]", None, False),
        ("lstm[1][0]", "lstm", "[1][0]", None, False),
        ("out[logits]", "out", "[logits]", None, False),
        ("lstm[*]", "lstm", "[*]", None, False),
        ("act@2", "act", "", 1, False),
        ("act@*", "act", "", None, False),
        ("*.rnn[1]@3", "*.rnn", "[1]", 2, False),
        ("!head", "head", "", None, True),
        ("!lstm[1]", "lstm", "[1]", None, True),
        ("blocks.[0].act", "blocks.[0].act", "", None, False),
        ("a@b", "a@b", "", None, False),
        ("", "", "", None, False),
    ],
)
def test_a_pattern_is_name_part_and_call(text, name, path, call, exclude):
    pattern = Pattern.parse(text)
    assert (pattern.name, pattern.path, pattern.call, pattern.exclude) == (
        name,
        path,
        call,
        exclude,
    )


@pytest.mark.parametrize("name", ["a[0]", "a@2", "!a", "*"])
def test_what_is_a_name_as_it_stands_is_that_name(name):
    pattern = Pattern.parse(name, frozenset([name]))
    assert (pattern.name, pattern.is_whole, pattern.exclude) == (name, True, False)
    assert Pattern.parse(f"!{name}", frozenset([name])).exclude


@pytest.mark.parametrize(
    ("text", "name", "meant"),
    [
        ("conv*", "conv1", True),
        ("conv*", "conv", True),
        ("conv?", "conv12", False),
        ("blocks.*", "blocks.0.attn.q", True),
        ("blocks.*.attn", "blocks.0.attn", True),
        ("blocks.*.attn", "blocks.0.attn.q", False),
        ("conv", "conv1", False),
        ("con", "conv", False),
        ("[0]*", "[0]x", True),
        ("c.nv*", "conv1", False),
        ("a+*", "aa", False),
        ("*", "a\nb", True),
    ],
)
def test_only_stars_and_question_marks_are_wild(text, name, meant):
    assert Pattern.parse(text).matches_name(name) is meant


@pytest.mark.parametrize(
    ("text", "path", "call", "meant"),
    [
        ("x", "[1][0]", 5, True),
        ("x[0]", "[0]", 0, True),
        ("x[0]", "[1]", 0, False),
        ("x[1]", "[1][0]", 0, True),
        ("x[1]", "[10]", 0, False),
        ("x[1][0]", "[1]", 0, False),
        ("x[*]", "[1][0]", 0, True),
        ("x[?]", "[10]", 0, False),
        ("x[0]", "", 0, True),
        ("x[1]", "", 0, False),
        ("x@1", "", 0, True),
        ("x@2", "", 0, False),
        ("x@2", "", 1, True),
        ("x@*", "", 7, True),
        ("x@2", "", None, False),
        ("x@*", "", None, True),
        ("x[0]@2", "[0]", 1, True),
    ],
)
def test_parts_and_calls(text, path, call, meant):
    assert Pattern.parse(text).matches_part(path, call) is meant
