-- Have messages of a conversation found by their words, or by none (see index_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; search: the text search configuration, or NULL; after: only messages with a greater seq; batch: so many at most.
-- Returns the last seq that was looked at, and at how many messages; no row when there are no more.
SELECT upto, looked FROM {schema}.index_v1(%(conversation)s, %(user_id)s, %(search)s::text, %(after)s::bigint, %(batch)s::bigint)
