"""The HTML of the pages, and the headers that keep a page to itself; inside `pages`.

A shell is made once at the start: there is nothing of a request or of a game in it. Invariant: no script and no style
stands in a page or in an attribute, so the policy needs no exception for any.
"""

import html
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import NamedTuple
from urllib.parse import urlsplit

from quizcast.assets import Assets
from quizcast.settings import Settings

THEME = {"light": "#f6f3ec", "dark": "#15142a"}  # `--paper` in style.css: what browsers tint their frame with


class Shell(NamedTuple):
    """One page: its module, and what is said before it runs, or where no script may run."""

    main: str
    title: str
    description: str
    noscript: str


SHELLS: Mapping[str, Shell] = {
    "play": Shell(
        "play/main.js",
        "Join a quiz · quizcast",
        "Enter the PIN from the screen and play along.",
        "To play along, this page has to run JavaScript. Please allow it for this site and load the page again.",
    ),
    "host": Shell(
        "host/main.js",
        "Host a quiz · quizcast",
        "Write quizzes, run games, and see how they went.",
        "To host a quiz, this page has to run JavaScript. Please allow it for this site and load the page again.",
    ),
    "screen": Shell(
        "screen/main.js",
        "The screen · quizcast",
        "What everybody in the room sees.",
        "To show a game, this page has to run JavaScript. Please allow it for this site and load the page again.",
    ),
    "ops": Shell(
        "ops/main.js",
        "How it runs · quizcast",
        "The last hour of this machine.",
        "To show figures, this page has to run JavaScript. Please allow it for this site and load the page again.",
    ),
}


def static_base(settings: Settings, digest: str) -> str:
    """The address of the tree of static files, with a slash at the end."""
    return f"{(settings.static_url or '/static').rstrip('/')}/{digest}/"


def shell(name: str, assets: Assets, base: str) -> bytes:
    """A page, complete but for what its module draws."""
    one = SHELLS[name]
    needed = "\n".join(f'<link rel="modulepreload" href="{base}{path}">' for path in assets.modules(one.main)[1:])
    if "i18n/en.json" in assets.files:  # English stands in for what another language lacks
        needed += f'\n<link rel="preload" as="fetch" crossorigin href="{base}i18n/en.json">'
    return _filled("shell.html", {**one._asdict(), **_common(assets, base)}, preloads=needed)


def missing(assets: Assets, base: str) -> bytes:
    """The page for an address at which there is nothing."""
    return _filled("missing.html", _common(assets, base))


def manifest() -> dict[str, object]:
    """What a phone needs to put the page on its home screen."""
    return {
        "id": "/",
        "name": "quizcast",
        "short_name": "quizcast",
        "start_url": "/",
        "display": "standalone",
        "background_color": THEME["light"],
        "theme_color": THEME["light"],
        "icons": [{"src": "/icon.svg", "type": "image/svg+xml", "sizes": "any"}],
    }


def page_headers(settings: Settings, *, secure: bool) -> dict[str, str]:
    """A page's headers beside the server's own; `secure` if it came over TLS: else it may show pictures without."""
    elsewhere = ""
    if settings.static_url:
        site = urlsplit(settings.static_url)
        elsewhere = f" {site.scheme}://{site.netloc}"
    framing = " ".join(settings.frame_ancestors) or "'none'"
    policy = {
        "default-src": "'none'",
        "script-src": f"'self'{elsewhere}",
        "style-src": f"'self'{elsewhere}",
        "font-src": f"'self'{elsewhere}",
        "connect-src": f"'self'{elsewhere}",  # the API, and the texts
        # Quizzes name pictures anywhere; `blob:` is one that the host has picked and not sent yet.
        "img-src": f"'self'{elsewhere} https:{'' if secure else ' http:'} blob:",
        "manifest-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": framing,
    }
    headers = {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        "cross-origin-opener-policy": "same-origin",
    }
    if not settings.frame_ancestors:
        headers["x-frame-options"] = "DENY"  # for what does not know `frame-ancestors`
    return headers


def _common(assets: Assets, base: str) -> dict[str, str]:
    return {"static": base, "languages": " ".join(assets.languages), **THEME}


def _filled(name: str, values: Mapping[str, str], *, preloads: str = "") -> bytes:
    template = Template(resources.files("quizcast.web.pages").joinpath(name).read_text("utf-8"))
    escaped = {key: html.escape(value) for key, value in values.items()}
    return template.substitute(escaped, preloads=preloads).encode()
