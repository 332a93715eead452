"""The answer key: whatever participants and screens can get before a question closes tells nothing of what is correct.

Random games are played twice, at the same time and with the same people doing the same, on two quizzes that differ in
nothing but the key of one question. Up to its `closed` every byte that leaves the site must be the same in both games
(ids, times and tokens put aside), and none of them may hold a text of the key, or of a question not shown yet.
"""

import asyncio
import base64
import copy
import random
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import httpx
import pytest

from tests.client import BASE, PATIENT, TIMEOUT_S, Api, Game, Host, good, problem
from tests.hostile.effort import seeds

KINDS = ("single", "multiple", "true_false", "numeric", "text", "order", "poll", "word_cloud")
FIXED = PATIENT | {"speed_scoring": False}  # so that the same answers bring both games the same points


# ── quizzes that are recognised by every text in them ─────────────────────────────────────────────────────────


def text(chance: random.Random, what: str) -> str:
    """A text that occurs nowhere else."""
    return f"{what}-{chance.getrandbits(48):012x}"


def question(kind: str, chance: random.Random) -> dict[str, Any]:
    """A random question."""
    made: dict[str, Any] = {
        "kind": kind,
        "prompt": text(chance, "prompt"),
        "time_limit_ms": 3_600_000,
        "explanation": text(chance, "explained"),
        "points": chance.choice([1000, 500, 0]),
    }
    size = chance.randint(2, 8)
    match kind:
        case "single" | "multiple" | "poll":
            made["choices"] = [{"text": text(chance, "choice")} for _ in range(size)]
        case "order":
            made["items"] = [text(chance, "item") for _ in range(size)]
        case "numeric":
            made |= {"min": -1_000_000.0, "max": 1_000_000.0} if chance.random() < 0.5 else {}
    return keyed(made, chance)


def keyed(asked: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The same question with another key: another length of it too, where it has one."""
    made = copy.deepcopy(asked)
    made["explanation"] = chance.choice(["", text(chance, "explained"), text(chance, "explained") * 9])
    match made["kind"]:
        case "single" | "multiple":
            size = len(made["choices"])
            right = chance.sample(range(size), 1 if made["kind"] == "single" else chance.randint(1, size))
            for place, choice in enumerate(made["choices"]):
                choice["correct"] = place in right
        case "true_false":
            made["correct"] = not made.get("correct", chance.random() < 0.5)
        case "numeric":
            # Digits enough to be found, and a tolerance of another length.
            made["correct"] = round(chance.uniform(100_000, 900_000), 4) * chance.choice([1, -1])
            made["tolerance"] = round(chance.uniform(1_000, 90_000), chance.randint(2, 5))
        case "text":
            made["accepted"] = [text(chance, "accepted") for _ in range(chance.randint(1, 5))]
        case "order":
            chance.shuffle(made["items"])
    return made


def secrets_of(asked: dict[str, Any]) -> set[str]:
    """What nobody may see of a question before it has closed."""
    found = {asked["explanation"], *asked.get("accepted", ())}
    if asked["kind"] == "numeric":
        found |= {str(abs(asked["correct"])), str(asked["tolerance"])}
    return found - {""}


def texts_of(asked: dict[str, Any]) -> set[str]:
    """What nobody may see of it before it is shown."""
    shown = [choice["text"] for choice in asked.get("choices", ())]
    return {asked["prompt"], *shown, *asked.get("items", ()), *secrets_of(asked)}


def spelled(secret: str) -> Iterator[bytes]:
    """A text in the ways in which it could be in the bytes."""
    raw = secret.encode()
    yield raw
    yield raw[::-1]
    yield raw.hex().encode()
    for shift in range(3):  # base64 looks otherwise at each of three places
        # The characters that its neighbours have no part in.
        yield base64.b64encode(b"x" * shift + raw + b"x" * 3)[(shift * 4 + 2) // 3 : (shift + len(raw)) * 4 // 3]


# ── what everybody hears ──────────────────────────────────────────────────────────────────────────────────────


class Heard(NamedTuple):
    """What one request brought: who asked for what, and every byte that came back."""

    what: str
    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body


class Ear:
    """An open stream, of which every byte is kept."""

    def __init__(self, stage: "Stage", who: str, token: str, **headers: str) -> None:
        self.what, self.head, self.body = f"stream of {who}", b"", b""
        self._task = asyncio.create_task(self._listen(stage, token, headers))
        self.begun, self._more = asyncio.Event(), asyncio.Event()

    async def _listen(self, stage: "Stage", token: str, headers: dict[str, str]) -> None:
        sent = {"Authorization": f"Bearer {token}", **headers}
        async with stage.api.http.stream("GET", f"{BASE}/games/{stage.game.id}/events", headers=sent) as reply:
            self.head = head_of(reply)
            self.begun.set()
            async for part in reply.aiter_raw():
                self.body += part
                self._more.set()

    async def heard(self, name: str, times: int = 1) -> None:
        """Wait until so many events of this name have come."""
        async with asyncio.timeout(TIMEOUT_S):
            while self.body.count(b"event: %b\n" % name.encode()) < times or not self.body.endswith(b"\n\n"):
                self._more.clear()
                await self._more.wait()

    @property
    def last_id(self) -> str:
        """Where to resume."""
        found = re.findall(rb"^id: (.*)$", self.body, re.MULTILINE)
        return str(found[-1].decode()) if found else ""

    def so_far(self) -> Heard:
        """What has come until now."""
        return Heard(self.what, self.head, self.body)

    async def leave(self) -> None:
        """Hang up."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def head_of(reply: httpx.Response) -> bytes:
    """Status and headers as they came."""
    lines = [b"%d" % reply.status_code, *(b"%b: %b" % pair for pair in reply.headers.raw)]
    return b"\n".join(lines) + b"\n\n"


class Stage:
    """One of the two games: its people, its streams, and all that was heard so far."""

    def __init__(self, game: Game, quiz: dict[str, Any]) -> None:
        self.game, self.api, self.quiz = game, game.host.api, quiz
        self.tokens: dict[str, str] = {}
        self.ids: dict[str, str] = {game.id: "GAME"}
        self.ears: dict[str, Ear] = {}
        self.heard: list[Heard] = []

    async def ask(self, who: str, method: str, path: str, what: str = "", **options: Any) -> httpx.Response:
        """One request by somebody, noted."""
        reply = await self.api.call(method, path, self.tokens.get(who, ""), **options)
        self.heard.append(Heard(what or f"{method} {path} of {who}", head_of(reply), reply.content))
        return reply

    async def join(self, who: str) -> None:
        """A new participant, who listens."""
        wish = {"pin": self.game.pin, "nickname": who}
        joined = good(await self.ask("", "POST", "/join", f"join of {who}", json=wish), 201)
        self.tokens[who] = joined["token"]
        self.ids[joined["participant_id"]] = f"ID-{who}"
        await self.listen(who)

    async def listen(self, who: str, resume: bool = False) -> None:
        """Open a stream, anew or where the last one ended."""
        headers = {}
        if (before := self.ears.get(who)) is not None:
            await before.leave()
            self.heard.append(before.so_far())
            headers = {"Last-Event-ID": before.last_id} if resume and before.last_id else {}
        self.ears[who] = Ear(self, who, self.tokens[who], **headers)
        await self.ears[who].begun.wait()
        if not headers:
            await self.ears[who].heard("snapshot")

    async def act(self, act: "Act") -> None:
        """What somebody does."""
        games = f"/games/{self.game.id}"
        match act.name:
            case "join":
                await self.join(act.who)
            case "listen" | "resume":
                await self.listen(act.who, act.name == "resume")
            case "state":
                await self.ask(act.who, "GET", f"{games}/state", f"state of {act.who}")
            case "answer":
                body = {"question": act.question, "answer": act.answer}
                what = f"answer {act.answer!r} of {act.who} to {act.question}"
                await self.ask(act.who, "POST", f"{games}/answers", what, json=body)
            case "pry":
                path = act.answer.format(games=games, quiz=self.game.view["quiz_id"])
                reply = await self.ask(act.who, act.method, path, f"{act.method} {act.answer} of {act.who}")
                assert reply.status_code in (401, 403), reply.text

    def everything(self) -> list[Heard]:
        """All that was heard up to now."""
        return [*self.heard, *(ear.so_far() for ear in self.ears.values())]

    def told(self) -> list[Heard]:
        """The same without what differs between any two games: ids, times, tokens; and how often fleeting events came.

        Those are kept once for each form that they have.
        """
        return sorted(self._plain(one) for one in self.everything())

    def _plain(self, one: Heard) -> Heard:
        frames = re.sub(rb"(?m)^retry: \d+\n", b"", one.body).split(b"\n\n")
        fleeting = (b"event: lobby", b"event: progress", b"event: heartbeat")
        kept = [frame for frame in frames if not frame.startswith(fleeting)]
        forms = {
            re.sub(rb"\d+", b"N", frame) for frame in frames if frame.startswith((b"event: progress", b"event: h"))
        }
        body = b"\n\n".join(kept if one.what.startswith("stream") else frames)
        assert forms <= PLAIN_FORMS
        return Heard(one.what, self._put_aside(one.head), self._put_aside(body))

    def _put_aside(self, raw: bytes) -> bytes:
        for token in self.tokens.values():
            raw = raw.replace(token.encode(), b"TOKEN:%d" % len(token))
        for own, name in {**self.ids, self.game.pin: "PIN"}.items():
            raw = raw.replace(own.encode(), name.encode())
        raw = re.sub(rb"(?im)^(date|x-request-id): .*$", rb"\1", raw)
        raw = re.sub(rb'"counts":\{[^}]*\}', b'"counts":{}', raw)  # of an earlier question; ties in any order
        # Of a shuffled list it is chance what comes first: what has to be the same is what is in it.
        raw = re.sub(rb'\{"text":"item-[^]]*\}', lambda found: b",".join(sorted(found[0].split(b","))), raw)
        return re.sub(rb"\b1\d{12}\b", b"TIME", raw)

    async def end(self) -> None:
        """Hang up everywhere."""
        await asyncio.gather(*(ear.leave() for ear in self.ears.values()))


PLAIN_FORMS = {
    b'event: progress\ndata: {"index":N,"answered":N,"eligible":N}',
    b'event: heartbeat\ndata: {"server_now_at":N,"last_id":"N-N"}',
}


# ── what everybody does ───────────────────────────────────────────────────────────────────────────────────────


class Act(NamedTuple):
    """One thing that somebody does."""

    name: str
    who: str
    question: int = 0
    answer: Any = None
    method: str = "GET"


PRYING = [
    ("GET", "{games}"),
    ("GET", "{games}/results"),
    ("GET", "{games}/results?format=csv"),
    ("GET", "{games}/participants"),
    ("POST", "{games}/open"),
    ("POST", "{games}/close"),
    ("POST", "{games}/screen"),
    ("GET", "/quizzes"),
    ("GET", "/quizzes/{quiz}"),
    ("GET", "/quizzes/{quiz}/export"),
]


def an_answer(asked: dict[str, Any], chance: random.Random) -> Any:
    """An answer that fits, right or wrong; now and then one that does not fit."""
    if chance.random() < 0.2:
        return chance.choice([99, -1, "", "x" * 300, None, [], [0, 0], True, 1e308])
    size = len(asked.get("choices") or asked.get("items") or ())
    match asked["kind"]:
        case "single" | "poll":
            return chance.randrange(size)
        case "multiple":
            return chance.sample(range(size), chance.randint(1, size))
        case "true_false":
            return chance.random() < 0.5
        case "numeric":
            return chance.choice([asked["correct"], asked["correct"] + asked["tolerance"] / 2, 17.5])
        case "text":
            return chance.choice([*asked["accepted"], text(chance, "said")])
        case "order":
            return chance.sample(range(size), size)
        case _:
            return text(chance, "word")


def acts_on(quiz: dict[str, Any], other: dict[str, Any], index: int, people: list[str], chance: random.Random) -> Any:
    """What happens while a question is open: random, and the same in both games. It ends with somebody late."""
    found = []
    for _ in range(12):
        who, roll = chance.choice(people), chance.random()
        # An answer may be right in one of the games, and has to look the same in the other.
        asked = chance.choice([quiz, other])["questions"]
        if roll < 0.45:
            found.append(Act("answer", who, index, an_answer(asked[index], chance)))
        elif roll < 0.6:
            ahead = chance.randrange(len(asked))
            found.append(Act("answer", who, ahead, an_answer(asked[ahead], chance)))
        elif roll < 0.7:
            found.append(Act("state", chance.choice([*people, "screen"])))
        elif roll < 0.9:
            found.append(Act(chance.choice(["listen", "resume"]), chance.choice([*people, "screen"])))
        else:
            method, path = chance.choice(PRYING)
            found.append(Act("pry", chance.choice([*people, "screen"]), 0, path, method))
    return [*found, Act("join", f"Late{index}"), Act("state", f"Late{index}")]


# ── the games ─────────────────────────────────────────────────────────────────────────────────────────────────


async def two_games(host: Host, kind: str, chance: random.Random) -> tuple[Stage, Stage, int]:
    """Two games whose quizzes differ in the keys of one question, of this kind, and of the next; and its index."""
    index = chance.randrange(3)
    # What comes of an `order` question depends on the shuffle: after one, no two games are the same.
    before = [chance.choice([one for one in KINDS if one != "order"]) for _ in range(index)]
    kinds = [*before, kind, *(chance.choice(KINDS) for _ in range(2 - index))]
    quiz = {"title": text(chance, "title"), "questions": [question(one, chance) for one in kinds]}
    other: dict[str, Any] = dict(quiz)
    other["questions"] = [
        keyed(asked, chance) if place >= index else asked for place, asked in enumerate(quiz["questions"])
    ]
    one, two = [Stage(await host.game(content, **FIXED), content) for content in (quiz, other)]
    return one, two, index


async def check(stage: Stage, index: int) -> None:
    """Nothing was heard that must not be: what is correct here, anything of the next question, which quiz this is."""
    hidden = secrets_of(stage.quiz["questions"][index]) | {stage.game.view["quiz_id"]}
    for later in stage.quiz["questions"][index + 1 :]:
        hidden |= texts_of(later)
    public = [await stage.api.http.get(path) for path in ("/metrics", f"{BASE}/openapi.json", "/readyz")]
    parts = [part for token in stage.tokens.values() for part in token.split(".")]
    for one in [
        *stage.everything(),
        *(Heard(str(reply.url), head_of(reply), reply.content) for reply in public),
        Heard("the tokens", b"", b"\n".join(base64.urlsafe_b64decode(part + "==") for part in parts)),
    ]:
        heard = unsaid(one)
        for secret in hidden:
            assert not any(form in heard for form in spelled(secret)), f"{one.what} has {secret}"


def unsaid(one: Heard) -> bytes:
    """What was heard, without the answers that people see of themselves."""
    return re.sub(rb'"answered":true,"answer":(?:"[^"]*"|\[[^]]*\]|[^,}]*)', b"", one.raw)


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_that_anybody_hears_of_an_open_question_depends_on_its_key(
    api: Api, kind: str, seed: int
) -> None:
    chance = random.Random(f"{kind} {seed}")
    *stages, index = await two_games(await api.register(), kind, chance)
    one, two = stages
    people = ["Ada", "Ben", "Cem", "Dot"]
    try:
        for stage in stages:
            stage.tokens["screen"] = await stage.game.screen()
            await stage.listen("screen")
            for who in people:
                await stage.join(who)
        async with one.game.stream(), two.game.stream():  # the hosts watch, too
            for place in range(index + 1):
                for stage in stages:
                    await stage.game.open(question=place)
                    await asyncio.gather(*(ear.heard("question") for ear in stage.ears.values()))
                for act in acts_on(one.quiz, two.quiz, place, people, chance):
                    for stage in stages:
                        await stage.act(act)
                people.append(f"Late{place}")
                for stage in stages:
                    await check(stage, place)
                assert one.told() == two.told()
                for stage in stages:
                    await stage.game.close()
                    await asyncio.gather(*(stage.ears[who].heard("result") for who in people))
                    await stage.game.command("leaderboard")
                    for who in stage.ears:
                        await stage.listen(who)
                    stage.heard.clear()
    finally:
        await asyncio.gather(one.end(), two.end())


# ── questions to come ─────────────────────────────────────────────────────────────────────────────────────────

SHAPES = [0, 1, 7, 8, -1, True, False, 0.5, -1e9, 1e9, None, "x", "", "x" * 300, [], [0], [0, 1], [1, 0], [0, 0]]


async def test_until_a_question_is_shown_no_reply_tells_its_kind_its_size_or_its_bounds(api: Api) -> None:
    chance = random.Random(1)
    asked = [question(kind, chance) for kind in ("poll", *KINDS)]
    game = await (await api.host()).game({"title": "t", "questions": asked})
    ada = await game.join("Ada")

    async def replies() -> set[tuple[int, str, bytes]]:
        """What comes back for answers of every shape to every question but the first, apart from their index."""
        found = [await ada.answer(index, shape) for index in range(1, len(asked) + 2) for shape in SHAPES]
        return {(reply.status_code, problem(reply), reply.content) for reply in found}

    lobby = await replies()
    assert [reply[:2] for reply in lobby] == [(409, "question_not_open")]
    await game.open()
    assert await replies() == lobby
    await game.close()
    assert await replies() == lobby


async def test_a_question_that_is_shown_and_not_open_yet_takes_nothing_and_tells_nothing(api: Api) -> None:
    chance = random.Random(2)
    game = await (await api.host()).game({"title": "t", "questions": [question("text", chance)]}, lead_ms=10_000)
    ada = await game.join("Ada")
    await game.open()
    (accepted, *_) = game_key = question("text", chance)["accepted"]
    found = {(await ada.answer(0, said)).content for said in (accepted, *game_key, "wrong", "", 5)}
    assert len(found) == 1


# ── the order of what is to be put in order ───────────────────────────────────────────────────────────────────


async def test_a_shuffle_is_the_same_for_all_and_another_in_every_game(api: Api) -> None:
    host = await api.register()
    quiz = {"title": "t", "questions": [question("order", random.Random(3)) | {"items": list("abcdefgh")}]}
    shown = []
    for _ in range(4):  # that two are alike happens once in 6,700 times, and all of them: never
        game = await host.game(quiz)
        people = [await game.join(f"P{number}") for number in range(3)]
        await game.open()
        seen = {str(good(await one.state(), 200)["question"]["choices"]) for one in people}
        seen.add(
            str(good(await api.call("GET", f"/games/{game.id}/state", await game.screen()), 200)["question"]["choices"])
        )
        assert len(seen) == 1
        shown += seen
    assert len(set(shown)) > 1


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────

TRIES = 250  # right answers, and as many wrong ones
DRAWS = 2000  # of what chance makes of the difference


@pytest.mark.parametrize("kind", ["single", "text"])
async def test_how_long_the_reply_takes_does_not_tell_whether_the_answer_was_right(api: Api, kind: str) -> None:
    chance = random.Random(4)
    asked = question(kind, chance)
    game = await (await api.host()).game({"title": "t", "questions": [asked]})
    names = [f"P{number}" for number in range(2 * TRIES + 20)]
    people = [
        one
        for first in range(0, len(names), 50)
        for one in await asyncio.gather(*map(game.join, names[first : first + 50]))
    ]
    await game.open()
    if kind == "single":
        right = next(place for place, choice in enumerate(asked["choices"]) if choice["correct"])
        wrong = (right + 1) % len(asked["choices"])
    else:
        right, wrong = asked["accepted"][0], asked["accepted"][0][::-1]

    async def took_us(number: int, answer: Any) -> float:
        began = time.perf_counter()
        await people[number].answered(0, answer)
        return (time.perf_counter() - began) * 1e6

    for number in range(20):  # until both ends are warm
        await took_us(2 * TRIES + number, right)
    pairs = []  # right, wrong: one after the other, so that both meet the same weather
    for turn in range(TRIES):
        first_right = chance.random() < 0.5
        one = await took_us(2 * turn, right if first_right else wrong)
        two = await took_us(2 * turn + 1, wrong if first_right else right)
        pairs.append((one, two) if first_right else (two, one))
    apart = gap(pairs)
    swapped = ([pair if chance.random() < 0.5 else pair[::-1] for pair in pairs] for _ in range(DRAWS))
    by_chance = sorted(abs(gap(draw)) for draw in swapped)[-2]
    median = statistics.median(took for pair in pairs for took in pair)
    print(f"{kind}: {median:.0f} us; right - wrong {apart:+.1f} us, by chance up to {by_chance:.1f} us")
    # Were it drawn by lot which of a pair is the right one, one run in a thousand would be further apart than this.
    assert abs(apart) <= by_chance, f"{apart:.1f} us"


def gap(pairs: Sequence[tuple[float, float]]) -> float:
    """By how much the first of the pairs take longer than the second; of the quicker halves: they have less noise."""
    first, second = zip(*pairs, strict=True)
    return quick(first) - quick(second)


def quick(times: Sequence[float]) -> float:
    """The mean of the quicker half."""
    return statistics.fmean(sorted(times)[: len(times) // 2])
