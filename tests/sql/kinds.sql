-- The kinds of tables: the request before each result, against the simulator at scale 1.
\set url `echo "$SIM_URL"`
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION acumatica_fdw;
CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url :'url', company 'Company', endpoint_version '24.200.001');
CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'admin', password 'pass-of-admin');

--
-- A table written by hand: without options, columns are found by their names
--
CREATE FOREIGN TABLE warehouse (warehouse_id text, description text, active boolean) SERVER erp OPTIONS (entity 'Warehouse');
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM warehouse;
SELECT * FROM warehouse LIMIT 3;
ALTER FOREIGN TABLE warehouse ADD COLUMN descripton text;
SELECT descripton FROM warehouse;
DROP FOREIGN TABLE warehouse;

--
-- A detail: one row for each line, with fields of the record it belongs to
--
CREATE FOREIGN TABLE order_lines (
    order_type text OPTIONS (field 'OrderType', key '1'),
    order_nbr text OPTIONS (field 'OrderNbr', key '2'),
    line int OPTIONS (field 'Details/rowNumber'),
    inventory_id text OPTIONS (field 'Details/InventoryID'),
    qty numeric OPTIONS (field 'Details/OrderQty'),
    rating numeric OPTIONS (custom 'Transactions.UsrLineRating')
) SERVER erp OPTIONS (entity 'SalesOrder', detail 'Details');
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr, line, inventory_id, qty FROM order_lines LIMIT 5;
-- the first order has no lines, and so no row
SELECT order_nbr, line, inventory_id, qty FROM order_lines LIMIT 5;
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr, line, qty, rating FROM order_lines WHERE order_type = 'QT' AND qty > 39;
SELECT order_nbr, line, qty, rating FROM order_lines WHERE order_type = 'QT' AND qty > 39 LIMIT 5;
SELECT count(*), count(DISTINCT (order_type, order_nbr)) AS orders FROM order_lines;

--
-- What is not sent, since it says something else here than there: rounded numbers, and values that change from row to row
--
CREATE FOREIGN TABLE totals (
    nbr text OPTIONS (field 'OrderNbr', key '1'), rounded numeric(12,0) OPTIONS (field 'OrderTotal'), total numeric OPTIONS (field 'OrderTotal')
) SERVER erp OPTIONS (entity 'SalesOrder');
EXPLAIN (VERBOSE, COSTS OFF) SELECT nbr FROM totals WHERE total > 4000;
EXPLAIN (VERBOSE, COSTS OFF) SELECT nbr FROM totals WHERE rounded > 4000;
EXPLAIN (VERBOSE, COSTS OFF) SELECT nbr FROM totals WHERE total > random()::numeric;

--
-- An inquiry form: what its parameters are is said in WHERE
--
CREATE FOREIGN TABLE stock (
    item text OPTIONS (field 'InventoryID', parameter 'required'),
    warehouse text OPTIONS (field 'WarehouseID', parameter 'optional'),
    site text OPTIONS (field 'Results/WarehouseID'),
    on_hand numeric OPTIONS (field 'Results/QtyOnHand')
) SERVER erp OPTIONS (inquiry 'InventorySummaryInquiry');
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM stock WHERE item = 'AACOMPUT00001';
SELECT * FROM stock WHERE item = 'AACOMPUT00001';
-- one request for each of a list
EXPLAIN (VERBOSE, COSTS OFF) SELECT item, sum(on_hand) FROM stock WHERE item IN ('AACOMPUT00001', 'AACOMPUT00003') GROUP BY 1;
SELECT item, sum(on_hand) FROM stock WHERE item IN ('AACOMPUT00001', 'AACOMPUT00003', 'AACOMPUT00001') GROUP BY 1 ORDER BY 1;
-- values of another table
CREATE TABLE wanted (item text);
INSERT INTO wanted VALUES ('AACOMPUT00003'), (NULL), ('NO SUCH ITEM');
EXPLAIN (VERBOSE, COSTS OFF) SELECT item, site, on_hand FROM wanted LEFT JOIN stock USING (item);
SELECT item, site, on_hand FROM wanted LEFT JOIN stock USING (item) ORDER BY 1, 2, 3;
-- a parameter of a prepared statement; for NULL nothing is asked
PREPARE stock_of (text) AS SELECT count(*) FROM stock WHERE item = $1;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE stock_of ('AACOMPUT00001');
EXECUTE stock_of ('AACOMPUT00001');
SELECT * FROM explain('EXECUTE stock_of (NULL)', 'ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF');
RESET plan_cache_mode;
-- without its parameter there is no answer, rather than none
SELECT * FROM stock;
SELECT * FROM stock WHERE item > 'A';
DROP TABLE wanted;
-- issue 5: a list of values does not make requests without bound
SELECT count(*) FROM stock WHERE item = ANY (ARRAY(SELECT n::text FROM generate_series(1, 50000) n));
SET acumatica_fdw.max_calls = 3;
SELECT count(*) FROM stock WHERE item IN ('AACOMPUT00001', 'AACOMPUT00003') AND warehouse IN ('WHOLESALE', 'RETAIL');
SELECT count(*) FROM stock WHERE item IN ('AACOMPUT00001', 'AACOMPUT00003', 'AACOMPUT00001') AND warehouse = 'WHOLESALE';
RESET acumatica_fdw.max_calls;

--
-- A generic inquiry with parameters
--
CREATE FOREIGN TABLE by_warehouse (
    warehouse text OPTIONS (field 'Warehouse', parameter 'required'),
    location text OPTIONS (field 'Location', parameter 'required'),
    item text OPTIONS (field 'InventoryID', key '1'),
    line int OPTIONS (field 'LineNbr', key '2'),
    on_hand numeric OPTIONS (field 'QtyOnHand')
) SERVER erp OPTIONS (schema 'OData', inquiry 'Inventory by Warehouse');
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM by_warehouse WHERE warehouse = 'MAIN4' AND location = 'R1S1' LIMIT 3;
SELECT * FROM by_warehouse WHERE warehouse = 'MAIN4' AND location = 'R1S1' LIMIT 3;
SELECT * FROM by_warehouse WHERE warehouse = 'O''Neill & 50% + /#' AND location = 'Größe';
SELECT * FROM by_warehouse WHERE warehouse = 'MAIN';

--
-- In which light rows are shown: options of server and table, and settings before them
--
CREATE FOREIGN TABLE bill (type text OPTIONS (field 'Type', key '1'), nbr text OPTIONS (field 'ReferenceNbr', key '2'))
    SERVER erp OPTIONS (entity 'Bill', branch 'PRODWHOLE', show_archived 'true');
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM bill;
SELECT count(*) FROM bill;
ALTER FOREIGN TABLE bill OPTIONS (SET show_archived 'false');
SELECT count(*) FROM bill;
SET acumatica_fdw.branch = 'SERVWEST'; SET acumatica_fdw.business_date = '2024-12-31'; SET acumatica_fdw.locale = 'de-DE';
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM bill;
SET acumatica_fdw.branch = 'ATLANTIS';
SELECT * FROM bill LIMIT 1;
RESET acumatica_fdw.branch; RESET acumatica_fdw.business_date;
CREATE FOREIGN TABLE labels (status text OPTIONS (field 'Status')) SERVER erp OPTIONS (entity 'SalesOrder');
SELECT DISTINCT status FROM labels ORDER BY 1;
RESET acumatica_fdw.locale;
SELECT DISTINCT status FROM labels ORDER BY 1;
-- deleted records, of data access classes
CREATE FOREIGN TABLE vendor (id int OPTIONS (field 'BAccountID', key '1'), deleted boolean OPTIONS (field 'DeletedDatabaseRecord'))
    SERVER erp OPTIONS (schema 'DAC', entity 'Vendor', show_deleted 'true');
EXPLAIN (VERBOSE, COSTS OFF) SELECT deleted, count(*) FROM vendor GROUP BY 1;
SELECT deleted, count(*) FROM vendor GROUP BY 1 ORDER BY 1;

--
-- All of a row as jsonb, and codes without their padding
--
CREATE FOREIGN TABLE whole (carrier_id text OPTIONS (field 'CarrierID'), all_of_it jsonb OPTIONS (field '*'))
    SERVER erp OPTIONS (entity 'ShipVia');
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM whole;
SELECT carrier_id, all_of_it #>> '{CalculationMethod,value}' AS method FROM whole LIMIT 2;
CREATE FOREIGN TABLE padded (id text OPTIONS (field 'CustomerID', key '1')) SERVER erp OPTIONS (schema 'OData', inquiry 'BI-Customers');
SELECT quote_literal(id) FROM padded LIMIT 2;
ALTER FOREIGN TABLE padded OPTIONS (ADD unpad 'true');
SELECT quote_literal(id) FROM padded LIMIT 2;

--
-- Attachments, and what there is
--
CREATE FOREIGN TABLE attached (nbr text OPTIONS (field 'OrderNbr'), files jsonb OPTIONS (field 'files')) SERVER erp OPTIONS (entity 'SalesOrder');
SELECT nbr, f ->> 'filename' AS filename, convert_from(acumatica_file('erp', f ->> 'href'), 'UTF8') AS content
FROM attached, jsonb_array_elements(files) f LIMIT 1;
SELECT acumatica_file('erp', 'http://elsewhere.example/x');
SELECT * FROM acumatica_endpoints('erp');
SELECT inquiry, parameters, key, fields FROM acumatica_inquiries('erp') WHERE inquiry ~ 'Warehouse|Order';
SELECT * FROM acumatica_relations('erp') WHERE entity ~ 'SO';

DROP EXTENSION acumatica_fdw CASCADE;
