-- One conversation, whoever's it is, by its row: what traces and logs name it by. For an operator: no user is named.
-- conversation uuid. No row: there is none.
SELECT conversation_id, external_id, user_id, dept_id, title, title_source, archived, pinned, last_seq - gaps, version, created_at,
       updated_at, metadata
FROM {schema}.conversations
WHERE conversation_id = %(conversation)s AND user_id <> ''
