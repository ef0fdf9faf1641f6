-- Every message of a conversation and the stamp they were read under, in one snapshot.
-- conversation uuid; user_id. Returns the columns of read_window.sql, oldest first.
SELECT c.user_id = %(user_id)s AS mine, c.stamp::text, c.last_seq, c.last_human_seq, c.gaps,
       (SELECT i.journals FROM {schema}.installation AS i) AS journals, m.seq, m.body, m.content
FROM {schema}.conversations AS c
LEFT JOIN LATERAL (
    SELECT n.seq, n.body, n.content FROM {schema}.messages AS n
    WHERE n.conversation_id = c.conversation_id AND c.user_id = %(user_id)s AND n.seq > c.cleared
    ORDER BY n.conversation_id, n.seq OFFSET 0) AS m ON true
WHERE c.conversation_id = %(conversation)s AND c.user_id <> ''
