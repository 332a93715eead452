"""Measurements of quizcast on this machine: `make bench`. Nothing here is a test: figures are printed, not asserted."""
