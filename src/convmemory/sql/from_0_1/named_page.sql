-- A page of the conversations that have a name: their row is another one now. after: the last one of the page before.
SELECT conversation_id, user_id, external_id FROM {schema}.conversations_0_1
WHERE conversation_id > %(after)s AND external_id IS NOT NULL ORDER BY conversation_id LIMIT 2000
