-- Delete a conversation's messages and keep the conversation (see clear_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; own: names of the caches the caller tells.
-- Returns the new stamp; no row: not there, or somebody else's.
SELECT stamp FROM {schema}.clear_v1(%(conversation)s, %(user_id)s, %(own)s::text[])
