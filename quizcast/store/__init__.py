"""What lasts, in Postgres: accounts, quizzes, games, answers. The only room that speaks Postgres; floor 5."""
