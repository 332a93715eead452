"""Bodies of requests: how much of them is read, and what they say; inside `web`, at the bottom."""

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import msgspec

from quizcast import errors
from quizcast.errors import BodyTooLarge, InvalidInput, MalformedBody, UnsupportedMedia

JSON = "application/json"
MSGPACK = "application/msgpack"

_decoders: dict[Any, tuple[msgspec.json.Decoder[Any], msgspec.msgpack.Decoder[Any]]] = {}


def decode(raw: bytes, kind: Any, content_type: str, *, packed: bool) -> Any:
    """A body as `kind`. Raises `MalformedBody`, `InvalidInput` with the path of what is wrong, `UnsupportedMedia`."""
    decoders = _decoders.get(kind)
    if decoders is None:
        decoders = _decoders[kind] = (msgspec.json.Decoder(kind), msgspec.msgpack.Decoder(kind))
    media = content_type.partition(";")[0].strip().lower()
    if media == MSGPACK and packed:
        return decoded(decoders[1].decode, raw)
    # Without a type it is taken for JSON: curl's own default would be refused otherwise for no one's good.
    if media and media != JSON and not media.endswith("+json") and media != "application/x-www-form-urlencoded":
        raise UnsupportedMedia(f"send {JSON}" + (f" or {MSGPACK}" if packed else ""))
    return decoded(decoders[0].decode, raw)


def decoded(decoder: Callable[[bytes], Any], raw: bytes) -> Any:
    """Run a msgspec decoder with its errors in quizcast's words."""
    try:
        return decoder(raw)
    except msgspec.ValidationError as error:
        _invalid(error)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise MalformedBody(_first_line(error)) from None


def _invalid(error: msgspec.ValidationError) -> NoReturn:
    message, _, path = str(error).partition(" - at `")
    where = path.rstrip("`").removeprefix("$").removeprefix(".") or "body"
    raise InvalidInput(message, problems=[errors.Problem(path=where, message=message)]) from None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


async def read_body(receive: Callable[[], Awaitable[Any]], most: int) -> bytes:
    """A request's body. Raises `BodyTooLarge` as soon as it is, and not after reading it all.

    Raises `MalformedBody` when the client leaves in the middle: half a file must not be taken for a whole one.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > most:
            raise BodyTooLarge(f"at most {most} bytes")
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        if size > most:
            raise BodyTooLarge(f"at most {most} bytes")
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedBody("the body ends too early")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > most:
        raise BodyTooLarge(f"at most {most} bytes")
    return b"".join(parts)
