-- Delete a conversation's messages and keep the conversation (see clear_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; dirty: also mark the window dirty.
-- Returns incarnation and the new version; no row: not there, or somebody else's.
SELECT incarnation, version FROM {schema}.clear_v1(%(conversation)s, %(user_id)s, %(dirty)s)
