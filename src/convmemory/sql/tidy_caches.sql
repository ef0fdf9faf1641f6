-- Note that caches are in use, and forget those that nobody has used for an hour, with some of the marks nobody will look for.
-- names text[]: of the caches in use. A mark is cleared only as it was seen: its cache may be coming back. A row that somebody
-- holds is left for another time: windows are served meanwhile.
-- (The names that marks have are found one after the other: there are few, and of marks there may be very many.)
WITH RECURSIVE used AS (
    UPDATE {schema}.caches SET seen_at = now() WHERE name = ANY (ARRAY (
        SELECT u.name FROM {schema}.caches AS u WHERE u.name = ANY (%(names)s::text[]) FOR UPDATE SKIP LOCKED))
), forgotten AS (
    DELETE FROM {schema}.caches WHERE name = ANY (ARRAY (
        SELECT f.name FROM {schema}.caches AS f
        WHERE f.seen_at < now() - interval '1 hour' AND f.name <> ALL (%(names)s::text[]) FOR UPDATE SKIP LOCKED))
), marked AS (
    (SELECT m.cache FROM {schema}.marks AS m ORDER BY m.cache LIMIT 1)
    UNION ALL
    SELECT (SELECT m.cache FROM {schema}.marks AS m WHERE m.cache > b.cache ORDER BY m.cache LIMIT 1)
    FROM marked AS b WHERE b.cache IS NOT NULL
), left_over AS MATERIALIZED (
    SELECT m.cache, m.conversation, m.id
    FROM marked AS b
    CROSS JOIN LATERAL (
        SELECT k.cache, k.conversation, k.id FROM {schema}.marks AS k WHERE k.cache = b.cache LIMIT 1000) AS m
    WHERE NOT EXISTS (SELECT FROM {schema}.caches AS c WHERE c.name = b.cache) LIMIT 1000
)
DELETE FROM {schema}.marks AS m
WHERE m.ctid = ANY (ARRAY (
    SELECT k.place FROM left_over AS o
    CROSS JOIN LATERAL (
        SELECT n.ctid AS place FROM {schema}.marks AS n
        WHERE n.cache = o.cache AND n.conversation = o.conversation AND n.id = o.id FOR UPDATE SKIP LOCKED) AS k))
