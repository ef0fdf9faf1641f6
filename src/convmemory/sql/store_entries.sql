-- Store what waits in a conversation's journal, and what a caller writes now (see store_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; entries: JSON array of the entries, in order; own: names of the caches the caller tells, and 'journal';
-- search: the text search configuration that the messages are found by, or NULL.
-- Returns a row an entry: its id, verdict, stamp, before (NULL: nothing that could be extended), version, last_seq, last_human_seq,
-- stored, seqs (NULL: all were new; with a minus sign: under another row id), kept (places of the rows this is about), and the time
-- (microseconds since 1970); no row for the caller's own where it is somebody else's conversation, or was not made.
SELECT entry, verdict, stamp::text, before::text, version, last_seq, last_human_seq, stored, seqs, kept,
       (extract(epoch FROM now()) * 1000000)::bigint
FROM {schema}.store_v1(%(conversation)s, %(user_id)s, %(entries)s::jsonb, %(own)s::text[], %(search)s::text)
