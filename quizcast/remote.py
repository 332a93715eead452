"""A host's quizzes on a running server, over the public API: log in, put in, take out; floor 8."""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Self

import msgspec

from quizcast import formats
from quizcast.domain.quiz import QuizContent
from quizcast.errors import ServerRefused, ServerUnreachable

TIMEOUT_S = 30.0


class Remote:
    """A server, and who we are there."""

    def __init__(self, url: str, token: str = "") -> None:
        """Raises `ServerUnreachable` when `url` is no web address."""
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ServerUnreachable(f"{url!r} is not an http:// or https:// address")
        self._base = url.rstrip("/") + "/api/v1"
        self._token = token

    @classmethod
    def login(cls, url: str, email: str, password: str, *, register: bool = False) -> Self:
        """Log in, or make the account first. Raises `ServerUnreachable`, `ServerRefused`."""
        remote = cls(url)
        if register:
            body = {"email": email, "password": password, "name": email.partition("@")[0]}
            session = remote._call("POST", "/auth/register", body)
        else:
            session = remote._call("POST", "/auth/login", {"email": email, "password": password})
        remote._token = str(_field(session, "access_token"))
        return remote

    def put(self, quiz: QuizContent) -> str:
        """Store a quiz; its id."""
        return str(_field(self._call("POST", "/quizzes", formats.dump(quiz, "json").data), "id"))

    def take(self, quiz_id: str, format: str) -> bytes:
        """A quiz as a file."""
        query = urllib.parse.urlencode({"format": format})
        return self._call("GET", f"/quizzes/{urllib.parse.quote(quiz_id, safe='')}/export?{query}")

    def _call(self, method: str, path: str, body: Any = None) -> bytes:
        data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        request = urllib.request.Request(self._base + path, data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
                return bytes(reply.read())
        except urllib.error.HTTPError as error:
            raise ServerRefused(_told(error)) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ServerUnreachable(f"{self._base}: {reason}. Is the server running?") from None


def _told(error: urllib.error.HTTPError) -> str:
    """What the server's problem document says, in one line."""
    try:
        problem = msgspec.json.decode(error.read(), type=dict[str, Any])
    except (msgspec.DecodeError, OSError):
        return f"the server says {error.code} {error.reason}"
    return f"{problem.get('title', error.reason)} ({problem.get('code', error.code)})" + (
        f": {detail}" if (detail := problem.get("detail")) else ""
    )


def _field(body: bytes, name: str) -> Any:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])[name]
    except (msgspec.DecodeError, KeyError):
        raise ServerRefused("the answer is not what a quizcast server would say") from None
