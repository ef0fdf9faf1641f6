-- Stored messages by their row ids, with all their columns, oldest first. conversation uuid; user_id; ids: no id twice.
-- Returns one row a message that is there, as read_messages.sql does. (OFFSET 0: each id is looked up by itself.)
SELECT m.id, m.seq, m.role, m.content, m.body, m.tokens_used, m.latency_ms, m.created_at, m.metadata, m.facts, (
           SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                      'doc_id', r.doc_id, 'content', d.content, 'score', r.score, 'metadata', d.metadata, 'figures', r.figures)
                      ORDER BY r.position)
           FROM {schema}.message_documents AS r
           LEFT JOIN LATERAL (
               SELECT o.content, o.metadata FROM {schema}.documents AS o WHERE o.document = r.document OFFSET 0) AS d ON true
           WHERE r.conversation_id = m.conversation_id AND r.seq = m.seq) AS contexts
FROM {schema}.conversations AS c
CROSS JOIN pg_catalog.unnest(%(ids)s::uuid[]) AS i (id)
CROSS JOIN LATERAL (
    SELECT n.* FROM {schema}.messages AS n
    WHERE n.id = i.id AND n.conversation_id = c.conversation_id AND n.seq > c.cleared OFFSET 0) AS m
WHERE c.conversation_id = %(conversation)s AND c.user_id = %(user_id)s
ORDER BY m.seq
