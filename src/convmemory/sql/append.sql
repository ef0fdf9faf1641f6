-- Append a batch of messages in one statement (see append_v1 in migrations/0001_initial.sql).
-- conversation uuid, user_id, external_id, dept_id: for a conversation that is not there yet; title: used
-- while it has none; ids, roles, contents, bodies: one item a message; tokens, latencies (ms), created, metadata, facts: the
-- same, or NULL for none at all; known: those of the ids that may be there already, or NULL; human: place of the newest human
-- message, from 1, or 0; contexts: JSON of the retrieved documents or NULL; since: last_seq when what is said here began, or
-- NULL; own: names of the caches the caller tells; make: whether a conversation that is not there may be made; search: the text
-- search configuration that the messages are found by, or NULL.
-- Returns numbers: stamp, before (NULL: nothing that could be extended), version, last_seq, last_human_seq, stored, the time of what was
-- stored and brought none of its own (microseconds since 1970), and seqs, where not all were new (with a minus sign: under another
-- row id); NULL: somebody else's, or not made.
SELECT {schema}.append_v1(
    %(conversation)s, %(user_id)s, %(external_id)s, %(dept_id)s, %(title)s,
    %(ids)s::uuid[], %(roles)s::text[], %(contents)s::text[], %(bodies)s::text[],
    %(tokens)s::integer[], %(latencies)s::integer[], %(created)s::timestamptz[], %(metadata)s::jsonb[], %(facts)s::jsonb[],
    %(known)s::uuid[], %(human)s, %(contexts)s::jsonb, %(since)s::bigint, %(own)s::text[], %(make)s, %(search)s::text)
