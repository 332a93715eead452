"""Measurements of quizcast on this machine, beside its peers and the floors: `make bench`, `make bench-quick`.

`contest.py` says what a contest is; `fanout.py`, `intake.py`, `flush.py` and `game.py` are contests, the last of a
whole `installation.py`; `growth.py` has those of quizcast with itself; `promises.py` measures what the README says.
`run.py` runs them, `report.py` tells of them, `capacity.py` makes docs/capacity.md. `native/` has the floor and the
loads in C, `peers/` the servers that quizcast is compared with. Only `bench-quick` has an opinion on what it finds.
"""
