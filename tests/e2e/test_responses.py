"""What really comes over the wire fits the schemas of the document that the same server gives out."""

import re
from typing import Any

import httpx
import jsonschema
import pytest

from tests.client import BASE, PASSWORD, QUIZ, Api, Host, good
from tests.e2e.test_game import EVERY_KIND, RIGHT
from tests.e2e.test_media import PNG


class Checked(Api):
    """A client that holds every response to the document."""

    document: dict[str, Any]

    async def call(self, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
        """One request, whose response has to be as the document says."""
        response = await super().call(method, path, token, **options)
        template = next(
            one for one in self.document["paths"] if re.fullmatch(re.sub(r"{\w+}", r"[^/]+", one), BASE + path)
        )
        described = self.document["paths"][template][method.lower()]["responses"][str(response.status_code)]
        if "content" not in described:
            assert response.content == b""
            return response
        media = response.headers["content-type"].partition(";")[0]
        if media.endswith("json"):
            self.fits(response.json(), described["content"][media].get("schema", {}))
        else:
            assert media in described["content"]
        return response

    def fits(self, value: Any, schema: dict[str, Any]) -> None:
        """Fail unless the value is as the schema says."""
        whole = {**schema, "components": self.document["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)


@pytest.fixture
async def checked(api: Api) -> Checked:
    """A checking client of the site."""
    made = Checked(api.url)
    made.document = good(await api.call("GET", "/openapi.json"), 200)
    return made


async def test_a_whole_game_is_as_the_document_says(checked: Checked) -> None:
    async with checked as api:
        host: Host = await api.register()
        game = await host.game(EVERY_KIND)
        ada = await game.join("Ada")
        quiz = f"/quizzes/{game.view['quiz_id']}"
        await api.call("POST", "/auth/refresh", json={"refresh_token": host.session["refresh_token"]})
        async with ada.stream() as to_ada, game.stream() as to_host:
            for index, answer in enumerate(RIGHT):
                await game.open()
                if answer is not None:
                    await ada.answered(index, answer)
                await ada.state()
                await game.close()
                await game.command("leaderboard")
                await ada.state()
            await game.command("finish")
            for stream in (to_ada, to_host):
                await stream.ended()
                for event in stream.events:
                    api.fits(event.data, api.document["x-events"][event.name])
        await game.results_with(len(RIGHT) - 1)
        for kind in ("csv", "xlsx"):
            await game.call("GET", "/results", params={"format": kind})
        for path in ("/me", "/quizzes", quiz, f"{quiz}/export", "/games", f"/games/{game.id}"):
            good_one = await host.call("GET", path)
            assert good_one.status_code == 200
        await game.call("GET", "/participants")
        await game.call("POST", "/screen")
        # Images, and a session in cookies.
        sent = good(await host.call("POST", "/media", content=PNG), 201)
        await host.call("GET", "/media")
        assert (await host.call("DELETE", f"/media/{sent['id']}")).status_code == 204
        assert (await host.call("DELETE", f"/media/{sent['id']}")).status_code == 404
        assert (await host.call("POST", "/media", content=b"<svg/>")).status_code == 422
        wish = {"email": host.email, "password": PASSWORD}
        entered = await api.call("POST", "/auth/login", json=wish, headers={"X-Quizcast-Session": "cookie"})
        cookies = "; ".join(one.partition(";")[0] for one in entered.headers.get_list("set-cookie"))
        for path in ("/auth/refresh", "/auth/logout"):
            assert (await api.call("POST", path, headers={"Cookie": cookies})).status_code < 300
            assert (await api.call("POST", path, headers={"Origin": "https://evil.example"})).status_code == 403
        # And what is refused.
        for method, path, body in (
            ("POST", "/quizzes", {}),
            ("PUT", quiz, {"title": ""}),
            ("POST", "/games", {"quiz_id": "x"}),
            ("POST", f"/games/{game.id}/open", {}),
            ("POST", f"/games/{game.id}/lock", {}),
            ("POST", "/join", {"pin": game.pin, "nickname": "Late"}),
            ("POST", "/join", {"pin": "1", "nickname": "Late"}),
            ("POST", "/join", {"pin": game.pin, "nickname": "\n"}),
            ("POST", "/auth/login", {"email": "x", "password": "y"}),
            ("POST", "/auth/refresh", {"refresh_token": "x"}),
            ("POST", "/auth/register", {"email": host.email, "password": "12345678", "name": "x"}),
        ):
            assert (await host.call(method, path, json=body)).status_code >= 400
        assert (await ada.answer(0, 0)).status_code == 409
        assert (await api.call("GET", "/me")).status_code == 401
        assert (await host.call("PUT", quiz, json=QUIZ, headers={"If-Match": '"9"'})).status_code == 412
        assert (await host.call("DELETE", quiz)).status_code == 204
