#!lua flags=allow-oom
-- Write something in a slot, so that there is something that replicas can confirm. A server that is full takes it, too:
-- only a flush makes room there, and that stores no row before replicas have it.
-- KEYS  1 beside
-- ARGV  1 seconds until it is forgotten
-- returns OK
return redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
