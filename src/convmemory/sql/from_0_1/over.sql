-- Bring conversations and messages over.
INSERT INTO {schema}.conversations (
    conversation_id, user_id, external_id, dept_id, title, title_source, created_at, version, last_seq, updated_at, metadata)
SELECT coalesce(n.now_, c.conversation_id), c.user_id, c.external_id, c.dept_id, c.title, c.title_source, c.created_at, c.version,
       c.last_seq, c.updated_at, c.metadata
FROM {schema}.conversations_0_1 AS c LEFT JOIN {schema}.named_0_1 AS n ON n.conversation_id = c.conversation_id;
INSERT INTO {schema}.messages (
    conversation_id, seq, id, created_at, tokens_used, latency_ms, role, content, body, metadata, facts)
SELECT coalesce(n.now_, m.conversation_id), m.seq, coalesce(r.id, m.id), m.created_at, m.tokens_used, m.latency_ms,
       coalesce(r.role, m.role), m.content, m.body, r.metadata, r.facts
FROM {schema}.messages_0_1 AS m
LEFT JOIN {schema}.named_0_1 AS n ON n.conversation_id = m.conversation_id
LEFT JOIN {schema}.renewed_0_1 AS r ON r.conversation_id = m.conversation_id AND r.seq = m.seq;
UPDATE {schema}.conversations AS c SET last_human_seq = h.seq
FROM (SELECT m.conversation_id, max(m.seq) AS seq FROM {schema}.messages AS m WHERE m.role = 'human' GROUP BY 1) AS h
WHERE h.conversation_id = c.conversation_id
