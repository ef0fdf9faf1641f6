-- As append.sql, but in one life of the conversation or not at all (see still_v1 in migrations/0001_initial.sql): what a journal takes where
-- nobody answers, and what may be carried out long after that.
-- conversation uuid, user_id, external_id, dept_id: for a conversation that is not there yet; title: used
-- while it has none; ids, roles, contents, bodies: one item a message; tokens, latencies (ms), created, metadata, facts: the
-- same, or NULL for none at all; known: those of the ids that may be there already, or NULL; human: place of the newest human
-- message, from 1, or 0; contexts: JSON of the retrieved documents or NULL; since: last_seq when what is said here began, or
-- NULL; own: names of the caches the caller tells; make: whether a conversation that is not there may be made; search: the text
-- search configuration that the messages are found by, or NULL.
-- And life: of the conversation; rows: all ids that a row of the batch may have.
-- Returns what append.sql does; no row where the conversation has another life, or one of the rows was removed.
SELECT {schema}.append_v1(
    %(conversation)s, %(user_id)s, %(external_id)s, %(dept_id)s, %(title)s,
    %(ids)s::uuid[], %(roles)s::text[], %(contents)s::text[], %(bodies)s::text[],
    %(tokens)s::integer[], %(latencies)s::integer[], %(created)s::timestamptz[], %(metadata)s::jsonb[], %(facts)s::jsonb[],
    %(known)s::uuid[], %(human)s, %(contexts)s::jsonb, %(since)s::bigint, %(own)s::text[], %(make)s, %(search)s::text)
WHERE (SELECT {schema}.still_v1(%(conversation)s, %(user_id)s, %(life)s::uuid, %(rows)s::uuid[])) -- of no row, so it is asked first, and once
