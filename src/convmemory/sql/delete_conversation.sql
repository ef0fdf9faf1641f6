-- Delete a conversation with its messages and contexts (see delete_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; own: names of the caches the caller tells.
-- Returns the stamp of a conversation that is not there, ''; no row: not there, or somebody else's.
SELECT stamp FROM {schema}.delete_v1(%(conversation)s, %(user_id)s, %(own)s::text[])
