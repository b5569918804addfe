-- Options: what is accepted, what is refused, and what the refusal says.
SET client_min_messages = warning;
CREATE EXTENSION acumatica_fdw;
\set SHOW_CONTEXT never

-- the table of options
SELECT name, aliases, objects, type, default_value, secret FROM acumatica_options();

-- the foreign data wrapper itself has none
CREATE FOREIGN DATA WRAPPER other HANDLER acumatica_fdw_handler VALIDATOR acumatica_fdw_validator OPTIONS (url 'x');

-- every form of address
CREATE SERVER a1 FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'mycompany.acumatica.com');
CREATE SERVER a2 FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'https://host/Site/');
CREATE SERVER a3 FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'https://host/entity/');
CREATE SERVER a4 FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'https://host/Site/entity/Manufacturing/23.200.001');
CREATE SERVER a5 FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'https://host/Main?ScreenId=SO301000');
CREATE SERVER a6 FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'localhost:8080/Site');
CREATE SERVER a7 FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'http://erp.example', allow_http 'on');
-- normalised, as EXPLAIN shows, which needs neither network nor user mapping
CREATE FOREIGN TABLE t2 ("OrderNbr" text) SERVER a2 OPTIONS (entity 'SalesOrder');
CREATE FOREIGN TABLE t3 ("OrderNbr" text) SERVER a3 OPTIONS (entity 'SalesOrder');
CREATE FOREIGN TABLE t4 ("OrderNbr" text) SERVER a4 OPTIONS (entity 'SalesOrder');
CREATE FOREIGN TABLE t5 ("OrderNbr" text) SERVER a5 OPTIONS (entity 'SalesOrder');
CREATE FOREIGN TABLE t6 ("OrderNbr" text) SERVER a6 OPTIONS (entity 'SalesOrder');
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM t2;
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM t3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM t4;
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM t5;
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM t6;

-- addresses that are refused
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw;
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url '');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'ftp://host');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'https://admin:secret@host');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'http://erp.example');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'http://erp.example', allow_http 'off');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'not a host');

-- names: a slip, a guess, a credential in the wrong place, an option of another object
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', compny 'x');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', warehouse 'x');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', password 'secret');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', "user" 'admin');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', entity 'SalesOrder');
CREATE USER MAPPING FOR PUBLIC SERVER a1 OPTIONS (url 'host');
CREATE USER MAPPING FOR PUBLIC SERVER a1 OPTIONS (usrname 'admin');

-- values: type, range, choice
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', page_size '0');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', page_size '100001');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', page_size 'many');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', operation_timeout '3601');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', fdw_startup_cost '-1');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', fdw_tuple_cost 'NaN');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', fdw_tuple_cost '1e300');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', fdw_tuple_cost 'dear');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', allow_http 'maybe');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', schema 'SOAP');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', company '');
CREATE SERVER a8 FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', page_size '100000', operation_timeout '3600', schema 'odatav4');
CREATE SERVER a9 FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', page_size '1', operation_timeout '1', schema 'rest');

-- what a request and a row cost: as the table says, else the server
CREATE SERVER dear FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', fdw_startup_cost '7', fdw_tuple_cost '1e-1');
CREATE FOREIGN TABLE costs (n int) SERVER dear OPTIONS (entity 'SalesOrder', rows '1000');
EXPLAIN SELECT * FROM costs;
ALTER FOREIGN TABLE costs OPTIONS (ADD fdw_startup_cost '0', ADD fdw_tuple_cost '0.5');
EXPLAIN SELECT * FROM costs;

-- given twice: by PostgreSQL's own check, by another name, in extra_properties
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', company 'x', company 'y');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', company 'x', tenant 'y');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', company 'x', extra_properties 'tenant=y');
CREATE USER MAPPING FOR PUBLIC SERVER a1 OPTIONS (username 'a', "user" 'b');

-- extra_properties
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', extra_properties 'page_size=0');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', extra_properties 'page_size');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', extra_properties 'extra_properties=x');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', extra_properties 'password=secret');
CREATE SERVER a10 FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', extra_properties 'page_size=7; schema=OData;company=My Company;');
CREATE FOREIGN TABLE t10 ("A" text OPTIONS (key '1')) SERVER a10 OPTIONS (inquiry 'My Inquiry');
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM t10;

-- options that do not fit the schema
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', schema 'OData', endpoint_name 'Default');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', schema 'REST', odata_version '4');
CREATE FOREIGN TABLE b ("A" text) SERVER a1 OPTIONS (schema 'OData', entity 'SalesOrder');
CREATE FOREIGN TABLE b ("A" text) SERVER a1 OPTIONS (schema 'DAC', inquiry 'My Inquiry');
CREATE FOREIGN TABLE b ("A" text) SERVER a1 OPTIONS (schema 'OData', inquiry 'My Inquiry', detail 'Details');
CREATE FOREIGN TABLE b ("A" text) SERVER a1 OPTIONS (schema 'REST', entity 'SalesOrder', collation 'C');
CREATE FOREIGN TABLE b ("A" text) SERVER a1 OPTIONS (entity 'Customer', business_date 'yesterday');
CREATE FOREIGN TABLE b ("A" text) SERVER a1 OPTIONS (schema 'DAC', entity 'SOOrder', endpoint_version '24.200.001');
CREATE FOREIGN TABLE b ("A" text) SERVER a1;
CREATE FOREIGN TABLE b ("A" text) SERVER a1 OPTIONS (entity 'SalesOrder', inquiry 'My Inquiry');
-- where the schema is the server's, this shows at first use
CREATE FOREIGN TABLE t11 ("A" text) SERVER a10 OPTIONS (entity 'SalesOrder');
EXPLAIN (VERBOSE) SELECT * FROM t11;
CREATE FOREIGN TABLE t12 ("A" text) SERVER a1 OPTIONS (schema 'OData', inquiry 'My Inquiry');
EXPLAIN (VERBOSE) SELECT * FROM t12;

-- columns
CREATE FOREIGN TABLE b ("A" text OPTIONS (field 'MainContact/')) SERVER a1 OPTIONS (entity 'Customer');
CREATE FOREIGN TABLE b ("A" text OPTIONS (key '0')) SERVER a1 OPTIONS (entity 'Customer');
CREATE FOREIGN TABLE b ("A" text OPTIONS (feild 'A')) SERVER a1 OPTIONS (entity 'Customer');
CREATE FOREIGN TABLE b ("A" text OPTIONS (custom 'UsrX')) SERVER a1 OPTIONS (entity 'Customer');
CREATE FOREIGN TABLE b ("A" text OPTIONS (custom 'Document.UsrX', field 'A')) SERVER a1 OPTIONS (entity 'Customer');
CREATE FOREIGN TABLE b ("A" text OPTIONS (parameter 'perhaps')) SERVER a1 OPTIONS (inquiry 'Form');
CREATE FOREIGN TABLE t13 ("A" text OPTIONS (parameter 'required')) SERVER a1 OPTIONS (entity 'Customer');
EXPLAIN (VERBOSE) SELECT * FROM t13;

-- imports
IMPORT FOREIGN SCHEMA "REST" FROM SERVER a1 INTO public OPTIONS (linkd 'skip');
IMPORT FOREIGN SCHEMA "REST" FROM SERVER a1 INTO public OPTIONS (linked 'somehow');
IMPORT FOREIGN SCHEMA "Rest of it" FROM SERVER a1 INTO public;

-- a scan needs credentials
SELECT * FROM t2;
CREATE USER MAPPING FOR PUBLIC SERVER a2 OPTIONS (username 'admin');
SELECT * FROM t2;

-- options that do not fit the way of signing in
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', scope 'api');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', auth_strategy 'OAuthPassword', callback_url 'http://localhost:1/');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', auth_strategy 'OAuth', scope 'api api:concurrent_access');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', auth_strategy 'OAuth', scope 'openid');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', auth_strategy 'OAuth', callback_url 'localhost');
CREATE SERVER o FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', auth_strategy 'oauth');
CREATE USER MAPPING FOR PUBLIC SERVER o;
CREATE USER MAPPING FOR PUBLIC SERVER o OPTIONS (username 'admin', password 'x');
CREATE USER MAPPING FOR PUBLIC SERVER o OPTIONS (client_id 'x@y', access_token 'x');
CREATE USER MAPPING FOR PUBLIC SERVER o OPTIONS (client_id 'x@y', client_secret 'x', client_secret_file '/x');
CREATE USER MAPPING FOR PUBLIC SERVER o OPTIONS (client_id 'x@y', proxy_user 'x');
CREATE USER MAPPING FOR PUBLIC SERVER o OPTIONS (client_id 'x@y', proxy_user 'x', proxy_password 'x');
CREATE USER MAPPING FOR PUBLIC SERVER o OPTIONS (client_id 'x', client_secret 'x');
ALTER SERVER o OPTIONS (ADD company 'z');
CREATE USER MAPPING FOR PUBLIC SERVER o OPTIONS (client_id 'x@y', client_secret 'x');
ALTER SERVER o OPTIONS (SET company 'Y');
CREATE USER MAPPING FOR PUBLIC SERVER o OPTIONS (client_id 'x@y', client_secret 'x');
-- the server goes ahead, the mapping follows
ALTER SERVER o OPTIONS (SET auth_strategy 'OAuthPassword');
ALTER USER MAPPING FOR PUBLIC SERVER o OPTIONS (ADD username 'admin');
ALTER USER MAPPING FOR PUBLIC SERVER o OPTIONS (ADD username 'admin', ADD password 'x');
ALTER SERVER o OPTIONS (SET auth_strategy 'OAuthImplicit');
ALTER USER MAPPING FOR PUBLIC SERVER o OPTIONS (DROP username, DROP password, DROP client_id, DROP client_secret, ADD access_token 'x');
-- functions of one way of signing in, and of no other wrapper
SELECT acumatica_authorize_url('o');
SELECT acumatica_authorize_url('nowhere');

-- the way to the site
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', verify_certificate 'false');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', client_cert_file '/x');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', ca_file 'x');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', proxy 'http://user:password@proxy:3128');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'host', proxy 'socks5://proxy');
-- behind a proxy on another machine, this machine is as far as any
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'http://localhost', proxy 'http://proxy:3128');
CREATE SERVER b FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'https://localhost', proxy 'http://proxy:3128', verify_certificate 'false');

-- issue 5: a setting that nobody has defined is refused
SET acumatica_fdw.busines_date = '2024-12-31';
SET acumatica_fdw.business_date = '2024-12-31';
RESET acumatica_fdw.business_date;

-- the functions of the event triggers are for nobody else
SELECT acumatica_fdw_altered();
SELECT acumatica_fdw_dropped();
SELECT acumatica_fdw_dropping();

-- the validator sees all options on ALTER too
ALTER SERVER a1 OPTIONS (DROP url);
ALTER SERVER a1 OPTIONS (ADD page_size '-1');

DROP EXTENSION acumatica_fdw CASCADE;
