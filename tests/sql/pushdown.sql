-- What is left to the server: the request before each result, against the simulator at scale 1.
\set url `echo "$SIM_URL"`
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'America/New_York';
CREATE EXTENSION acumatica_fdw;
CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url :'url', company 'Company', endpoint_version '24.200.001');
CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'admin', password 'pass-of-admin');
SET client_min_messages = notice;
-- a data access class, a generic inquiry, and an entity
CREATE FOREIGN TABLE orders (
    order_type text OPTIONS (field 'OrderType', key '1') NOT NULL,
    order_nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL,
    order_date date OPTIONS (field 'OrderDate'),
    descr text OPTIONS (field 'OrderDesc'),
    total numeric OPTIONS (field 'CuryOrderTotal'),
    priority int OPTIONS (field 'Priority'),
    hold boolean OPTIONS (field 'Hold'),
    modified timestamptz OPTIONS (field 'LastModifiedDateTime'),
    note_id uuid OPTIONS (field 'NoteID')
) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder');
CREATE FOREIGN TABLE margins (
    order_type text OPTIONS (field 'OrderType', key '1'),
    order_nbr text OPTIONS (field 'OrderNbr', key '2'),
    status text OPTIONS (field 'Status'),
    total numeric OPTIONS (field 'OrderTotal'),
    margin numeric OPTIONS (field 'Margin')
) SERVER erp OPTIONS (schema 'OData', inquiry 'SO-Margin by Order');
CREATE FOREIGN TABLE customers (
    id uuid OPTIONS (field 'id'),
    customer_id text OPTIONS (field 'CustomerID', key '1'),
    name text OPTIONS (field 'CustomerName'),
    class text OPTIONS (field 'CustomerClass'),
    credit_limit numeric OPTIONS (field 'CreditLimit'),
    email text OPTIONS (field 'MainContact/Email')
) SERVER erp OPTIONS (entity 'Customer');

--
-- Comparisons
--
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE total BETWEEN 10 AND 11.5 AND priority <> 3 AND NOT hold;
SELECT order_nbr, total FROM orders WHERE total BETWEEN 10 AND 40.5 AND priority <> 3 AND NOT hold ORDER BY 1;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE NOT (priority = 1 OR total >= 40 OR hold IS NOT FALSE);
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE priority IS NULL AND order_date IS NOT NULL AND (hold IS NOT TRUE OR hold IS UNKNOWN);
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE priority IS DISTINCT FROM 3 AND total IS NOT DISTINCT FROM 12.50;
SELECT count(*), count(priority) FROM orders WHERE priority IS DISTINCT FROM 3 AND order_nbr < '000100';
-- arithmetic is solved for the column
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE 100 - total > 60 AND priority + 1 = 3 AND -priority < 0 AND total * 1.19 > 30;
SELECT count(*) FILTER (WHERE true) FROM orders WHERE 100 - total > 60 AND priority + 1 = 3 AND -priority < 0 AND total * 1.19 > 30;
-- text: superset only, and never an order
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE descr = 'O''Neill & Söhne' AND order_nbr > '000100' AND descr <> 'x' AND descr IS NOT NULL;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE NOT (descr = 'x');
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE descr LIKE 'Bolt%brass\_%' AND descr ILIKE '%VALVE' AND starts_with(descr, 'B') AND strpos(descr, 'm5') > 0 AND descr NOT LIKE 'x%';
-- what a text begins with
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE left(descr, 3) = 'blu' AND substring(order_nbr from 1 for 4) IN ('0000', '0001') AND substr(descr, 2, 2) = 'lu' AND left(descr, 1) <> 'x';
SELECT count(*), min(descr), max(order_nbr) FROM orders WHERE left(descr, 3) = 'blu' AND substring(order_nbr from 1 for 4) IN ('0000', '0001') AND substr(descr, 2, 2) = 'lu' AND left(descr, 1) <> 'x';
EXPLAIN (VERBOSE, COSTS OFF) SELECT customer_id FROM customers WHERE name LIKE 'A%&%Co' AND name ILIKE '%bros%' AND lower(name) = 'abc';
SELECT customer_id, name FROM customers WHERE name LIKE 'A%&%' AND name ILIKE '%bro%' ORDER BY 1 LIMIT 3;
-- moments: widened by what zones may differ
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE date_trunc('month', modified) = '2024-02-01' AND modified::date >= '2024-02-10' AND extract(year from order_date) = 2024;
SELECT count(*), min(modified), max(modified) FROM orders WHERE date_trunc('month', modified) = '2024-02-01' AND modified::date >= '2024-02-10' AND extract(year from order_date) = 2024;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE order_date >= now() - interval '30 days' AND order_date < 'infinity';
-- lists
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE priority IN (1, 2, NULL) AND priority <> ALL ('{3,4}') AND note_id = '00000000-0000-0000-0000-00000000000a';
-- one that does not fit into an address is split, and no row comes twice
SELECT count(*) AS rows, count(DISTINCT (order_type, order_nbr)) AS different, count(*) FILTER (WHERE priority IS NULL) AS unset
FROM orders WHERE order_nbr = ANY (ARRAY(SELECT to_char(n, 'FM000000') FROM generate_series(1, 300) n));
SELECT * FROM explain(
    $$SELECT order_nbr FROM orders WHERE order_nbr = ANY (ARRAY(SELECT to_char(n, 'FM000000') FROM generate_series(1, 100) n))$$,
    'ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF');
-- what a value is may be known late: parameters, outer rows, subqueries
PREPARE dear (numeric) AS SELECT count(*) FILTER (WHERE true) FROM orders WHERE total > $1;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE dear (4000);
EXECUTE dear (4000);
EXECUTE dear (NULL);
EXECUTE dear ('NaN');
RESET plan_cache_mode;
SELECT * FROM explain('SELECT order_nbr FROM orders WHERE total > (SELECT 4000.5)');

--
-- What a table or a column says
--
ALTER FOREIGN TABLE orders ALTER COLUMN priority OPTIONS (ADD pushdown 'off');
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE priority = 1 AND total > 40;
ALTER FOREIGN TABLE orders ALTER COLUMN priority OPTIONS (DROP pushdown);
ALTER FOREIGN TABLE orders OPTIONS (ADD filter 'Hold eq true or Priority eq 2');
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM orders WHERE total > 4000;
SELECT count(*) FROM orders WHERE total > 4000;
SELECT count(*) FROM orders WHERE total > 4000 AND NOT (hold OR priority = 2);
ALTER FOREIGN TABLE orders OPTIONS (SET filter 'Nonsense eq');
SELECT count(*) FROM orders WHERE total > 4000;
ALTER FOREIGN TABLE orders OPTIONS (DROP filter);
CREATE FOREIGN TABLE form (item text OPTIONS (field 'InventoryID', parameter 'required'))
    SERVER erp OPTIONS (inquiry 'InventorySummaryInquiry', filter 'Active eq true');
SELECT * FROM form WHERE item = 'X';

--
-- What a server refuses is done here, once with a notice
--
SELECT count(*) FROM customers WHERE credit_limit > 99000 AND class = 'LOCAL';
SELECT count(*) FROM customers WHERE credit_limit > 99000 AND class = 'LOCAL';
SELECT count(*) FROM margins WHERE margin > 40;
-- also an order
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr, margin FROM margins ORDER BY margin NULLS FIRST LIMIT 3;
SELECT order_type, order_nbr, margin FROM margins WHERE margin IS NOT NULL ORDER BY margin LIMIT 3;

--
-- The whole key: the record's own address
--
EXPLAIN (VERBOSE, COSTS OFF) SELECT total FROM orders WHERE order_nbr = '000123' AND order_type = 'SO';
SELECT total FROM orders WHERE order_nbr = '000123' AND order_type = 'IN';
SELECT total FROM orders WHERE order_nbr = '000123' AND order_type = 'in';
EXPLAIN (VERBOSE, COSTS OFF) SELECT name FROM customers WHERE customer_id = 'AACUST0001';
EXPLAIN (VERBOSE, COSTS OFF) SELECT name FROM customers WHERE customer_id = 'A/B';
EXPLAIN (VERBOSE, COSTS OFF) SELECT name FROM customers WHERE id = '00000000-0000-0000-0000-00000000000a';
SELECT name FROM customers WHERE id = '00000000-0000-0000-0000-00000000000a';
SELECT c.name = d.name AS same FROM customers c, LATERAL (SELECT name FROM customers WHERE id = c.id) d LIMIT 1;

--
-- Order and limit
--
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr, total FROM orders ORDER BY total DESC NULLS LAST LIMIT 3;
SELECT order_nbr, total FROM orders ORDER BY total DESC NULLS LAST LIMIT 3;
-- NULL comes first there, and last here
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders ORDER BY total LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE total > 0 ORDER BY total LIMIT 3;
-- text is sorted here, uuid too, and what follows it
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders ORDER BY order_type, order_nbr LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders ORDER BY note_id LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders ORDER BY hold NULLS FIRST, order_nbr LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT name FROM customers ORDER BY credit_limit NULLS FIRST LIMIT 3;
-- unless the table says in which collation the server sorts
ALTER FOREIGN TABLE orders OPTIONS (ADD collation 'C');
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders ORDER BY order_type COLLATE "C", order_nbr COLLATE "C" DESC LIMIT 3;
ALTER FOREIGN TABLE orders ALTER COLUMN order_type TYPE text COLLATE "C", ALTER COLUMN order_nbr TYPE text COLLATE "C";
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders ORDER BY order_type, order_nbr DESC LIMIT 3;
SELECT order_type, order_nbr FROM orders ORDER BY order_type, order_nbr DESC LIMIT 3;
-- an assertion that is wrong is an error, and no wrong rows
ALTER FOREIGN TABLE orders ALTER COLUMN descr TYPE text COLLATE "C";
ALTER FOREIGN TABLE orders OPTIONS (ADD page_size '20000');
SELECT count(*) FROM (SELECT order_nbr FROM orders ORDER BY descr NULLS FIRST LIMIT 15000) AS first;
ALTER FOREIGN TABLE orders OPTIONS (DROP page_size);
ALTER FOREIGN TABLE orders OPTIONS (SET collation 'no_such');
EXPLAIN SELECT order_nbr FROM orders ORDER BY order_nbr LIMIT 3;
ALTER FOREIGN TABLE orders OPTIONS (DROP collation);
-- a limit is the first page where nothing is left to check, else a little more
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE total > 40 LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE descr = 'x' LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE descr ~ 'x' LIMIT 3;
-- an offset likewise
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr, total FROM orders WHERE total > 40 ORDER BY total DESC LIMIT 3 OFFSET 1000;
SELECT order_nbr, total FROM orders WHERE total > 40 ORDER BY total DESC NULLS LAST LIMIT 3 OFFSET 1000;
SELECT order_nbr || '!' FROM orders OFFSET 25000;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE total <> 40 LIMIT 3 OFFSET 1000;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders WHERE total > 40 ORDER BY total DESC FETCH FIRST 3 ROWS WITH TIES;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr, generate_series(1, 2) FROM orders LIMIT 3 OFFSET 1000;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr FROM orders LIMIT 3 OFFSET 1000 FOR UPDATE;
EXPLAIN (VERBOSE, COSTS OFF) SELECT customer_id FROM customers LIMIT 3 OFFSET 1000;
SELECT customer_id FROM customers LIMIT 3 OFFSET 1000;

--
-- Counts and extremes
--
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM orders WHERE total > 4000 AND priority IS NULL;
SELECT count(*), count(*) FILTER (WHERE total > 4000 AND priority IS NULL) FROM orders;
SELECT count(*) FROM orders WHERE total > 4000 AND priority IS NULL;
SELECT count(*) AS one, 1 + count(*) AS two, 'x' AS three FROM orders;
-- not where the server may keep others, or a value is yet to come
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM orders WHERE priority <> 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM orders WHERE order_type = 'SO';
SELECT * FROM explain('SELECT count(*) FROM orders WHERE total > (SELECT 1)');
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM margins;
SELECT * FROM explain('SELECT min(total), max(order_date) FROM orders');
SELECT min(total), max(order_date) FROM orders;
EXPLAIN (VERBOSE, COSTS OFF) SELECT max(descr) FROM orders;
