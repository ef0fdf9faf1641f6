-- Mark a conversation for caches that could not be told of a committed change. Those that are not registered have no window.
-- conversation uuid; names text[]: of the caches.
INSERT INTO {schema}.marks AS m (cache, conversation, registered_by)
SELECT c.name, %(conversation)s, c.registered_by FROM {schema}.caches AS c WHERE c.name = ANY (%(names)s::text[])
ON CONFLICT (cache, conversation) DO UPDATE SET id = excluded.id
