-- Delete a conversation, and count what was in it (see erase_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; before: only one that was spoken in before, or NULL; own: names of the caches the caller tells;
-- batch: more messages or contexts than these are left to sweep.sql; mark uuid: as for delete_conversation.sql.
-- Returns what delete_conversation.sql does, and the numbers of messages and of contexts, where these are not left; no row: there is none to delete.
SELECT stamp, left_here, left_anywhere, messages, contexts
FROM {schema}.erase_v1(%(conversation)s, %(user_id)s, %(before)s::timestamptz, %(own)s::text[], %(batch)s, %(mark)s::uuid)
