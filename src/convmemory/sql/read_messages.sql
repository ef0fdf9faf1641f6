-- A page of stored messages with all their columns, newest page first, oldest message first inside the page.
-- conversation uuid; user_id; before: only messages with a smaller seq; after: only with a greater one; newest: whether
-- the page is taken from the newest end; limit: how many.
-- Returns mine, stamp, and the columns of a message, its contexts as a JSON array; one row with id NULL when there are none (or
-- it is not the user's); no row when there is no such conversation.
SELECT c.user_id = %(user_id)s AS mine, c.stamp::text, page.id, page.seq, page.role, page.content, page.body, page.tokens_used,
       page.latency_ms, page.created_at, page.metadata, (
           SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                      'doc_id', x.doc_id, 'content', x.content, 'score', x.score, 'metadata', x.metadata) ORDER BY x.position)
           FROM {schema}.message_contexts AS x
           WHERE x.conversation_id = page.conversation_id AND x.seq = page.seq) AS contexts
FROM {schema}.conversations AS c
LEFT JOIN LATERAL (
    SELECT m.* FROM {schema}.messages AS m
    WHERE m.conversation_id = c.conversation_id AND c.user_id = %(user_id)s AND m.seq < %(before)s AND m.seq > %(after)s
    ORDER BY CASE WHEN %(newest)s THEN -m.seq ELSE m.seq END
    LIMIT %(limit)s) AS page ON true
WHERE c.conversation_id = %(conversation)s
ORDER BY page.seq
