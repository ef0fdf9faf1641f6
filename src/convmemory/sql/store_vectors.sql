-- Keep vectors of messages that say what they said when these were made (see store_vectors_v1 in rooms/vectors.sql).
-- conversation uuid; user_id; model; seqs bigint[], marks text[], vectors text[]; state: the conversation's, where its last message is among them, or NULL.
-- Returns how many were kept; no row when there is no conversation.
SELECT kept FROM {schema}.store_vectors_v1(
    %(conversation)s, %(user_id)s, %(model)s, %(seqs)s::bigint[], %(marks)s::text[], %(vectors)s::text[], %(state)s::text)
