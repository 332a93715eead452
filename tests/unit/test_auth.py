"""Passwords, keys and tokens: what is let in, what is not, and what never shows."""

import asyncio
import base64
import json
import multiprocessing
import stat
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from quizcast import auth
from quizcast.auth import Key, Keyring, Kind, Passwords, Tokens, mint_refresh, read_refresh
from quizcast.errors import NotAuthenticated, Overloaded, RefreshInvalid, SettingsInvalid, TokenExpired, TokenInvalid
from quizcast.ids import is_id, new_id
from quizcast.settings import Settings

SECRET, OTHER = "s" * 64, "o" * 64
SETTINGS = Settings(keys=(f"one:{SECRET}",))


def tokens_of(*keys: str) -> Tokens:
    settings = Settings(keys=keys)
    return Tokens(Keyring.load(settings), settings)


TOKENS = tokens_of(f"one:{SECRET}")


def signed(secret: str | None = SECRET, algorithm: str = "HS256", kid: object = "one", **changes: object) -> str:
    """A token like ours but for the changes; a change to None leaves the claim out."""
    now = int(time.time())
    claims = {"aud": "quizcast:host", "sub": "h1", "iat": now, "exp": now + 60, **changes}
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, secret, algorithm, {"kid": kid} if isinstance(kid, str) else {})


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kind", "game_id"), [(Kind.HOST, ""), (Kind.PARTICIPANT, "g1"), (Kind.SCREEN, "g1")])
def test_a_token_says_who_it_was_made_for_and_until_when(kind: Kind, game_id: str) -> None:
    claims = TOKENS.read(TOKENS.mint(kind, "someone", game_id), [kind])
    assert (claims.kind, claims.subject, claims.game_id) == (kind, "someone", game_id)
    life_s = SETTINGS.access_ttl_s if kind is Kind.HOST else SETTINGS.participant_ttl_s
    assert abs(claims.expires_at / 1000 - time.time() - life_s) < 5


@pytest.mark.parametrize("kind", list(Kind))
def test_a_token_of_one_kind_is_none_of_another_however_often_it_is_shown(kind: Kind) -> None:
    token = TOKENS.mint(kind, "someone", "g1")
    others = [other for other in Kind if other is not kind]
    for _ in range(2):
        with pytest.raises(TokenInvalid):
            TOKENS.read(token, others)
        TOKENS.read(token, list(Kind))


FORGED: list[Callable[[], str]] = [  # made when a test runs: they expire
    lambda: signed(OTHER),
    lambda: signed(kid=None),
    lambda: signed(kid="two"),
    lambda: signed(kid="../one"),
    lambda: signed(algorithm="HS512"),
    lambda: signed(None, algorithm="none"),
    lambda: signed(aud="quizcast:admin"),
    lambda: signed(aud=["quizcast:host", "quizcast:screen"]),
    lambda: signed(aud=None),
    lambda: signed(sub=None),
    lambda: signed(iat=None),
    lambda: signed(exp=None),
    lambda: signed(exp="soon"),
    lambda: signed(game=["g1"]),
    lambda: signed()[:-4],
    lambda: signed() + "x" * 2000,
    lambda: "",
    lambda: ".",
    lambda: "..",
    lambda: "a.b.c",
    lambda: "é",
    lambda: "\ud800.x.y",
]


@pytest.mark.parametrize("forge", FORGED)
def test_a_token_that_is_not_ours_word_for_word_is_refused(forge: Callable[[], str]) -> None:
    with pytest.raises(TokenInvalid):
        TOKENS.read(forge(), list(Kind))


def test_an_algorithm_named_by_the_token_is_not_believed() -> None:
    _, body, signature = signed().split(".")
    for name in ("none", "None", "RS256", "ES256"):
        forged = base64.urlsafe_b64encode(json.dumps({"alg": name, "kid": "one"}).encode()).decode().rstrip("=")
        for end in ("", signature):
            with pytest.raises(TokenInvalid):
                TOKENS.read(f"{forged}.{body}.{end}", list(Kind))


@given(st.text(max_size=300))
def test_no_text_is_more_than_an_invalid_token(text: str) -> None:
    with pytest.raises(NotAuthenticated):
        TOKENS.read(text, list(Kind))


def test_a_token_that_has_run_out_is_expired_and_no_memory_keeps_it_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TokenExpired):
        TOKENS.read(signed(exp=int(time.time()) - 1), [Kind.HOST])
    token = TOKENS.mint(Kind.HOST, "h1")
    TOKENS.read(token, [Kind.HOST])
    later = time.time() + SETTINGS.access_ttl_s + 1
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(TokenExpired):
        TOKENS.read(token, [Kind.HOST])


def test_a_token_minted_by_a_clock_that_is_ahead_is_good() -> None:
    assert TOKENS.read(signed(iat=int(time.time()) + 5), [Kind.HOST]).subject == "h1"


def test_what_has_been_verified_is_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "TOKENS_KEPT", 3)
    tokens = tokens_of(f"one:{SECRET}")
    verified: list[str] = []
    decode = jwt.decode
    monkeypatch.setattr(
        jwt, "decode", lambda token, *args, **more: verified.append(token) or decode(token, *args, **more)
    )
    minted = [tokens.mint(Kind.PARTICIPANT, f"p{n}", "g1") for n in range(4)]
    for token in [*minted[:3], minted[0], minted[3]]:
        tokens.read(token, [Kind.PARTICIPANT])
    assert verified == minted
    tokens.read(minted[0], [Kind.PARTICIPANT])  # used lately, so it was not the one to go
    assert verified == minted
    tokens.read(minted[1], [Kind.PARTICIPANT])
    assert verified == [*minted, minted[1]]


def test_reading_a_known_token_costs_a_dictionarys_look_up() -> None:
    token = TOKENS.mint(Kind.PARTICIPANT, "p1", "g1")
    kinds = (Kind.PARTICIPANT,)
    TOKENS.read(token, kinds)
    began = time.perf_counter()
    for _ in range(10_000):
        TOKENS.read(token, kinds)
    assert (time.perf_counter() - began) / 10_000 < 20e-6  # about 0.7 µs; verifying anew takes 50


def test_after_a_rotation_old_tokens_are_good_and_new_ones_are_signed_with_the_new_key() -> None:
    old = TOKENS.mint(Kind.HOST, "h1")
    rotated = tokens_of(f"two:{OTHER}", f"one:{SECRET}")
    assert rotated.read(old, [Kind.HOST]).subject == "h1"
    new = rotated.mint(Kind.HOST, "h1")
    assert jwt.get_unverified_header(new) == {"alg": "HS256", "kid": "two", "typ": "JWT"}
    with pytest.raises(TokenInvalid):
        tokens_of(f"two:{OTHER}").read(old, [Kind.HOST])


def test_a_derived_id_is_the_same_for_a_retry_and_for_nothing_else() -> None:
    one = TOKENS.derived_id("g1", "key")
    assert is_id(one)
    assert TOKENS.derived_id("g1", "key") == one
    others = {
        TOKENS.derived_id("g2", "key"),
        TOKENS.derived_id("g1", "yek"),
        TOKENS.derived_id("g1", "key", 1),
        TOKENS.derived_id("g1", "key", 2),
        tokens_of(f"one:{OTHER}").derived_id("g1", "key"),
    }
    assert len({one, *others}) == 6


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("keys", [("one:short",), (SECRET,), (f":{SECRET}",), (f"a:{SECRET}", f"a:{OTHER}")])
def test_keys_that_cannot_protect_are_refused_without_being_shown(keys: tuple[str, ...]) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        Keyring.load(Settings(keys=keys))
    assert "short:" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_secret_may_hold_a_colon() -> None:
    assert Keyring.load(Settings(keys=(f"one:{SECRET}:{OTHER}",))).first.secret == f"{SECRET}:{OTHER}"


def test_the_key_file_is_made_once_and_for_nobody_else_to_read(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new" / "data")
    made = Keyring.load(settings)
    file = settings.data_dir / auth.KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    assert [path.name for path in settings.data_dir.iterdir()] == [auth.KEY_FILE]
    assert Keyring.load(settings).first.secret == made.first.secret
    token = Tokens(made, settings).mint(Kind.HOST, "h1")
    file.write_text(f"new:{OTHER}\n{file.read_text()}")
    rotated = Tokens(Keyring.load(settings), settings)
    assert rotated.read(token, [Kind.HOST]).subject == "h1"


def test_a_key_file_that_others_can_read_or_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    Keyring.load(settings)
    (tmp_path / auth.KEY_FILE).chmod(0o644)
    with pytest.raises(SettingsInvalid, match="chmod 600"):
        Keyring.load(settings)
    (tmp_path / "file").touch()
    with pytest.raises(SettingsInvalid, match="QUIZCAST_KEYS"):
        Keyring.load(Settings(data_dir=tmp_path / "file"))


def _secret_in(folder: Path) -> str:
    return Keyring.load(Settings(data_dir=folder)).first.secret


def test_processes_that_start_together_use_the_same_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("forkserver").Pool(4) as pool:
        secrets = pool.map(_secret_in, [tmp_path / "data"] * 16, chunksize=1)
    assert len(set(secrets)) == 1


def test_no_key_shows_in_a_repr() -> None:
    keyring = Keyring.load(SETTINGS)
    assert SECRET not in repr([Key("one", SECRET), keyring, vars(keyring), Tokens(keyring, SETTINGS), SETTINGS])


# ── refresh tokens ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_refresh_token_is_known_by_its_digest_and_stays_in_its_family() -> None:
    text, kept = mint_refresh()
    assert read_refresh(text) == kept
    assert text.encode() not in kept.digest
    next_text, next_kept = mint_refresh(kept.family)
    assert next_kept.family == kept.family
    assert next_kept.digest != kept.digest
    assert next_text != text


@pytest.mark.parametrize("text", ["", ".", "x", "a.b", f"{'0' * 25}.", f"{'0' * 25}.é", f"{'0' * 25}.{'x' * 5000}"])
def test_what_cannot_be_a_refresh_token_is_refused(text: str) -> None:
    with pytest.raises(RefreshInvalid):
        read_refresh(text)


# ── passwords ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_password_fits_its_hash_and_no_other_does() -> None:
    passwords = Passwords()
    hashed = await passwords.hash("correct horse")
    assert hashed.startswith("$argon2id$")
    assert await passwords.verify("correct horse", hashed)
    assert not await passwords.verify("correct horse ", hashed)
    assert not await passwords.verify("correct horse", "no hash at all")
    assert not passwords.is_dated(hashed)
    assert passwords.is_dated(PasswordHasher(time_cost=1, memory_cost=8192).hash("x"))


async def test_a_password_is_the_same_however_a_keyboard_composes_its_letters() -> None:
    passwords = Passwords()
    assert await passwords.verify("cafe\u0301 au lait", await passwords.hash("caf\u00e9 au lait"))


async def test_an_unknown_account_takes_as_long_as_a_wrong_password_and_is_never_right() -> None:
    passwords = Passwords()
    hashed = await passwords.hash("x")
    await passwords.verify("y", None)
    known, unknown = [], []
    for _ in range(5):
        for account, took in ((hashed, known), (None, unknown)):
            began = time.perf_counter()
            assert not await passwords.verify("y", account)
            took.append(time.perf_counter() - began)
    assert 0.4 < min(unknown) / min(known) < 2.5


async def test_a_burst_of_logins_is_bounded_and_leaves_the_loop_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "HASHES_WAITING", 4)
    passwords = Passwords()
    burst = [asyncio.create_task(passwords.hash("x")) for _ in range(7)]
    outcomes = await asyncio.gather(*burst, return_exceptions=True)
    assert sum(isinstance(outcome, Overloaded) for outcome in outcomes) == 3
    assert await passwords.verify("x", await passwords.hash("x"))  # and afterwards there is room again


# ── ids ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_ids_differ_and_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({new_id() for _ in range(1000)}) == 1000
    made = []
    for now in (1.0, 1.7e9, 1.7e9 + 0.001, 3e10):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        made.append(new_id())
    assert made == sorted(made)
    assert all(map(is_id, made))


def test_what_follows_a_token_is_fixed_and_only_who_has_the_key_can_tell() -> None:
    tokens, others = (Tokens(Keyring([Key("a", text * 32)]), Settings()) for text in ("x", "y"))
    text, kept = mint_refresh()
    following, fresh = tokens.next_refresh(text)
    assert tokens.next_refresh(text) == (following, fresh)
    assert read_refresh(following) == fresh
    assert fresh.family == kept.family
    assert len({text, following, tokens.next_refresh(following)[0], others.next_refresh(text)[0]}) == 4
    with pytest.raises(RefreshInvalid):
        tokens.next_refresh("nonsense")
