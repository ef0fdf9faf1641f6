-- Entries of journals that PostgreSQL refused, those refused last first. limit: how many.
-- Returns conversation, entry, user_id, refused_at, cause and how many messages it has.
SELECT conversation_id, entry, user_id, refused_at, cause, pg_catalog.jsonb_array_length(written -> 'rows')
FROM {schema}.journal_refused ORDER BY number DESC LIMIT %(limit)s
