-- Entries of journals that PostgreSQL refused, those refused last first; none that went with a delete or a clear. limit: how many.
-- Returns conversation, entry, user_id, refused_at, cause and how many messages it has.
SELECT r.conversation_id, r.entry, r.user_id, r.refused_at, r.cause, pg_catalog.jsonb_array_length(r.written -> 'rows')
FROM {schema}.journal_refused AS r JOIN {schema}.conversations AS c ON c.conversation_id = r.conversation_id
WHERE c.life::text = pg_catalog.split_part(r.written ->> 'l', ':', 1) ORDER BY r.number DESC LIMIT %(limit)s
