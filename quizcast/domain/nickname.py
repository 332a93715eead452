"""Nicknames: what may be one, and which two are too alike for one room; floor 3, pure.

The character facts are those of Unicode TR 36 and TS 39 (confusables), cut down to the scripts that people
really mix to look like somebody else: Cyrillic and Greek letters, and digits, that pass for Latin ones.
"""

import re
import unicodedata

from quizcast.errors import NicknameInvalid

NICKNAME_MAX = 24  # visible characters
MARKS_MAX = 3  # accents on one letter; more is a tower of ink over the neighbours' names
JOINERS = "\u200c\u200d"  # invisible, but Persian words and family emoji need them
BLANKS = "\u115f\u1160\u2800\U0001d159"  # letters and symbols by category, but there is nothing to see
EMOJI = range(0x1F000, 0x1FB00)  # this year's emoji are unassigned in last year's character tables

# Marks that change nothing to see: variation selectors and the like.
_UNSEEN_MARKS = re.compile("[\u034f\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")

_CAPITALS = str.maketrans("ΗΝΥ", "HNY")  # Greek capitals that look like other letters than their small ones do
_LATIN = re.compile("[A-Za-z]")
_LOOKS_LIKE = str.maketrans(
    {
        **dict(zip("аеорсухіјѕһԁԛԝзь", "aeopcyxijshdqweb", strict=True)),  # Cyrillic
        **dict(zip("вкмнтг", "bkmhtr", strict=True)),  # … those whose capitals do
        **dict(zip("αορνικτυχγβεημζ", "aopviktuxybenmz", strict=True)),  # Greek
        **dict(zip("ᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ", "abcdeghijklmnoprtuvwyz", strict=True)),  # small capitals
        **dict(zip("0135|!$@", "oleslisa", strict=True)),
        "ı": "i",
        "ł": "l",
        "ø": "o",
        "đ": "d",
    }
)


def clean_nickname(raw: str) -> str:
    """The nickname as everybody will see it. Raises `NicknameInvalid` saying why it cannot be one."""
    if len(raw) > 8 * NICKNAME_MAX:
        raise NicknameInvalid(f"use at most {NICKNAME_MAX} characters")
    # Blanks alone are folded: `split()` would also swallow tabs and line ends, which are to be refused.
    name = " ".join(filter(None, unicodedata.normalize("NFKC", raw).split(" ")))
    marks = visible = 0
    for char in name:
        category = "So" if ord(char) in EMOJI else unicodedata.category(char)
        hidden = char in BLANKS or (category == "Cf" and char not in JOINERS)
        if hidden or category in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp"):
            raise NicknameInvalid("control, invisible and text-direction characters cannot be used")
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > MARKS_MAX:
            raise NicknameInvalid("too many accents on one letter")
        visible += category not in ("Mn", "Me", "Cf", "Zs")
    if visible == 0:
        raise NicknameInvalid("use at least one visible character")
    if sum(unicodedata.category(char) not in ("Mn", "Me", "Cf") for char in name) > NICKNAME_MAX:
        raise NicknameInvalid(f"use at most {NICKNAME_MAX} characters")
    return name


def skeleton(nickname: str) -> str:
    """What two nicknames share when a reader across the room could take one for the other."""
    text = unicodedata.normalize("NFKC", nickname)
    if _LATIN.search(text):
        text = text.translate(_CAPITALS)
    # Taken apart, an accented letter shows the letter that is to be compared.
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text.casefold()).casefold())
    shape = _UNSEEN_MARKS.sub("", letters.translate(_LOOKS_LIKE))
    seen = "".join(char for char in shape if unicodedata.category(char) not in ("Cf", "Zs"))
    return seen.replace("i", "l").replace("rn", "m").replace("vv", "w")
