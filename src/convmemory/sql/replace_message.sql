-- Put another message in the place of a stored one (see replace_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; id: of the message's row; role, content, body, tokens, latency (ms), created, metadata, facts: of the
-- message; contexts: JSON of the retrieved documents or NULL; title: in the place of an automatic one that was made of what was
-- there; own: names of the caches the caller tells; batch: so many contexts go at once.
-- Returns the stamp, whether the message is there, whether something is left to be taken away, and whether only contexts went and there
-- are more, so that it is to be called again; no row: the conversation is not there, or somebody else's.
SELECT stamp, there, left_anywhere, more FROM {schema}.replace_v1(
    %(conversation)s, %(user_id)s, %(id)s, %(role)s, %(content)s, %(body)s, %(tokens)s::integer, %(latency)s::integer,
    %(created)s::timestamptz, %(metadata)s::jsonb, %(facts)s::jsonb, %(contexts)s::jsonb, %(title)s, %(own)s::text[], %(batch)s)
