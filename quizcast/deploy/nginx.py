"""nginx's site for a given layout, from `templates/quizcast.conf`; inside `deploy`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import msgspec

from quizcast.assets import TYPES
from quizcast.deploy.template import filled

WEB = 2  # web processes of a machine that nobody has said more of: one a core of the smallest
REQUESTS_AT_ONCE = 3
REQUESTS_IN_10_S = 5  # answers to quick questions, and what is sent again
STREAMS = 4  # a line that died without a word counts until it is seen to be dead, a minute later
STREAMS_MAX = 65_535  # nginx counts no further
BROTLI = Path("/usr/lib/nginx/modules/ngx_http_brotli_static_module.so")  # Debian's libnginx-mod-http-brotli-static

_REDIRECT = """\
server {
    listen 80;
    listen [::]:80;
    server_name %s;
    access_log off;
    location / {
        return 308 https://$host$request_uri;
    }
}

"""
# `X-Forwarded-Proto` is believed where `X-Forwarded-For` is.
_BALANCERS = """\
geo $realip_remote_addr $quizcast_balancer {
    default 0;
%s}
map "$quizcast_balancer $http_x_forwarded_proto" $quizcast_scheme {
    default $scheme;
    "1 https" https;
}

"""
_REAL_IP = """\
%sreal_ip_header X-Forwarded-For;
real_ip_recursive on;

"""
_TLS = """\
ssl_certificate %(folder)s/fullchain.pem;
ssl_certificate_key %(folder)s/key.pem;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_session_cache shared:quizcast_tls:10m;
ssl_session_timeout 1d;

"""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are. `upstreams` are web processes as nginx spells them: `unix:/PATH` or `HOST:PORT`.

    `tls_dir` has `fullchain.pem` and `key.pem`; without it the site speaks plain HTTP, for a balancer that has TLS.
    `listen`: ports, or `ADDRESS:PORT`; empty: 443 (80 without TLS) on all addresses, and a redirect from 80.
    `phones` may be behind one address; what comes from one in larger numbers is refused with 429.
    `behind` are the balancers whose `X-Forwarded-For` is believed, `monitoring` who may read `/metrics`.
    """

    upstreams: tuple[str, ...] = ()
    server_name: str = "_"
    listen: tuple[str, ...] = ()
    tls_dir: Path | None = Path("/etc/quizcast/tls")
    static: Path = Path("/var/cache/quizcast/static")
    cache_dir: Path = Path("/var/lib/nginx/quizcast")
    log_dir: Path = Path("/var/log/nginx")
    phones: int = 1000
    behind: tuple[str, ...] = ()
    monitoring: tuple[str, ...] = ()
    brotli: bool = False

    @classmethod
    def on(cls, sockets: Path, web: int = WEB, **more: Any) -> Self:
        """A site in front of the unix sockets `web-0.sock`, `web-1.sock`, … of a folder."""
        return cls(upstreams=tuple(f"unix:{sockets}/web-{number}.sock" for number in range(web)), **more)

    def text(self) -> str:
        """The file."""
        tls = self.tls_dir is not None
        ports = self.listen or (("443", "[::]:443") if tls else ("80", "[::]:80"))
        return filled(
            "quizcast.conf",
            servers=_lines(f"server {one} max_fails=0;" for one in self.upstreams),
            redirect=_REDIRECT % self.server_name if tls and not self.listen else "",
            listen=_lines(f"listen {port}{' ssl http2' if tls else ''};" for port in ports),
            server_name=self.server_name,
            tls=_TLS % {"folder": self.tls_dir} if tls else "",
            scheme="$quizcast_scheme" if self.behind else "$scheme",
            balancers=_BALANCERS % _lines(f"    {one} 1;" for one in self.behind) if self.behind else "",
            behind=_REAL_IP % _lines(f"set_real_ip_from {one};" for one in self.behind) if self.behind else "",
            phones=f"{self.phones:,}",
            rate=max(1, self.phones * REQUESTS_IN_10_S // 10),
            burst=self.phones * REQUESTS_AT_ONCE,
            streams=min(self.phones * STREAMS, STREAMS_MAX),
            static=self.static,
            cache_dir=self.cache_dir,
            log_dir=self.log_dir,
            types=_lines(f"{kind.partition(';')[0]} {ending[1:]};" for ending, kind in TYPES.items()),
            brotli="brotli_static on;" if self.brotli else "",
            allow=_lines(f"allow {address};" for address in ("127.0.0.1", "::1", *self.monitoring)),
        )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
