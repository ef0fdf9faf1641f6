-- Forget caches: whoever uses one registers it anew, and serves nothing from before. names text[], or NULL for all of them.
-- Returns how many there were.
WITH forgotten AS (
    DELETE FROM {schema}.caches WHERE %(names)s::text[] IS NULL OR name = ANY (%(names)s::text[]) RETURNING name
)
SELECT count(*) FROM forgotten
