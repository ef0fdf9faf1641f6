-- The newest messages of a conversation and the stamp they were read under, in one snapshot.
-- conversation uuid; user_id; want: how many of the newest; hard: at most so many when the newest turn is longer.
-- Returns mine, stamp, last_seq, last_human_seq, and per message seq, body, content, oldest first; one row
-- with seq NULL when there are no messages (or it is not the user's); no row when there is no such conversation.
-- (OFFSET 0 keeps the order of the index: there is nothing to sort.)
SELECT c.user_id = %(user_id)s AS mine, c.stamp::text, c.last_seq, c.last_human_seq, m.seq, m.body, m.content
FROM {schema}.conversations AS c
LEFT JOIN LATERAL (
    SELECT n.seq, n.body, n.content FROM {schema}.messages AS n
    WHERE n.conversation_id = c.conversation_id AND c.user_id = %(user_id)s AND n.seq <= c.last_seq
      AND n.seq > greatest(c.last_seq - %(hard)s, least(c.last_seq - %(want)s, nullif(c.last_human_seq, 0) - 1))
    ORDER BY n.conversation_id, n.seq OFFSET 0) AS m ON true
WHERE c.conversation_id = %(conversation)s AND c.user_id <> ''
