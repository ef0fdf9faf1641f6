-- A user's conversations, the one spoken in last first. user_id; limit; before_time, before_id: the last item of the page
-- before this one, or 'infinity' and the greatest UUID for the first page. Only those that archived, pinned, dept_id, metadata
-- (JSON that theirs contains) say, each NULL where it does not matter; since, until: of which the last change was from then on, before then.
-- (updated_minute follows from updated_at, so this is the order of updated_at; the index gives the minutes.)
SELECT conversation_id, external_id, user_id, dept_id, title, title_source, archived, pinned, last_seq - gaps, version, created_at,
       updated_at, metadata
FROM {schema}.conversations
WHERE user_id = %(user_id)s AND (updated_at, conversation_id) < (%(before_time)s::timestamptz, %(before_id)s::uuid)
  AND updated_at >= %(since)s::timestamptz AND updated_at < %(until)s::timestamptz
  AND updated_minute <= least(%(before_time)s::timestamptz, %(until)s::timestamptz)
  AND updated_minute > %(since)s::timestamptz - interval '1 minute'
  AND (%(archived)s::boolean IS NULL OR archived = %(archived)s) AND (%(pinned)s::boolean IS NULL OR pinned = %(pinned)s)
  AND (%(dept_id)s::text IS NULL OR dept_id = %(dept_id)s) AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
ORDER BY updated_minute DESC, updated_at DESC, conversation_id DESC
LIMIT %(limit)s
