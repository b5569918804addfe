-- Scans: the request before each result, against the simulator at scale 1.
\set url `echo "$SIM_URL"`
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION acumatica_fdw;
CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url :'url', company 'Company');
CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'admin', password 'pass-of-admin');

--
-- A generic inquiry through OData v4
--
CREATE FOREIGN TABLE orders (
    order_type text OPTIONS (field 'OrderType', key '1'),
    order_nbr text OPTIONS (field 'OrderNbr', key '2'),
    ordered_on date OPTIONS (field 'Date'),
    order_total numeric OPTIONS (field 'OrderTotal'),
    hold boolean OPTIONS (field 'Hold'),
    note_id uuid OPTIONS (field 'NoteID')
) SERVER erp OPTIONS (schema 'OData', inquiry 'BI-SalesOrders');

-- only the columns needed, ordered by the key
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr, order_total FROM orders WHERE hold;
-- a limit sizes the first page, unless something stands between
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM orders LIMIT 5;
SELECT * FROM orders LIMIT 5;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE hold LIMIT 5;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders ORDER BY order_total LIMIT 5;
-- rows are counted by a column that is sure to be there
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM orders;
SELECT count(*) FROM orders;
-- the whole row, and the table's own name
SELECT o, tableoid::regclass FROM orders o LIMIT 1;

--
-- A business entity through contract REST
--
CREATE FOREIGN TABLE sales_order (
    id uuid,
    order_type text OPTIONS (field 'OrderType', key '1'),
    order_nbr text OPTIONS (field 'OrderNbr', key '2'),
    order_total numeric(19,4) OPTIONS (field 'OrderTotal'),
    last_modified timestamptz OPTIONS (field 'LastModified'),
    ship_to_city text OPTIONS (field 'ShipToAddress/City'),
    ship_to jsonb OPTIONS (field 'ShipToAddress'),
    details jsonb OPTIONS (field 'Details')
) SERVER erp OPTIONS (entity 'SalesOrder');

-- expand only what is needed
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM sales_order;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr, ship_to_city FROM sales_order;
-- an expanded detail stands in $select too
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr, details FROM sales_order;
-- system members come unasked
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM sales_order;
SELECT id, order_type, order_nbr, order_total, last_modified, ship_to_city FROM sales_order LIMIT 3;
SELECT order_nbr, ship_to -> 'City' ->> 'value' = ship_to_city AS same, jsonb_array_length(details) AS lines,
       details -> 0 -> 'InventoryID' ->> 'value' AS first_item
FROM sales_order LIMIT 3;

-- the endpoint in the table, and names without regard to case
CREATE FOREIGN TABLE older ("OrderNbr" text) SERVER erp
    OPTIONS (entity 'SalesOrder', endpoint_name 'default', endpoint_version '23.200.001');
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM older LIMIT 1;
SELECT * FROM older LIMIT 1;
CREATE FOREIGN TABLE wrong_endpoint ("OrderNbr" text) SERVER erp OPTIONS (entity 'SalesOrder', endpoint_name 'Defualt');
SELECT * FROM wrong_endpoint LIMIT 1;

--
-- A data access class
--
CREATE FOREIGN TABLE so_order ("OrderType" text OPTIONS (key '1'), "OrderNbr" text OPTIONS (key '2'), "Status" text)
    SERVER erp OPTIONS (schema 'DAC', entity 'SOOrder');
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM so_order LIMIT 3;
SELECT * FROM so_order LIMIT 3;

--
-- The executor: rescans, prepared statements, cursors, PL/pgSQL
--
-- the inner side of a nested loop
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM generate_series(1, 3) g LEFT JOIN orders o ON o.order_total > g;
SELECT count(*) = 3 * (SELECT count(*) FROM orders) FROM generate_series(1, 3) g CROSS JOIN orders;
-- a rescan in the middle of the rows
SELECT g, (SELECT count(*) FROM (SELECT FROM orders WHERE order_total > g LIMIT 400) x) FROM generate_series(1, 3) g;
RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_material;

PREPARE by_hold (boolean) AS SELECT count(*) > 100 FROM orders WHERE hold = $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE by_hold (true); EXECUTE by_hold (false);
-- an option changed after planning
ALTER FOREIGN TABLE orders OPTIONS (ADD page_size '3000');
EXECUTE by_hold (true);
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE by_hold (true);
RESET plan_cache_mode;

BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT order_nbr FROM orders;
FETCH 2 FROM c; MOVE 1000 IN c; FETCH 1 FROM c; FETCH FIRST FROM c;
SAVEPOINT s;
SELECT 1 / 0 FROM orders;
ROLLBACK TO s;
FETCH NEXT FROM c;
COMMIT;

DO $$
DECLARE seen int := 0; r record;
BEGIN
    FOR r IN SELECT * FROM orders LIMIT 500 LOOP
        seen := seen + 1;
        BEGIN
            IF seen % 100 = 0 THEN PERFORM 1 / 0; END IF;
        EXCEPTION WHEN division_by_zero THEN NULL;
        END;
    END LOOP;
    RAISE WARNING '% rows', seen;
END $$;

-- EXPLAIN has no side effect, not even with wrong credentials
CREATE SERVER nobody FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url '127.0.0.1:1', company 'Company');
CREATE FOREIGN TABLE nowhere ("A" text) SERVER nobody OPTIONS (entity 'SalesOrder');
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM nowhere;
-- EXPLAIN ANALYZE tells what it cost
SELECT * FROM explain('SELECT order_nbr FROM orders LIMIT 3', 'ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF');

-- not for writing
INSERT INTO orders (order_nbr) VALUES ('x');

DROP EXTENSION acumatica_fdw CASCADE;
