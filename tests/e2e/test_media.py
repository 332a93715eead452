"""Images for quizzes: a host sends one, everybody sees it, nothing else goes that way."""

import asyncio

import pytest

from tests.client import QUIZ, Api, Host, good, refused
from tests.unit.test_images import BEGINNINGS

PNG = BEGINNINGS["image/png"][0] + b"content"
MOST = 2 * 1024 * 1024


async def sent(host: Host, content: bytes = PNG, **options: object) -> dict[str, object]:
    """An image that has to be taken."""
    return good(await host.call("POST", "/media", content=content, **options), 201)


@pytest.mark.parametrize("kind", BEGINNINGS)
async def test_an_image_is_kept_and_seen_by_everybody(api: Api, kind: str) -> None:
    content = BEGINNINGS[kind][0] + kind.encode()
    # What the client calls it is not believed.
    image = await sent(await api.register(), content, headers={"Content-Type": "text/html"})
    assert image == {
        "id": image["id"], "url": f"/media/{image['id']}", "content_type": kind, "bytes": len(content)
    }  # fmt: skip
    seen = await api.http.get(str(image["url"]))
    assert (seen.status_code, seen.content, seen.headers["content-type"]) == (200, content, kind)
    assert seen.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert seen.headers["x-content-type-options"] == "nosniff"
    assert seen.headers["content-security-policy"] == "default-src 'none'; sandbox"
    again = await api.http.get(str(image["url"]), headers={"If-None-Match": seen.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = await api.http.head(str(image["url"]))
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(content)))


async def test_the_same_bytes_of_a_host_are_the_same_image_and_of_another_another(api: Api) -> None:
    ada, bob = await api.register(), await api.register()
    first = await sent(ada)
    assert await asyncio.gather(*(sent(ada) for _ in range(5))) == [first] * 5
    assert (await sent(bob))["id"] != first["id"]
    assert [one["id"] for one in good(await ada.call("GET", "/media"), 200)["items"]] == [first["id"]]


async def test_an_image_goes_with_a_question(api: Api) -> None:
    host = await api.register()
    image = await sent(host)
    question = QUIZ["questions"][1] | {"media_url": image["url"]}
    game = await host.game({"title": "With an image", "questions": [question]})
    player = await game.join("Ada")
    async with player.stream() as stream:
        await game.open()
        assert (await stream.get("question"))["media_url"] == image["url"]


@pytest.mark.parametrize("content", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<script>", b"GIF"])
async def test_what_is_no_image_is_refused(api: Api, content: bytes) -> None:
    host = await api.register()
    reply = await host.call("POST", "/media", content=content, headers={"Content-Type": "image/png"})
    assert refused(reply) == (422, "media_invalid")


async def test_an_image_has_a_largest_size(api: Api) -> None:
    host = await api.register()
    await sent(host, PNG + bytes(MOST - len(PNG)))
    reply = await host.call("POST", "/media", content=PNG + bytes(MOST - len(PNG) + 1))
    assert refused(reply) == (413, "body_too_large")


async def test_only_hosts_send_images(api: Api) -> None:
    assert refused(await api.call("POST", "/media", content=PNG)) == (401, "token_missing")
    player = await (await (await api.host()).game()).join("Ada")
    token = player.joined["token"]
    assert refused(await api.call("POST", "/media", token, content=PNG)) == (401, "token_invalid")


async def test_a_host_lists_images_and_deletes_what_is_not_needed(api: Api) -> None:
    ada, bob = await api.register(), await api.register()
    ids = [(await sent(ada, PNG + bytes([place])))["id"] for place in range(3)]
    page = good(await ada.call("GET", "/media", params={"limit": "2"}), 200)
    assert [one["id"] for one in page["items"]] == ids[:0:-1]
    rest = good(await ada.call("GET", "/media", params={"cursor": page["next_cursor"]}), 200)
    assert [one["id"] for one in rest["items"]] == ids[:1]
    assert refused(await bob.call("DELETE", f"/media/{ids[0]}")) == (404, "media_unknown")
    assert (await ada.call("DELETE", f"/media/{ids[0]}")).status_code == 204
    assert refused(await ada.call("DELETE", f"/media/{ids[0]}")) == (404, "media_unknown")
    assert refused(await api.http.get(f"/media/{ids[0]}")) == (404, "media_unknown")
    assert (await api.http.get(f"/media/{ids[1]}")).status_code == 200


@pytest.mark.parametrize("name", ["x", "0" * 25, "..%2fmetrics", "%00"])
async def test_what_is_no_images_name_is_not_found(api: Api, name: str) -> None:
    assert refused(await api.http.get(f"/media/{name}"))[0] == 404
