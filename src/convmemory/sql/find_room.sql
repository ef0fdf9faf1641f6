-- What there is of a part of the schema that needs an extension. schema: ours; extension: its name; function: the one of the migrations
-- that the part replaces, which is then no longer of the language sql; relation, attribute: what goes with the extension, if that is dropped.
-- Returns one row: the schema the extension is in and its version, NULL where it is not installed; whether the server has it to install;
-- whether the part was made.
SELECT (SELECT n.nspname FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
        WHERE e.extname = %(extension)s) AS place,
       (SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname = %(extension)s) AS version,
       EXISTS (SELECT FROM pg_catalog.pg_available_extensions AS a WHERE a.name = %(extension)s) AS available,
       EXISTS (SELECT FROM pg_catalog.pg_proc AS p
               JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
               WHERE n.nspname = %(schema)s AND p.proname = %(function)s AND l.lanname <> 'sql')
       AND EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                   JOIN pg_catalog.pg_class AS r ON r.oid = a.attrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
                   WHERE n.nspname = %(schema)s AND r.relname = %(relation)s AND a.attname = %(attribute)s AND NOT a.attisdropped) AS made
