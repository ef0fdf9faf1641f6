-- How many windows wait to be dropped.
SELECT count(*) FROM {schema}.dirty_windows
