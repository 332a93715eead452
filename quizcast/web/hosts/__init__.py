"""What a host does: accounts, quizzes, games. Beside the other routes; every handler is a few lines over its floor."""

from quizcast.web.hosts import accounts, games, quizzes

ENDPOINTS = [*accounts.ENDPOINTS, *quizzes.ENDPOINTS, *games.ENDPOINTS]
