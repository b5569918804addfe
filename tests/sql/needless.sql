-- What is not asked for needlessly: the request before each result, against the simulator at scale 1.
\set url `echo "$SIM_URL"`
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION acumatica_fdw;
CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url :'url', company 'Company', endpoint_version '24.200.001');
CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'admin', password 'pass-of-admin');
CREATE FOREIGN TABLE orders (
    order_type text OPTIONS (field 'OrderType', key '1') NOT NULL,
    order_nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL,
    order_date date OPTIONS (field 'OrderDate'),
    descr text OPTIONS (field 'OrderDesc'),
    total numeric OPTIONS (field 'CuryOrderTotal'),
    priority int OPTIONS (field 'Priority'),
    hold boolean OPTIONS (field 'Hold'),
    customer int OPTIONS (field 'CustomerID')
) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder');
CREATE FOREIGN TABLE margins (
    order_nbr text OPTIONS (field 'OrderNbr', key '1'),
    status text OPTIONS (field 'Status'),
    total numeric OPTIONS (field 'OrderTotal'),
    margin numeric OPTIONS (field 'Margin')
) SERVER erp OPTIONS (schema 'OData', inquiry 'SO-Margin by Order');
CREATE FOREIGN TABLE sales_order (
    id uuid OPTIONS (field 'id'),
    order_type text OPTIONS (field 'OrderType', key '1'),
    order_nbr text OPTIONS (field 'OrderNbr', key '2'),
    customer text OPTIONS (field 'CustomerID'),
    city text OPTIONS (field 'ShipToAddress/City'),
    total numeric OPTIONS (field 'OrderTotal'),
    details jsonb OPTIONS (field 'Details')
) SERVER erp OPTIONS (entity 'SalesOrder');
CREATE FOREIGN TABLE sales_order_line (
    order_type text OPTIONS (field 'OrderType', key '1'),
    order_nbr text OPTIONS (field 'OrderNbr', key '2'),
    line int OPTIONS (field 'Details/rowNumber'),
    item text OPTIONS (field 'Details/InventoryID'),
    qty numeric OPTIONS (field 'Details/OrderQty')
) SERVER erp OPTIONS (entity 'SalesOrder', detail 'Details');
CREATE TEMP TABLE copy AS SELECT * FROM orders;
ANALYZE copy;
-- The request of a query, without its address.
CREATE FUNCTION request(query text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT regexp_replace("QUERY PLAN", '^.*Remote Request: GET [^?]*/', '') FROM explain(query) WHERE "QUERY PLAN" ~ 'Remote Request:'
$$;

--
-- Distinct values: the column and the key, of no linked entity and no detail
--
SELECT * FROM explain('SELECT count(DISTINCT customer) FROM sales_order');
SELECT count(DISTINCT customer) FROM sales_order;
SELECT request('SELECT count(DISTINCT id) FROM sales_order');
SELECT request('SELECT customer, count(*) FROM sales_order GROUP BY customer');
SELECT request('SELECT customer, sum(total) FROM sales_order GROUP BY customer HAVING sum(total) > 100');
SELECT request('SELECT DISTINCT customer FROM sales_order');
SELECT request('SELECT DISTINCT ON (customer) customer, total FROM sales_order ORDER BY customer, total DESC');
SELECT request('SELECT count(*) FROM sales_order');
SELECT request('SELECT customer FROM sales_order UNION SELECT status FROM margins');
SELECT request('SELECT count(DISTINCT city) FROM sales_order');
-- of a detail one field, since it tells how many rows there are
SELECT request('SELECT count(*) FROM sales_order_line');
SELECT request('SELECT DISTINCT order_nbr FROM sales_order_line');
SELECT request('SELECT count(DISTINCT item) FROM sales_order_line');
SELECT request('SELECT count(DISTINCT customer) FROM orders');
SELECT request('SELECT customer, max(order_date) FROM orders GROUP BY customer');
SELECT request('SELECT DISTINCT status FROM margins');
-- one row tells that there are any; an aggregate reads all
SELECT request('SELECT EXISTS (SELECT FROM sales_order)');
SELECT request('SELECT n FROM generate_series(1, 2) n WHERE n = 1 OR EXISTS (SELECT FROM orders WHERE customer = n AND total > 5)');
SELECT request('SELECT EXISTS (SELECT count(*) FROM sales_order)');

--
-- Extremes: one row
--
SELECT * FROM explain('SELECT max(order_date) FROM orders WHERE customer = 5007');
SELECT max(order_date) = (SELECT max(order_date) FROM copy WHERE customer = 5007) AS same FROM orders WHERE customer = 5007;
SELECT request('SELECT min(order_date) FROM orders WHERE customer IN (5007, 5008) AND total > 100');
-- a superset needs a few rows more, since the recheck may remove some
SELECT request('SELECT max(total) FROM orders WHERE order_type = ''SO''');
-- the value of an outer row
SELECT * FROM explain('SELECT n, (SELECT max(total) FROM orders WHERE customer = n AND order_type = ''SO'') FROM generate_series(5001, 5003) n');
SELECT n, (SELECT max(total) FROM orders WHERE customer = n AND order_type = 'SO') = (SELECT max(total) FROM copy WHERE customer = n AND order_type = 'SO') AS same
FROM generate_series(5001, 5003) n;
-- rows without a value: PostgreSQL leaves them out, and those of no row at all
SELECT n, (SELECT min(priority) FROM orders WHERE customer = n) AS least FROM (VALUES (5001), (1)) v(n);
SELECT (SELECT max(priority) FROM orders WHERE customer = n) IS NOT DISTINCT FROM (SELECT max(priority) FROM copy WHERE customer = n) AS same, count(*)
FROM generate_series(5001, 5012) n GROUP BY 1;
-- the server does not sort by a calculated field: the rows of each value are sorted here
CREATE TEMP TABLE margin AS SELECT * FROM margins WHERE order_nbr < '000100';
SELECT nbr, (SELECT max(margin) FROM margins WHERE order_nbr = nbr) = (SELECT max(margin) FROM margin WHERE order_nbr = nbr) AS same
FROM (VALUES ('000003'), ('000004')) v(nbr);
PREPARE latest (int) AS SELECT max(order_date) FROM orders WHERE customer = $1;
SET plan_cache_mode = force_generic_plan;
SELECT request('EXECUTE latest (5007)');
RESET plan_cache_mode;
-- not where a condition stays here, the server does not sort, or in a group
SELECT request('SELECT max(total) FROM orders WHERE customer = 5007 AND order_nbr > ''5''');
SELECT request('SELECT max(order_nbr) FROM orders WHERE customer = 5007');
SELECT request('SELECT max(total) FROM sales_order WHERE customer = ''ABARTENDE''');
SELECT request('SELECT customer, max(total) FROM orders WHERE customer = 5007 GROUP BY customer');

DROP FUNCTION request(text);
DROP EXTENSION acumatica_fdw CASCADE;
DROP TABLE copy, margin;
