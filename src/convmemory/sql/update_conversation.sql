-- Change what is known of a conversation; each part only where it is asked for. set_title, title: the user's own title, which
-- no automatic title replaces, or NULL for an automatic one again; set_dept, dept_id; archived, pinned: NULL where it stays as it
-- is; metadata: JSON object laid over the one there; removed: names taken out of it. if_version: only where it is at that version,
-- or NULL.
-- What it is called moves it nowhere in the list, so updated_at stays.
-- Returns the conversation's row; no row: not there, or somebody else's.
UPDATE {schema}.conversations SET
    version = version + 1,
    title = CASE WHEN %(set_title)s THEN %(title)s::text ELSE title END,
    title_source = CASE WHEN NOT %(set_title)s THEN title_source
                        WHEN %(title)s::text IS NULL THEN 'none' ELSE 'user' END,
    dept_id = CASE WHEN %(set_dept)s THEN %(dept_id)s::text ELSE dept_id END,
    archived = coalesce(%(archived)s::boolean, archived),
    pinned = coalesce(%(pinned)s::boolean, pinned),
    metadata = (metadata || %(metadata)s::jsonb) - %(removed)s::text[]
WHERE conversation_id = %(conversation)s AND user_id = %(user_id)s
  AND (%(if_version)s::bigint IS NULL OR version = %(if_version)s)
RETURNING conversation_id, external_id, user_id, dept_id, title, title_source, archived, pinned, last_seq - gaps, version, created_at,
       updated_at, metadata
