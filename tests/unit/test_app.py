"""The application without its services: what it does before it would need any."""

import httpx
import pytest

from quizcast.settings import Settings
from quizcast.web.app import App

SITE = "https://quiz.example.org"


def client(**settings: object) -> httpx.AsyncClient:
    """Calls the application in this process."""
    transport = httpx.ASGITransport(App(Settings(**settings)), raise_app_exceptions=False)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://quizcast")


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer ", "Basic secret", "secret", "Bearer s\xe9cret"])
async def test_metrics_are_for_those_who_have_their_token(given: str | None) -> None:
    async with client(metrics_token="secret") as http:
        headers = {} if given is None else {"Authorization": given.encode("latin-1")}
        reply = await http.get("/metrics", headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (401, "token_invalid")
        assert (await http.get("/metrics", headers={"Authorization": "Bearer secret"})).status_code == 200


async def test_metrics_are_open_where_no_token_is_set() -> None:
    async with client() as http:
        assert (await http.get("/metrics")).status_code == 200


async def test_who_comes_before_the_process_is_at_work_is_told_when_to_come_back() -> None:
    async with client() as http:
        for path in ("/api/v1/me", "/readyz"):
            reply = await http.get(path)
            assert (reply.status_code, reply.json()["code"], reply.headers["retry-after"]) == (503, "draining", "1")


async def test_another_sites_pages_may_call_when_they_are_named() -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with client(cors_origins=(SITE,)) as http:
        for path in ("/api/v1/join", "/api/v1/games/x/answers"):
            allowed = await http.options(path, headers={"Origin": SITE, **asked})
            assert allowed.status_code == 200
            assert allowed.headers["access-control-allow-origin"] == SITE
            assert "access-control-allow-credentials" not in allowed.headers
            other = await http.options(path, headers={"Origin": "https://evil.example", **asked})
            assert "access-control-allow-origin" not in other.headers
        exposed = await http.get("/livez", headers={"Origin": SITE})
        assert "ETag" in exposed.headers["access-control-expose-headers"]


async def test_a_fault_of_ours_is_a_problem_document_too_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client() as http:
        with monkeypatch.context() as patched:
            patched.setattr("quizcast.web.operations.look_at_machine", lambda _folder: 1 / 0)
            reply = await http.get("/metrics")
        assert reply.status_code == 500
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["code"] == "error"
        metrics = (await http.get("/metrics")).text
        assert 'quizcast_http_seconds_count{method="GET",route="/metrics",status="500"} 1.0' in metrics
