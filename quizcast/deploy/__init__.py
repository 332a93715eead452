"""What a machine needs around quizcast: nginx's site, systemd's units, and putting them in place; floor 9.

The files lie in `templates/`; those under nginx/ and systemd/ in the repository are what they come to without
options, made by `make machine`.
"""
