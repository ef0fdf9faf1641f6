-- How many windows wait to be dropped, 10,000 of a cache at most, how many caches are registered, of how many conversations the delete
-- is not finished, 100 at most, whether documents wait to be looked at that a message has let go of, and how many entries of journals were
-- refused, 1,000 at most: what is many may be a million, and this is also a sign of life. And which PostgreSQL it is.
SELECT (SELECT count(*) FROM {schema}.caches AS c CROSS JOIN LATERAL (
            SELECT FROM {schema}.marks AS m WHERE m.cache = c.name LIMIT 10000) AS waiting),
       (SELECT count(*) FROM {schema}.caches),
       (SELECT count(*) FROM (SELECT FROM {schema}.conversations WHERE left_over > 0 LIMIT 100) AS unfinished),
       EXISTS (SELECT FROM {schema}.loose_documents),
       (SELECT count(*) FROM (SELECT FROM {schema}.journal_refused LIMIT 1000) AS refused),
       pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1)
