"""Measurements of quizcast on this machine, beside its peers and the floors: `make bench`, `make bench-quick`.

`contest.py` says what a contest is; `fanout.py`, `intake.py` and `flush.py` are contests, `growth.py` has those of
quizcast with itself, `promises.py` measures whole installations; `run.py` runs them and `report.py` tells of them.
`native/` has the floor and the loads in C, `peers/` the servers that quizcast is compared with. `capacity.py` makes
docs/capacity.md. Nothing here is a test: only `bench-quick` has an opinion on what it finds.
"""
