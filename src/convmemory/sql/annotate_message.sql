-- Change the metadata of a stored message (see annotate_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; id: of the message's row; metadata: JSON object laid over the one there; removed: names taken out; most: bytes
-- that it may have then, or NULL.
-- Returns whether the message is there, and where it would have more, how many, and nothing is done; no row: the conversation is not there, or somebody else's.
SELECT there, bytes FROM {schema}.annotate_v1(
    %(conversation)s, %(user_id)s, %(id)s, %(metadata)s::jsonb, %(removed)s::text[], %(most)s::bigint)
