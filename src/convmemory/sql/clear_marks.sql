-- Clear marks whose windows were dropped; one that was made again meanwhile stays, and one that another process is clearing
-- at this moment is left to it: many drain at once after an outage, and must neither wait nor deadlock.
-- caches text[], conversations uuid[], ids uuid[]: as look.sql returned them.
DELETE FROM {schema}.marks AS k
WHERE k.ctid = ANY (ARRAY (
    SELECT m.place
    FROM ROWS FROM (pg_catalog.unnest(%(caches)s::text[]), pg_catalog.unnest(%(conversations)s::uuid[]),
                    pg_catalog.unnest(%(ids)s::uuid[])) AS seen (cache, conversation, id)
    CROSS JOIN LATERAL (
        SELECT o.ctid AS place FROM {schema}.marks AS o
        WHERE o.cache = seen.cache AND o.conversation = seen.conversation AND o.id = seen.id
        FOR UPDATE SKIP LOCKED) AS m))
