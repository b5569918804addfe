-- A tour of acumatica_fdw against the bundled simulator; `make demo` runs it.
--   psql -v url=http://127.0.0.1:PORT -f docs/demo.sql
-- It can be run again and again: what it creates it drops first.
\set ECHO none
\pset footer off
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS acumatica_fdw CASCADE;
DROP TABLE IF EXISTS sales_target;
\set ECHO queries

\echo
\echo '==> 1. The connection: a server for the instance, a user mapping for the credentials'
CREATE EXTENSION acumatica_fdw;

CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw
    OPTIONS (url :'url', company 'Company');

CREATE USER MAPPING FOR CURRENT_USER SERVER erp
    OPTIONS (username 'admin', password 'secret');

SELECT step, ok, detail FROM acumatica_check('erp');

\echo
\echo '==> 2. A generic inquiry (OData v4), joined with a local table and grouped as a dashboard would'
CREATE FOREIGN TABLE erp_orders (
    order_type  text          OPTIONS (field 'OrderType', key '1'),
    order_nbr   text          OPTIONS (field 'OrderNbr', key '2'),
    customer    text          OPTIONS (field 'CustomerName'),
    status      text          OPTIONS (field 'Status'),
    order_date  date          OPTIONS (field 'Date'),
    order_total numeric(19,4) OPTIONS (field 'OrderTotal')
) SERVER erp OPTIONS (schema 'OData', inquiry 'BI-SalesOrders');

-- A table of our own: what the ERP does not know.
CREATE TABLE sales_target AS
    SELECT quarter::date, 35000000::numeric AS target
    FROM generate_series('2019-01-01'::timestamp, '2029-12-31', '3 months') AS quarter;

SELECT to_char(t.quarter, 'YYYY "Q"Q') AS quarter,
       count(*) AS orders,
       round(sum(o.order_total)) AS ordered,
       round(100 * sum(o.order_total) / t.target) AS percent_of_target
FROM erp_orders o
JOIN sales_target t ON t.quarter = date_trunc('quarter', o.order_date)
GROUP BY t.quarter, t.target
ORDER BY t.quarter DESC
LIMIT 8;

\echo
\echo '==> 3. A business entity (contract REST): typed columns, a linked field, the lines as jsonb'
CREATE FOREIGN TABLE erp_sales_order (
    order_type    text          OPTIONS (field 'OrderType', key '1'),
    order_nbr     text          OPTIONS (field 'OrderNbr', key '2'),
    customer_id   text          OPTIONS (field 'CustomerID'),
    order_date    date          OPTIONS (field 'Date'),
    order_total   numeric(19,4) OPTIONS (field 'OrderTotal'),
    last_modified timestamptz   OPTIONS (field 'LastModified'),
    ship_to_city  text          OPTIONS (field 'ShipToAddress/City'),
    details       jsonb         OPTIONS (field 'Details')
) SERVER erp OPTIONS (entity 'SalesOrder');

SELECT order_nbr, order_date, order_total, ship_to_city,
       jsonb_array_length(details) AS lines,
       details -> 0 -> 'InventoryID' ->> 'value' AS first_item
FROM erp_sales_order
LIMIT 3;

\echo 'Only what the query needs is asked for; EXPLAIN (VERBOSE) shows the request and sends none:'
EXPLAIN (VERBOSE, COSTS OFF)
SELECT order_nbr, ship_to_city FROM erp_sales_order;

\echo
\echo '==> 4. LIMIT 5 on 100,000 rows: the first page is small, and nothing after it is fetched'
\timing on
SELECT order_nbr, customer, status, order_total FROM erp_orders LIMIT 5;
\timing off

\echo
\echo '==> 5. One API session did it all; every backend of the cluster shares it, and the last one signs out'
SELECT server, user_name, state, opened, requests FROM acumatica_sessions();
