-- A user's conversations, the one spoken in longest ago first: whatever is written meanwhile only moves towards the end, so
-- that a walk misses none. user_id; limit; after_time, after_id: the last item of the page before this one, or '-infinity' and
-- the smallest UUID for the first page.
SELECT conversation_id, external_id, user_id, dept_id, title, title_source, last_seq - gaps, version, created_at, updated_at, metadata
FROM {schema}.conversations
WHERE user_id = %(user_id)s AND (updated_at, conversation_id) > (%(after_time)s::timestamptz, %(after_id)s::uuid)
  AND updated_minute >= date_trunc('minute', %(after_time)s::timestamptz AT TIME ZONE 'UTC')
ORDER BY updated_minute, updated_at, conversation_id
LIMIT %(limit)s
