-- Note that a conversation's cached window was not told of a committed write.
-- conversation uuid, incarnation, version: of that write.
INSERT INTO {schema}.dirty_windows AS d (conversation_id, incarnation, version)
VALUES (%(conversation)s, %(incarnation)s, %(version)s)
ON CONFLICT (conversation_id) DO UPDATE
SET incarnation = excluded.incarnation, version = excluded.version, marked_at = now()
