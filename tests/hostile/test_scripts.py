"""The Lua scripts, called with anything: each call returns or is refused, and who is refused has changed nothing.

Of a call that could be, any part may be spoilt: what the keys hold, an argument, how many there are. Keys of different
purpose are different keys: that is so by how they are built.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizcast.errors import RedisUnavailable
from quizcast.live.redis import SCRIPTS, Live
from quizcast.settings import Settings
from tests.hostile.effort import examples

GAME_KEYS = {
    "advance": ("game", "log", "due", "rows", "waiting", "done", "here", "channel"),
    "look": ("game",),
    "pin": ("own", "all", "mark"),
    "presence": ("game", "people", "here", "waiting", "done"),
    "put_aside": ("rows", "dead"),
    "put_back": ("dead", "rows"),
    "remove": ("game", "people", "names", "bans", "here", "waiting", "done", "rows", "channel"),
    "seal": ("game", "due", "waiting", "done"),
}
GROUP_KEYS = {
    "answers": ("game", "answers", "people", "waiting", "done", "channel"),
    "joins": ("game", "people", "names", "bans", "here", "waiting", "channel"),
}
HASHES, SETS, SORTED = ("game", "people", "names", "answers"), ("waiting", "done", "bans"), ("due", "here")
STRINGS = ("own", "all", "mark")

FAR = 4_000_000_000_000  # ms; long after the test
PEOPLE = ("ann", "ben", "cem")

nasty = st.sampled_from(
    [
        "",
        " ",
        "x",
        "-1",
        "-0",
        "1.5",
        "1e3",
        "1e400",
        "0x10",
        "nan",
        "inf",
        "9" * 15,
        "9" * 19,
        "9" * 40,
        "\x00\xff",
        "}",
    ]
) | st.binary(max_size=6)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Good, or once in a while anything: a call has so many parts that else hardly one could be."""
    return st.integers(0, 50).flatmap(lambda roll: nasty if roll == 37 else good)


def word(*words: str) -> st.SearchStrategy[Any]:
    """Mostly one of these."""
    return mostly(st.sampled_from(words))


person = word(*PEOPLE)
ttl = word("60", "86400")
entry_id = word("5-1", "5-2", "5-3", "7-1")

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "phase": word(*["question"] * 5, "lobby", "closed", "finished"),
    "question": word(*["0"] * 5, "1"),
    "opens_at": word(*["0"] * 5, str(FAR)),
    "until": word(*[str(FAR)] * 5, "0"),
    "shut": word(*["0"] * 5, "1"),
    "max": word("0", "2", *["100"] * 6),
    "joins": word("0", "7"),
    "revision": word(*["3"] * 5, "4"),
    "epoch": word("5"),
    "offset": word("3", "3", "2"),
}
SEALED = {"sealed": word("1", "0"), "sealed_for": word("host", "time")}
WHOLE = st.fixed_dictionaries(FIELDS)
CONTENT: dict[str, st.SearchStrategy[Any]] = {
    "game": st.one_of(
        *[WHOLE] * 4, st.fixed_dictionaries(FIELDS, optional=SEALED), st.fixed_dictionaries({}, optional=FIELDS)
    ),
    "people": st.dictionaries(st.sampled_from(PEOPLE), word("1:1700:Ann", "2:1800:B:n"), min_size=2),
    "names": st.dictionaries(word("ann", "ben"), person),
    "answers": st.just({}) | st.dictionaries(st.sampled_from(PEOPLE), word("1700:0", '1700:"a:b"')),
    "waiting": st.sets(person),
    "done": st.sets(person),
    "bans": st.sets(word("cem", "name:cem", "gone:dan")),
    "due": st.dictionaries(word("G"), st.just(1.0)),
    "here": st.dictionaries(person, st.sampled_from([1.0, float(FAR)])),
    "own": word("", "1", "29", "30"),
    "all": word("", "1", "299", "300"),
    "mark": word("", "", "1"),
    "log": st.sets(st.sampled_from(["5-1", "5-2", "5-3", "9-9"])),
    "rows": st.sets(st.sampled_from(["5-1", "5-2", "5-3"])),
    "dead": st.sets(st.sampled_from(["5-1", "5-2", "7-1"])),
}


@st.composite
def contents(draw: st.DrawFn, role: str) -> tuple[str, Any]:
    """What a key of this role holds: mostly what it should, and now and then what another kind of key would."""
    if role == "channel":
        return role, None
    held = draw(st.sampled_from([role] * 60 + ["people", "waiting", "here", "rows"]))
    return held, draw(CONTENT[held])


@st.composite
def calls(draw: st.DrawFn, name: str) -> tuple[dict[str, tuple[str, Any]], list[str], list[Any]]:
    """What the keys hold, the keys, the arguments."""
    args: list[Any] = []
    if name in GROUP_KEYS:
        roles = [("rows", "rows")]
        for group in range(draw(st.integers(1, 3))):
            roles += [(f"{role}{group}", role) for role in GROUP_KEYS[name]]
            tries = draw(st.integers(0, 3))
            if name == "answers":
                args += draw(st.tuples(word(*["0"] * 5, "1"), word(str(tries)), ttl))
                for each in (person, word("0", "0", "", '"a:b"'), word("row")):
                    args += draw(st.lists(each, min_size=tries, max_size=tries))
            else:
                args += draw(st.tuples(word(str(tries)), ttl, word("60000")))
                each = (word("dan", "eve", "fay", "ann"), word("Ann", "Zoë"), word("dan", "eve", "ann"), word("row"))
                for _ in range(tries):
                    args += draw(st.tuples(*each))
    else:
        roles = [(role, role) for role in GAME_KEYS[name]]
        few = st.lists(person, max_size=3)
        match name:
            case "advance":
                state = [word("state"), *(FIELDS[one] for one in ("phase", "question", "opens_at", "until"))]
                rows, told = draw(st.lists(word("row"), max_size=2)), draw(st.integers(0, 2))
                args += draw(st.tuples(word("G"), word("3"), *state, word("0"), word("0"), word("", "17", str(FAR))))
                args += draw(st.tuples(ttl, word("100"), word("0", "1"), word(str(len(rows)))))
                args += rows
                for _ in range(told):
                    args += draw(st.tuples(word("closed"), word('{"index":0}')))
            case "look":
                args += draw(st.lists(word("phase", "state"), max_size=3))
            case "pin":
                args += draw(st.tuples(word("0", "1"), word("30"), word("300"), word("3")))
                args += draw(st.tuples(word("60000"), word("600000"), ttl))
            case "presence":
                here = draw(few)
                args += draw(st.tuples(word("12000"), word("5000"), ttl, word(str(len(here)))))
                args += [*here, *draw(few)]
            case "put_aside":
                for _ in range(draw(st.integers(0, 3))):
                    args += draw(st.tuples(entry_id, word("why")))
            case "put_back":
                args += draw(st.lists(entry_id, min_size=1, max_size=3))
            case "remove":
                args += draw(st.tuples(person, word("ann"), word("0", "1"), word("row"), word("{}"), ttl))
            case "seal":
                args += draw(
                    st.tuples(word("G"), word("0"), word("time", "host", "all_answered"), word("1500"), word("10000"))
                )
    keys = [key for key, _ in roles]
    how = draw(st.sampled_from(range(16)))
    if how == 0 and args:
        del args[draw(st.integers(0, len(args) - 1))]
    elif how == 1:
        args.insert(draw(st.integers(0, len(args))), draw(nasty))
    elif how == 2:
        del keys[draw(st.integers(0, len(keys) - 1))]
    elif how == 3:
        keys.append("more")
    return {key: draw(contents(role)) for key, role in roles}, keys, args


class Bench:
    """A corner of Redis, which is emptied for each call."""

    def __init__(self, redis_url: str, prefix: str) -> None:
        self.prefix = prefix
        self._runner = asyncio.Runner()
        self.live = Live(Settings(redis_url=redis_url, key_prefix=prefix))

    def run(self, work: Any) -> Any:
        """Run it to its end."""
        return self._runner.run(work)

    def close(self) -> None:
        """Give the connections back."""
        self.run(self.live.close())
        self._runner.close()

    async def attempt(self, name: str, held: dict[str, Any], keys: list[str], args: list[Any]) -> tuple[str, bool]:
        """Call a script; how that went, and whether anything is otherwise than before."""
        client = self.live.client
        if old := await self._keys():
            await client.delete(*old)
        for key, (role, content) in held.items():
            await self._fill(self.prefix + key, role, content)
        before = await self._dump()
        try:
            async with asyncio.timeout(2):
                await self.live.script(name, [self.prefix + key for key in keys], args)
            outcome = "returned"
        except RedisUnavailable:
            outcome = "refused"
        await self.live.clock()
        return outcome, before != await self._dump()

    async def _fill(self, key: str, role: str, content: Any) -> None:
        client = self.live.client
        if not content:
            return
        if role in HASHES:
            await client.hset(key, mapping=content)
        elif role in STRINGS:
            await client.set(key, content)
        elif role in SETS:
            await client.sadd(key, *content)
        elif role in SORTED:
            await client.zadd(key, content)
        else:
            for one in sorted(content):
                fields = {"row": "r", "at": "17", **({"reason": "why"} if role == "dead" else {})}
                await client.xadd(key, {"opened": "{}"} if role == "log" else fields, one)

    async def _keys(self) -> list[bytes]:
        return sorted(await self.live.client.keys(f"{self.prefix}*"))

    async def _dump(self) -> list[tuple[bytes, bytes, bool]]:
        client = self.live.client
        return [(key, await client.dump(key), await client.ttl(key) > 0) for key in await self._keys()]


@pytest.fixture
def bench(redis_url: str, redis_prefix: str) -> Iterator[Bench]:
    made = Bench(redis_url, redis_prefix)
    yield made
    made.close()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_fails_has_changed_nothing(name: str, bench: Bench) -> None:
    seen: Counter[tuple[str, bool]] = Counter()

    @examples(120)
    @given(calls(name))
    def try_it(call: tuple[dict[str, Any], list[str], list[Any]]) -> None:
        outcome, changed = bench.run(bench.attempt(name, *call))
        seen[outcome, changed] += 1
        assert not (outcome == "refused" and changed)

    try_it()
    assert seen["returned", name != "look"] > 2, "of the calls too few could be: this tests nothing"
    assert seen["refused", False] > 2


GOOD: dict[str, Any] = {
    "game": {"phase": "question", "question": "0", "opens_at": "0", "until": str(FAR), "max": "9", "joins": "1"},
    "people": {"ann": "1:1700:Ann"},
}
FITTING = {"answers": ["0", "1", "60", "ann", "0", "row"], "joins": ["1", "60", "60000", "dan", "Dan", "dan", "row"]}
WRITTEN = [(name, role) for name, roles in GROUP_KEYS.items() for role in ("rows", *roles) if role != "channel"]


@pytest.mark.parametrize(("name", "role"), WRITTEN)
def test_a_key_of_another_kind_is_noticed_before_anything_is_written(name: str, role: str, bench: Bench) -> None:
    roles = [("rows", "rows"), *[(f"{one}{group}", one) for group in range(2) for one in GROUP_KEYS[name]]]
    held = {key: (one, GOOD.get(one)) for key, one in roles}
    call = [key for key, _ in roles], FITTING[name] * 2
    assert bench.run(bench.attempt(name, held, *call)) == ("returned", True)
    held["rows" if role == "rows" else f"{role}1"] = ("own", "a string")  # of the group that comes last
    assert bench.run(bench.attempt(name, held, *call)) == ("refused", False)
