"""What hostile tests act on: a host with a quiz and a game, those who belong to it, and strangers."""

import socket
import time
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from tests.client import BASE, PASSWORD, QUIZ
from tests.fix_web import Site


class World:
    """A host, a quiz, a game with its first question open, and a participant; and nothing that sends cookies."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.http = httpx.Client(
            base_url=site.url + BASE,
            timeout=20,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
        )
        account = {"email": f"hostile{time.time_ns()}@example.org", "password": PASSWORD, "name": "Host"}
        session = self.ok("POST", "/auth/register", json=account)
        self.host: str = session["access_token"]
        self.email: str = account["email"]
        quiz = {**QUIZ, "questions": [*QUIZ["questions"], {"kind": "text", "prompt": "?", "accepted": ["x"]}]}
        self.quiz: str = self.ok("POST", "/quizzes", self.host, json=quiz)["id"]
        self.media: str = self.ok("POST", "/media", self.host, content=b"GIF89a")["id"]
        self.game, self.pin = self.new_game()
        joined = self.ok("POST", "/join", json={"pin": self.pin, "nickname": "Player"})
        self.player: str = joined["token"]
        self.player_id: str = joined["participant_id"]
        self.screen: str = self.ok("POST", f"/games/{self.game}/screen", self.host)["token"]
        self.ok("POST", f"/games/{self.game}/open", self.host, json={"time_limit_ms": 3_600_000})
        stranger = account | {"email": f"stranger{time.time_ns()}@example.org"}
        self.stranger: str = self.ok("POST", "/auth/register", json=stranger)["access_token"]
        self.writing, pin = self.new_game()  # a game in which a text is asked for
        self.player_elsewhere: str = self.ok("POST", "/join", json={"pin": pin, "nickname": "Other"})["token"]
        self.screen_elsewhere: str = self.ok("POST", f"/games/{self.writing}/screen", self.host)["token"]
        self.ok("POST", f"/games/{self.writing}/open", self.host, json={"question": 2, "time_limit_ms": 3_600_000})
        self.kicked, self.banned = self.removed("Kicked"), self.removed("Banned", ban=True)

    def removed(self, nickname: str, *, ban: bool = False) -> str:
        """The token of a participant whom the host has removed."""
        joined = self.ok("POST", "/join", json={"pin": self.pin, "nickname": nickname})
        path = f"/games/{self.game}/participants/{joined['participant_id']}?ban={str(ban).lower()}"
        assert self.send("DELETE", path, self.host).status_code == 204
        token: str = joined["token"]
        return token

    def new_game(self) -> tuple[str, str]:
        """The id and the PIN of another game."""
        wish = {"quiz_id": self.quiz, "options": {"lead_ms": 0, "close_when_all_answered": False}}
        game = self.ok("POST", "/games", self.host, json=wish)
        return game["id"], game["pin"]

    def send(self, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
        """One request."""
        headers = dict(options.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.http.request(method, path, headers=headers, **options)

    def ok(self, method: str, path: str, token: str = "", **options: Any) -> Any:
        """One request that has to succeed."""
        reply = self.send(method, path, token, **options)
        assert reply.is_success, reply.text
        return reply.json()

    def answer(self, answer: Any, question: Any = 0, **options: Any) -> httpx.Response:
        """An answer to the open question."""
        body = {"question": question, "answer": answer}
        return self.send("POST", f"/games/{self.game}/answers", self.player, json=body, **options)

    def join(self, nickname: str) -> httpx.Response:
        """A join."""
        return self.send("POST", "/join", json={"pin": self.pin, "nickname": nickname})

    def raw(self, request: bytes) -> bytes:
        """Bytes to the server as they are; everything that it answers until it closes, or says no more."""
        with socket.create_connection(("127.0.0.1", self.site.port), 5) as line:
            line.sendall(request)
            line.settimeout(0.5)
            heard = b""
            try:
                while got := line.recv(65536):
                    heard += got
            except TimeoutError:
                pass
            return heard
