-- Put other words in the place of stored ones, or take the newest away (see revise_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; seqs, old_contents, old_bodies: which, and what was stored there; contents, bodies, facts: what
-- is to be there now; gone: those of the seqs to delete where nothing comes after them; title: in the place of an automatic one
-- that says old_title; own: names of the caches the caller tells; batch: so many contexts go at once.
-- Returns the new stamp, whether something is left to be taken away, and whether only contexts went and there are more, so that
-- it is to be called again; no row: the conversation is not there, or somebody else's.
SELECT stamp, left_anywhere, more FROM {schema}.revise_v1(
    %(conversation)s, %(user_id)s, %(seqs)s::bigint[], %(old_contents)s::text[], %(old_bodies)s::text[],
    %(contents)s::text[], %(bodies)s::text[], %(facts)s::jsonb[], %(gone)s::bigint[],
    %(old_title)s, %(title)s, %(own)s::text[], %(batch)s)
