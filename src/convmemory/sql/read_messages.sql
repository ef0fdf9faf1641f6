-- A page of stored messages with all their columns, in the order of seq, or against it from the newest end.
-- conversation uuid; user_id; before: only messages with a smaller seq; after: only with a greater one; newest: whether
-- the page is taken from the newest end, the newest message first; limit: how many.
-- Returns mine, stamp, journals (whether writes may wait in one), and the columns of a message, its contexts as a JSON array; one row with id NULL when there are none (or
-- it is not the user's); no row when there is no such conversation.
-- Each direction has a branch of its own, which an index can give in order; the other one is never executed. Nor is it asked for
-- the contexts of each message where the conversation has none.
SELECT c.user_id = %(user_id)s AS mine, c.stamp::text, (SELECT i.journals FROM {schema}.installation AS i) AS journals, page.id, page.seq, page.role, page.content, page.body, page.tokens_used,
       page.latency_ms, page.created_at, page.metadata, page.facts,
       CASE WHEN EXISTS (SELECT FROM {schema}.message_documents AS any_ WHERE any_.conversation_id = %(conversation)s) THEN (
           SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                      'doc_id', r.doc_id, 'content', d.content, 'score', r.score, 'metadata', d.metadata, 'figures', r.figures)
                      ORDER BY r.position)
           FROM {schema}.message_documents AS r
           LEFT JOIN LATERAL (
               SELECT o.content, o.metadata FROM {schema}.documents AS o WHERE o.document = r.document OFFSET 0) AS d ON true
           WHERE r.conversation_id = page.conversation_id AND r.seq = page.seq) END AS contexts
FROM {schema}.conversations AS c
LEFT JOIN LATERAL (
    (SELECT m.* FROM {schema}.messages AS m
     WHERE %(newest)s AND c.user_id = %(user_id)s AND m.conversation_id = c.conversation_id
       AND m.seq > %(after)s AND m.seq < %(before)s AND m.seq > c.cleared
     ORDER BY m.conversation_id DESC, m.seq DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT m.* FROM {schema}.messages AS m
     WHERE NOT %(newest)s AND c.user_id = %(user_id)s AND m.conversation_id = c.conversation_id
       AND m.seq > %(after)s AND m.seq < %(before)s AND m.seq > c.cleared
     ORDER BY m.conversation_id, m.seq LIMIT %(limit)s)) AS page ON true
WHERE c.conversation_id = %(conversation)s AND c.user_id <> ''
