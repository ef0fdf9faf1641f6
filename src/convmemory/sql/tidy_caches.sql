-- Note that caches are in use, and forget those that nobody has used for an hour, with some of the marks nobody will look for.
-- names text[]: of the caches in use. A mark is cleared only as it was seen: its cache may be coming back.
WITH used AS (
    UPDATE {schema}.caches SET seen_at = now() WHERE name = ANY (%(names)s::text[])
), forgotten AS (
    DELETE FROM {schema}.caches WHERE seen_at < now() - interval '1 hour' AND name <> ALL (%(names)s::text[])
), left_over AS MATERIALIZED (
    SELECT m.cache, m.conversation, m.id FROM {schema}.marks AS m
    WHERE NOT EXISTS (SELECT FROM {schema}.caches AS c WHERE c.name = m.cache) LIMIT 1000
)
DELETE FROM {schema}.marks AS m USING left_over AS o
WHERE m.cache = o.cache AND m.conversation = o.conversation AND m.id = o.id
