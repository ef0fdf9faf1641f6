-- A user's conversations, the one begun last first. user_id; limit; before_time, before_id: the last item of the page before this
-- one, or 'infinity' and the greatest UUID for the first page; since, until and the rest: which, as for
-- list_conversations.sql.
-- (All of the user's are looked at: an index in this order would be written to by every turn that begins a minute.)
SELECT conversation_id, external_id, user_id, dept_id, title, title_source, archived, pinned, last_seq - gaps, version, created_at,
       updated_at, metadata
FROM {schema}.conversations
WHERE user_id = %(user_id)s AND (created_at, conversation_id) < (%(before_time)s::timestamptz, %(before_id)s::uuid)
  AND updated_at >= %(since)s::timestamptz AND updated_at < %(until)s::timestamptz
  AND updated_minute <= %(until)s::timestamptz
  AND updated_minute > %(since)s::timestamptz - interval '1 minute'
  AND (%(archived)s::boolean IS NULL OR archived = %(archived)s) AND (%(pinned)s::boolean IS NULL OR pinned = %(pinned)s)
  AND (%(dept_id)s::text IS NULL OR dept_id = %(dept_id)s) AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
ORDER BY created_at DESC, conversation_id DESC
LIMIT %(limit)s
