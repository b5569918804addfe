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
    'the options of servers, user mappings, foreign tables and columns';
