-- Stored messages by their row ids, with all their columns, oldest first. conversation uuid; user_id; ids.
-- Returns one row a message that is there, as read_messages.sql does.
SELECT m.id, m.seq, m.role, m.content, m.body, m.tokens_used, m.latency_ms, m.created_at, m.metadata, (
           SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('doc_id', x.doc_id, 'content', x.content, 'score', x.score,
                                               'metadata', x.metadata) ORDER BY x.position)
           FROM {schema}.message_contexts AS x
           WHERE x.conversation_id = m.conversation_id AND x.seq = m.seq) AS contexts
FROM {schema}.messages AS m
JOIN {schema}.conversations AS c ON c.conversation_id = m.conversation_id AND c.user_id = %(user_id)s
WHERE m.conversation_id = %(conversation)s AND m.id = ANY(%(ids)s::uuid[])
ORDER BY m.seq
