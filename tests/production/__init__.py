"""quizcast as operators run it: behind nginx, under systemd, on more than one machine."""
