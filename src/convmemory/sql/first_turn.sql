-- The first turn of a conversation that is called by no title but an automatic one: what a model makes one of. conversation uuid; user_id.
-- Returns life, version, title_source, and per message role, content, body, oldest first, 200 at most; no row: it has another title, or its
-- second turn has begun, or there is no such conversation.
SELECT c.life, c.version, c.title_source, m.role, m.content, m.body
FROM {schema}.conversations AS c
CROSS JOIN LATERAL (
    SELECT n.seq, n.role, n.content, n.body, count(*) FILTER (WHERE n.role = 'human') OVER () AS humans FROM (
        SELECT o.seq, o.role, o.content, o.body FROM {schema}.messages AS o
        WHERE o.conversation_id = c.conversation_id AND o.seq > c.cleared
        ORDER BY o.conversation_id, o.seq LIMIT 200) AS n) AS m
WHERE c.conversation_id = %(conversation)s AND c.user_id = %(user_id)s AND c.title_source IN ('none', 'auto') AND m.humans = 1
ORDER BY m.seq
