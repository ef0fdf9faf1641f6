-- Delete a conversation with its messages and contexts. dirty: also mark the window dirty. No row: not there, or somebody else's.
WITH gone AS (
    DELETE FROM {schema}.conversations WHERE conversation_id = %(conversation)s AND user_id = %(user_id)s
    RETURNING conversation_id, incarnation, version
), marked AS (
    INSERT INTO {schema}.dirty_windows AS d (conversation_id, incarnation, version)
    SELECT conversation_id, incarnation, version + 1 FROM gone WHERE %(dirty)s
    ON CONFLICT (conversation_id) DO UPDATE
    SET incarnation = excluded.incarnation, version = excluded.version, marked_at = now()
)
SELECT incarnation, version + 1 AS version FROM gone
