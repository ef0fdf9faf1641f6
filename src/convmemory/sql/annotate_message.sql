-- Change the metadata of a stored message (see annotate_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; id: of the message's row; metadata: JSON object laid over the one there; removed: names taken out.
-- Returns whether the message is there; no row: the conversation is not there, or somebody else's.
SELECT there FROM {schema}.annotate_v1(
    %(conversation)s, %(user_id)s, %(id)s, %(metadata)s::jsonb, %(removed)s::text[])
