"""The rows that each query needs: those that take part in its result. They meet the conditions of a FROM and WHERE together with
rows of the other tables there; those of a subquery also match a row outside that meets the other conditions there. A row counts
once, however often the query names its table.

"""

COUNTRIES = "substring(c_phone from 1 for 2) in ('13', '31', '23', '29', '30', '18', '17')"
ABOVE_AVERAGE = f"""{COUNTRIES} and c_acctbal > (select avg(c_acctbal) from customer where c_acctbal > 0 and {COUNTRIES})"""
WAITING = """supplier, lineitem, orders, nation
    where s_suppkey = l_suppkey and o_orderkey = l_orderkey and o_orderstatus = 'F' and l_receiptdate > l_commitdate
        and s_nationkey = n_nationkey and n_name = 'SAUDI ARABIA'"""
OTHERS = "other.l_orderkey = lineitem.l_orderkey and other.l_suppkey <> lineitem.l_suppkey"
SHARED = f"exists (select from lineitem as other where {OTHERS})"
LATE = "other.l_receiptdate > other.l_commitdate"
SHIPPED_1994 = """l_partkey = ps_partkey and l_suppkey = ps_suppkey and l_shipdate >= '1994-01-01' and l_shipdate < '1995-01-01'"""
FOREST = "p_partkey = ps_partkey and p_name like 'forest%'"
CANADA = "supplier, nation where s_nationkey = n_nationkey and n_name = 'CANADA'"

# For each query the joins whose rows it needs.
NEEDED = {
    1: ["lineitem where l_shipdate <= '1998-09-02'"],
    2: ["""part, partsupp, supplier, nation, region
        where p_size = 15 and p_type like '%BRASS' and p_partkey = ps_partkey and s_suppkey = ps_suppkey
            and s_nationkey = n_nationkey and n_regionkey = r_regionkey and r_name = 'EUROPE'"""],
    3: ["""customer, orders, lineitem
        where c_mktsegment = 'BUILDING' and c_custkey = o_custkey and l_orderkey = o_orderkey and o_orderdate < '1995-03-15'
            and l_shipdate > '1995-03-15'"""],
    4: ["""orders, lineitem
        where o_orderdate >= '1993-07-01' and o_orderdate < '1993-10-01' and l_orderkey = o_orderkey
            and l_commitdate < l_receiptdate"""],
    5: ["""customer, orders, lineitem, supplier, nation, region
        where c_custkey = o_custkey and l_orderkey = o_orderkey and l_suppkey = s_suppkey and c_nationkey = s_nationkey
            and s_nationkey = n_nationkey and n_regionkey = r_regionkey and r_name = 'ASIA' and o_orderdate >= '1994-01-01'
            and o_orderdate < '1995-01-01'"""],
    6: ["""lineitem
        where l_shipdate >= '1994-01-01' and l_shipdate < '1995-01-01' and l_discount between 0.05 and 0.07
            and l_quantity < 24"""],
    7: ["""supplier, lineitem, orders, customer, nation as a_nation, nation as b_nation
        where s_suppkey = l_suppkey and o_orderkey = l_orderkey and c_custkey = o_custkey
            and s_nationkey = a_nation.n_nationkey and c_nationkey = b_nation.n_nationkey
            and (a_nation.n_name, b_nation.n_name) in (('FRANCE', 'GERMANY'), ('GERMANY', 'FRANCE'))
            and l_shipdate between '1995-01-01' and '1996-12-31'"""],
    8: ["""part, supplier, lineitem, orders, customer, nation as a_nation, nation as b_nation, region
        where p_partkey = l_partkey and s_suppkey = l_suppkey and l_orderkey = o_orderkey and o_custkey = c_custkey
            and c_nationkey = a_nation.n_nationkey and a_nation.n_regionkey = r_regionkey and r_name = 'AMERICA'
            and s_nationkey = b_nation.n_nationkey and o_orderdate between '1995-01-01' and '1996-12-31'
            and p_type = 'ECONOMY ANODIZED STEEL'"""],
    9: ["""part, supplier, lineitem, partsupp, orders, nation
        where s_suppkey = l_suppkey and ps_suppkey = l_suppkey and ps_partkey = l_partkey and p_partkey = l_partkey
            and o_orderkey = l_orderkey and s_nationkey = n_nationkey and p_name like '%green%'"""],
    10: ["""customer, orders, lineitem, nation
        where c_custkey = o_custkey and l_orderkey = o_orderkey and o_orderdate >= '1993-10-01'
            and o_orderdate < '1994-01-01' and l_returnflag = 'R' and c_nationkey = n_nationkey"""],
    11: ["""partsupp, supplier, nation
        where ps_suppkey = s_suppkey and s_nationkey = n_nationkey and n_name = 'GERMANY'"""],
    12: ["""orders, lineitem
        where o_orderkey = l_orderkey and l_shipmode in ('MAIL', 'SHIP') and l_commitdate < l_receiptdate
            and l_shipdate < l_commitdate and l_receiptdate >= '1994-01-01' and l_receiptdate < '1995-01-01'"""],
    13: ["customer", "orders where o_comment not like '%special%requests%'"],
    14: ["lineitem, part where l_partkey = p_partkey and l_shipdate >= '1995-09-01' and l_shipdate < '1995-10-01'"],
    15: [
        "lineitem where l_shipdate >= '1996-01-01' and l_shipdate < '1996-04-01'",
        """supplier where s_suppkey in (
            select l_suppkey from lineitem where l_shipdate >= '1996-01-01' and l_shipdate < '1996-04-01' group by 1
            order by sum(l_extendedprice * (1 - l_discount)) desc fetch first row with ties)""",
    ],
    16: [
        """partsupp, part
        where p_partkey = ps_partkey and p_brand <> 'Brand#45' and p_type not like 'MEDIUM POLISHED%'
            and p_size in (49, 14, 23, 45, 19, 3, 36, 9)
            and ps_suppkey not in (select s_suppkey from supplier where s_comment like '%Customer%Complaints%')""",
        "supplier where s_comment like '%Customer%Complaints%'",
    ],
    17: ["lineitem, part where p_partkey = l_partkey and p_brand = 'Brand#23' and p_container = 'MED BOX'"],
    18: [
        "lineitem",
        """customer, orders
        where c_custkey = o_custkey
            and o_orderkey in (select l_orderkey from lineitem group by 1 having sum(l_quantity) > 300)""",
    ],
    19: ["""lineitem, part
        where p_partkey = l_partkey and l_shipmode in ('AIR', 'AIR REG') and l_shipinstruct = 'DELIVER IN PERSON' and (
            p_brand = 'Brand#12' and p_container in ('SM CASE', 'SM BOX', 'SM PACK', 'SM PKG')
                and l_quantity between 1 and 11 and p_size between 1 and 5
            or p_brand = 'Brand#23' and p_container in ('MED BAG', 'MED BOX', 'MED PKG', 'MED PACK')
                and l_quantity between 10 and 20 and p_size between 1 and 10
            or p_brand = 'Brand#34' and p_container in ('LG CASE', 'LG BOX', 'LG PACK', 'LG PKG')
                and l_quantity between 20 and 30 and p_size between 1 and 15)"""],
    20: [
        f"part, partsupp where exists (select from {CANADA} and ps_suppkey = s_suppkey) and {FOREST}",
        f"lineitem where exists (select from part, partsupp, {CANADA} and ps_suppkey = s_suppkey and {FOREST} and {SHIPPED_1994})",
        f"""{CANADA} and exists (
            select from part, partsupp where ps_suppkey = s_suppkey and {FOREST} and ps_availqty > (
                select 0.5 * sum(l_quantity) from lineitem where {SHIPPED_1994}))""",
    ],
    21: [
        f"{WAITING} and {SHARED} and not exists (select from lineitem as other where {OTHERS} and {LATE})",
        f"lineitem as other_lineitem where exists (select from {WAITING} and {OTHERS})".replace("other.", "other_lineitem."),
    ],
    22: [
        f"customer where c_acctbal > 0 and {COUNTRIES}",
        f"customer, orders where {ABOVE_AVERAGE} and o_custkey = c_custkey",
    ],
}


def needed(number):
    """A query that counts the rows that one of the 22 needs."""
    rows = []
    for join in NEEDED[number]:
        for item in join.split("where")[0].split(","):
            table, *alias = item.split()
            rows.append(f"select '{table}', {alias[-1] if alias else table}.ctid from {join}")
    return f"select count(*) from ({' union '.join(rows)}) as rows"
