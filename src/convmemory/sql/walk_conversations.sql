-- A stretch of everybody's conversations in the order of their ids, to find those that nobody spoke in since: no index is by
-- time alone, and one statement that looks for them all may take longer than any time-out. For an operator: no user is named.
-- after uuid: the last one of the stretch before; page: how many to look at; before: since when; dept_id: only of that
-- department, or NULL for all.
-- Returns conversation and user_id of those that are meant, and last a row of the stretch's last conversation with user_id NULL;
-- no row: there are no more.
WITH page AS MATERIALIZED (
    SELECT c.conversation_id, c.user_id, c.updated_at, c.dept_id FROM {schema}.conversations AS c
    WHERE c.conversation_id > %(after)s ORDER BY c.conversation_id LIMIT %(page)s)
(SELECT p.conversation_id, p.user_id FROM page AS p
 WHERE p.user_id <> '' AND p.updated_at < %(before)s::timestamptz AND (%(dept_id)s::text IS NULL OR p.dept_id = %(dept_id)s))
UNION ALL
(SELECT p.conversation_id, NULL FROM page AS p ORDER BY p.conversation_id DESC LIMIT 1)
