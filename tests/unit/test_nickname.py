"""Which names may be shown to a whole room, and which two would be taken for one."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quizcast.domain.nickname import NICKNAME_MAX, clean_nickname, skeleton
from quizcast.errors import NicknameInvalid


def accepted(raw: str) -> str:
    try:
        return clean_nickname(raw)
    except NicknameInvalid:
        assume(False)
        raise


names = st.text(st.characters(categories=("L", "N", "P", "S", "Zs", "M")), min_size=1, max_size=NICKNAME_MAX)


@given(st.text(max_size=300))
def test_whatever_is_sent_becomes_a_name_or_an_invalid_nickname_with_a_reason(raw: str) -> None:
    refusal = ""
    try:
        name = clean_nickname(raw)
    except NicknameInvalid as refused:
        name, refusal = "", refused.detail
    assert bool(name) != bool(refusal)
    assert name == name.strip()


@given(names)
def test_a_clean_name_is_clean(raw: str) -> None:
    name = accepted(raw)
    assert clean_nickname(name) == name
    assert unicodedata.is_normalized("NFKC", name)


@given(names)
def test_a_name_and_its_cleaned_form_look_the_same(raw: str) -> None:
    assert skeleton(raw) == skeleton(accepted(raw))


@given(st.text(st.characters(codec="latin-1", categories=("L", "N")), min_size=1))
def test_upper_and_lower_case_look_alike(name: str) -> None:
    assert skeleton(name.upper()) == skeleton(name.lower()) == skeleton(name)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
def test_wide_letters_look_like_narrow_ones(name: str) -> None:
    assert skeleton("".join(chr(ord(char) + 0xFEE0) for char in name)) == skeleton(name)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("  Ann   Lee ", "Ann Lee"),
        ("Ａｎｎ", "Ann"),
        ("Jose\u0301", "José"),
        ("ﬁn", "fin"),
        ("Ann\u00a0Lee", "Ann Lee"),
        ("👩‍👩‍👧‍👦 team", "👩‍👩‍👧‍👦 team"),
        ("👍🏽", "👍🏽"),
        ("❤️", "❤️"),
        ("🇫🇷", "🇫🇷"),
        ("می‌خواهم", "می‌خواهم"),
        ("हिन्दी", "हिन्दी"),
        ("李小龍", "李小龍"),
        ("O'Neil-2", "O'Neil-2"),
        ("x" * 24, "x" * 24),
        ("e\u0301" * 24, "é" * 24),
        ("\U0001fae8", "\U0001fae8"),  # newer than the character tables of the oldest Python
        ("\U0001faff", "\U0001faff"),  # no emoji yet
    ],
)
def test_names_of_many_scripts_and_emoji_are_fine(raw: str, name: str) -> None:
    assert clean_nickname(raw) == name


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "   ",
        "x" * 25,
        "x" * 100_000,
        "a\nb",
        "a\tb",
        "a\x00b",
        "\u202eadmin",  # right-to-left override
        "\u2066admin\u2069",
        "ad\u200bmin",  # zero width space
        "ad\u00admin",  # soft hyphen
        "ad\ufeffmin",
        "\u200d",  # nothing to see
        "\u200c\u200d",
        "\u3164",  # Hangul filler: a letter that is blank
        "\uffa0",
        "\u2800",  # braille blank
        "\u0301",  # an accent on nothing
        "\ud800",
        "\ue000",  # private use
        "a\u0378",  # unassigned
        "a\u2028b",
        "Z\u0335\u0321\u0322\u0327\u0328algo",
        "\U000e0041tag",
    ],
)
def test_names_that_hide_break_or_blank_something_are_refused(raw: str) -> None:
    with pytest.raises(NicknameInvalid):
        clean_nickname(raw)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna", "anna"),
        ("Anna", "Ａｎｎａ"),
        ("Anna", "An na"),
        ("Anna", "Аnnа"),  # both of them Cyrillic
        ("paypal", "раураl"),  # half of it Cyrillic
        ("MOBY", "МОВУ"),  # Cyrillic capitals
        ("Tom", "Тоm"),
        ("Nick", "Νick"),  # Greek capital nu
        ("Helen", "Ηelen"),  # Greek capital eta
        ("Yvonne", "Υvonne"),  # Greek capital upsilon
        ("ozzy", "οzzy"),  # Greek omicron
        ("lol", "l0l"),
        ("Bill", "Bi1l"),
        ("Bill", "BiII"),
        ("Bill", "B|ll"),
        ("Steve", "5t3ve"),
        ("Arnold", "Amold"),
        ("vvill", "will"),
        ("bob", "ʙᴏʙ"),  # small capitals
        ("Ann", "An\u200dn"),
        ("Bob", "Bob\ufe0f"),
        ("Bob", "Bo\u034fb"),  # a joiner that is a mark
        ("é", "e\u0301"),
        ("jéan", "jеóan".replace("ó", "\u0301")),  # Cyrillic, with an accent of its own
        ("ILYA", "ilya"),
        ("straße", "STRASSE"),
    ],
)
def test_names_that_a_reader_across_the_room_would_confuse_share_a_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna", "Hanna"),
        ("José", "Jose"),
        ("Ann", "Anne"),
        ("player 1", "player 2"),
        ("7", "8"),
        ("👍", "👎"),
        ("李", "季"),
        ("Никита", "Никитина"),
    ],
)
def test_names_that_differ_to_the_eye_keep_apart(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)


def test_numbered_players_all_get_in() -> None:
    assert len({skeleton(f"player {number}") for number in range(2000)}) == 2000


def test_every_clean_name_leaves_something_to_compare() -> None:
    for name in ("👩‍👩‍👧", "…", "i", "1", "❤️", "🇫🇷"):
        assert skeleton(clean_nickname(name))
