-- One conversation of a user. conversation uuid; user_id. No row: not there, or somebody else's.
SELECT conversation_id, external_id, user_id, dept_id, title, title_source, archived, pinned, last_seq - gaps, version, created_at,
       updated_at, metadata
FROM {schema}.conversations
WHERE conversation_id = %(conversation)s AND user_id = %(user_id)s
