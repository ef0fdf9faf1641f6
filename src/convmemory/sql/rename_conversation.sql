-- Give a conversation a title of the user's, which no automatic title replaces. No row: not there, or somebody else's.
UPDATE {schema}.conversations SET title = %(title)s, title_source = 'user', updated_at = now()
WHERE conversation_id = %(conversation)s AND user_id = %(user_id)s
RETURNING conversation_id, external_id, user_id, dept_id, title, title_source, last_seq, version, created_at, updated_at, metadata
