-- A user's conversations, the one spoken in last first. user_id; limit; before_time, before_id: the last item of the page
-- before this one, or 'infinity' and the greatest UUID for the first page.
-- (updated_minute follows from updated_at, so this is the order of updated_at; the index gives the minutes.)
SELECT conversation_id, external_id, user_id, dept_id, title, title_source, last_seq - gaps, version, created_at, updated_at, metadata
FROM {schema}.conversations
WHERE user_id = %(user_id)s AND (updated_at, conversation_id) < (%(before_time)s::timestamptz, %(before_id)s::uuid)
  AND updated_minute <= date_trunc('minute', %(before_time)s::timestamptz AT TIME ZONE 'UTC')
ORDER BY updated_minute DESC, updated_at DESC, conversation_id DESC
LIMIT %(limit)s
