-- A tour of acumatica_fdw against the bundled simulator; `make demo` runs it.
--   psql -v url=http://127.0.0.1:PORT -f docs/demo.sql
-- You can repeat it: it first drops what it creates.
\set ECHO none
\pset footer off
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS acumatica_fdw CASCADE;
DROP SCHEMA IF EXISTS erp, inquiries CASCADE;
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
\echo '==> 2. The import: all business entities, and two of the generic inquiries'
\timing on
CREATE SCHEMA erp;
IMPORT FOREIGN SCHEMA "REST" FROM SERVER erp INTO erp;
\timing off

CREATE SCHEMA inquiries;
IMPORT FOREIGN SCHEMA "OData" LIMIT TO ("BI-SalesOrders", "Inventory by Warehouse") FROM SERVER erp INTO inquiries;

SELECT relnamespace::regnamespace AS schema, count(*) AS tables, sum(relnatts) AS columns
FROM pg_class
WHERE relkind = 'f'
GROUP BY 1;

\echo
\echo '==> 3. A generic inquiry (OData v4), joined with a local table and grouped as a dashboard would'
-- A local table, with data that the ERP does not have.
CREATE TABLE sales_target AS
    SELECT quarter::date, 35000000::numeric AS target
    FROM generate_series('2019-01-01'::timestamp, '2029-12-31', '3 months') AS quarter;

SELECT to_char(t.quarter, 'YYYY "Q"Q') AS quarter,
       count(*) AS orders,
       round(sum(o.order_total)) AS ordered,
       round(100 * sum(o.order_total) / t.target) AS percent_of_target
FROM inquiries.bi_sales_orders o
JOIN sales_target t ON t.quarter = date_trunc('quarter', o.date)
GROUP BY t.quarter, t.target
ORDER BY t.quarter DESC
LIMIT 8;

\echo
\echo '==> 4. A business entity (contract REST): linked fields are columns, each list of details is a table of its own'
SELECT order_nbr, customer_id, status, order_total, ship_to_address_city AS ship_to
FROM erp.sales_order
LIMIT 3;

SELECT order_nbr, line_nbr, inventory_id, order_qty, extended_price
FROM erp.sales_order_details
LIMIT 4;

\echo 'The request names only the columns that the query needs; EXPLAIN (VERBOSE) shows it and sends none:'
EXPLAIN (VERBOSE, COSTS OFF)
SELECT order_nbr, ship_to_address_city FROM erp.sales_order;

\echo 'The same customer in an inquiry and in an entity: OData pads codes, and the option unpad of the import removes the spaces.'
SELECT o.order_nbr, o.customer_id, c.customer_name, c.main_contact_email, o.order_total
FROM inquiries.bi_sales_orders o
JOIN erp.customer c ON c.customer_id = o.customer_id
WHERE o.customer_id = 'ABC-00006'
ORDER BY o.order_nbr
LIMIT 3;

\echo
\echo '==> 5. An inquiry form, which needs a parameter: it comes from WHERE, or from a join, once for each item'
SELECT s.inventory_id, i.results_warehouse_id AS warehouse, i.qty_on_hand, i.qty_available
FROM (SELECT inventory_id FROM erp.stock_item LIMIT 3) s
JOIN erp.inventory_summary_inquiry i ON i.inventory_id = s.inventory_id
ORDER BY 1, 2;

\echo
\echo '==> 6. LIMIT 5 on 100,000 rows: the first page is small, and nothing after it is fetched'
\timing on
SELECT order_nbr, customer_name, status, order_total FROM inquiries.bi_sales_orders LIMIT 5;
\timing off

\echo
\echo '==> 7. All queries used one API session; the backends of the cluster share it, and the last one signs out'
SELECT server, user_name, state, opened, requests FROM acumatica_sessions();
