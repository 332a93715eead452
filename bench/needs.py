"""What so many participants need: arithmetic on what was measured and what is assumed, and nothing else.

A single game and many small ones need different things. One game is one moment for everybody: what counts is how soon
an event reaches all phones, and what one Redis shard takes. Small games are not in step: what counts is the average,
and how many processes hear each game.
"""

import math

import msgspec

MILLION = 1e6
CONFIRM_EVERY_S = 4.0  # as in live/presence.py
WATCHES_A_SECOND = 4  # as in conductor.py
READ_TIMES = 2  # that a deadline is near when a process asks, as there
HEARTBEAT_S = 15.0  # the default of QUIZCAST_HEARTBEAT_S
SHOWN_A_SECOND, SHOWN_BUDGET = (
    4.0,
    4000.0,
)  # `progress` to a stream, and to all streams of a process, as in hub/pulse.py
STREAMS_MAX = 12_000  # per process, the default of QUIZCAST_MAX_STREAMS


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What the bench found. `_us` is CPU time of the process that does it, `redis_` of Redis."""

    push_us: float  # p99 of an event, for each stream of one process: a straight line as far as it was measured
    delivery_us: float
    event_us: float  # for a process that hears it, without its deliveries; what follows is in it
    message_us: float  # to hear a message, kept or fleeting, and hand it to a few streams
    answer_us: float
    close_us: float  # per participant, with the result, in whichever process has the stream
    score_us: float  # per participant, in the one process that closes the question
    confirm_us: float  # per participant
    confirm_game_us: float  # for each game that a process has streams of, on top
    watch_us: float  # per second, in every process: to ask which deadlines are near
    deadline_us: float  # for each question that is asked anywhere, in every process
    stream_kb: float
    process_mb: float
    stored_per_s: float  # rows of one worker
    redis_event_us: float
    redis_hub_us: float  # per event, for each process that hears it
    redis_line_us: float  # per second, for each process that listens while nothing happens
    redis_answer_us: float  # in groups, to one game
    redis_answer_apart_us: float  # in groups, each to another game
    redis_close_us: float  # per participant, with the results
    redis_confirm_us: float  # per participant
    redis_confirm_game_us: float  # for each game that a process has streams of, on top
    redis_watch_us: float  # per process and second
    redis_deadline_us: float  # per process and question that is asked anywhere
    redis_kb: float  # per participant and question

    def tuned(self) -> "Measured":
        """After the changes that docs/capacity.md proposes: what they do away with costs nothing here."""
        return msgspec.structs.replace(
            self, confirm_us=0.0, confirm_game_us=0.0, redis_confirm_us=0.0, redis_confirm_game_us=0.0
        )


class Assumed(msgspec.Struct, frozen=True, kw_only=True):
    """What nobody measured; every field is an option of the command."""

    busy: float = 0.5  # of a core, at the busiest moment: the other half is for a lost machine and for noise
    push_ms: float = 50.0  # p99 from an event's stamp to the last phone, as the README promises for 1,000
    question_s: float = 30.0  # from one question of a game to the next
    questions: int = 20  # per game
    events: float = 3.0  # to everybody, per question: question, closed, leaderboard
    answer_s: float = 5.0  # in which a hall answers
    groups_s: float = 100.0  # groups of answers that a process brings to Redis in a second, each told as `progress`
    progress_s: float = math.inf  # most of these that a game tells in a second: no limit, as it is now
    event_bytes: int = 550  # 450 of JSON, with the frame around it and the headers of TCP/IP and TLS
    proxy_us: float = 20.0  # per delivery or answer that passes nginx: it reads once and writes once, with TLS
    proxy_kb: float = 40.0  # per connection that passes nginx, with TLS
    postgres_share: float = 1.0  # cores of Postgres for each core of the workers
    base_gb: float = 1.0  # the system, Postgres and Redis with nothing in them
    together: bool = False  # a game's streams all go to the same process
    gb_per_vcpu: float = 2.0  # as machines are sold; a vCPU is taken for a core
    hours: float = 60.0  # of play in a month, for the traffic
    usd_vcpu: float = 25.0  # per month
    usd_gb: float = 6.0  # of memory, per month: with the above, two machines of 2 vCPU and 4 GB cost $148
    usd_traffic_tb: float = 20.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What so many participants need. Cores are fractions, of which `busy` is used at the busiest moment."""

    participants: int
    games: int
    web: int  # processes
    web_because: str
    workers: float
    redis: float
    redis_presence: float  # of these
    shards: int
    postgres: float
    proxy: float
    gb: float
    vcpus: int
    machine_gb: int
    burst_gbit: float  # when an event to everybody goes out within the budget
    traffic_mbit: float  # on average while playing
    usd: float
    watch_share: float  # of each web process, for the watch over deadlines
    redis_watch: float  # of Redis's cores, likewise
    progress_share: float  # of each web process, to hear of every group of answers to a single game
    redis_progress: float  # cores, on top
    answers_s: float  # that Redis needs for everybody's answers to one question of one game
    close_s: float  # that closing a question of one game takes


def reachable(measured: Measured, assumed: Assumed) -> int:
    """In how many processes one Redis shard makes an event heard within the push budget."""
    return int((assumed.push_ms * 1000 * assumed.busy - measured.redis_event_us) / measured.redis_hub_us)


def heard(people: int, processes: int) -> float:
    """In how many processes a game has streams, when they are dealt at random."""
    return processes * (1 - (1 - 1 / processes) ** people)


def plan(measured: Measured, assumed: Assumed, participants: int, game_size: int) -> Plan:
    """What it takes. `game_size` participants play each game; a single game is one moment for everybody."""
    games = participants // game_size
    single = games == 1
    # Small games are not in step, so what counts is the average; in a single game it is the moment of most work.
    answers = participants / (assumed.answer_s if single else assumed.question_s)
    events = games * assumed.events / assumed.question_s
    confirms = participants / CONFIRM_EVERY_S
    closes = participants / assumed.question_s
    asked = games / assumed.question_s
    watch_us = measured.watch_us + asked * measured.deadline_us
    web, because = 1, "one is enough"
    while True:  # more processes hear each game, which costs more: until it is enough
        hearing = 1.0 if assumed.together and not single else heard(game_size, web)
        told = min(game_size, web * assumed.groups_s * assumed.answer_s, assumed.progress_s * assumed.answer_s)
        shown = min(told, SHOWN_A_SECOND * assumed.answer_s, SHOWN_BUDGET * web / participants * assumed.answer_s)
        # One more than the events: each participant's result.
        frames = assumed.events + 1 + shown + assumed.question_s / HEARTBEAT_S
        deliveries = participants * frames / assumed.question_s
        progress = told / assumed.answer_s if single else games * told / assumed.question_s
        work = (
            deliveries * measured.delivery_us
            + events * hearing * measured.event_us
            + answers * measured.answer_us
            + closes * measured.close_us
            + confirms * measured.confirm_us
            + games * hearing / CONFIRM_EVERY_S * measured.confirm_game_us
            + web * watch_us
            + (0.0 if single else progress * hearing * measured.message_us)
        ) / MILLION
        needs = {
            "CPU": work / assumed.busy,
            "streams": participants / STREAMS_MAX,
            "push": participants * measured.push_us / assumed.push_ms / 1000 if single else 0.0,
        }
        most = max(needs, key=lambda name: needs[name])
        if needs[most] <= web:
            break
        web, because = max(web + 1, min(math.ceil(needs[most]), web * 2)), most  # by steps: a leap may be too wide
    presence = confirms * measured.redis_confirm_us + games * hearing / CONFIRM_EVERY_S * measured.redis_confirm_game_us
    watch = web * (measured.redis_watch_us + asked * measured.redis_deadline_us)
    redis = (
        events * (measured.redis_event_us + hearing * measured.redis_hub_us)
        + answers * (measured.redis_answer_us if single else measured.redis_answer_apart_us)
        + closes * measured.redis_close_us
        + web * measured.redis_line_us
        + (0.0 if single else progress * hearing * measured.redis_hub_us)
        + presence
        + watch
    ) / MILLION
    workers = participants / assumed.question_s / measured.stored_per_s / assumed.busy
    proxy = (deliveries + answers) * assumed.proxy_us / MILLION / assumed.busy
    gb = assumed.base_gb + (
        web * measured.process_mb * 1024
        + participants * (measured.stream_kb + assumed.proxy_kb + measured.redis_kb * assumed.questions)
    ) / (1 << 20)
    # A web process that does not fill its core leaves the rest to the others.
    web_cores = web if because == "push" else min(web, work / assumed.busy)
    cores = web_cores + workers * (1 + assumed.postgres_share) + redis / assumed.busy + proxy
    vcpus = 2 * math.ceil(cores / 2)
    machine_gb = math.ceil(max(gb, vcpus * assumed.gb_per_vcpu))
    traffic_mbit = deliveries * assumed.event_bytes * 8 / MILLION
    traffic_tb = traffic_mbit / 8 * 3600 * assumed.hours / MILLION
    return Plan(
        participants=participants,
        games=games,
        web=web,
        web_because=because,
        workers=workers,
        redis=redis / assumed.busy,
        redis_presence=presence / MILLION / assumed.busy,
        shards=1 if single else math.ceil(redis / assumed.busy),
        postgres=workers * assumed.postgres_share,
        proxy=proxy,
        gb=gb,
        vcpus=vcpus,
        machine_gb=machine_gb,
        burst_gbit=participants * assumed.event_bytes * 8 / (assumed.push_ms * MILLION) if single else 0.0,
        traffic_mbit=traffic_mbit,
        usd=vcpus * assumed.usd_vcpu + machine_gb * assumed.usd_gb + traffic_tb * assumed.usd_traffic_tb,
        watch_share=watch_us / MILLION,
        redis_watch=watch / MILLION / assumed.busy,
        progress_share=progress * measured.message_us / MILLION if single else 0.0,
        redis_progress=progress * web * measured.redis_hub_us / MILLION if single else 0.0,
        answers_s=game_size * measured.redis_answer_us / MILLION,
        close_s=game_size * (measured.score_us + measured.redis_close_us) / MILLION,
    )
