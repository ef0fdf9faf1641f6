-- Delete messages of a conversation (see remove_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; seqs bigint[], ids uuid[]: which; after, upto: those with a greater seq than the one and none
-- greater than the other, most: the newest so many of them, or NULL for none of those; own: names of the caches the caller tells;
-- batch: so many contexts go at once.
-- Returns the stamp, how many were deleted, whether something is left to be taken away, and whether only contexts went and there are
-- more, so that it is to be called again; no row: the conversation is not there, or somebody else's.
SELECT stamp, removed, left_anywhere, more FROM {schema}.remove_v1(
    %(conversation)s, %(user_id)s, %(seqs)s::bigint[], %(ids)s::uuid[],
    %(after)s::bigint, %(upto)s::bigint, %(most)s::integer, %(own)s::text[], %(batch)s)
