"""A grammar of short English sentences whose words cover all 39 phonemes.

The words are chosen so that the rare phonemes (zh, oy, uh, th, y) occur in most templates; the
sentences need not make sense, only to be pronounced in many contexts.
"""

import random
from collections.abc import Iterator, Mapping
from itertools import pairwise

__all__ = ["distinct_sentences", "vocabulary"]

_NAMES = """
alice anna arthur beth boyd bruce carol charlie claire david diana edward ethan faith george
grace harry hugo ian irene jack jane joyce judy keith laura leo louise martha mary matthew
michael nathan oscar paul rachel robert roy ruth sarah sean sophie susan thomas vera victor
walter wendy yolanda yusuf zoe
"""
_NOUNS = """
airport apple author badge bath beach bear bicycle bird boat book bottle bowl box boy bridge
brother bush camera candle captain card casket castle chair cheese cherry child church circle
city cloth cloud coat coin cook corner cottage cousin cow cup curtain daughter decision desk
doctor dog door dragon dream drum eagle earth edge engine farmer father feather fence finger
fish flag flower foot forest fork fountain fox friend garage garden gate giant girl glass goat
guitar hammer hat hill hook horse house invasion island jacket journey judge juice jury kettle
key king kitchen knife ladder lake language leaf leisure letter lion lock machine magician
measure method mirror money month moon mother motion mountain mouse mouth museum mushroom
needle neighbor night noise nose nurse ocean oil onion orange owl oyster paint paper path
pencil piano picture pigeon pilot pleasure pocket poem point poison pool potato pudding queen
question rabbit radio river road robin roof room royalty ship shirt shoulder sister soil song
spoon square star stone storm story student sugar table tailor teacher television thief thing
thought thumb thunder tiger tooth tower town toy treasure tree uncle valley village vision
visitor voice vulture wagon wall watch water weather wheel window winter witch wolf woman wood
wool world yacht yard year youth zebra zoo
"""
_ADJECTIVES = """
ancient azure beige better blue bold brave bright broken calm careful casual cheap clean clever
cloudy coarse cold cool curious dark deep distant dry early easy empty enjoyable faithful famous
fat foggy foreign free fresh full funny gentle giant golden good great green handsome happy
heavy huge humble joyful joyous large lazy little long loud lucky merry moist muddy narrow nice
noisy north odd old open other pink plain polite poor proud purple quick quiet rare red rich
rough royal rusty sharp shiny short shy silver simple sleepy smooth soft sour south strange
strong sweet tall thick thin thirsty tiny tough unusual useful usual vague warm weak white wide
wild wise wooden wrong yellow young
"""
_VERBS = """
admire admired|avoid avoided|borrow borrowed|bring brought|build built|buy bought|carry carried|
catch caught|change changed|choose chose|clean cleaned|close closed|cook cooked|count counted|
cover covered|describe described|destroy destroyed|discover discovered|draw drew|drop dropped|
employ employed|enjoy enjoyed|examine examined|fetch fetched|find found|finish finished|
follow followed|forget forgot|gather gathered|guard guarded|hear heard|hide hid|hold held|
imagine imagined|join joined|judge judged|keep kept|lift lifted|measure measured|move moved|
notice noticed|offer offered|paint painted|point pointed|praise praised|protect protected|
pull pulled|push pushed|remember remembered|repair repaired|return returned|save saved|see saw|
sell sold|share shared|show showed|steal stole|study studied|switch switched|take took|
teach taught|throw threw|touch touched|treasure treasured|trust trusted|use used|value valued|
visit visited|watch watched|wash washed|weigh weighed|write wrote
"""
_PREPOSITIONS = """
above across against around behind below beneath beside beyond near over under with
"""
_ADVERBS = """
alone badly boldly casually clearly gladly gently happily joyfully loudly often quickly quietly
rarely slowly smoothly softly sometimes together thoughtfully usually
"""
_MANNERS = "with pleasure|with both hands|without a voice|by measure|for joy"
_TIMES = """
this morning|last night|every year|on thursday|before lunch|after the storm|at noon|in july|
each month|next autumn|long ago|on her birthday|three days later|in the north|in the south|
through the valley|yesterday
"""
_DETERMINERS = "the a this that my your his her our their another each every"
_NUMBERS = "two three four five six seven eight nine ten eleven twelve thirteen thirty many few"
_PRONOUNS = "he she they we you someone nobody everyone"

_IRREGULAR_PLURALS = {
    "child": "children", "foot": "feet", "knife": "knives", "leaf": "leaves", "mouse": "mice",
    "potato": "potatoes", "thief": "thieves", "tooth": "teeth", "wolf": "wolves",
    "woman": "women",
}  # fmt: skip

_TEMPLATES = (
    "{determiner} {adjective} {noun} {past} the {adjective2} {noun2}",
    "{name} {past} {determiner} {noun} {preposition} the {noun2}",
    "{time} {pronoun} {past} {number} {adjective} {nouns}",
    "did {name} {verb} {determiner} {adjective} {noun} {adverb}",
    "{determiner} {noun} {preposition} the {noun2} was {adjective} and {adjective2}",
    "{pronoun} will {verb} {determiner} {noun} {time}",
    "{name} and {name2} {past} the {nouns} {adverb}",
    "please {verb} {number} {adjective} {nouns} {preposition} {determiner} {noun}",
)


def distinct_sentences(seed: int) -> Iterator[str]:
    """Yields sentences in lower case without punctuation, none of them twice.

    Args:
        seed: The same seed yields the same sentences in the same order.

    Yields:
        A sentence of about seven words; the grammar holds far more than a million.

    >>> sentences = distinct_sentences(0)
    >>> next(sentences) == next(distinct_sentences(0)) != next(sentences)
    True
    """
    generator = random.Random(seed)
    slots = _slots()
    seen = set()
    while True:
        sentence = _fill(generator.choice(_TEMPLATES), slots, generator)
        if sentence not in seen:
            seen.add(sentence)
            yield sentence


def vocabulary() -> tuple[str, ...]:
    """Returns every word that a sentence can contain, sorted.

    >>> len(vocabulary()) > 500, "treasure" in vocabulary()
    (True, True)
    """
    text = [option for options in _slots().values() for option in options]
    literal = [word for template in _TEMPLATES for word in template.split() if "{" not in word]
    return tuple(sorted({word for entry in [*text, *literal, "an"] for word in entry.split()}))


def _slots() -> Mapping[str, list[str]]:
    verbs = [pair.split() for pair in _phrases(_VERBS)]
    nouns = _NOUNS.split()
    return {
        "name": _NAMES.split(),
        "noun": nouns,
        "nouns": [_plural(noun) for noun in nouns],
        "adjective": _ADJECTIVES.split(),
        "verb": [base for base, _ in verbs],
        "past": [past for _, past in verbs],
        "preposition": _PREPOSITIONS.split(),
        "adverb": [*_ADVERBS.split(), *_phrases(_MANNERS)],
        "time": _phrases(_TIMES),
        "determiner": _DETERMINERS.split(),
        "number": _NUMBERS.split(),
        "pronoun": _PRONOUNS.split(),
    }


def _fill(template: str, slots: Mapping[str, list[str]], generator: random.Random) -> str:
    chosen = {
        slot + suffix: generator.choice(options)
        for slot, options in slots.items()
        for suffix in ("", "2")
    }
    words = template.format(**chosen).split()
    return " ".join(_article(word, after) for word, after in pairwise([*words, ""]))


def _phrases(text: str) -> list[str]:
    return [phrase.strip() for phrase in text.split("|")]


def _plural(noun: str) -> str:
    if noun in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[noun]
    if noun.endswith(("s", "sh", "ch", "x", "z")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def _article(word: str, after: str) -> str:
    starts_with_vowel = after[:1] in set("aeiou") and not after.startswith("us")
    return "an" if word == "a" and starts_with_vowel else word
