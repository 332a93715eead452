-- Reads the whole table once, under a lock that lets everybody read and write.
ALTER TABLE answers VALIDATE CONSTRAINT answers_first_bound;
