"""Passwords and tokens: argon2id, signed access tokens, opaque refresh tokens; floor 5.

Access tokens are JWTs of one fixed algorithm. The audience says what a token is good for, so that a participant's can
never pass for a host's. Verified tokens are remembered, bounded, since an intake reads thousands a second; expiry is
looked at every time. No token is ever in a `repr` or in a message.
"""

import asyncio
import hashlib
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Self

import jwt
import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from quizcast.errors import SettingsInvalid, TokenExpired, TokenInvalid
from quizcast.settings import Settings

ALGORITHM = "HS256"
KEY_MIN = 32  # characters of a signing secret: as long as the signature is wide
KEY_FILE = "keys"
VERIFIED_MAX = 50_000  # tokens remembered, about 0.5 KB each
HASHING_MAX = 2  # at once: each takes 64 MiB and a core for a tenth of a second


class Kind(StrEnum):
    """What a token is good for; the value is its audience."""

    HOST = "quizcast:host"
    PARTICIPANT = "quizcast:participant"
    SCREEN = "quizcast:screen"


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified token says: the host's or participant's id, for which game (none for hosts), until when (s)."""

    kind: Kind
    subject: str
    game_id: str
    expires_at: float


class Keyring(msgspec.Struct, frozen=True):
    """Signing keys by id. The first signs; all verify, so that a key can be replaced without logging anybody out."""

    keys: dict[str, str]
    signer: str

    def __repr__(self) -> str:
        """Which keys there are, and nothing of what they are."""
        return f"Keyring({', '.join(self.keys)})"

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """`QUIZCAST_KEYS`, or the key file of the data directory, which is made when it is missing.

        Raises `SettingsInvalid` for keys that are malformed or too short.
        """
        entries = settings.keys or (_key_file(settings.data_dir),)
        keys: dict[str, str] = {}
        for entry in entries:
            kid, colon, secret = entry.partition(":")
            if not (colon and kid) or len(secret) < KEY_MIN:
                raise SettingsInvalid(f"QUIZCAST_KEYS: write kid:secret, with {KEY_MIN} or more characters of secret")
            keys[kid] = secret
        return cls(keys, next(iter(keys)))


def _key_file(data_dir: Path) -> str:
    path = data_dir / KEY_FILE
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        pass
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written aside and linked into place: of two processes that start together, both read the first one's key.
    draft = path.with_name(f"{KEY_FILE}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(f"{secrets.token_hex(4)}:{secrets.token_urlsafe(48)}\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text("ascii").strip()


class Refresh(NamedTuple):
    """A new refresh token: what the client gets, and what the database keeps of it."""

    token: str
    digest: bytes


class Tokens:
    """Makes tokens and reads them."""

    def __init__(self, keyring: Keyring, settings: Settings) -> None:
        self._keyring = keyring
        self._life_s = {
            Kind.HOST: settings.access_ttl_s,
            Kind.PARTICIPANT: settings.participant_ttl_s,
            Kind.SCREEN: settings.participant_ttl_s,
        }
        self._verified: OrderedDict[str, Claims] = OrderedDict()

    def mint(self, kind: Kind, subject: str, game_id: str = "") -> str:
        """A signed token."""
        now = int(time.time())
        payload = {"aud": kind.value, "sub": subject, "iat": now, "exp": now + self._life_s[kind]}
        if game_id:
            payload["game"] = game_id
        signer = self._keyring.signer
        return jwt.encode(payload, self._keyring.keys[signer], ALGORITHM, headers={"kid": signer})

    def read(self, token: str, kinds: Sequence[Kind]) -> Claims:
        """What a token says. Raises `TokenInvalid`, also for a token of another kind, and `TokenExpired`."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._verify(token)
            self._verified[token] = claims
            if len(self._verified) > VERIFIED_MAX:
                self._verified.popitem(last=False)
        if claims.expires_at <= time.time():
            raise TokenExpired()
        if claims.kind not in kinds:
            raise TokenInvalid()
        return claims

    def _verify(self, token: str) -> Claims:
        try:
            key = self._keyring.keys[jwt.get_unverified_header(token)["kid"]]
            payload = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=[kind.value for kind in Kind],
                options={"require": ["aud", "exp", "iat", "sub"]},
            )
            return Claims(
                kind=Kind(payload["aud"]),
                subject=payload["sub"],
                game_id=payload.get("game", ""),
                expires_at=float(payload["exp"]),
            )
        except jwt.ExpiredSignatureError:
            raise TokenExpired() from None
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
            raise TokenInvalid() from None

    def new_refresh(self) -> Refresh:
        """A fresh refresh token."""
        token = secrets.token_urlsafe(32)
        return Refresh(token, self.digest(token))

    @staticmethod
    def digest(refresh_token: str) -> bytes:
        """What the database knows a refresh token by: enough to recognise it, not enough to use it."""
        return hashlib.sha256(refresh_token.encode("utf-8", "replace")).digest()

    def derived_id(self, game_id: str, key: str) -> str:
        """The participant id of a join with this Idempotency-Key: the same for each retry, guessable by nobody."""
        secret = self._keyring.keys[self._keyring.signer].encode()
        return hashlib.blake2s(f"{game_id}\0{key}".encode(), key=secret[:32], digest_size=13).hexdigest()


class Passwords:
    """argon2id with the library's parameters (RFC 9106, low memory), in threads, a few at a time."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._places = asyncio.Semaphore(HASHING_MAX)
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """A password's hash, parameters and salt included."""
        async with self._places:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, digest: str | None, password: str) -> bool:
        """Whether the password fits. With no digest (no such account) it takes the same time and does not."""
        if digest is None:
            if self._nobody is None:
                self._nobody = await self.hash(secrets.token_urlsafe(16))
            digest, known = self._nobody, False
        else:
            known = True
        async with self._places:
            return await asyncio.to_thread(self._fits, digest, password) and known

    def needs_rehash(self, digest: str) -> bool:
        """Whether the parameters have been raised since."""
        return self._hasher.check_needs_rehash(digest)

    def _fits(self, digest: str, password: str) -> bool:
        try:
            return self._hasher.verify(digest, password)
        except (Argon2Error, InvalidHashError):
            return False
