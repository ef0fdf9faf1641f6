-- How many windows wait to be dropped, and how many caches are registered.
SELECT (SELECT count(*) FROM {schema}.marks AS m WHERE EXISTS (SELECT FROM {schema}.caches AS c WHERE c.name = m.cache)),
       (SELECT count(*) FROM {schema}.caches)
