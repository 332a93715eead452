"""Postgres: accounts, quizzes, games and their answers; floor 5, and the only room that speaks psycopg."""
