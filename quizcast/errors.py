"""Every error that quizcast raises on purpose, as one tree; floor 1.

A class has a stable `code` (what clients branch on) and its docstring's first line is the title that people read.
`detail` says what is wrong this time and, where something can be done, what to do. No HTTP numbers here: `web.http`
maps the second floor of the tree to status codes.

    QuizcastError
    ├── InvalidInput          the request makes no sense as it stands
    ├── NotAuthenticated      who are you?
    ├── NotAllowed            you are known, and may not
    ├── NotFound
    ├── Conflict              it made sense, but not now
    ├── Stale                 somebody else wrote in between
    ├── TooMany               slow down
    ├── Unavailable           try again soon; nothing was done
    └── OperatorError         for the person at the terminal: settings, services, files
"""

from collections.abc import Sequence

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with the input: where (`questions[2].choices`, `row 14`), and what."""

    path: str
    message: str


class QuizcastError(Exception):
    """Something went wrong."""

    code = "error"

    def __init__(
        self, detail: str = "", *, problems: Sequence[Problem] = (), retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail or self.title())
        self.detail = detail
        self.problems = tuple(problems)
        self.retry_after_s = retry_after_s

    @classmethod
    def title(cls) -> str:
        """The docstring's first line, without its full stop."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0].rstrip(".")


# ── the request makes no sense as it stands ─────────────────────────────────────────────────────────────────


class InvalidInput(QuizcastError):
    """The input has the wrong shape or values."""

    code = "invalid"


class MalformedBody(InvalidInput):
    """The body is not valid JSON or MessagePack."""

    code = "malformed"


class BodyTooLarge(InvalidInput):
    """The body is too large."""

    code = "body_too_large"


class UnsupportedMedia(InvalidInput):
    """The content type is not one that this address takes."""

    code = "unsupported_media_type"


class NicknameInvalid(InvalidInput):
    """The nickname cannot be used."""

    code = "nickname_invalid"


class AnswerInvalid(InvalidInput):
    """The answer does not fit the question."""

    code = "answer_invalid"


class FileInvalid(InvalidInput):
    """The quiz file cannot be read."""

    code = "file_invalid"


class MediaInvalid(InvalidInput):
    """The image is not of a kind that is taken."""

    code = "media_invalid"


class CursorInvalid(InvalidInput):
    """The cursor is not one that this list gave out."""

    code = "cursor_invalid"


# ── who are you? ────────────────────────────────────────────────────────────────────────────────────────────


class NotAuthenticated(QuizcastError):
    """A valid token is needed."""

    code = "token_missing"


class TokenInvalid(NotAuthenticated):
    """The token is not valid here."""

    code = "token_invalid"


class TokenExpired(NotAuthenticated):
    """The token has expired."""

    code = "token_expired"


class CredentialsWrong(NotAuthenticated):
    """The e-mail address or the password is wrong."""

    code = "credentials_wrong"


class RefreshInvalid(NotAuthenticated):
    """The refresh token is unknown, expired or was used before."""

    code = "refresh_invalid"


# ── you are known, and may not ──────────────────────────────────────────────────────────────────────────────


class NotAllowed(QuizcastError):
    """That is not yours to do."""

    code = "not_allowed"


class OriginRefused(NotAllowed):
    """A change carried by a cookie must come from quizcast's own pages."""

    code = "origin_refused"


class NotInGame(NotAllowed):
    """You are not in this game."""

    code = "not_in_game"


class Banned(NotAllowed):
    """The host has banned you from this game."""

    code = "banned"


# ── not found ───────────────────────────────────────────────────────────────────────────────────────────────


class NotFound(QuizcastError):
    """There is nothing at this address."""

    code = "not_found"


class PinUnknown(NotFound):
    """No game has this PIN."""

    code = "pin_unknown"


class GameUnknown(NotFound):
    """There is no such game."""

    code = "game_unknown"


class AnswersDropped(NotFound):
    """The answers of this game are no longer kept."""

    code = "answers_dropped"


class QuizUnknown(NotFound):
    """There is no such quiz."""

    code = "quiz_unknown"


class MediaUnknown(NotFound):
    """There is no such image."""

    code = "media_unknown"


class ParticipantUnknown(NotFound):
    """There is no such participant in this game."""

    code = "participant_unknown"


class MethodNotAllowed(QuizcastError):
    """This address does not take that method."""

    code = "method_not_allowed"


# ── it made sense, but not now ──────────────────────────────────────────────────────────────────────────────


class Conflict(QuizcastError):
    """That cannot be done in the present state."""

    code = "conflict"


class OutOfPhase(Conflict):
    """The game is not in a phase in which this can be done."""

    code = "out_of_phase"


class NoMoreQuestions(Conflict):
    """Every question has been played."""

    code = "no_more_questions"


class QuestionPlayed(Conflict):
    """This question has been played already."""

    code = "question_played"


class QuizEmpty(Conflict):
    """A quiz without questions cannot be played."""

    code = "quiz_empty"


class EmailTaken(Conflict):
    """There is an account with this e-mail address."""

    code = "email_taken"


class MediaFull(Conflict):
    """There is no room for more images."""

    code = "media_full"


class NicknameTaken(Conflict):
    """Somebody in this game has this nickname, or one that looks like it."""

    code = "nickname_taken"


class GameLocked(Conflict):
    """The game takes no new participants."""

    code = "game_locked"


class GameFull(Conflict):
    """The game is full."""

    code = "game_full"


class GameOver(Conflict):
    """The game is over."""

    code = "game_over"


class AlreadyAnswered(Conflict):
    """You have answered this question differently."""

    code = "already_answered"


class QuestionNotOpen(Conflict):
    """This question is not open."""

    code = "question_not_open"


class QuestionClosed(Conflict):
    """This question is closed."""

    code = "question_closed"


class Stale(QuizcastError):
    """Somebody else has changed it since you read it."""

    code = "version_stale"


# ── slow down; try again soon ───────────────────────────────────────────────────────────────────────────────


class TooMany(QuizcastError):
    """Too many requests."""

    code = "too_many_requests"


class TooManyJoins(TooMany):
    """Too many people are joining at this moment."""

    code = "too_many_joins"


class TooManyAnswers(TooMany):
    """You have sent too many answers in too short a time."""

    code = "too_many_answers"


class TooManyStreams(TooMany):
    """You have opened too many event streams."""

    code = "too_many_streams"


class TooManyPins(TooMany):
    """Too many wrong PINs were tried."""

    code = "too_many_pins"


class Unavailable(QuizcastError):
    """The service cannot do this at the moment; nothing was done."""

    code = "unavailable"


class Overloaded(Unavailable):
    """More is waiting than can be taken; nothing was done."""

    code = "overloaded"


class StreamsFull(Unavailable):
    """This process has as many streams as it may have."""

    code = "streams_full"


class Draining(Unavailable):
    """This process is going away."""

    code = "draining"


class RedisUnavailable(Unavailable):
    """The live store does not answer."""

    code = "redis_unavailable"


class PostgresUnavailable(Unavailable):
    """The database does not answer."""

    code = "postgres_unavailable"


# ── for the person at the terminal ──────────────────────────────────────────────────────────────────────────


class OperatorError(QuizcastError):
    """quizcast cannot run like this."""

    code = "operator"


class SettingsInvalid(OperatorError):
    """A setting is wrong."""

    code = "settings_invalid"


class ServiceMissing(OperatorError):
    """A server program that quizcast needs is not installed."""

    code = "service_missing"


class ServiceFailed(OperatorError):
    """A server program did not start, or stopped."""

    code = "service_failed"


class DataDirInUse(OperatorError):
    """Another quizcast runs on this data directory."""

    code = "data_dir_in_use"


class MigrationFailed(OperatorError):
    """The database's schema is not what this version needs."""

    code = "migration_failed"


class ExportFailed(OperatorError):
    """What was to be kept could not be written."""

    code = "export_failed"


class ServerUnreachable(OperatorError):
    """Nothing answers at that address."""

    code = "server_unreachable"


class ServerRefused(OperatorError):
    """The server did not do what it was asked."""

    code = "server_refused"


class FilesLimited(OperatorError):
    """This process may not open as many files as it needs."""

    code = "files_limited"


class PortTaken(OperatorError):
    """The address cannot be listened on."""

    code = "port_taken"


class ProcessFailed(OperatorError):
    """One of quizcast's own processes does not stay up."""

    code = "process_failed"
