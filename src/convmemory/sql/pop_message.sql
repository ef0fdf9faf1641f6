-- Delete a conversation's newest message, if it still is the one of that id (see pop_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; id: of the message's row; own: names of the caches the caller tells.
-- Returns the new stamp; no row: it is not the newest (any more), or the conversation is somebody else's.
SELECT stamp FROM {schema}.pop_v1(%(conversation)s, %(user_id)s, %(id)s, %(own)s::text[])
