"""The pages and what belongs to them: shells, static files, QR codes; beside the other routes of `web`.

Nothing here needs Redis or Postgres: a page comes up whatever is away, and says so itself. A page's HTML is a shell
that loads its module from the static tree; what it shows it gets over the API like any other client.
"""

import functools
import io
import json
from collections.abc import Awaitable, Callable

import segno
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quizcast.assets import TYPES, Assets
from quizcast.errors import NotFound
from quizcast.settings import Settings
from quizcast.web.caching import ASK_FIRST, kept
from quizcast.web.http import base_url
from quizcast.web.pages import shells
from quizcast.web.pages.static import StaticFiles

HTML = "text/html; charset=utf-8"
A_DAY = "public, max-age=86400"
PIN_MAX = 12  # digits; a PIN has half as many
QUIET_MODULES = 4  # of white around a QR code, which the standard asks for
QR_KEPT = 500
# Games and hosts' pages are nobody's business but that of those who know them.
PRIVATE = ("/api/", "/host", "/join", "/media/", "/ops", "/screen/")
ROBOTS = "\n".join(["User-agent: *", *(f"Disallow: {path}" for path in PRIVATE), ""])

Serve = Callable[[Request], Response]


class Pages:
    """The routes; the static tree and the shells are read when it is made. Raises `OSError`."""

    def __init__(self, settings: Settings, assets: Assets | None = None) -> None:
        """`assets` are those that quizcast ships unless given."""
        self._settings = settings
        self._assets = assets or Assets.shipped()
        self._static = StaticFiles(self._assets, settings.static_folder)
        base = shells.static_base(settings, self._assets.digest)
        self._shells = {name: shells.shell(name, self._assets, base) for name in shells.SHELLS}
        self._missing = shells.missing(self._assets, base)

    def routes(self) -> list[Route]:
        """All of them, for `GET` and `HEAD`."""
        served: dict[str, Serve] = {
            "/": functools.partial(self._page, "play"),
            "/join/{pin}": functools.partial(self._page, "play"),
            "/host": functools.partial(self._page, "host"),
            "/host/{rest:path}": functools.partial(self._page, "host"),
            "/screen/{game_id}": functools.partial(self._page, "screen"),
            "/ops": functools.partial(self._page, "ops"),
            "/static/{digest}/{path:path}": self._file,
            "/qr/{pin}.svg": self._qr,
            "/icon.svg": self._icon,
            "/favicon.ico": self._icon,  # for those who ask for it unasked; browsers take an SVG there
            "/site.webmanifest": _manifest,
            "/robots.txt": _robots,
        }
        return [Route(path, _serving(path, serve), methods=["GET"]) for path, serve in served.items()]

    def missing(self, request: Request) -> Response:
        """A page for people who went astray."""
        return kept(request, self._missing, HTML, self._headers(request), status=404)

    def _page(self, name: str, request: Request) -> Response:
        return kept(request, self._shells[name], HTML, self._headers(request))

    def _headers(self, request: Request) -> dict[str, str]:
        secure = base_url(request, self._settings).startswith("https://")
        return shells.page_headers(self._settings, secure=secure) | {"cache-control": ASK_FIRST}

    def _file(self, request: Request) -> Response:
        return self._static.serve(request, request.path_params["digest"], request.path_params["path"])

    def _icon(self, request: Request) -> Response:
        icon = self._assets.files.get("icon.svg")
        if icon is None:
            raise NotFound()
        return kept(request, icon, TYPES[".svg"], {"cache-control": A_DAY})

    def _qr(self, request: Request) -> Response:
        pin = request.path_params["pin"]
        if not (pin.isascii() and pin.isdigit() and len(pin) <= PIN_MAX):
            raise NotFound()
        code = _qr_code(f"{base_url(request, self._settings)}/join/{pin}")
        return kept(request, code, TYPES[".svg"], {"cache-control": A_DAY})


@functools.lru_cache(QR_KEPT)  # making one takes milliseconds, and every screen and host asks for the same
def _qr_code(text: str) -> bytes:
    out = io.BytesIO()
    # Black on white whatever the page's colours are: many phones do not read it the other way round.
    segno.make(text, error="m", micro=False).save(
        out, kind="svg", border=QUIET_MODULES, dark="#000", light="#fff", omitsize=True, xmldecl=False, svgclass=None,
        lineclass=None,
    )  # fmt: skip
    return out.getvalue().strip()


def _manifest(request: Request) -> Response:
    text = json.dumps(shells.manifest()).encode()
    return kept(request, text, "application/manifest+json", {"cache-control": A_DAY})


def _robots(request: Request) -> Response:
    return kept(request, ROBOTS.encode(), "text/plain; charset=utf-8", {"cache-control": A_DAY})


def _serving(path: str, serve: Serve) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        request.state.route = path.replace(":path}", "}")
        return serve(request)

    return endpoint
