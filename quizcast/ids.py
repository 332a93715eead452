"""Ids: short, unguessable, and in the order of their making, which keeps database indexes compact; floor 2."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no letter that passes for a digit
_TIME_CHARS = 9  # 45 bits of milliseconds: until the year 3084
_RANDOM_CHARS = 16  # 80 bits


def new_id() -> str:
    """A fresh id of 25 characters."""
    return _encoded(int(time.time() * 1000), _TIME_CHARS) + _encoded(secrets.randbits(80), _RANDOM_CHARS)


def _encoded(number: int, length: int) -> str:
    chars = []
    for _ in range(length):
        number, place = divmod(number, len(_ALPHABET))
        chars.append(_ALPHABET[place])
    return "".join(reversed(chars))
