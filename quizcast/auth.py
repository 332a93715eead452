"""Who is who: passwords, the tokens that hosts, participants and screens show, refresh tokens; floor 5.

Invariants: the one algorithm is HS256 and a token says for whom it is meant (`aud`); a token that verified is
remembered, so that the next look costs a dictionary's, but its expiry is checked every time; no token, password or
key shows in a `repr`, an error or a log. What is kept of a refresh token is a digest.
"""

import asyncio
import base64
import hashlib
import os
import secrets
import sys
import tempfile
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import jwt
import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from quizcast.errors import Overloaded, RefreshInvalid, SettingsInvalid, TokenExpired, TokenInvalid
from quizcast.ids import is_id, new_id, spelled
from quizcast.settings import Settings

ALGORITHM = "HS256"
SECRET_MIN = 32  # bytes: shorter than the hash, and the key is easier to guess than the signature
KEY_FILE = "keys"
TOKEN_MAX = 1000  # characters; ours have about 300
TOKENS_KEPT = 20_000  # more than one process has participants; 20 MB at the most

HASH_ROUNDS = 2
HASH_KIB = 46 * 1024
HASHES_AT_ONCE = 2  # so a login burst takes 92 MiB and two cores at the most
HASH_NICE = 10  # a ninth of what the event loop gets where both want a core
HASHES_WAITING = 100  # ten seconds' worth; who would wait longer is told at once
RETRY_AFTER_S = 5.0

T = TypeVar("T")


class Kind(StrEnum):
    """For whom a token is."""

    HOST = "host"
    PARTICIPANT = "participant"
    SCREEN = "screen"

    @property
    def audience(self) -> str:
        """The token's `aud`."""
        return f"quizcast:{self}"


_KINDS = {kind.audience: kind for kind in Kind}


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a valid token says: `subject` is the host's or participant's id, `game_id` empty for a host.

    `expires_at` in ms since the epoch.
    """

    kind: Kind
    subject: str
    game_id: str
    expires_at: int


class Key(NamedTuple):
    """A signing key and the name it goes by."""

    kid: str
    secret: str

    def __repr__(self) -> str:
        return f"Key({self.kid!r})"


class Keyring:
    """The keys: the first signs, all verify. To rotate, put a new one in front; drop the old once tokens are."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = {key.kid: key for key in keys}
        if not keys or len(self._keys) != len(keys) or not all(self._keys):
            raise SettingsInvalid("QUIZCAST_KEYS needs one or more `kid:secret`, each kid once")
        for place, key in enumerate(keys, start=1):
            if len(key.secret.encode()) < SECRET_MIN:
                # By its place: where the colon is missing, what looks like the kid is the secret.
                raise SettingsInvalid(f"key {place} needs the form `kid:secret`, with {SECRET_MIN} bytes of secret")
        self.first = keys[0]

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """The keys of the settings, else of the key file in the data directory, which is made when it is not there.

        Raises `SettingsInvalid`.
        """
        lines = settings.keys or _key_file(settings.data_dir)
        return cls([Key(kid.strip(), secret.strip()) for kid, _, secret in (line.partition(":") for line in lines)])

    def find(self, kid: str) -> Key | None:
        """The key with this name."""
        return self._keys.get(kid)


def _key_file(folder: Path) -> list[str]:
    path = folder / KEY_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make_key_file(path)
        if path.stat().st_mode & 0o077:
            raise SettingsInvalid(f"others can read the key file {path}; run chmod 600 on it, or replace it")
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise SettingsInvalid(f"the key file {path}: {error.strerror}; set QUIZCAST_KEYS or mend it") from error


def _make_key_file(path: Path) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 from the start
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"k{int(time.time())}:{secrets.token_urlsafe(48)}\n")
            file.flush()
            os.fsync(file.fileno())
        # Complete when it appears, and the first of several processes wins: a rename would let the last one win.
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(name)


class Tokens:
    """Mints and reads the tokens."""

    def __init__(self, keyring: Keyring, settings: Settings) -> None:
        self._keyring = keyring
        self._lives_s = {
            Kind.HOST: settings.access_ttl_s,
            Kind.PARTICIPANT: settings.participant_ttl_s,
            Kind.SCREEN: settings.participant_ttl_s,
        }
        self._read: OrderedDict[str, Claims] = OrderedDict()

    def mint(self, kind: Kind, subject: str, game_id: str = "") -> str:
        """A signed token, good for as long as the settings say for its kind."""
        now = int(time.time())
        key = self._keyring.first
        payload = {"aud": kind.audience, "sub": subject, "iat": now, "exp": now + self._lives_s[kind]}
        if game_id:
            payload["game"] = game_id
        return jwt.encode(payload, key.secret, ALGORITHM, {"kid": key.kid})

    def read(self, token: str, kinds: Collection[Kind]) -> Claims:
        """What a token says, if it is of one of these kinds. Raises `TokenInvalid` or `TokenExpired`."""
        claims = self._read.get(token)
        if claims is None:
            claims = self._verified(token)
            self._read[token] = claims
            if len(self._read) > TOKENS_KEPT:
                self._read.popitem(last=False)
        else:
            self._read.move_to_end(token)
        if claims.expires_at <= time.time() * 1000:
            self._read.pop(token, None)
            raise TokenExpired()
        if claims.kind not in kinds:
            raise TokenInvalid()
        return claims

    def _verified(self, token: str) -> Claims:
        if len(token) > TOKEN_MAX:
            raise TokenInvalid()
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keyring.find(kid) if isinstance(kid, str) else None
            if key is None:
                raise TokenInvalid()
            payload = jwt.decode(
                token,
                key.secret,
                algorithms=[ALGORITHM],
                audience=list(_KINDS),
                # `iat` has to be there and is not compared: another machine's clock may be a second ahead.
                options={"require": ["exp", "aud", "sub", "iat"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise TokenExpired() from None
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError):
            raise TokenInvalid() from None
        audience, game_id = payload["aud"], payload.get("game", "")
        if not isinstance(audience, str) or not isinstance(game_id, str):
            raise TokenInvalid()
        return Claims(
            kind=_KINDS[audience], subject=payload["sub"], game_id=game_id, expires_at=int(payload["exp"]) * 1000
        )

    def derived_id(self, game_id: str, key: str, kicks: int = 0) -> str:
        """The participant's id for a join with this Idempotency-Key: a retry gets the same, nobody can foresee it.

        After each of the `kicks` it is another.
        """
        secret = hashlib.sha256(self._keyring.first.secret.encode()).digest()
        named, salt = f"{game_id}\n{key}".encode(), kicks.to_bytes(8)
        mixed = hashlib.blake2s(named, key=secret, person=b"join-id", salt=salt, digest_size=16)
        return spelled(int.from_bytes(mixed.digest()))

    def next_refresh(self, text: str) -> tuple[str, "Refresh"]:
        """What follows this refresh token, by every process that has the key, and what to keep of it.

        Raises `RefreshInvalid` for what cannot be one.
        """
        secret = hashlib.sha256(self._keyring.first.secret.encode()).digest()
        mixed = hashlib.blake2s(text.encode(), key=secret, person=b"refresh").digest()
        family = read_refresh(text).family
        following = f"{family}.{base64.urlsafe_b64encode(mixed).rstrip(b'=').decode()}"
        return following, read_refresh(following)


class Refresh(NamedTuple):
    """A refresh token as it is stored: the family (one login and all that followed from it), and a digest."""

    family: str
    digest: bytes


def mint_refresh(family: str = "") -> tuple[str, Refresh]:
    """A refresh token for the client, and what to keep of it; the next of a family, or the first of a new one."""
    family = family or new_id()
    text = f"{family}.{secrets.token_urlsafe(32)}"
    return text, read_refresh(text)


def read_refresh(text: str) -> Refresh:
    """What is kept of a refresh token. Raises `RefreshInvalid` for what cannot be one."""
    family, _, secret = text.partition(".")
    if not (is_id(family) and secret.isascii() and 0 < len(secret) <= TOKEN_MAX):
        raise RefreshInvalid()
    return Refresh(family, hashlib.sha256(text.encode()).digest())


class Passwords:
    """Hashes and verifies passwords in a few threads of its own. One per process."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=HASH_ROUNDS, memory_cost=HASH_KIB, parallelism=1)
        self._threads = ThreadPoolExecutor(HASHES_AT_ONCE, thread_name_prefix="passwords", initializer=_stand_back)
        self._waiting = 0
        self._nobodys = ""

    async def hash(self, password: str) -> str:
        """An argon2id hash, with its parameters and salt in it. Raises `Overloaded`."""
        return await self._in_thread(lambda: self._hasher.hash(_typed(password)))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Whether it is the password. None for an unknown account takes as long as a known one. Raises `Overloaded`."""
        return await self._in_thread(lambda: self._verify(password, hashed))

    def is_dated(self, hashed: str) -> bool:
        """Whether a hash was made with other parameters than today's; hash the password anew at the next login."""
        return self._hasher.check_needs_rehash(hashed)

    def _verify(self, password: str, hashed: str | None) -> bool:
        if not self._nobodys:
            self._nobodys = self._hasher.hash(secrets.token_urlsafe())
        try:
            return self._hasher.verify(hashed or self._nobodys, _typed(password)) and hashed is not None
        except (Argon2Error, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= HASHES_WAITING:
            raise Overloaded("too many logins at the same moment", retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _stand_back() -> None:
    # Streams and answers go first: whoever logs in can wait a little, a hall cannot. Only Linux knows a thread's own.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HASH_NICE)


def _typed(password: str) -> str:
    # Keyboards differ in how they compose an é; what is typed is the same.
    return unicodedata.normalize("NFKC", password)
