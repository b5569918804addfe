-- Key joins: the plan and what it asks for before each result, against the simulator at scale 1.
\set url `echo "$SIM_URL"`
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION acumatica_fdw;
CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url :'url', company 'Company', endpoint_version '24.200.001');
CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'admin', password 'pass-of-admin');
CREATE FOREIGN TABLE orders (
    order_type text OPTIONS (field 'OrderType', key '1') NOT NULL,
    order_nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL,
    total numeric OPTIONS (field 'CuryOrderTotal'),
    hold boolean OPTIONS (field 'Hold'),
    customer int OPTIONS (field 'CustomerID')
) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder');
CREATE FOREIGN TABLE margins (
    order_type text OPTIONS (field 'OrderType', key '1'),
    order_nbr text OPTIONS (field 'OrderNbr', key '2'),
    total numeric OPTIONS (field 'OrderTotal')
) SERVER erp OPTIONS (schema 'OData', inquiry 'SO-Margin by Order');
CREATE FOREIGN TABLE customers (
    customer_id text OPTIONS (field 'CustomerID', key '1'),
    name text OPTIONS (field 'CustomerName')
) SERVER erp OPTIONS (entity 'Customer');
CREATE TEMP TABLE copy AS SELECT * FROM orders;
ANALYZE copy;
CREATE TEMP TABLE wanted AS
    SELECT order_nbr AS nbr, total, row_number() OVER (ORDER BY order_nbr) AS n FROM copy WHERE order_type = 'SO' ORDER BY 1 LIMIT 60;
INSERT INTO wanted VALUES ('no such', 1, 1001), (NULL, 2, 1002), ('so000001', 3, 1003);
ANALYZE wanted;
CREATE TEMP TABLE buyers AS SELECT customer, row_number() OVER (ORDER BY customer) AS n FROM copy GROUP BY 1 ORDER BY 1 LIMIT 20;
ANALYZE buyers;
-- How often a query asks, and for how many rows: the lines of EXPLAIN ANALYZE that count them.
CREATE FUNCTION costs(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
        IF line ~ 'Key Join|Keys:|Blocks:|All Rows Read:|Remote Requests:|Rows Received:' THEN
            RETURN NEXT regexp_replace(trim(line), '^-> +| \(actual.*', '', 'g');
        END IF;
    END LOOP;
END $$;
-- The same query with and without key joins gives the same rows.
CREATE FUNCTION agree(query text, blocks int[] DEFAULT '{0,1,2,100}') RETURNS TABLE (rows bigint, agree boolean) LANGUAGE plpgsql AS $$
DECLARE
    block int;
BEGIN
    PERFORM set_config('acumatica_fdw.enable_key_join', 'off', true);
    EXECUTE 'CREATE TEMP TABLE without AS SELECT q::text AS shown FROM (' || query || ') q';
    PERFORM set_config('acumatica_fdw.enable_key_join', 'on', true);
    SELECT count(*) INTO rows FROM without;
    agree := true;
    FOREACH block IN ARRAY blocks LOOP
        PERFORM set_config('acumatica_fdw.key_join_block', block::text, true);
        PERFORM set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
                set_config('enable_nestloop', 'off', true);
        EXECUTE 'CREATE TEMP TABLE with_keys AS SELECT q::text AS shown FROM (' || query || ') q';
        agree := agree AND NOT EXISTS (
            (TABLE without EXCEPT ALL TABLE with_keys) UNION ALL (TABLE with_keys EXCEPT ALL TABLE without));
        DROP TABLE with_keys;
    END LOOP;
    PERFORM set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true),
            set_config('enable_nestloop', 'on', true), set_config('acumatica_fdw.key_join_block', '0', true);
    DROP TABLE without;
    RETURN NEXT;
END $$;

--
-- What the planner chooses
--
SELECT * FROM explain('SELECT w.nbr, o.total FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n <= 5 AND NOT o.hold');
SELECT w.nbr, o.total = w.total AS same FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n <= 5 ORDER BY 1, 2;
SELECT * FROM costs('SELECT w.nbr, o.total FROM wanted w JOIN orders o ON o.order_nbr = w.nbr');
-- a LIMIT stops after the first keys
SELECT * FROM costs('SELECT w.nbr, o.total FROM wanted w JOIN orders o ON o.order_nbr = w.nbr LIMIT 3') AS line WHERE line !~ 'Remote Requests';
-- not if most rows are wanted
SELECT * FROM explain('SELECT c.n, o.total FROM (SELECT order_nbr, 1 AS n FROM copy) c JOIN orders o USING (order_nbr)', 'COSTS OFF');
SET acumatica_fdw.enable_key_join = off;
-- the sides of the filter come in another order from 16 on
SELECT * FROM explain('SELECT w.nbr, o.total FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n <= 5', 'COSTS OFF') WHERE "QUERY PLAN" !~ 'Filter';
-- a column that is compared in two ways: each of them can be asked for
SELECT "QUERY PLAN" ~ 'Nested Loop' AS by_key FROM explain('SELECT o.total FROM generate_series(1, 100000) g JOIN orders o ON o.customer = g JOIN buyers b ON o.customer - 1 = b.customer AND b.n = 1', 'COSTS OFF')
    WHERE "QUERY PLAN" ~ 'Nested Loop|Foreign Scan';
RESET acumatica_fdw.enable_key_join;

--
-- Kinds of join
--
SELECT * FROM explain('SELECT w.nbr, o.total FROM wanted w LEFT JOIN orders o ON o.order_nbr = w.nbr AND o.total > w.total - 1 WHERE w.n > 58');
SELECT w.nbr, o.total IS NULL AS missing FROM wanted w LEFT JOIN orders o ON o.order_nbr = w.nbr WHERE w.n > 58 ORDER BY w.n;
SELECT * FROM agree('SELECT w.*, o.* FROM wanted w JOIN orders o ON o.order_nbr = w.nbr');
SELECT * FROM agree('SELECT w.*, o.* FROM wanted w LEFT JOIN orders o ON o.order_nbr = w.nbr');
SELECT * FROM agree('SELECT w.*, o.* FROM wanted w LEFT JOIN orders o ON o.order_nbr = w.nbr AND o.total > 500 AND w.n % 2 = 0');
SELECT * FROM agree('SELECT w.*, o.* FROM wanted w LEFT JOIN orders o ON o.order_nbr = w.nbr WHERE o.hold IS NOT TRUE AND w.n % 3 > 0');
SELECT * FROM agree('SELECT w.* FROM wanted w WHERE EXISTS (SELECT FROM orders o WHERE o.order_nbr = w.nbr AND o.total >= w.total)');
SELECT * FROM agree('SELECT w.* FROM wanted w WHERE NOT EXISTS (SELECT FROM orders o WHERE o.order_nbr = w.nbr AND NOT o.hold)');
SELECT * FROM agree('SELECT w.* FROM wanted w WHERE w.nbr IN (SELECT order_nbr FROM orders)');
SELECT * FROM agree('SELECT o.* FROM orders o WHERE o.order_nbr IN (SELECT nbr FROM wanted)');
SELECT * FROM agree('SELECT o.*, w.n FROM orders o RIGHT JOIN wanted w ON o.order_nbr = w.nbr');
-- clauses are checked in the order of what they cost, as in each join
CREATE FUNCTION is_dear(numeric, bigint) RETURNS boolean LANGUAGE plpgsql STABLE COST 10000 AS 'BEGIN RETURN $1 > $2; END';
SELECT * FROM explain('SELECT w.n FROM wanted w LEFT JOIN orders o ON is_dear(o.total, w.n) AND o.total > w.total - 1 AND o.order_nbr = w.nbr', 'COSTS OFF')
    WHERE "QUERY PLAN" ~ 'Filter';
SELECT * FROM explain('SELECT w.n FROM wanted w LEFT JOIN orders o ON o.order_nbr = w.nbr WHERE is_dear(o.total, w.n) IS NOT FALSE AND coalesce(o.total, 1) > 0', 'COSTS OFF')
    WHERE "QUERY PLAN" ~ 'Filter';
DROP FUNCTION is_dear;
-- duplicates on both sides
SELECT * FROM agree('SELECT b.n, g, o.* FROM buyers b CROSS JOIN generate_series(1, 3) g JOIN orders o USING (customer)');
-- a key that comes again after its block
SELECT * FROM agree('SELECT g, o.total FROM generate_series(1, 400) g LEFT JOIN orders o ON o.order_nbr = lpad((g % 150)::text, 6, ''0'')');
-- several keys, of which one has a single value
SELECT * FROM explain('SELECT w.n, o.total FROM (SELECT ''SO'' || left(nbr, 0) AS type, * FROM wanted) w JOIN orders o ON o.order_type = w.type AND o.order_nbr = w.nbr');
SELECT * FROM agree('SELECT c.*, o.total FROM copy c JOIN orders o ON o.order_type = c.order_type AND o.order_nbr = c.order_nbr WHERE c.order_nbr < ''000060''');
-- an outer join of an outer join, and a condition that is made of both sides
SELECT * FROM agree('SELECT w.*, o.*, m.* FROM wanted w LEFT JOIN orders o ON o.order_nbr = w.nbr LEFT JOIN margins m ON m.order_nbr = o.order_nbr AND m.total = w.total');
SELECT * FROM agree('SELECT w.n, x.* FROM wanted w LEFT JOIN (SELECT o.order_nbr, coalesce(o.total, 0) AS t FROM orders o) x ON x.order_nbr = w.nbr');
-- an expression of the outer row
SELECT * FROM agree('SELECT b.*, o.total FROM buyers b JOIN orders o ON o.customer = b.customer + 1');
SELECT * FROM agree('SELECT b.*, o.total FROM buyers b JOIN orders o ON o.customer - 1 = b.customer');

-- an expression that the join computes and an outer join above sets to NULL
SELECT * FROM agree('SELECT g, x.c FROM generate_series(1, 30) g LEFT JOIN (SELECT w.n, coalesce(o.total, 0) + w.n AS c FROM wanted w LEFT JOIN orders o ON o.order_nbr = w.nbr) x ON x.n = g', '{0}');
SELECT * FROM agree('SELECT g, x.c FROM generate_series(1, 30) g LEFT JOIN (SELECT w.n, coalesce(o.total, 0) AS c FROM wanted w LEFT JOIN orders o ON o.order_nbr = w.nbr AND coalesce(o.total, 0) + w.n > 0) x ON x.n = g', '{0}');
-- the genetic optimizer plans in a memory context of its own
SET geqo_threshold = 2;
SELECT * FROM agree('SELECT b.*, o.total FROM buyers b JOIN orders o ON o.customer - 1 = b.customer AND o.customer - 2 = b.customer - 1', '{0}');
SELECT * FROM agree('SELECT w.*, o.order_type FROM wanted w JOIN orders o ON o.order_nbr = w.nbr AND o.total - 1 = w.total - 1 AND o.total + 1 = w.total + 1 JOIN wanted w2 ON w2.n = w.n', '{0}');
RESET geqo_threshold;
-- a target that is partitioned
CREATE TEMP TABLE part (LIKE wanted) PARTITION BY RANGE (n);
CREATE TEMP TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (30);
CREATE TEMP TABLE part2 PARTITION OF part FOR VALUES FROM (30) TO (2000);
INSERT INTO part SELECT * FROM wanted;
SELECT count(*) > 0 AS explained FROM explain('UPDATE part p SET total = o.total + 1 FROM orders o WHERE o.order_nbr = p.nbr AND o.order_type = ''SO''');
UPDATE part p SET total = o.total + 1 FROM orders o WHERE o.order_nbr = p.nbr AND o.order_type = 'SO' AND p.n IN (1, 31) RETURNING p.n, p.total = o.total + 1 AS right;

--
-- Rescans: the outer side depends on a parameter
--
SELECT * FROM agree('SELECT g, (SELECT sum(o.total) FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n BETWEEN g AND g + 3) FROM generate_series(1, 9) g');
SELECT * FROM agree('SELECT g, s.* FROM generate_series(1, 9) g, LATERAL (SELECT o.* FROM wanted w JOIN orders o ON o.order_nbr = w.nbr AND o.customer > g WHERE w.n < g) s');
-- all inner rows are read twice at most, and not kept if they depend on the parameter
ALTER FOREIGN TABLE margins OPTIONS (ADD rows '100');
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_nestloop = off;
SELECT * FROM costs('SELECT g, s.* FROM generate_series(1, 6) g, LATERAL (SELECT m.total FROM wanted w JOIN margins m ON m.order_nbr = w.nbr WHERE w.n <> g OFFSET 0) s') AS line WHERE line ~ 'Key Join|All Rows|Rows Received';
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_nestloop;
SELECT * FROM agree('SELECT g, s.* FROM generate_series(1, 6) g, LATERAL (SELECT m.total, w.n FROM wanted w JOIN margins m ON m.order_nbr = w.nbr WHERE w.n <> g OFFSET 0) s', '{0}');
SELECT * FROM agree('SELECT g, s.* FROM generate_series(1, 6) g, LATERAL (SELECT m.total, w.n FROM wanted w JOIN margins m ON m.order_nbr = w.nbr WHERE m.total > g * 1000 OFFSET 0) s', '{0}');
ALTER FOREIGN TABLE margins OPTIONS (DROP rows);
PREPARE by_n (int) AS SELECT w.n, o.total = w.total AS same FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n <= $1 ORDER BY 1, 2;
SET plan_cache_mode = force_generic_plan;
EXECUTE by_n (2);
EXECUTE by_n (3);
RESET plan_cache_mode;

--
-- All rows are read once if that is cheaper, whatever the planner believed
--
ALTER FOREIGN TABLE margins OPTIONS (ADD rows '30000');
CREATE TEMP TABLE many (nbr text);
INSERT INTO many SELECT order_nbr FROM copy;
SELECT * FROM costs('SELECT * FROM many JOIN margins m ON m.order_nbr = many.nbr');
-- nor how long it took keys to be
CREATE FOREIGN TABLE accounts (id int OPTIONS (field 'BAccountID', key '1'), name text OPTIONS (field 'AcctName'))
    SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_AR_Customer', rows '1000');
SELECT * FROM costs('SELECT g, a.name FROM unnest((SELECT array_agg(n) FROM generate_series(5001, 5400) n)) g JOIN accounts a ON a.id = g');
SET work_mem = '64kB';
SELECT * FROM agree('SELECT c.*, m.* FROM (SELECT * FROM copy LIMIT 1000) c LEFT JOIN margins m ON m.order_nbr = c.order_nbr', '{0}');
RESET work_mem;

--
-- What a key cannot be sent for, and what the server refuses
--
CREATE TEMP TABLE odd (d numeric);
INSERT INTO odd VALUES ('NaN'), (1), (NULL);
SELECT * FROM agree('SELECT odd.*, o.order_nbr FROM odd LEFT JOIN orders o ON o.total = odd.d');
-- a table that its clauses exclude, which PostgreSQL 17 and later find out
SELECT * FROM agree('SELECT w.n, o.total FROM wanted w LEFT JOIN orders o ON o.order_nbr = w.nbr AND (o.order_type, o.order_type) = (''SO'', ''QT'')');
SELECT * FROM agree('SELECT odd.*, o.order_nbr FROM (SELECT * FROM odd ORDER BY d) odd LEFT JOIN orders o ON o.total = odd.d');

-- rows are locked, changed and read through a cursor as in each join
SELECT w.n FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n <= 2 ORDER BY 1 FOR UPDATE OF w;
UPDATE wanted w SET total = o.total + 1 FROM orders o WHERE o.order_nbr = w.nbr AND w.n = 1 RETURNING w.nbr, w.total - o.total AS more;
BEGIN;
DECLARE c CURSOR FOR SELECT w.n FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n <= 30;
FETCH 2 FROM c;
CLOSE c;
ROLLBACK;

DROP FUNCTION costs, agree;
DROP EXTENSION acumatica_fdw CASCADE;
