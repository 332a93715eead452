"""Hosts' accounts and their logins; inside `store`.

A login is one family of refresh tokens and one row, which holds the digest of the only token that is good, and of the
one before it.
"""

import msgspec

from quizcast.errors import EmailTaken, RefreshInvalid
from quizcast.ids import new_id
from quizcast.store.db import Connection, Database, fetch_one
from quizcast.store.shipped import query


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A host's account."""

    id: str
    email: str
    name: str


class Credentials(Host, frozen=True, kw_only=True):
    """An account with what its password is checked against."""

    password_hash: str

    def __repr__(self) -> str:
        return f"Credentials(id={self.id!r})"


async def create_host(conn: Connection, *, email: str, name: str, password_hash: str) -> Host:
    """Open an account. Raises `EmailTaken`; addresses that differ only in case are the same."""
    host = Host(id=new_id(), email=email, name=name)
    params = {**msgspec.structs.asdict(host), "password_hash": password_hash}
    made = await conn.execute(query("insert_host"), params)
    if await made.fetchone() is None:
        raise EmailTaken()
    return host


async def host_by_email(conn: Connection, email: str) -> Credentials | None:
    """The account with this address, in whatever case."""
    return await fetch_one(conn, Credentials, "host_by_email", {"email": email})


async def host_by_id(conn: Connection, host_id: str) -> Host | None:
    """The account with this id."""
    return await fetch_one(conn, Host, "host_by_id", {"id": host_id})


async def update_password(conn: Connection, host_id: str, password_hash: str) -> None:
    """Replace the password's hash."""
    await conn.execute(query("update_password"), {"id": host_id, "password_hash": password_hash})


async def start_login(conn: Connection, host_id: str, family: str, digest: bytes, life_s: int) -> None:
    """A new login: the first refresh token of a family, good for `life_s` seconds."""
    await conn.execute(
        query("insert_login"), {"family": family, "host_id": host_id, "digest": digest, "life_s": life_s}
    )


async def rotate_login(db: Database, family: str, spent: bytes, fresh: bytes, life_s: int, grace_s: float = 0) -> Host:
    """Spend a refresh token for the next of its family; whose it is. Of two at the same moment one succeeds.

    Within `grace_s` of that, who comes with the spent one and the same next is told the same. Raises `RefreshInvalid`
    for a token that is not good (any more), and then the family has ended. It takes the database and not a connection,
    because that end has to be committed although an error follows.
    """
    params = {"family": family, "spent": spent, "fresh": fresh, "life_s": life_s, "grace_s": grace_s}
    async with db.write() as conn:
        host = await fetch_one(conn, Host, "rotate_login", params)
        if host is None:
            await end_login(conn, family)
    if host is None:
        raise RefreshInvalid()
    return host


async def end_login(conn: Connection, family: str) -> None:
    """Log out: no token of the family is good any more."""
    await conn.execute(query("delete_login"), {"family": family})
