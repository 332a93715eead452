"""The rules of the game: pure. No clock, no random, no input or output; floor 3."""
