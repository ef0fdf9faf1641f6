-- As read_window.sql, for a window beside which a journal lies: with the conversation's life and version, and the row id of each message.
-- conversation uuid; user_id; want: how many of the newest; hard: at most so many when the newest turn is longer.
-- Returns mine, stamp, last_seq, last_human_seq, gaps, life and version with a colon between them, and per message id, seq, body, content, the newest first; one row with seq
-- NULL when there are no messages (or it is not the user's); no row when there is no such conversation.
SELECT c.user_id = %(user_id)s AS mine, c.stamp::text, c.last_seq, c.last_human_seq, c.gaps, c.life::text || ':' || c.version, m.id::text, m.seq, m.body, m.content
FROM {schema}.conversations AS c
LEFT JOIN LATERAL (
    SELECT n.id, n.seq, n.body, n.content FROM {schema}.messages AS n
    WHERE n.conversation_id = c.conversation_id AND c.user_id = %(user_id)s AND n.seq > c.cleared
    ORDER BY n.conversation_id DESC, n.seq DESC
    LIMIT least(%(hard)s, greatest(%(want)s, c.last_seq - nullif(c.last_human_seq, 0) + 1))) AS m ON true
WHERE c.conversation_id = %(conversation)s AND c.user_id <> ''
