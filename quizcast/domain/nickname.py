"""Nicknames: what may be one, and which two are too alike for one room; floor 3, pure.

The character facts are those of Unicode TR 36 and TS 39 (confusables), cut down to the scripts that people
really mix to look like somebody else: Cyrillic and Greek letters, and digits, that pass for Latin ones.
"""

import unicodedata

from quizcast.errors import NicknameInvalid

NICKNAME_MAX = 24  # visible characters
MARKS_MAX = 3  # accents on one letter; more is a tower of ink over the neighbours' names
JOINERS = "\u200c\u200d"  # invisible, but Persian words and family emoji need them

_LOOKS_LIKE = str.maketrans(
    {
        **dict(zip("аеорсухіјѕһԁԛԝ", "aeopcyxijshdqw", strict=True)),  # Cyrillic
        **dict(zip("вкмнтг", "bkmhtr", strict=True)),  # … those whose capitals do
        **dict(zip("αορνικτυχγβεημ", "aopviktuxybenm", strict=True)),  # Greek
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
        category = unicodedata.category(char)
        if category in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") or (category == "Cf" and char not in JOINERS):
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
    bare = "".join(char for char in nickname if unicodedata.category(char) not in ("Cf", "Zs"))
    shape = unicodedata.normalize("NFKC", bare).casefold().translate(_LOOKS_LIKE)
    return shape.replace("i", "l").replace("rn", "m").replace("vv", "w").replace("\ufe0f", "")
