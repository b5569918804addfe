\echo Use "CREATE EXTENSION acumatica_fdw" to load this file. \quit

CREATE FUNCTION acumatica_fdw_handler() RETURNS fdw_handler
    AS 'MODULE_PATHNAME', 'acumatica_fdw_handler'
    LANGUAGE C STRICT;

CREATE FUNCTION acumatica_fdw_validator(options text[], catalog oid) RETURNS void
    AS 'MODULE_PATHNAME', 'acumatica_fdw_validator'
    LANGUAGE C STRICT;

CREATE FOREIGN DATA WRAPPER acumatica_fdw
    HANDLER acumatica_fdw_handler
    VALIDATOR acumatica_fdw_validator;

CREATE FUNCTION acumatica_options(
        OUT name text,
        OUT aliases text[],
        OUT objects text[],
        OUT type text,
        OUT default_value text,
        OUT secret boolean,
        OUT purpose text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'acumatica_options_wrapper'
    LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION acumatica_options() IS
    'lists the options of servers, user mappings, foreign tables and columns';

CREATE FUNCTION acumatica_seal(secret text, server text DEFAULT NULL, role text DEFAULT NULL) RETURNS text
    AS 'MODULE_PATHNAME', 'acumatica_seal_wrapper'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION acumatica_seal(text, text, text) IS
    'encrypts a secret with the key of this cluster; only the user mapping of that role (by default the caller, or public) for that server can use it';

CREATE FUNCTION acumatica_authorize_url(server text) RETURNS text
    AS 'MODULE_PATHNAME', 'acumatica_authorize_url_wrapper'
    LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION acumatica_authorize_url(text) IS
    'returns the URL to open in a browser to sign in to a server with auth_strategy OAuth';

CREATE FUNCTION acumatica_authorize(
        server text,
        redirect_url_or_code text,
        OUT company text,
        OUT scope text,
        OUT access_token_expires timestamptz,
        OUT refresh_token_expires timestamptz)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'acumatica_authorize_wrapper'
    LANGUAGE C STRICT VOLATILE ROWS 1;
COMMENT ON FUNCTION acumatica_authorize(text, text) IS
    'completes the OAuth sign-in with the URL to which the browser was redirected, or with the code in that URL';

CREATE FUNCTION acumatica_authorize_wait(
        server text,
        timeout interval DEFAULT '5 minutes',
        OUT company text,
        OUT scope text,
        OUT access_token_expires timestamptz,
        OUT refresh_token_expires timestamptz)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'acumatica_authorize_wait_wrapper'
    LANGUAGE C STRICT VOLATILE ROWS 1;
COMMENT ON FUNCTION acumatica_authorize_wait(text, interval) IS
    'shows the URL to open in a browser, and waits for the redirect to redirect_url on the machine of PostgreSQL';

CREATE FUNCTION acumatica_disconnect(server text) RETURNS bigint
    AS 'MODULE_PATHNAME', 'acumatica_disconnect_wrapper'
    LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION acumatica_disconnect(text) IS
    'closes the API sessions of a server, or only one''s own if the caller is not its owner, and returns their number';

CREATE FUNCTION acumatica_disconnect_all() RETURNS bigint
    AS 'MODULE_PATHNAME', 'acumatica_disconnect_all_wrapper'
    LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION acumatica_disconnect_all() IS
    'closes the API sessions of all servers of this database that the caller may use, and returns their number';

CREATE FUNCTION acumatica_sessions(
        OUT server text,
        OUT user_name text,
        OUT auth_strategy text,
        OUT state text,
        OUT opened timestamptz,
        OUT last_used timestamptz,
        OUT access_token_expires timestamptz,
        OUT refresh_token_expires timestamptz,
        OUT requests bigint)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'acumatica_sessions_wrapper'
    LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION acumatica_sessions() IS
    'lists the open API sessions and the OAuth authorizations that the backends of this database share';

CREATE FUNCTION acumatica_check(
        server text,
        OUT step text,
        OUT ok boolean,
        OUT detail text,
        OUT hint text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'acumatica_check_wrapper'
    LANGUAGE C STRICT VOLATILE ROWS 15;
COMMENT ON FUNCTION acumatica_check(text) IS
    'tests the connection to a server step by step, in a session of its own that it closes at the end';

CREATE FUNCTION acumatica_endpoints(
        server text,
        OUT endpoint text,
        OUT version text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'acumatica_endpoints_wrapper'
    LANGUAGE C STRICT VOLATILE ROWS 10;
COMMENT ON FUNCTION acumatica_endpoints(text) IS
    'lists the contract endpoints of the instance';

CREATE FUNCTION acumatica_inquiries(
        server text,
        OUT inquiry text,
        OUT title text,
        OUT parameters text[],
        OUT key text[],
        OUT fields integer)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'acumatica_inquiries_wrapper'
    LANGUAGE C STRICT VOLATILE ROWS 100;
COMMENT ON FUNCTION acumatica_inquiries(text) IS
    'lists the generic inquiries that the instance exposes via OData';

CREATE FUNCTION acumatica_relations(
        server text,
        OUT entity text,
        OUT relation text,
        OUT target text,
        OUT many boolean,
        OUT fields text[],
        OUT target_fields text[])
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'acumatica_relations_wrapper'
    LANGUAGE C STRICT VOLATILE ROWS 10000;
COMMENT ON FUNCTION acumatica_relations(text) IS
    'lists the navigation properties of the data access classes, with the fields that they join on';

CREATE FUNCTION acumatica_file(server text, href text, max_bytes bigint DEFAULT 268435456) RETURNS bytea
    AS 'MODULE_PATHNAME', 'acumatica_file_wrapper'
    LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION acumatica_file(text, text, bigint) IS
    'returns the content of an attachment, given its href from the column files';

CREATE FUNCTION acumatica_diff(
        foreign_schema text,
        endpoint_version text DEFAULT NULL,
        OUT foreign_table text,
        OUT change text,
        OUT statement text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'acumatica_diff_wrapper'
    LANGUAGE C VOLATILE ROWS 10;
COMMENT ON FUNCTION acumatica_diff(text, text) IS
    'compares the foreign tables of a schema with the current definitions, and returns the statements that update them';

CREATE FUNCTION acumatica_fdw_altered() RETURNS event_trigger
    AS 'MODULE_PATHNAME', 'acumatica_fdw_altered'
    LANGUAGE C
    SET search_path = pg_catalog, pg_temp;
CREATE EVENT TRIGGER acumatica_fdw_altered ON ddl_command_end
    WHEN TAG IN ('ALTER SERVER', 'CREATE USER MAPPING', 'ALTER USER MAPPING')
    EXECUTE FUNCTION acumatica_fdw_altered();

CREATE FUNCTION acumatica_fdw_dropped() RETURNS event_trigger
    AS 'MODULE_PATHNAME', 'acumatica_fdw_dropped'
    LANGUAGE C
    SET search_path = pg_catalog, pg_temp;
CREATE EVENT TRIGGER acumatica_fdw_dropped ON sql_drop
    WHEN TAG IN ('DROP SERVER', 'DROP USER MAPPING', 'DROP FOREIGN DATA WRAPPER', 'DROP OWNED', 'DROP EXTENSION')
    EXECUTE FUNCTION acumatica_fdw_dropped();

CREATE FUNCTION acumatica_fdw_dropping() RETURNS event_trigger
    AS 'MODULE_PATHNAME', 'acumatica_fdw_dropping'
    LANGUAGE C
    SET search_path = pg_catalog, pg_temp;
CREATE EVENT TRIGGER acumatica_fdw_dropping ON ddl_command_start
    WHEN TAG IN ('DROP EXTENSION')
    EXECUTE FUNCTION acumatica_fdw_dropping();

CREATE FUNCTION acumatica_fdw_imported() RETURNS event_trigger
    AS 'MODULE_PATHNAME', 'acumatica_fdw_imported'
    LANGUAGE C
    SET search_path = pg_catalog, pg_temp;
CREATE EVENT TRIGGER acumatica_fdw_imported ON ddl_command_end
    WHEN TAG IN ('IMPORT FOREIGN SCHEMA')
    EXECUTE FUNCTION acumatica_fdw_imported();
