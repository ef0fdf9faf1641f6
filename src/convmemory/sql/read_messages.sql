-- A page of stored messages with all their columns, newest page first, oldest message first inside the page.
-- conversation uuid; user_id; before: only messages with a smaller seq; after: only with a greater one; newest: whether
-- the page is taken from the newest end; limit: how many.
-- Returns one row a message, its contexts as a JSON array; no row when there are none.
SELECT page.id, page.seq, page.role, page.content, page.body, page.tokens_used, page.latency_ms, page.created_at,
       page.metadata, (
           SELECT jsonb_agg(jsonb_build_object('doc_id', x.doc_id, 'content', x.content, 'score', x.score,
                                               'metadata', x.metadata) ORDER BY x.position)
           FROM {schema}.message_contexts AS x
           WHERE x.conversation_id = page.conversation_id AND x.seq = page.seq) AS contexts
FROM (
    SELECT m.* FROM {schema}.messages AS m
    JOIN {schema}.conversations AS c ON c.conversation_id = m.conversation_id AND c.user_id = %(user_id)s
    WHERE m.conversation_id = %(conversation)s AND m.seq < %(before)s AND m.seq > %(after)s
    ORDER BY CASE WHEN %(newest)s THEN -m.seq ELSE m.seq END
    LIMIT %(limit)s) AS page
ORDER BY page.seq
