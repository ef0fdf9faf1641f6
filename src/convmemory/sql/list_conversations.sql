-- A user's conversations, the one spoken in last first. user_id; limit; before_time, before_id: the last item of the page
-- before this one, or 'infinity' and the greatest UUID for the first page.
SELECT conversation_id, external_id, user_id, dept_id, title, title_source, last_seq, version, created_at, updated_at, metadata
FROM {schema}.conversations
WHERE user_id = %(user_id)s AND (updated_at, conversation_id) < (%(before_time)s::timestamptz, %(before_id)s::uuid)
ORDER BY updated_at DESC, conversation_id DESC
LIMIT %(limit)s
