-- A page of the messages that are not what they were: those whose id follows from a LangChain id, with something noted of them,
-- or of other content than text. conversation, seq: the last one of the page before.
SELECT m.conversation_id, coalesce(n.now_, m.conversation_id), m.seq, m.id, m.role, m.content, m.body, m.metadata
FROM {schema}.messages_0_1 AS m LEFT JOIN {schema}.named_0_1 AS n ON n.conversation_id = m.conversation_id
WHERE (m.conversation_id, m.seq) > (%(conversation)s, %(seq)s)
  AND (m.metadata IS NOT NULL OR substr(m.id::text, 15, 1) = '5' OR m.body LIKE '{{"c":"%%","t":%%')
ORDER BY m.conversation_id, m.seq LIMIT 2000
