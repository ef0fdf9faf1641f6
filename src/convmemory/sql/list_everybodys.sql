-- A stretch of everybody's conversations in the order of their ids, and of those that are meant the newest: no index is by time
-- alone, and one statement that looks through them all may take longer than any time-out. For an operator: no user is named.
-- after uuid: the last one of the stretch before; page: how many to look at; by_creation: whether those begun last come first, else
-- those changed last; limit: how many; before_time, before_id: only what comes behind that; above_time, above_id: only what comes in
-- front of that; since, until and the rest: which, as for list_conversations.sql.
-- Returns their rows; and last a row of the stretch's last conversation, with user_id NULL and the number of those that are meant in the
-- stretch in the place of that of messages; no row: there are no more.
WITH page AS MATERIALIZED (
    SELECT c.*, CASE WHEN %(by_creation)s THEN c.created_at ELSE c.updated_at END AS place FROM {schema}.conversations AS c
    WHERE c.conversation_id > %(after)s ORDER BY c.conversation_id LIMIT %(page)s
), meant AS MATERIALIZED (
    SELECT p.* FROM page AS p
    WHERE p.user_id <> '' AND p.updated_at >= %(since)s::timestamptz AND p.updated_at < %(until)s::timestamptz
      AND (%(archived)s::boolean IS NULL OR p.archived = %(archived)s) AND (%(pinned)s::boolean IS NULL OR p.pinned = %(pinned)s)
      AND (%(dept_id)s::text IS NULL OR p.dept_id = %(dept_id)s) AND (%(metadata)s::jsonb IS NULL OR p.metadata @> %(metadata)s)
)
(SELECT m.conversation_id, m.external_id, m.user_id, m.dept_id, m.title, m.title_source, m.archived, m.pinned, m.last_seq - m.gaps,
        m.version, m.created_at, m.updated_at, m.metadata
 FROM meant AS m
 WHERE (m.place, m.conversation_id) < (%(before_time)s::timestamptz, %(before_id)s::uuid)
   AND (m.place, m.conversation_id) > (%(above_time)s::timestamptz, %(above_id)s::uuid)
 ORDER BY m.place DESC, m.conversation_id DESC LIMIT %(limit)s)
UNION ALL
(SELECT p.conversation_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, (SELECT count(*) FROM meant), NULL, NULL, NULL, NULL
 FROM page AS p ORDER BY p.conversation_id DESC LIMIT 1)
