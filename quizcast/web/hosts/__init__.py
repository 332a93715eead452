"""What a host does: accounts, quizzes, images, games. Every handler is a few lines over its floor."""

from quizcast.web.hosts import accounts, games, media, quizzes

ENDPOINTS = [*accounts.ENDPOINTS, *quizzes.ENDPOINTS, *media.ENDPOINTS, *games.ENDPOINTS]
