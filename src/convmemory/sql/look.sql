-- What a process must know before it serves windows: the eras of its caches, and what they must drop first.
-- names text[]: of the caches; after: a conversation, marks of smaller ones were seen; page: marks of each cache at most.
-- Returns name, era, idle (nobody has noted for a minute that this cache is in use), the id of the installation, whether writes may wait
-- in a journal, and conversation and id of a mark, the smallest conversation first, or NULL. No row of a name: it is not registered with this history.
SELECT c.name, c.era::text, c.seen_at < now() - interval '1 minute' AS idle, (SELECT i.id::text FROM {schema}.installation AS i),
       (SELECT i.journals FROM {schema}.installation AS i),
       m.conversation, m.id
FROM {schema}.caches AS c
LEFT JOIN LATERAL (
    SELECT k.conversation, k.id FROM {schema}.marks AS k
    WHERE k.cache = c.name AND k.conversation >= %(after)s
    ORDER BY k.cache, k.conversation LIMIT %(page)s) AS m ON true
WHERE c.name = ANY (%(names)s::text[]) AND c.history = (SELECT {schema}.history_v1())
ORDER BY c.name, m.conversation
