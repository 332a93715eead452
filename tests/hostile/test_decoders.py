"""Every decoder, fed with anything: it reads, or it refuses in quizcast's words; and what was written reads back."""

import contextlib
import json
import time
from typing import Any

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizcast.auth import ALGORITHM, Key, Keyring, Kind, Tokens
from quizcast.domain.nickname import clean_nickname, skeleton
from quizcast.domain.quiz import problems
from quizcast.errors import (
    FileInvalid,
    InvalidInput,
    MalformedBody,
    NicknameInvalid,
    SettingsInvalid,
    TokenExpired,
    TokenInvalid,
    UnsupportedMedia,
)
from quizcast.formats import EXPORT_FORMATS, IMPORT_FORMATS, dump, parse
from quizcast.live.redis import Live
from quizcast.live.rows import HEAD, Rows
from quizcast.settings import PREFIX, Settings
from quizcast.simulate.events import Reader
from quizcast.web.app import ENDPOINTS
from quizcast.web.bodies import JSON, MSGPACK, decode
from quizcast.wire.events import Message, parse_message, parse_position
from quizcast.wire.rows import AnswerRow, JoinRow, OpeningRow, PhaseRow, RemovedRow, Row, decode_row, encode_row
from tests.hostile.effort import examples
from tests.unit.quizzes import quizzes

SLOW_S = 4.0  # of the processor, for 0.4 MB: ten times what the slowest needs, a third of what a square would take
KEY = Key("k", "s" * 40)
TOKENS = Tokens(Keyring([KEY]), Settings(keys=("k:" + "s" * 40,)))

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from([10**400, -(10**400), "9" * 5000, "\ud800", "\x00"])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner))


@st.composite
def spoilt(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes that were good, with some cut out, put in or turned over."""
    raw = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(raw)))
        match draw(st.integers(0, 3)):
            case 0:
                raw[place : place + draw(st.integers(1, 8))] = b""
            case 1:
                raw[place:place] = draw(st.binary(max_size=4))
            case 2:
                raw[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case _:
                raw[place:place] = raw[max(0, place - 40) : place] * draw(st.integers(1, 50))
    return bytes(raw)


# ── what clients send ─────────────────────────────────────────────────────────────────────────────────────────

BODIES = {repr(one.body): one.body for one in ENDPOINTS if one.body not in (None, bytes)}


def fields_of(kind: Any) -> dict[str, st.SearchStrategy[Any]]:
    """Anything in every field that a body has."""
    return {field.encode_name: values for field in msgspec.structs.fields(kind)}


def as_json(value: Any) -> bytes:
    """JSON with all that Python would write and nobody may send: NaN, lone surrogates, numbers without end."""
    return json.dumps(value).encode()


def as_msgpack(value: Any) -> bytes:
    """MessagePack, as far as it can hold the value."""
    try:
        return msgspec.msgpack.encode(value)
    except (OverflowError, ValueError):
        return b"\xc1"


@pytest.mark.parametrize("kind", BODIES.values(), ids=lambda kind: kind.__name__)
def test_a_body_is_read_or_refused(kind: Any) -> None:
    anything = st.fixed_dictionaries({}, optional=fields_of(kind)) | values
    raw = st.tuples(st.just(JSON), spoilt(anything.map(as_json)) | st.binary()) | st.tuples(
        st.just(MSGPACK), spoilt(anything.map(as_msgpack)) | st.binary()
    )

    @examples(40)
    @given(raw | st.tuples(st.text(), st.binary()))
    def try_it(sent: tuple[str, bytes]) -> None:
        media, body = sent
        try:
            read = decode(body, kind, media, packed=True)
        except (MalformedBody, InvalidInput, UnsupportedMedia):
            return
        assert isinstance(read, kind)

    try_it()


@examples(120)
@given(
    st.text() | st.from_regex(r"[0-9٠-٩²]{1,30}-[0-9]{1,30}") | st.sampled_from(["9" * 5000 + "-1", "1-" + "9" * 5000])
)
def test_whatever_a_client_resumes_from_it_is_a_position_or_none(text: str) -> None:
    position = parse_position(text)
    assert position is None or parse_position(str(position)) == position


@examples(300)
@given(st.text(max_size=300))
def test_a_nickname_is_made_fit_once_and_for_all_or_refused(text: str) -> None:
    try:
        name = clean_nickname(text)
    except NicknameInvalid:
        return
    assert clean_nickname(name) == name
    assert skeleton(skeleton(name)) == skeleton(name) or skeleton(name)


claims = st.fixed_dictionaries(
    {},
    optional={
        "aud": values | st.sampled_from([kind.audience for kind in Kind]) | st.lists(st.just(Kind.HOST.audience)),
        "sub": values | st.just("ann"),
        "iat": values | st.just(1),
        "exp": values | st.just(4_000_000_000),
        "nbf": values,
        "iss": values,
        "game": values | st.just("g"),
        "crit": values,
    },
)


@examples(80)
@given(claims, st.dictionaries(st.sampled_from(["kid", "typ", "crit", "b64", "x"]), values))
def test_a_token_is_read_or_refused_whatever_was_signed_with_our_key(
    payload: dict[str, Any], head: dict[str, Any]
) -> None:
    signed = jwt.api_jws.encode(as_json(payload), KEY.secret, ALGORITHM, {"kid": "k"})
    read_or_refused(signed)
    read_or_refused(".".join([jwt.utils.base64url_encode(as_json(head)).decode(), *signed.split(".")[1:]]))


@examples(200)
@given(spoilt(st.sampled_from([TOKENS.mint(kind, "ann", "g").encode() for kind in Kind])))
def test_a_token_that_was_tampered_with_is_another_or_none(raw: bytes) -> None:
    read_or_refused(raw.decode("latin-1"))


def read_or_refused(token: str) -> None:
    """The claims are of the kinds that they should be."""
    try:
        claims = TOKENS.read(token, tuple(Kind))
    except (TokenInvalid, TokenExpired):
        return
    assert (type(claims.subject), type(claims.game_id), type(claims.expires_at)) == (str, str, int)


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────

TRIVIA = b"#Q Which planet has rings?\n^ Saturn\nA Mars\nB Saturn\nC Venus\n\n#Q Is it so?\n^ True\nA True\nB False\n"


@examples(250)
@given(
    spoilt(st.tuples(quizzes, st.sampled_from(EXPORT_FORMATS)).map(lambda made: dump(*made).data) | st.just(TRIVIA)),
    st.sampled_from([None, *IMPORT_FORMATS]),
    st.text(max_size=20),
)
def test_a_file_that_was_good_once_is_read_or_refused_and_soon(data: bytes, format: str | None, name: str) -> None:
    began = time.process_time()
    try:
        quizzes_read = parse(data, format, name).quizzes
    except FileInvalid:
        quizzes_read = ()
    assert time.process_time() - began < SLOW_S
    assert all(problems(quiz) == [] for quiz in quizzes_read)


PARTS = (b"[", b'{"a":', b'"', b",", b";", b"\n", b"#Q", b"#Q a\n^ b\n", b"A ", b"\xff", b'"\n', b" ")


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_a_file_of_one_thing_over_and_over_costs_time_by_its_length_and_not_by_the_square(part: bytes) -> None:
    heads = {"json": b'{"title":"t","questions":', "csv": b"kind,prompt\n", "opentrivia": b"#Q a\n"}
    for format, head in heads.items():
        began = time.process_time()
        with contextlib.suppress(FileInvalid):
            parse(head + part * (400_000 // len(part)), format)
        assert time.process_time() - began < SLOW_S, format


# ── what is in Redis, and what comes over its channels ────────────────────────────────────────────────────────

names = st.text(max_size=10)
rows: st.SearchStrategy[Row] = (
    st.builds(JoinRow, names, names, names)
    | st.builds(AnswerRow, names, st.integers(0, 500), names, names)
    | st.builds(RemovedRow, names, names)
    | st.from_type(OpeningRow).filter(lambda row: fits(row))
    | st.from_type(PhaseRow)
)


def fits(row: Row) -> bool:
    """Whether MessagePack can hold it."""
    try:
        return bool(encode_row(row))
    except OverflowError:
        return False


@examples(200)
@given(rows)
def test_a_row_reads_back_as_it_was_written(row: Row) -> None:
    assert decode_row(encode_row(row)) == row


fields = st.dictionaries(
    st.sampled_from([b"row", b"at", b"number", b"x"]),
    spoilt(rows.filter(fits).map(encode_row))
    | st.sampled_from([b"1700", b"-1", b"9" * 5000, b"1e3", b"\xd9\xa1"])
    | st.binary(),
    min_size=1,
)


async def test_an_entry_that_cannot_be_read_is_put_aside_and_holds_nobody_up(live: Live) -> None:
    found: list[dict[bytes, bytes]] = []

    @examples(150)
    @given(fields)
    def find(one: dict[bytes, bytes]) -> None:
        found.append(one)

    find()
    good = JoinRow("g", "p", "Ann")
    for one in found:
        await live.client.xadd(live.keys.rows(0), one)
    await live.client.xadd(live.keys.rows(0), {"row": encode_row(good), "at": "1"})
    batch = await Rows(live).read(0, HEAD, len(found) + 1, 10)
    assert batch is not None
    assert batch.entries[-1].row == good
    dead = await Rows(live).dead(0, HEAD, len(found) + 1)
    assert len(batch.entries) + len(dead) == len(found) + 1
    assert dead


@examples(300)
@given(st.binary() | spoilt(st.sampled_from([b'5-3 closed {"index":0}', b"* lobby {}", b"@ann kicked {}"])))
def test_whatever_comes_over_a_channel_is_a_message_or_none(raw: bytes) -> None:
    message = parse_message(raw)
    assert message is None or isinstance(message, Message)
    if message is not None:
        assert message.published_at is None or message.published_at >= 0


@examples(300)
@given(
    st.lists(
        st.binary()
        | spoilt(
            st.sampled_from(
                [
                    b'event: question\nid: 5-1\ndata: {"index":0,"opens_at":1,"closes_at":2,"kind":"text"}',
                    b'event: snapshot\ndata: {"phase":"lobby","server_now_at":5}',
                    b'event: heartbeat\ndata: {"server_now_at":5,"last_id":"5-1"}',
                    b"retry: 9\n: comment\nevent:drain\ndata:{}",
                ]
            )
        ),
        max_size=4,
    )
)
def test_the_simulator_reads_whatever_a_stream_may_send(frames: list[bytes]) -> None:
    reader = Reader()
    for frame in frames:
        reader.read(frame)


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────

odd = st.sampled_from(
    ["", " ", "0", "-1", "1", "1e400", "nan", "-inf", "9" * 5000, "1_000", "٣", "redis://[", "http://a:b@[x"]
)
names_of_settings = st.sampled_from([PREFIX + name.upper() for name in Settings.__struct_fields__])
environments = st.dictionaries(names_of_settings, odd | st.text(st.characters(exclude_characters="\x00"), max_size=20))


@examples(300)
@given(environments)
def test_an_environment_is_read_and_handed_on_as_it_was_or_refused(
    env: dict[str, str],
) -> None:
    try:
        settings = Settings.from_env(env)
    except SettingsInvalid:
        return
    repr(settings)
    assert Settings.from_env(settings.to_env()) == settings
