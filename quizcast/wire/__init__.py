"""What travels: what clients may say (`api`) and what they may learn (`events`); floor 4."""
