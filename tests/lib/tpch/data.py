"""The tables of TPC-H at scale 0.01 as files for `acumatica-sim --tables`: the columns, sizes, value domains and dependencies
between columns that the 22 queries rely on, from a generator of our own. Each run makes the same rows."""

import csv
import datetime
import io

CUSTOMERS, ORDERS, PARTS, SUPPLIERS = 1500, 15000, 2000, 100
FIRST_DAY, TODAY = datetime.date(1992, 1, 1), datetime.date(1995, 6, 17)
ORDER_DAYS = (datetime.date(1998, 8, 2) - FIRST_DAY).days

REGIONS = ("AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST")
NATIONS = (
    ("ALGERIA", 0), ("ARGENTINA", 1), ("BRAZIL", 1), ("CANADA", 1), ("EGYPT", 4), ("ETHIOPIA", 0), ("FRANCE", 3),
    ("GERMANY", 3), ("INDIA", 2), ("INDONESIA", 2), ("IRAN", 4), ("IRAQ", 4), ("JAPAN", 2), ("JORDAN", 4), ("KENYA", 0),
    ("MOROCCO", 0), ("MOZAMBIQUE", 0), ("PERU", 1), ("CHINA", 2), ("ROMANIA", 3), ("SAUDI ARABIA", 4), ("VIETNAM", 2),
    ("RUSSIA", 3), ("UNITED KINGDOM", 3), ("UNITED STATES", 1),
)
SEGMENTS = ("AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD")
PRIORITIES = ("1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW")
INSTRUCTIONS = ("DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN")
MODES = ("REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB")
TYPES = (
    ("STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"),
    ("ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"),
    ("TIN", "NICKEL", "BRASS", "STEEL", "COPPER"),
)
CONTAINERS = (("SM", "LG", "MED", "JUMBO", "WRAP"), ("CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"))
COLORS = """almond antique aquamarine azure beige bisque black blanched blue blush brown burlywood burnished chartreuse chiffon
    chocolate coral cornflower cornsilk cream cyan dark deep dim dodger drab firebrick floral forest frosted gainsboro ghost
    goldenrod green grey honeydew hot indian ivory khaki lace lavender lawn lemon light lime linen magenta maroon medium metallic
    midnight mint misty moccasin navajo navy olive orange orchid pale papaya peach peru pink plum powder puff purple red rose
    rosy royal saddle salmon sandy seashell sienna sky slate smoke snow spring steel tan thistle tomato turquoise violet wheat
    white yellow""".split()
WORDS = """accounts across against asymptotes baldly boldly brave carefully close daring dependencies even express final
    foxes furious hidden instructions ironic packages pending platelets quick regular ruthless silent sleep slyly theodolites
    unusual waters wake""".split()

COLUMNS = {
    "region": "*r_regionkey:int r_name r_comment",
    "nation": "*n_nationkey:int n_name n_regionkey:int n_comment",
    "supplier": "*s_suppkey:int s_name s_address s_nationkey:int s_phone s_acctbal:decimal s_comment",
    "customer": "*c_custkey:int c_name c_address c_nationkey:int c_phone c_acctbal:decimal c_mktsegment c_comment",
    "part": "*p_partkey:int p_name p_mfgr p_brand p_type p_size:int p_container p_retailprice:decimal p_comment",
    "partsupp": "*ps_partkey:int *ps_suppkey:int ps_availqty:int ps_supplycost:decimal ps_comment",
    "orders": "*o_orderkey:int o_custkey:int o_orderstatus o_totalprice:decimal o_orderdate:date o_orderpriority o_clerk"
              " o_shippriority:int o_comment",
    "lineitem": "*l_orderkey:int l_partkey:int l_suppkey:int *l_linenumber:int l_quantity:decimal l_extendedprice:decimal"
                " l_discount:decimal l_tax:decimal l_returnflag l_linestatus l_shipdate:date l_commitdate:date"
                " l_receiptdate:date l_shipinstruct l_shipmode l_comment",
}


class Random:
    """Splitmix64: the same numbers in each version of Python."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        x = self.state
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return ((x ^ (x >> 31)) * limit) >> 64

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def pick(self, values):
        return values[self.below(len(values))]

    def words(self, low, high):
        return " ".join(self.pick(WORDS) for _ in range(self.between(low, high)))

    def phone(self, nation):
        return f"{nation + 10}-{self.between(100, 999)}-{self.between(100, 999)}-{self.between(1000, 9999)}"


def cents(amount):
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02}"


def retail_price(part):
    return 90000 + part // 10 % 20001 + 100 * (part % 1000)


def supplier_of(part, number):
    """One of the four suppliers of a part."""
    return (part + number * (SUPPLIERS // 4 + (part - 1) // SUPPLIERS)) % SUPPLIERS + 1


def region():
    random = Random(1)
    return [(n, name, random.words(4, 9)) for n, name in enumerate(REGIONS)]


def nation():
    random = Random(2)
    return [(n, name, of, random.words(4, 9)) for n, (name, of) in enumerate(NATIONS)]


def supplier():
    random = Random(3)
    for key in range(1, SUPPLIERS + 1):
        nation = random.below(25)
        # Query 16 leaves out suppliers with complaints.
        told = random.words(5, 9) + (" Customer slyly Complaints" if key % 40 == 7 else "")
        yield (key, f"Supplier#{key:09}", random.words(2, 3), nation, random.phone(nation),
               cents(random.between(-99999, 999999)), told)


def customer():
    random = Random(4)
    for key in range(1, CUSTOMERS + 1):
        nation = random.below(25)
        yield (key, f"Customer#{key:09}", random.words(2, 3), nation, random.phone(nation),
               cents(random.between(-99999, 999999)), random.pick(SEGMENTS), random.words(6, 12))


def part():
    random = Random(5)
    for key in range(1, PARTS + 1):
        names = []
        while len(names) < 5:
            color = random.pick(COLORS)
            if color not in names:
                names.append(color)
        maker = random.between(1, 5)
        yield (key, " ".join(names), f"Manufacturer#{maker}", f"Brand#{maker}{random.between(1, 5)}",
               " ".join(random.pick(syllables) for syllables in TYPES), random.between(1, 50),
               " ".join(random.pick(syllables) for syllables in CONTAINERS), cents(retail_price(key)), random.words(1, 4))


def partsupp():
    random = Random(6)
    for key in range(1, PARTS + 1):
        for number in range(4):
            yield (key, supplier_of(key, number), random.between(1, 9999), cents(random.between(100, 100000)),
                   random.words(6, 12))


def orders_and_lines():
    random = Random(7)
    orders, lines = [], []
    for number in range(ORDERS):
        # Of 32 keys eight are used, and a third of the customers has no order.
        key = number // 8 * 32 + number % 8 + 1
        buyer = random.between(1, CUSTOMERS)
        while buyer % 3 == 0:
            buyer = random.between(1, CUSTOMERS)
        ordered = FIRST_DAY + datetime.timedelta(random.below(ORDER_DAYS + 1))
        total, open_lines, count = 0, 0, random.between(1, 7)
        for line in range(1, count + 1):
            bought, quantity = random.between(1, PARTS), random.between(1, 50)
            price, discount, tax = quantity * retail_price(bought), random.below(11), random.below(9)
            shipped = ordered + datetime.timedelta(random.between(1, 121))
            received = shipped + datetime.timedelta(random.between(1, 30))
            is_open = shipped > TODAY
            open_lines += is_open
            total += price * (100 - discount) * (100 + tax)
            lines.append((
                key, bought, supplier_of(bought, random.below(4)), line, f"{quantity}.00", cents(price), cents(discount),
                cents(tax), "N" if received > TODAY else random.pick("RA"), "O" if is_open else "F", shipped,
                ordered + datetime.timedelta(random.between(30, 90)), received, random.pick(INSTRUCTIONS), random.pick(MODES),
                random.words(2, 5)))
        status = "F" if open_lines == 0 else "O" if open_lines == count else "P"
        # Query 13 leaves out one order in a hundred or so.
        told = random.words(5, 10) + (" special packages requests" if random.below(90) == 0 else "")
        orders.append((key, buyer, status, cents((total + 5000) // 10000), ordered, random.pick(PRIORITIES),
                       f"Clerk#{random.between(1, 10):09}", 0, told))
    return orders, lines


def files():
    """The text of each file by the name of its table."""
    orders, lines = orders_and_lines()
    rows = {"region": region(), "nation": nation(), "supplier": supplier(), "customer": customer(), "part": part(),
            "partsupp": partsupp(), "orders": orders, "lineitem": lines}
    texts = {}
    for name, columns in COLUMNS.items():
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns.split())
        writer.writerows(rows[name])
        texts[name] = text.getvalue()
    return texts
