-- A user's conversations, the one spoken in longest ago first: whatever is written meanwhile only moves towards the end, so
-- that a walk misses none. user_id; limit; after_time, after_id: the last item of the page before this one, or '-infinity' and
-- the smallest UUID for the first page; since, until and the rest: which, as for list_conversations.sql.
SELECT conversation_id, external_id, user_id, dept_id, title, title_source, archived, pinned, last_seq - gaps, version, created_at,
       updated_at, metadata
FROM {schema}.conversations
WHERE user_id = %(user_id)s AND (updated_at, conversation_id) > (%(after_time)s::timestamptz, %(after_id)s::uuid)
  AND updated_at >= %(since)s::timestamptz AND updated_at < %(until)s::timestamptz
  AND updated_minute > greatest(%(after_time)s::timestamptz, %(since)s::timestamptz) - interval '1 minute'
  AND updated_minute <= %(until)s::timestamptz
  AND (%(archived)s::boolean IS NULL OR archived = %(archived)s) AND (%(pinned)s::boolean IS NULL OR pinned = %(pinned)s)
  AND (%(dept_id)s::text IS NULL OR dept_id = %(dept_id)s) AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
ORDER BY updated_minute, updated_at, conversation_id
LIMIT %(limit)s
