-- For the SQL tests, in whose database tests/run.sh creates it: EXPLAIN as PostgreSQL 15 prints it. From 17 on the result
-- of InitPlan 1 is "(InitPlan 1).col1", which was "$0"; from 18 on the numbers of actual rows have decimals.
CREATE FUNCTION explain(query text, options text DEFAULT 'VERBOSE, COSTS OFF') RETURNS TABLE ("QUERY PLAN" text) LANGUAGE plpgsql AS $$
BEGIN
    FOR "QUERY PLAN" IN EXECUTE format('EXPLAIN (%s) %s', options, query) LOOP
        FOR n IN 1..2 LOOP
            "QUERY PLAN" := regexp_replace("QUERY PLAN", format('InitPlan %s$', n), format('InitPlan %s (returns $%s)', n, n - 1));
            "QUERY PLAN" := replace("QUERY PLAN", format('(InitPlan %s).col1', n), format('$%s', n - 1));
        END LOOP;
        "QUERY PLAN" := regexp_replace("QUERY PLAN", '(actual rows=\d+)\.00', '\1');
        RETURN NEXT;
    END LOOP;
END $$;
