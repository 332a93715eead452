"""Hypothesis strategies for questions, their shuffles and answers that fit them; for the unit tests alone."""

from hypothesis import strategies as st

from quizcast.domain import quiz

# Texts without blanks around them (tables trim cells) and without the control characters that `problems` refuses.
texts = (
    st.text(st.characters(exclude_categories=("Cc", "Cs"), include_characters="\n\t"), min_size=1, max_size=30)
    .map(str.strip)
    .filter(bool)
)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)


def _common() -> dict[str, st.SearchStrategy]:
    return {
        "prompt": texts,
        "time_limit_ms": st.integers(1000, 3_600_000),
        "points": st.integers(0, 10_000),
        "explanation": st.just("") | texts,
        "media_url": st.sampled_from(["", "https://example.org/a.png", "/media/b.webp"]),
    }


def _labels(least: int = 2, most: int = 8) -> st.SearchStrategy[list[str]]:
    return st.lists(texts, min_size=least, max_size=most, unique=True)


@st.composite
def _choices(draw: st.DrawFn, only_one: bool) -> tuple[quiz.Choice, ...]:
    labels = draw(_labels())
    first = draw(st.integers(0, len(labels) - 1))
    right = {first} if only_one else {first, *draw(st.sets(st.integers(0, len(labels) - 1)))}
    return tuple(quiz.Choice(text=text, correct=place in right) for place, text in enumerate(labels))


@st.composite
def _numerics(draw: st.DrawFn) -> quiz.Numeric:
    low, correct, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return quiz.Numeric(
        **{name: draw(strategy) for name, strategy in _common().items()},
        correct=correct,
        tolerance=draw(st.just(0.0) | st.floats(0, 1e12)),
        min=draw(st.sampled_from([None, low])),
        max=draw(st.sampled_from([None, high])),
    )


def _of(kind: type, **own: st.SearchStrategy) -> st.SearchStrategy:
    return st.builds(kind, **_common(), **own)


questions: st.SearchStrategy[quiz.Question] = st.one_of(
    _of(quiz.Single, choices=_choices(only_one=True)),
    _of(quiz.Multiple, choices=_choices(only_one=False)),
    _of(quiz.TrueFalse, correct=st.booleans()),
    _numerics(),
    _of(quiz.Text, accepted=_labels(1, 12).map(tuple)),
    _of(quiz.Order, items=_labels().map(tuple)),
    _of(quiz.Poll, choices=_labels().map(lambda labels: tuple(quiz.Option(text=text) for text in labels))),
    _of(quiz.WordCloud),
).filter(lambda question: not quiz.problems(quiz.QuizContent(title="t", questions=(question,))))

quizzes = st.builds(
    quiz.QuizContent,
    title=texts,
    description=st.just("") | texts,
    language=st.sampled_from(["en", "de", "pt-BR", "zh-Hant"]),
    questions=st.lists(questions, max_size=6).map(tuple),
)


@st.composite
def shuffled(draw: st.DrawFn) -> tuple[quiz.Question, quiz.Shuffle]:
    """A question and the shuffle of one of its openings, as the game makes it."""
    question = draw(questions)
    items = range(len(question.items)) if isinstance(question, quiz.Order) else ()
    return question, tuple(draw(st.permutations(items)))


def answers(question: quiz.Question) -> st.SearchStrategy[object]:
    """What a participant may send."""
    match question:
        case quiz.Single(choices=choices) | quiz.Poll(choices=choices):
            return st.integers(0, len(choices) - 1)
        case quiz.Multiple(choices=choices):
            return st.lists(st.integers(0, len(choices) - 1), min_size=1, unique=True)
        case quiz.TrueFalse():
            return st.booleans()
        case quiz.Numeric():
            low = -1e300 if question.min is None else max(-1e300, question.min)
            high = 1e300 if question.max is None else min(1e300, question.max)
            return st.just(question.correct) if low > high else st.floats(low, high)
        case quiz.Order(items=items):
            return st.permutations(range(len(items)))
        case quiz.Text() | quiz.WordCloud():
            return st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=20)
