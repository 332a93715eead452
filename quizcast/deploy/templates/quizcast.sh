#!/bin/sh
# quizcast for its operator: with this machine's settings and secrets, as its user. root may read them.
set -eu
secrets={{etc}}/credentials
[ -r $secrets/keys ] || { echo "error: $secrets is root's alone: run quizcast as root" >&2; exit 1; }
while IFS= read -r line || [ "$line" ]; do
  case $line in QUIZCAST_LOG_FORMAT=*) ;; QUIZCAST_*=*) export "$line" ;; esac  # a person reads what it says
done <{{etc}}/quizcast.env
# What the environment has goes before them, as it does for the units.
QUIZCAST_KEYS=${QUIZCAST_KEYS:-$(cat $secrets/keys)}
QUIZCAST_REDIS_URL=${QUIZCAST_REDIS_URL:-$(cat $secrets/redis-url)}
QUIZCAST_DATABASE_URL=${QUIZCAST_DATABASE_URL:-$(cat $secrets/database-url)}
QUIZCAST_METRICS_TOKEN=${QUIZCAST_METRICS_TOKEN:-$(cat $secrets/metrics-token)}
export QUIZCAST_KEYS QUIZCAST_REDIS_URL QUIZCAST_DATABASE_URL QUIZCAST_METRICS_TOKEN
exec runuser -u quizcast -- {{program}} "$@"
