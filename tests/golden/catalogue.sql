-- One text a row: what a PostgreSQL database has besides the system's own, in an order that does not change.
WITH
mine AS (
    SELECT c.oid, c.relname::text AS name, c.relkind, c.reloptions
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace
),
said (place, what) AS (
    SELECT
        ARRAY[name, '0'],
        CASE relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE relkind::text END
        || ' ' || name || coalesce(' WITH ' || reloptions::text, '')
    FROM mine
    WHERE relkind <> 'i'
    UNION ALL
    SELECT
        ARRAY[name, '1', lpad(a.attnum::text, 4, '0')],
        '    ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
        || CASE WHEN a.attcollation <> t.typcollation THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END
        || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
        || CASE WHEN a.attidentity <> '' THEN ' IDENTITY ' || a.attidentity::text ELSE '' END
        || CASE WHEN a.attgenerated <> '' THEN ' GENERATED' ELSE '' END
        || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
    FROM mine
    JOIN pg_attribute a ON a.attrelid = mine.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = mine.oid AND d.adnum = a.attnum
    WHERE relkind IN ('r', 'v')
    UNION ALL
    SELECT ARRAY[name, '2', c.conname], '    CONSTRAINT ' || c.conname || ' ' || pg_get_constraintdef(c.oid)
    FROM mine
    JOIN pg_constraint c ON c.conrelid = mine.oid AND c.contype <> 'n'
    UNION ALL
    SELECT ARRAY[name, '3', i.indexrelid::regclass::text], '    ' || pg_get_indexdef(i.indexrelid)
    FROM mine
    JOIN pg_index i ON i.indrelid = mine.oid
    UNION ALL
    SELECT ARRAY[name, '4', t.tgname], '    ' || pg_get_triggerdef(t.oid)
    FROM mine
    JOIN pg_trigger t ON t.tgrelid = mine.oid AND NOT t.tgisinternal
    UNION ALL
    SELECT ARRAY['~', p.proname], pg_get_functiondef(p.oid)
    FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace
)
SELECT what FROM said ORDER BY place COLLATE "C"
