"""The live games in Redis: state, log, answers, presence. The only room that speaks Redis; floor 5."""
