-- Make a conversation, or return the one that is there. title: given by the user, or NULL for an automatic one later.
-- new_stamp: of the one that is made; first_stamp: the same at the first attempt, which may have made it.
-- One that was deleted, and of which messages wait to be taken away, is nobody's, and made anew.
-- Returns the conversation's row, and whether it was made now; no row when it is somebody else's.
WITH anew AS (
    UPDATE {schema}.conversations SET
        user_id = %(user_id)s, external_id = %(external_id)s, dept_id = %(dept_id)s, title = %(title)s::text,
        title_source = CASE WHEN %(title)s::text IS NULL THEN 'none' ELSE 'user' END, stamp = %(new_stamp)s,
        version = 0, created_at = now(), updated_at = now(), metadata = %(metadata)s::jsonb
    WHERE conversation_id = %(conversation)s AND user_id = ''
    RETURNING *
), made AS (
    INSERT INTO {schema}.conversations
        (conversation_id, user_id, external_id, dept_id, title, title_source, stamp, metadata)
    SELECT %(conversation)s::uuid, %(user_id)s, %(external_id)s, %(dept_id)s, %(title)s::text,
           CASE WHEN %(title)s::text IS NULL THEN 'none' ELSE 'user' END, %(new_stamp)s, %(metadata)s::jsonb
    WHERE NOT EXISTS (SELECT FROM anew)
    ON CONFLICT (conversation_id) DO UPDATE SET user_id = conversations.user_id
    WHERE conversations.user_id = excluded.user_id
    RETURNING *
)
SELECT conversation_id, external_id, user_id, dept_id, title, title_source, archived, pinned, last_seq - gaps, version, created_at,
       updated_at, metadata,
       stamp IN (%(new_stamp)s, %(first_stamp)s) AS made
FROM (SELECT * FROM anew UNION ALL SELECT * FROM made) AS found
