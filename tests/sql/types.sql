-- Types: each into each, NULLs, and values that do not fit.
\set url `echo "$SIM_URL"`
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'America/New_York';
CREATE EXTENSION acumatica_fdw;
CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url :'url', company 'Company', schema 'OData');
CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'admin', password 'pass-of-admin');

-- decimals as numbers and as strings, time stamps with Z, an offset or no zone
CREATE FOREIGN TABLE typed (
    "OrderType" text OPTIONS (key '1'), "OrderNbr" text OPTIONS (key '2'),
    "OrderTotal" numeric, "TaxTotal" numeric, "Probability" float8, "LineCounter" bigint, "Hold" boolean,
    "Date" date, "LastModifiedOn" timestamptz, "ApprovedOn" timestamp, "PromisedOn" timestamptz, "NoteID" uuid
) SERVER erp OPTIONS (inquiry 'BI-SalesOrders');
\x on
SELECT * FROM typed LIMIT 3;
-- the same through other types: what PostgreSQL has no fast way for goes through the type's input function
CREATE FOREIGN TABLE retyped (
    "OrderType" varchar(2) OPTIONS (key '1'), "OrderNbr" char(8) OPTIONS (key '2'),
    "OrderTotal" numeric(12,1), "TaxTotal" text, "Probability" float4, total_as_money money OPTIONS (field 'OrderTotal'),
    "Hold" text, "Date" timestamp, modified_0 timestamptz(0) OPTIONS (field 'LastModifiedOn'),
    as_day date OPTIONS (field 'Date'), "PromisedOn" timestamp, "NoteID" text, as_name name OPTIONS (field 'OrderNbr')
) SERVER erp OPTIONS (inquiry 'BI-SalesOrders');
SELECT * FROM retyped LIMIT 3;
\x off
-- a time of day is not cut off
CREATE FOREIGN TABLE of_days ("OrderNbr" text OPTIONS (key '1'), "ApprovedOn" date) SERVER erp OPTIONS (inquiry 'BI-SalesOrders');
SELECT "ApprovedOn" FROM of_days;

-- {} and null are NULL
CREATE FOREIGN TABLE nulls ("OrderType" text OPTIONS (key '1'), "OrderNbr" text OPTIONS (key '2'), "Description" text,
    city text OPTIONS (field 'ShipToAddress/City'))
    SERVER erp OPTIONS (schema 'REST', entity 'SalesOrder');
SELECT count(*), count("Description") < count(*) AS some_null, count(city) < count(*) AS some_cities_null FROM nulls;

-- a value that does not fit: table, column, key, and how the value begins
CREATE FOREIGN TABLE too_small ("OrderType" text OPTIONS (key '1'), "OrderNbr" text OPTIONS (key '2'), "LineCounter" smallint)
    SERVER erp OPTIONS (inquiry 'BI-SalesOrders');
SELECT * FROM too_small;
CREATE FOREIGN TABLE not_a_number ("OrderNbr" text OPTIONS (key '1'), "CustomerName" numeric)
    SERVER erp OPTIONS (inquiry 'BI-SalesOrders');
SELECT * FROM not_a_number;
CREATE FOREIGN TABLE too_long ("OrderNbr" text OPTIONS (key '1'), "CustomerName" varchar(3))
    SERVER erp OPTIONS (inquiry 'BI-SalesOrders');
SELECT * FROM too_long;
SELECT "CustomerName" FROM too_long;
CREATE FOREIGN TABLE too_many_digits ("OrderNbr" text OPTIONS (key '1'), "OrderTotal" numeric(3,0))
    SERVER erp OPTIONS (inquiry 'BI-SalesOrders');
SELECT * FROM too_many_digits;
CREATE FOREIGN TABLE through_details ("OrderNbr" text, item text OPTIONS (field 'Details/InventoryID'))
    SERVER erp OPTIONS (schema 'REST', entity 'SalesOrder');
SELECT * FROM through_details;
CREATE DOMAIN short AS text CHECK (length(VALUE) < 4);
CREATE FOREIGN TABLE constrained ("OrderNbr" text OPTIONS (key '1'), "CustomerName" short)
    SERVER erp OPTIONS (inquiry 'BI-SalesOrders');
SELECT * FROM constrained;
-- the error can be caught and the next statement goes on
DO $$ BEGIN PERFORM * FROM too_long; EXCEPTION WHEN string_data_right_truncation THEN RAISE WARNING 'caught: %', SQLERRM; END $$;

DROP DOMAIN short CASCADE;
DROP EXTENSION acumatica_fdw CASCADE;
