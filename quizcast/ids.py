"""Names for what quizcast makes: 25 characters that sort by time and cannot be guessed; floor 2."""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # in ASCII order, without letters that read like digits
TIME_BITS = 45  # milliseconds until the year 3084
RANDOM_BITS = 80
LENGTH = (TIME_BITS + RANDOM_BITS) // 5


def new_id() -> str:
    """A new id. Ids made later, by any process, sort after it, to the millisecond and as far as clocks agree."""
    return spelled(int(time.time() * 1000) << RANDOM_BITS | secrets.randbits(RANDOM_BITS))


def spelled(number: int) -> str:
    """The lowest 125 bits of a number in the form that ids have."""
    return "".join(ALPHABET[number >> shift & 31] for shift in range(5 * (LENGTH - 1), -1, -5))


def first_id(at: int) -> str:
    """The lowest id that can be made at a moment, in ms since the epoch."""
    return spelled(at << RANDOM_BITS)


def made_at(text: str) -> int:
    """When an id was made, in ms since the epoch; its first nine characters tell."""
    at = 0
    for char in text[: TIME_BITS // 5]:
        at = at << 5 | ALPHABET.index(char)
    return at


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return len(text) == LENGTH and all(char in ALPHABET for char in text)
