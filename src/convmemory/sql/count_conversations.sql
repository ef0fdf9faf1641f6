-- How many conversations a user has. user_id; archived, pinned, dept_id, metadata, since, until: which, as for
-- list_conversations.sql.
SELECT count(*)
FROM {schema}.conversations
WHERE user_id = %(user_id)s AND updated_at >= %(since)s::timestamptz AND updated_at < %(until)s::timestamptz
  AND updated_minute <= %(until)s::timestamptz
  AND updated_minute > %(since)s::timestamptz - interval '1 minute'
  AND (%(archived)s::boolean IS NULL OR archived = %(archived)s) AND (%(pinned)s::boolean IS NULL OR pinned = %(pinned)s)
  AND (%(dept_id)s::text IS NULL OR dept_id = %(dept_id)s) AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
