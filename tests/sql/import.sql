-- IMPORT FOREIGN SCHEMA: from what an instance has to foreign tables, against the simulator at scale 1.
\set url `echo "$SIM_URL"`
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION acumatica_fdw;
CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url :'url', company 'Company');
CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'admin', password 'pass-of-admin');
CREATE SCHEMA erp;
-- Columns with their types and options, but for the option field.
CREATE FUNCTION columns_of(relation regclass) RETURNS TABLE ("column" name, type text, options text, comment text)
    LANGUAGE sql AS $$
    SELECT attname, format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END,
           array_to_string(attfdwoptions, ', '), col_description(attrelid, attnum)
    FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped ORDER BY attnum $$;
CREATE VIEW tables AS
    SELECT ftrelid::regclass AS "table", array_to_string(ftoptions, ', ') AS options,
           obj_description(ftrelid, 'pg_class') AS comment
    FROM pg_foreign_table ORDER BY ftrelid::regclass::text COLLATE "C";

--
-- Business entities: one table for the records, one for each detail, with the key of the record in front
--
IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("ShipVia", ship_via_freight_rates) FROM SERVER erp INTO erp;
SELECT * FROM tables;
SELECT * FROM columns_of('erp.ship_via');
SELECT * FROM columns_of('erp.ship_via_freight_rates');
EXPLAIN (VERBOSE, COSTS OFF) SELECT carrier_id, description FROM erp.ship_via;
SELECT carrier_id, description FROM erp.ship_via;
EXPLAIN (VERBOSE, COSTS OFF) SELECT carrier_id, row_number, zone_id, rate FROM erp.ship_via_freight_rates;
SELECT carrier_id, row_number, zone_id, rate FROM erp.ship_via_freight_rates LIMIT 4;

-- inquiry forms have their parameters as columns
IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("AccountSummaryInquiry") FROM SERVER erp INTO erp;
SELECT * FROM columns_of('erp.account_summary_inquiry');
DROP FOREIGN TABLE erp.account_summary_inquiry, erp.ship_via, erp.ship_via_freight_rates;

--
-- Linked records: a column for each of their fields, one jsonb column, or nothing
--
IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("Employee") FROM SERVER erp INTO erp OPTIONS (prefix 'flat_');
SELECT * FROM columns_of('erp.flat_employee') WHERE "column" ~ 'id|address|department';
IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("Employee") FROM SERVER erp INTO erp OPTIONS (prefix 'json_', linked 'jsonb');
SELECT * FROM columns_of('erp.json_employee');
IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("Employee") FROM SERVER erp INTO erp OPTIONS (prefix 'plain_', linked 'skip');
SELECT * FROM columns_of('erp.plain_employee');
EXPLAIN (VERBOSE, COSTS OFF) SELECT employee_id, contact_info_email, contact_info_address_city FROM erp.flat_employee LIMIT 3;
SELECT employee_id, contact_info_email, contact_info_address_city FROM erp.flat_employee LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT employee_id, contact_info FROM erp.json_employee LIMIT 3;
SELECT employee_id, contact_info #>> '{Email,value}' AS email FROM erp.json_employee LIMIT 3;
DROP FOREIGN TABLE erp.flat_employee, erp.json_employee, erp.plain_employee;

--
-- Details in the record too, names as they are, custom fields, without keys and comments
--
IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("ShipVia") FROM SERVER erp INTO erp
    OPTIONS (details 'jsonb', case 'preserve', import_keys 'false', import_not_null 'false', import_comments 'false');
SELECT * FROM tables;
SELECT * FROM columns_of('erp."ShipVia"');
SELECT "CarrierID", jsonb_array_length("FreightRates") AS rates FROM erp."ShipVia" LIMIT 3;
DROP FOREIGN TABLE erp."ShipVia";

IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("SalesOrder") FROM SERVER erp INTO erp OPTIONS (custom_fields 'true', linked 'skip');
SELECT * FROM columns_of('erp.sales_order') WHERE options LIKE '%custom%' OR options LIKE '%key%';
SELECT order_nbr, usr_priority, usr_commission FROM erp.sales_order LIMIT 3;
DROP FOREIGN TABLE erp.sales_order;

--
-- The endpoint is written into each table, so that an upgrade of the instance changes nothing by itself
--
IMPORT FOREIGN SCHEMA "REST" LIMIT TO (ledger) FROM SERVER erp INTO erp OPTIONS (endpoint_version '23.200.001');
IMPORT FOREIGN SCHEMA "REST" LIMIT TO (ledger) FROM SERVER erp INTO erp OPTIONS (endpoint_name 'ecommerce', prefix 'shop_');
SELECT * FROM tables;
SELECT ledger_id, description, type FROM erp.ledger;
DROP FOREIGN TABLE erp.shop_ledger;
-- what another version would bring
SELECT * FROM acumatica_diff('erp', '24.200.001');
ALTER FOREIGN TABLE erp.ledger ALTER COLUMN type TYPE integer, DROP COLUMN currency;
SELECT * FROM acumatica_diff('erp');
DROP FOREIGN TABLE erp.ledger;

--
-- Generic inquiries
--
SET client_min_messages = notice;
IMPORT FOREIGN SCHEMA "OData" FROM SERVER erp INTO erp;
SET client_min_messages = warning;
SELECT * FROM tables;
SELECT * FROM columns_of('erp.inventory_by_warehouse');
SELECT * FROM columns_of('erp."größe_gewicht"');
DROP SCHEMA erp CASCADE;
CREATE SCHEMA erp;
-- by the names that people have for them, and without padding
IMPORT FOREIGN SCHEMA "OData" LIMIT TO ("BI-Customers", ar_aging_by_customer) FROM SERVER erp INTO erp
    OPTIONS (unpad 'true', prefix 'gi_');
SELECT * FROM tables;
EXPLAIN (VERBOSE, COSTS OFF) SELECT customer_id, customer_name, _1st_contact FROM erp.gi_bi_customers LIMIT 2;
SELECT customer_id, customer_name, _1st_contact FROM erp.gi_bi_customers LIMIT 2;
DROP FOREIGN TABLE erp.gi_bi_customers, erp.gi_ar_aging_by_customer;

--
-- Data access classes: by short name, full name, or the name that the table gets
--
IMPORT FOREIGN SCHEMA "DAC" LIMIT TO (SOLine, "PX_Objects_IN_InventoryItem", customer) FROM SERVER erp INTO erp;
SELECT * FROM tables;
SELECT * FROM columns_of('erp.so_line');
SELECT * FROM columns_of('erp.inventory_item') WHERE options LIKE '%pushdown%';
EXPLAIN (VERBOSE, COSTS OFF) SELECT order_nbr, line_nbr, inventory_id, order_qty FROM erp.so_line LIMIT 2;
SELECT order_nbr, line_nbr, inventory_id, order_qty FROM erp.so_line LIMIT 2;
IMPORT FOREIGN SCHEMA "DAC" EXCEPT (so_line, "InventoryItem", customer, "PX_Objects_SO_SOOrder") FROM SERVER erp INTO erp;
SELECT "table" FROM tables;

--
-- What does not work
--
IMPORT FOREIGN SCHEMA "DAC" LIMIT TO (SOOrdre) FROM SERVER erp INTO erp;
IMPORT FOREIGN SCHEMA "REST" EXCEPT ("Cutsomer") FROM SERVER erp INTO erp;
IMPORT FOREIGN SCHEMA public FROM SERVER erp INTO erp;
IMPORT FOREIGN SCHEMA "REST" FROM SERVER erp INTO erp OPTIONS (linkd 'skip');
IMPORT FOREIGN SCHEMA "REST" FROM SERVER erp INTO erp OPTIONS (linked 'sometimes');
IMPORT FOREIGN SCHEMA "REST" FROM SERVER erp INTO erp OPTIONS (page_size '10');
IMPORT FOREIGN SCHEMA "REST" FROM SERVER erp INTO erp OPTIONS (endpoint_name 'Defualt');
IMPORT FOREIGN SCHEMA "REST" FROM SERVER erp INTO erp OPTIONS (endpoint_version '19.200.001');
IMPORT FOREIGN SCHEMA "DAC" LIMIT TO (customer) FROM SERVER erp INTO erp;

DROP SCHEMA erp CASCADE;
DROP VIEW tables;
DROP FUNCTION columns_of;
DROP EXTENSION acumatica_fdw CASCADE;
