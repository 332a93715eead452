"""quizcast: live quizzes for a thousand and more participants at once, over Server-Sent Events."""

__version__ = "0.2.0"
