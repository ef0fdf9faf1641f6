-- Delete a conversation with its messages and contexts (see delete_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; own: names of the caches the caller tells; batch: more messages or contexts than these are left to sweep.sql;
-- mark uuid: under which those caches are marked as well, to be cleared once they are told.
-- Returns the stamp of a conversation that is not there, '', and whether something is left, of it and of any; no row: not there,
-- or somebody else's.
SELECT stamp, left_here, left_anywhere FROM {schema}.delete_v1(%(conversation)s, %(user_id)s, %(own)s::text[], %(batch)s, %(mark)s::uuid)
