-- A user's conversations that were not spoken in since, to be deleted. user_id; before: since when; limit: how many.
-- Returns conversation and user_id, give or take a minute the one that was left alone longest first.
SELECT conversation_id, user_id FROM {schema}.conversations
WHERE user_id = %(user_id)s AND updated_at < %(before)s::timestamptz
  AND updated_minute <= %(before)s::timestamptz
ORDER BY updated_minute LIMIT %(limit)s
