"""`QUIZCAST_REDIS_URL` taken apart: one server, Sentinels that know which, or a cluster; floor 1.

redis://[user:password@]host:port/0                     one server; also rediss:// and unix://
redis+sentinel://[user:password@]host:port,host:port/NAME?db=0      (or redis://…/0?sentinel=NAME)
    &sentinel_password=…&sentinel_username=…                        where the Sentinels themselves ask for one
redis://[user:password@]host:port,host:port?cluster=true            any of its servers will do
"""

from collections.abc import Mapping
from enum import Enum
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

PORT, SENTINEL_PORT = 6379, 26379
SENTINEL = "+sentinel"

Place = tuple[str, int]


class Kind(Enum):
    """Who says where a key is."""

    SERVER = "server"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class RedisUrl(msgspec.Struct, frozen=True, kw_only=True):
    """An address. `places` are whom to ask first; `service` is what the Sentinels call the server.

    `sentinel_login` is what they want themselves: `username`, `password`.
    """

    kind: Kind
    url: str
    places: tuple[Place, ...] = ()
    service: str = ""
    sentinel_login: Mapping[str, str] = {}

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises `ValueError` saying what is wrong, without the address: it may hold a password."""
        try:
            parts = urlsplit(url)
        except ValueError:  # whose words repeat the address
            raise ValueError("is no address") from None
        query = dict(parse_qsl(parts.query))
        cluster = query.pop("cluster", "").lower() in ("true", "yes", "1")
        service = query.pop("sentinel", "")
        login = {name: query.pop(f"sentinel_{name}", "") for name in ("username", "password")}
        scheme, path = parts.scheme, parts.path
        if scheme.endswith(SENTINEL):
            scheme, service, path = scheme.removesuffix(SENTINEL), path.strip("/"), ""
            if not service:
                raise ValueError("the name of the server that the Sentinels watch is missing: …/NAME")
        if not (cluster or service):
            return cls(kind=Kind.SERVER, url=url)
        if cluster and service:
            raise ValueError("a cluster has no Sentinels")
        if scheme not in ("redis", "rediss"):
            raise ValueError("a cluster and Sentinels are reached by redis:// or rediss://")
        if cluster and (path.strip("/") not in ("", "0") or query.get("db", "0") != "0"):
            raise ValueError("a cluster has database 0 alone")
        hosts = parts.netloc.rpartition("@")[2].split(",")
        places = tuple(_place(host, SENTINEL_PORT if service else PORT) for host in hosts)
        whole = urlunsplit((scheme, parts.netloc, path, urlencode(query), ""))
        return cls(
            kind=Kind.SENTINEL if service else Kind.CLUSTER,
            url=whole,
            places=places,
            service=service,
            sentinel_login={name: value for name, value in login.items() if value},
        )

    def at(self, place: Place) -> str:
        """The address of one of the servers."""
        host, port = place
        parts = urlsplit(self.url)
        who, at, _ = parts.netloc.rpartition("@")
        host = f"[{host}]" if ":" in host else host
        return urlunsplit(parts._replace(netloc=f"{who}{at}{host}:{port}"))


def _place(text: str, port: int) -> Place:
    parts = urlsplit(f"//{text}")
    try:
        given = parts.port
    except ValueError:
        given = 0
    if not parts.hostname or given == 0:
        raise ValueError("is not of the form …//host:port,host:port")
    return parts.hostname, given or port
