"""Quiz files in and out, and the results that a host takes home."""

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import msgspec
import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizcast.domain.game import GameOptions
from quizcast.domain.quiz import Choice, Quiz, QuizContent, Text, TrueFalse, problems
from quizcast.errors import FileInvalid
from quizcast.formats import EXPORT_FORMATS, FILE_MAX, IMPORT_FORMATS, dump, guess, opentrivia, parse, sheet, table
from quizcast.formats.cells import neutral, plain
from quizcast.formats.reading import PROBLEMS_MAX, QUESTIONS_MAX, slug, title_from
from quizcast.formats.sheet import readable, results_csv, results_xlsx
from quizcast.wire.api import GameView, ResultAnswer, ResultQuestion, ResultRow, Results
from tests.unit.quizzes import quizzes

HERE = Path(__file__).parents[1]
PACKAGED = HERE.parent / "quizcast" / "data"
REAL = HERE.parent.parent / "shared" / "data" / "OpenTriviaQA"
REAL_FILES = {
    "animals": (1366, 1365),
    "for-kids": (759, 751),
    "geography": (842, 842),
    "history": (1645, 1637),
    "science-technology": (2486, 2486),
    "video-games": (599, 599),
}
TRUE = TrueFalse(prompt="?", correct=True)


def refused(data: bytes | str, format: str | None = None, name: str = "") -> list[tuple[str, str]]:
    with pytest.raises(FileInvalid) as caught:
        parse(data.encode() if isinstance(data, str) else data, format, name)
    assert caught.value.detail
    return [(problem.path, problem.message) for problem in caught.value.problems]


def paths(found: list[tuple[str, str]]) -> list[str]:
    return [path for path, _ in found]


# ── there and back ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", EXPORT_FORMATS)
@given(quiz=quizzes)
def test_what_was_exported_is_imported_exactly(format: str, quiz: QuizContent) -> None:
    data, _, filename = dump(quiz, format)
    assert parse(data, format).quizzes == (quiz,)
    assert parse(data, None, filename).quizzes == (quiz,)


def test_an_export_says_its_media_type_and_a_file_name_that_any_header_takes() -> None:
    quiz = QuizContent(title='Tiere & "Länder" 1/3\r\nX: y')
    assert dump(quiz, "json")[1:] == ("application/json", "tiere-l-nder-1-3-x-y.json")
    assert dump(quiz, "csv")[1:] == ("text/csv; charset=utf-8", "tiere-l-nder-1-3-x-y.csv")
    assert slug("日本") == "quiz"
    with pytest.raises(FileInvalid, match="json, csv"):
        dump(quiz, "opentrivia")


def test_a_stored_quiz_is_exported_without_its_id_and_what_the_api_returned_can_be_imported() -> None:
    quiz = Quiz(title="t", questions=(TRUE,), id="q1", version=3)
    assert "version" not in json.loads(dump(quiz, "json").data)
    assert parse(msgspec.json.encode(quiz)).quizzes == (QuizContent(title="t", questions=(TRUE,)),)


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*/*.json")), ids=lambda path: path.stem)
def test_the_packaged_quizzes_can_be_played(path: Path) -> None:
    (quiz,) = parse(path.read_bytes(), None, path.name).quizzes
    assert problems(quiz) == []
    assert dump(quiz, "json").data == path.read_bytes()


def test_the_packaged_trivia_name_their_source_and_licence() -> None:
    folder = PACKAGED / "opentriviaqa"
    (quiz,) = parse((folder / "demo.json").read_bytes()).quizzes
    source = (folder / "SOURCE.md").read_text(encoding="utf-8")
    for text in (quiz.description, source):
        assert "uberspot" in text
        assert "CC BY-SA 4.0" in text
        assert "dd31530bfbb19f9505b160b89c9df4b1127e3c70" in text
    assert "Attribution-ShareAlike 4.0" in (folder / "LICENSE-CC-BY-SA-4.0.txt").read_text(encoding="utf-8")


def test_the_packaged_round_of_own_questions_shows_every_kind_once() -> None:
    (quiz,) = parse((PACKAGED / "demo" / "every-kind.json").read_bytes()).quizzes
    assert len({type(question) for question in quiz.questions}) == len(quiz.questions) == 8


# ── which format ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "name", "format"),
    [
        (b' \n{"title"', "", "json"),
        (b'\xef\xbb\xbf{"title"', "quiz.csv", "json"),
        (b"kind,prompt\n", "", "csv"),
        (b"\xef\xbb\xbfPrompt;KIND\n", "", "csv"),
        (b'"kind"\t"prompt"', "", "csv"),
        ("kind,prompt\n".encode("utf-16"), "", "csv"),
        (b"#Q a?\r\n^ b\r\nA b\r\n", "x.json", "opentrivia"),
        (b"", "a.CSV", "csv"),
        (b"[1]", "a.json", "json"),
        (b"something else", "a.txt", None),
        (b"", "", None),
        (bytes(range(256)), "", None),
    ],
)
def test_a_files_format_shows_in_its_content_and_else_in_its_name(data: bytes, name: str, format: str) -> None:
    assert guess(data, name) == format


def test_a_file_of_no_known_format_is_refused_with_the_formats_there_are() -> None:
    (problem,) = refused("hello")
    assert "json, csv, opentrivia" in problem[1]
    assert "'docx'" in refused("hello", "docx")[0][1]


@pytest.mark.parametrize("beginning", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_who_brings_a_workbook_is_told_to_save_it_as_csv(beginning: bytes) -> None:
    assert "save its sheet as CSV" in refused(beginning + b"...", name="quiz.xlsx")[0][1]


@given(st.binary(max_size=200), st.sampled_from([None, *IMPORT_FORMATS]))
def test_whatever_the_bytes_a_file_is_read_or_refused(data: bytes, format: str | None) -> None:
    try:
        parsed = parse(data, format)
    except FileInvalid:
        return
    assert all(problems(quiz) == [] for quiz in parsed.quizzes)


@given(st.text("#Q^ABCDE ab\n\r\x00é’\ufeff", max_size=80), st.sampled_from(["utf-8", "cp1252", "utf-16"]))
def test_whatever_the_trivia_they_are_read_or_refused(text: str, encoding: str) -> None:
    try:
        parsed = parse(text.encode(encoding, "replace"), "opentrivia")
    except FileInvalid:
        return
    assert all(problems(quiz) == [] for quiz in parsed.quizzes)
    assert parsed.found >= sum(len(quiz.questions) for quiz in parsed.quizzes) > 0


def test_a_file_of_absurd_size_is_refused_before_it_is_looked_at() -> None:
    assert "8 MiB" in refused(b"x" * (FILE_MAX + 1), "json")[0][1]


# ── json ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_problem_of_a_native_file_is_told_at_once() -> None:
    quiz = {
        "titel": "typo",
        "title": "",
        "language": 7,
        "questions": [
            {"kind": "true_false", "prompt": "?", "correct": True},
            {"kind": "true_false", "prompt": "?", "correct": "yes", "time_limt_ms": 5},
            {"kind": "guess", "prompt": "?"},
            {"kind": "single", "prompt": "?", "choices": [{"text": "a"}, {"text": 3}]},
            {"kind": "numeric", "correct": 3},
            "what?",
        ],
    }
    assert paths(refused(json.dumps(quiz))) == [
        "titel",
        "title",
        "language",
        "questions[1].time_limt_ms",
        "questions[1].correct",
        "questions[2].kind",
        "questions[3].choices[1].text",
        "questions[4]",
        "questions[5]",
    ]


def test_what_types_cannot_say_is_told_by_question_too() -> None:
    choices = [{"text": "a"}, {"text": "a"}]
    quiz = {"title": "t", "questions": [{"kind": "single", "prompt": " ", "choices": choices}]}
    found = refused(json.dumps(quiz))
    assert paths(found) == ["questions[0].prompt", "questions[0].choices", "questions[0].choices[1]"]


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b'{\n"title": "a",\n x}', "line 3"),
        (b'{"title": "a"', "line 1"),
        (b'{"title":\n"\xff"}', "line 2"),
        (b"[]", "line 1"),
        (b"[" * 100_000, "line 1"),
        (b'{"questions": []}', "title"),
        (b'{"title": "a", "questions": {}}', "questions"),
        (b'{"title": "a\\u0000"}', "title"),
        (b'{"title": "\\ud800"}', "line 1"),
    ],
)
def test_broken_json_is_refused_with_its_place(data: bytes, path: str) -> None:
    assert paths(refused(data, "json")) == [path]


def test_more_questions_than_a_quiz_may_have_are_refused() -> None:
    question = {"kind": "word_cloud", "prompt": "?"}
    quiz = {"title": "t", "questions": [question] * (QUESTIONS_MAX + 1)}
    assert refused(json.dumps(quiz)) == [("questions", "are 501; a quiz has up to 500")]


def test_a_thousand_mistakes_are_not_all_told() -> None:
    quiz = {"title": "t"} | {f"field{number}": 1 for number in range(1000)}
    found = refused(json.dumps(quiz))
    assert len(found) == PROBLEMS_MAX + 1
    assert found[-1][1] == "and 900 more"


# ── csv ─────────────────────────────────────────────────────────────────────────────────────────────────────

TABLE = """\
kind,prompt,choice1,choice2,choice3,correct,time_limit_s,points,explanation,tolerance,min,max
quiz,My quiz,de,,,,,,About it,,,
single,One?,a,b,c,2,,,,,,
multiple,Many?,a,b,c,1;3,7.5,500,because,,,
true_false,So?,,,,TRUE,,0,,,,
numeric,How many?,,,,-3.5,,,,0.5,-10,10
text,Which?,green,the green,,,,,,,,
order,Sort!,first,second,third,,,,,,,
poll,Like?,yes,no,,,,,,,,

word_cloud,Say!,,,,,,,,,,
"""


def test_a_table_holds_all_kinds() -> None:
    parsed = parse(TABLE.encode(), None, "x.csv")
    (quiz,) = parsed.quizzes
    assert (quiz.title, quiz.description, quiz.language, parsed.found) == ("My quiz", "About it", "de", 8)
    single, multiple, true_false, numeric, text, order, poll, cloud = quiz.questions
    assert [choice.correct for choice in single.choices] == [False, True, False]
    assert [choice.correct for choice in multiple.choices] == [True, False, True]
    assert (multiple.time_limit_ms, multiple.points, multiple.explanation) == (7500, 500, "because")
    assert (true_false.correct, true_false.points, true_false.time_limit_ms) == (True, 0, 20_000)
    assert (numeric.correct, numeric.tolerance, numeric.min, numeric.max) == (-3.5, 0.5, -10, 10)
    assert text.accepted == ("green", "the green")
    assert order.items == ("first", "second", "third")
    assert [option.text for option in poll.choices] == ["yes", "no"]
    assert cloud.prompt == "Say!"


def test_tables_from_other_spreadsheets_are_read_too() -> None:
    excel = "\ufeffPrompt;Kind;Correct;time_limit_s\r\nHow much?;Numeric;1,5;7,5\r\nSo?;True_False;FALSE;\r\n"
    (quiz,) = parse(excel.encode(), None, "some-table.csv").quizzes
    numeric, true_false = quiz.questions
    assert (quiz.title, numeric.correct, numeric.time_limit_ms, true_false.correct) == (
        "Some table",
        1.5,
        7500,
        False,
    )
    assert parse(TABLE.replace(",", "\t").encode("utf-16"), "csv").quizzes == parse(TABLE.encode()).quizzes
    (old,) = parse("kind,prompt\nword_cloud,Café?\n".encode("cp1252"), "csv").quizzes
    assert old.questions[0].prompt == "Café?"


def test_every_wrong_row_is_told_by_its_number_and_column() -> None:
    rows = [
        "kind,prompt,choice1,choice2,correct,points,time_limit_s,tolerance",
        "single,?,a,b,3,,,",  # row 2
        "single,?,a,b,first,,,",
        "single,?,a,b,,,,",
        "",
        "true_false,?,,,maybe,,,",  # row 6
        "riddle,?,,,,,,",
        "numeric,?,,,many,,,",
        'numeric,?,,,"1,000",,,',
        "poll,?,a,b,1,,,",
        "order,?,a,,,,,",  # row 11
        "word_cloud,,,,,,,",
        "word_cloud,?,,,,1.5,,",
        "word_cloud,?,,,,,0.0001,",
        "word_cloud,?,,,,,1e400,",
        "word_cloud,?,,,,99999,,",  # row 16
        "word_cloud,?,,,,,,,,extra",
        "word_cloud,a\x00b,,,,,,",
        '"word_cloud","two\nlines",,,,-1,,',
        "true_false,?,,,true,,,5",
    ]
    found = refused("\n".join(rows), "csv")
    assert paths(found) == [f"row {number}" for number in range(2, 21) if number != 5]
    said = dict(found)
    assert said["row 2"] == "correct: names choice 3, which is empty"
    assert said["row 4"] == "choices: exactly one must be correct, not 0"
    assert said["row 10"] == "correct: is not for poll questions"
    assert said["row 16"].startswith("points: expected")


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        ("prompt\n?", "row 1", "kind missing"),
        ("kind,prompt,choise1\n", "row 1", "'choise1'"),
        ("kind,prompt,prompt\n", "row 1", "twice"),
        ('kind,prompt\nword_cloud,"open', "row 2", "cannot be read"),
        ("", "row 1", "kind and prompt missing"),
        ("kind,prompt\nquiz,\x01\n", "row 2", "title"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused(data: str, path: str, message: str) -> None:
    found = refused(data, "csv")
    assert found[0][0] == path
    assert message in found[0][1]


def test_a_table_that_never_ends_is_refused_at_its_501st_question() -> None:
    found = refused("kind,prompt\n" + "word_cloud,?\n" * 20_000, "csv")
    assert found == [("row 502", "a quiz has up to 500 questions")]


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "＝1", "=HYPERLINK(1)"])
def test_no_cell_of_an_exported_table_is_a_formula(text: str) -> None:
    quiz = QuizContent(title=text, description=text, questions=(Text(prompt=text, accepted=(text,)),))
    for row in csv.reader(io.StringIO(dump(quiz, "csv").data.decode())):
        assert not any(cell.startswith(tuple("=+-@\t\r＝")) for cell in row)


@given(st.text("'=+-@\t\r\n＝0a", max_size=6) | st.text(max_size=6))
def test_a_neutral_cell_runs_nowhere_and_reads_back_as_the_text(text: str) -> None:
    cell = neutral(text)
    assert plain(cell) == text
    assert not cell.startswith(tuple("=@\t\r\n＝"))


def test_numbers_stay_numbers() -> None:
    assert [neutral(text) for text in ("-5", "+3.5", "-1e-7", "-5a", "+1\n")] == [
        "-5",
        "+3.5",
        "-1e-7",
        "'-5a",
        "'+1\n",
    ]


# ── trivia ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_messy_trivia_are_read_and_what_cannot_be_used_is_told_with_its_line() -> None:
    parsed = parse((HERE / "data" / "messy-trivia.txt").read_bytes(), None, "data/messy-trivia.txt")
    (quiz,) = parsed.quizzes
    assert (quiz.title, parsed.found, len(quiz.questions)) == ("Messy trivia", 16, 11)
    assert [question.prompt for question in quiz.questions] == [
        "How many wheels does a bicycle have?",
        "Finish the rhyme:\nA cat that sat\nupon a ...?",
        "A tomato is a fruit.",
        "What do you drink in a café?",
        "Who said “hello” first?",
        "Which street is it’s name a “Straße”?",
        "The “quoted” word, please?",
        "Which \ufffdlpha comes first?",
        "Which choice was typed twice?",
        "Which choice goes on?",
        "Where does the noise come from?",
    ]
    assert quiz.questions[2] == TrueFalse(prompt="A tomato is a fruit.", correct=True)
    assert [choice.text for choice in quiz.questions[9].choices][:2] == [
        "A long one that goes on",
        "I am short",
    ]
    assert [(problem.path, problem.message.split(":")[0]) for problem in parsed.warnings] == [
        ("line 1", "left out"),
        ("line 22", "mended"),
        ("line 28", "mended"),
        ("line 33", "mended"),
        ("line 38", "mended"),
        ("line 43", "mended"),
        ("line 43", "a character was lost and stands as \ufffd"),
        ("line 48", "left out"),
        ("line 53", "left out"),
        ("line 57", "left out"),
        ("line 62", "left out"),
        ("line 69", "mended"),
        ("line 76", "left out"),
        ("line 91", "mended"),
    ]


def test_trivia_without_one_usable_question_are_refused_with_the_reasons() -> None:
    assert refused("#Q a?\n^ c\nA a\nB b\n") == [
        ("line 1", "left out: the right answer 'c' matches none of the choices")
    ]
    assert paths(refused("hello", "opentrivia")) == ["line 1"]


def test_good_text_is_not_mended_into_something_else() -> None:
    good = "#Q „Ä“, CAFÉ’S, NÃO, Â la, É™, «Ç», 5 × 3 ÷ 2?\n^ ½ é\nA ½ é\nB Übung\n"
    parsed = parse(good.encode(), "opentrivia")
    assert parsed.warnings == ()
    assert parsed.quizzes[0].questions[0].prompt == "„Ä“, CAFÉ’S, NÃO, Â la, É™, «Ç», 5 × 3 ÷ 2?"


@given(st.text(st.sampled_from("é°ü’“”–½ñß…çà"), min_size=1, max_size=6))
def test_letters_encoded_twice_come_back(text: str) -> None:
    # The bytes that cp1252 lacks pass as control characters, as browsers have it.
    twice = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in text.encode())
    ((line, mended),) = opentrivia.decoded(twice.encode())
    assert (line, mended) == (text, True)


def test_a_long_trivia_file_becomes_parts_of_equal_size() -> None:
    data = "".join(f"#Q Which is {number}?\n^ {number}\nA {number}\nB other\n" for number in range(1201))
    parsed = parse(data.encode(), None, "numbers.txt")
    assert [(quiz.title, len(quiz.questions)) for quiz in parsed.quizzes] == [
        ("Numbers 1/3", 400),
        ("Numbers 2/3", 400),
        ("Numbers 3/3", 401),
    ]
    assert parsed.quizzes[1].questions[0].prompt == "Which is 400?"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("/a/for-kids.txt", "For kids"),
        ("C:\\x\\my_quiz.txt", "My quiz"),
        ("", "Imported quiz"),
        ("x" * 300, "X" + "x" * 199),
    ],
)
def test_a_file_name_becomes_a_title(name: str, title: str) -> None:
    assert title_from(name) == title


def _as_trivia(quiz: QuizContent) -> bytes:
    """The quiz back in the format that its questions once came from."""
    text = ""
    for question in quiz.questions:
        if isinstance(question, TrueFalse):
            choices = [
                Choice(text="True", correct=question.correct),
                Choice(text="False", correct=not question.correct),
            ]
        else:
            choices = list(question.choices)
        right = next(choice.text for choice in choices if choice.correct)
        text += f"#Q {question.prompt}\n^ {right}\n"
        text += "".join(f"{letter} {choice.text}\n" for letter, choice in zip("ABCDE", choices, strict=False)) + "\n"
    return text.encode()


def _acceptance() -> list[object]:
    """The real files where they lie beside the checkout, else the selection that the package has."""
    if REAL.is_dir():
        return [
            pytest.param(name, (REAL / f"{name}.txt").read_bytes(), *counts, id=name)
            for name, counts in REAL_FILES.items()
        ]
    (quiz,) = parse((PACKAGED / "opentriviaqa" / "demo.json").read_bytes()).quizzes
    return [pytest.param("demo", _as_trivia(quiz), len(quiz.questions), len(quiz.questions), id="demo")]


@pytest.mark.parametrize(("name", "data", "found", "used"), _acceptance())
def test_real_trivia_are_read_to_the_last_question(name: str, data: bytes, found: int, used: int) -> None:
    parsed = parse(data, None, f"{name}.txt")
    assert parsed.found == found
    assert sum(len(quiz.questions) for quiz in parsed.quizzes) == used
    assert found - used == sum(problem.message.startswith("left out") for problem in parsed.warnings)
    for quiz in parsed.quizzes:
        assert problems(quiz) == []
        assert parse(dump(quiz, "json").data).quizzes == (quiz,)
        assert parse(dump(quiz, "csv").data).quizzes == (quiz,)
        assert not any(char in msgspec.json.encode(quiz).decode() for char in ("Ã", "â€", "\x93"))


# ── results ─────────────────────────────────────────────────────────────────────────────────────────────────

AT = 1_700_000_000_123
EVIL = '=HYPERLINK("http://example.org","click")'
OFFERED = [("red", "=blue"), None, ("b", "c", "a")]


def _results() -> Results:
    game = GameView(
        id="g1",
        pin="123456",
        quiz_id="q1",
        title="Q",
        join_url="/",
        phase="finished",
        question_index=2,
        question_count=3,
        participants=2,
        locked=False,
        options=GameOptions(),
        created_at=AT,
    )
    questions = [
        ResultQuestion(index=0, kind="single", prompt="=Which?", points=1000, correct=1, counts=[1, 1]),
        ResultQuestion(index=1, kind="text", prompt="Say", points=1000, correct=["x", "y"], counts={EVIL: 1}),
        ResultQuestion(index=2, kind="order", prompt="Sort", points=1000, correct=[2, 0, 1], counts={"2,0,1": 1}),
    ]

    def said(question: int, answer: object, correct: bool | None, points: int) -> ResultAnswer:
        return ResultAnswer(question=question, answer=answer, correct=correct, points=points, received_at=AT)

    ranking = [
        ResultRow(
            rank=1,
            participant_id="p1",
            nickname=EVIL,
            score=1900,
            answers=[said(0, 1, True, 900), said(1, EVIL, False, 0), said(2, [2, 0, 1], True, 1000)],
        ),
        ResultRow(rank=2, participant_id="p2", nickname="-5", score=0, answers=[said(0, 0, False, 0), None, None]),
    ]
    return Results(game=game, questions=questions, ranking=ranking)


def test_the_results_table_has_a_row_per_participant_and_the_words_behind_the_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(results_csv(_results(), OFFERED).decode())))
    first, second = rows
    assert (first["rank"], first["score"], first["participant_id"]) == ("1", "1900", "p1")
    assert (first["q1_answer"], first["q1_text"], first["q1_correct"], first["q1_points"]) == (
        "1",
        "'=blue",
        "true",
        "900",
    )
    assert (first["q3_answer"], first["q3_text"], first["q3_received_at"]) == ("[2,0,1]", "a; b; c", str(AT))
    assert (second["q1_text"], second["q2_answer"], second["q2_correct"]) == ("red", "", "")
    assert second["nickname"] == "-5"


def test_no_nickname_and_no_answer_becomes_a_formula_in_the_results_table() -> None:
    first = next(csv.DictReader(io.StringIO(results_csv(_results(), OFFERED).decode())))
    assert first["nickname"] == first["q2_answer"] == first["q2_text"] == f"'{EVIL}"


def test_the_workbook_has_the_ranking_every_answer_and_every_question() -> None:
    book = openpyxl.load_workbook(io.BytesIO(results_xlsx(_results(), OFFERED)))
    ranking, answers, questions = ([list(row) for row in sheet_.values] for sheet_ in book.worksheets)
    assert book.sheetnames == ["Ranking", "Answers", "Questions"]
    assert ranking == [
        ["rank", "nickname", "participant_id", "score", "answered", "correct"],
        [1, EVIL, "p1", 1900, 3, 2],
        [2, "-5", "p2", 0, 1, 0],
    ]
    assert len(answers) == 1 + 4
    assert answers[1][:9] == [1, EVIL, 1, "=Which?", 1, "=blue", True, 900, AT]
    assert answers[1][9].isoformat(timespec="milliseconds") == "2023-11-14T22:13:20.123"
    assert answers[3][4:6] == ["[2,0,1]", "a; b; c"]
    assert questions[1:3] == [
        [1, "single", "=Which?", "=blue", "red", 1],
        [1, "single", "=Which?", "=blue", "=blue", 1],
    ]
    assert questions[3] == [2, "text", "Say", "x; y", EVIL, 1]
    assert questions[4] == [3, "order", "Sort", "a; b; c", "a; b; c", 1]


def test_the_workbook_has_no_formula_and_no_link() -> None:
    data = results_xlsx(_results(), OFFERED)
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        xml = "".join(parts.read(name).decode() for name in parts.namelist() if name.startswith("xl/worksheets/"))
    assert "<f>" not in xml
    assert "hyperlink" not in xml.lower()
    cell = openpyxl.load_workbook(io.BytesIO(data))["Ranking"]["B2"]
    assert (cell.data_type, cell.quotePrefix) == ("s", True)


def test_more_answers_than_a_sheet_holds_go_on_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "SHEET_ROWS", 2)
    book = openpyxl.load_workbook(io.BytesIO(results_xlsx(_results(), OFFERED)))
    assert book.sheetnames == ["Ranking", "Answers", "Answers 2", "Questions", "Questions 2"]
    assert [row[0] for row in book["Answers 2"].values] == ["rank", 1, 2]


def test_a_game_that_nobody_joined_has_results_too() -> None:
    empty = msgspec.structs.replace(_results(), questions=[], ranking=[])
    assert results_csv(empty, []).decode() == "rank,nickname,participant_id,score\r\n"
    book = openpyxl.load_workbook(io.BytesIO(results_xlsx(empty, [])))
    assert [row[0] for row in book["Ranking"].values] == ["rank"]


@pytest.mark.parametrize(
    ("answer", "texts", "text"),
    [
        (1, ["a", "b"], "b"),
        (7, ["a", "b"], "7"),
        (1, None, "1"),
        (True, None, "true"),
        (2.5, None, "2.5"),
        ([1, 0], ["a", "b"], "b; a"),
        (None, None, ""),
        ("x", None, "x"),
    ],
)
def test_answers_are_told_in_words(answer: object, texts: list[str] | None, text: str) -> None:
    assert readable(answer, texts) == text


def test_the_table_that_the_documentation_shows_is_one_that_can_be_imported() -> None:
    text = (HERE.parent / "docs" / "quiz-files.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"```(json|csv)\n(.*?)```", text, re.DOTALL))
    assert [len(parse(shown[format].encode(), format).quizzes[0].questions) for format in ("json", "csv")] == [2, 8]
    assert all(f"`{column}`" in text for column in table.COLUMNS)
