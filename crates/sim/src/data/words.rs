//! The vocabulary of the data set: plausible names, and every few rows something that breaks naive programs.

use std::borrow::Cow;

use super::rng::Rng;

type Text = Cow<'static, str>;

/// Text that has broken somebody's client: quotes, LIKE wildcards, backslashes, Unicode beyond the BMP,
/// trailing and leading spaces, mixed case, control characters, no characters at all.
const NASTY: &[&str] = &[
    "O'Neil \"Bros\" & Sons",
    "100% _wool_ + cotton = best",
    "C:\\temp\\new_file",
    "Ünïcödé Straße",
    "日本語のテスト",
    "🚀 Rocket 𝒜𝓂𝑒 🦀",
    "Trailing spaces   ",
    "   leading spaces",
    "MiXeD cAsE",
    "mixed case",
    "line one\nline two\ttabbed",
    "comma, \"quote\"; semicolon",
    "''",
    "",
    "it's 50%",
    "a/b?c=d&e#f",
    "<b>bold</b> &amp; {\"json\":[1]}",
    "\\",
    "NULL",
    "e\u{301}clair (decomposed)",
    "mixed case  ",
    "İstanbul",
    "50_percent",
    "50xpercent",
];

const ADJECTIVES: &[&str] = &[
    "Alpha", "Blue", "Central", "Desert", "Eastern", "First", "Global", "High", "Iron", "Jade", "Key",
    "Lake", "Metro", "North", "Orient", "Prime", "Quick", "Red", "Silver", "True", "United", "Valley",
    "West", "Young",
];
const NOUNS: &[&str] = &[
    "Apparel",
    "Bakery",
    "Bikes",
    "Castings",
    "Dental",
    "Electric",
    "Foods",
    "Glass",
    "Hardware",
    "Instruments",
    "Juices",
    "Kitchens",
    "Logistics",
    "Motors",
    "Networks",
    "Optics",
    "Paper",
    "Quarry",
    "Robotics",
    "Steel",
    "Tools",
];
const SUFFIXES: &[&str] = &["Inc.", "LLC", "GmbH", "Ltd", "Co.", "S.A.", "AG", "& Sons"];
const FIRST: &[&str] = &[
    "Ada", "Björn", "Chloé", "David", "Elena", "Farid", "Grace", "Hiro", "Ingrid", "José", "Karen", "Liam",
    "Maya", "Noah", "Olga", "Priya", "Quinn", "Rosa", "Søren", "Tara",
];
const LAST: &[&str] = &[
    "Andersson",
    "Brown",
    "Chen",
    "D'Angelo",
    "Evans",
    "Fischer",
    "García",
    "Haddad",
    "Ivanova",
    "Jones",
    "Kim",
    "López",
    "Müller",
    "Nguyen",
    "O'Brien",
    "Patel",
    "Rossi",
    "Smith",
    "Tanaka",
    "van Dijk",
];
const CITIES: &[&str] = &[
    "New York",
    "Zürich",
    "São Paulo",
    "Berlin",
    "Austin",
    "Montréal",
    "Oslo",
    "Chicago",
    "Kyiv",
    "Seattle",
    "Perth",
    "Kraków",
    "Bellevue",
    "Denver",
    "Córdoba",
    "St. Louis",
];
const STATES: &[&str] = &["NY", "TX", "WA", "IL", "CO", "CA", "MO", "FL"];
const STREETS: &[&str] =
    &["Main St", "Oak Ave", "Bahnhofstraße", "Rua Augusta", "2nd St NE", "Market Sq", "King's Rd"];
const PARTS: &[&str] = &[
    "valve", "bracket", "pump", "cable", "sensor", "motor", "gasket", "panel", "switch", "bearing", "filter",
    "hinge", "spring", "gear", "relay", "fuse",
];
const QUALITIES: &[&str] =
    &["steel", "small", "heavy-duty", "spare", "brass", "24V", "3/8\"", "blue", "sealed", "rev. B"];

fn pick(rng: &mut Rng, words: &[&'static str]) -> &'static str {
    words[rng.below(words.len() as u64) as usize]
}

fn company(rng: &mut Rng) -> String {
    format!("{} {} {}", pick(rng, ADJECTIVES), pick(rng, NOUNS), pick(rng, SUFFIXES))
}

fn description(rng: &mut Rng) -> String {
    format!("{} {} for {}", pick(rng, QUALITIES), pick(rng, PARTS), pick(rng, NOUNS))
}

/// Free text of one sort. `row` spreads the nasty ones evenly, so that small tables have them too.
pub fn words(sort: Sort, rng: &mut Rng, row: u64) -> Text {
    if sort.can_be_nasty() && (row ^ rng.salt()).is_multiple_of(23) {
        return NASTY[rng.below(NASTY.len() as u64) as usize].into();
    }
    match sort {
        Sort::Company => company(rng).into(),
        Sort::First => pick(rng, FIRST).into(),
        Sort::Last => pick(rng, LAST).into(),
        Sort::Person => format!("{} {}", pick(rng, FIRST), pick(rng, LAST)).into(),
        Sort::City => pick(rng, CITIES).into(),
        Sort::State => pick(rng, STATES).into(),
        Sort::Street => format!("{} {}", 1 + rng.below(9999), pick(rng, STREETS)).into(),
        Sort::Zip => format!("{:05}", rng.below(100_000)).into(),
        Sort::Phone => format!("+1 (555) {:03}-{:04}", rng.below(1000), rng.below(10_000)).into(),
        Sort::Email => {
            let (noun, number) = (pick(rng, NOUNS), rng.below(10_000));
            format!("{}{number}@Example{}.com", noun.to_lowercase(), rng.below(5)).into()
        }
        Sort::Descr => description(rng).into(),
        Sort::Reference => format!("PO-{}/{:02}", rng.below(100_000), rng.below(100)).into(),
        Sort::Essay => essay(rng, row).into(),
    }
}

/// Mostly a sentence; one row in a hundred has thousands of characters, one in a thousand a hundred thousand.
fn essay(rng: &mut Rng, row: u64) -> String {
    let wanted = match row {
        r if r % 1000 == 500 => 100_000,
        r if r % 100 == 50 => 4_000 + rng.below(8_000) as usize,
        _ => 40,
    };
    let mut text = String::with_capacity(wanted + 32);
    while text.len() < wanted {
        text.push_str(&description(rng));
        text.push_str(". ");
    }
    text.truncate(text.trim_end().len());
    text
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Company,
    First,
    Last,
    Person,
    City,
    State,
    Street,
    Zip,
    Phone,
    Email,
    Descr,
    Reference,
    Essay,
}

impl Sort {
    pub fn parse(name: &str) -> Option<Sort> {
        Some(match name {
            "company" => Sort::Company,
            "first" => Sort::First,
            "last" => Sort::Last,
            "person" => Sort::Person,
            "city" => Sort::City,
            "state" => Sort::State,
            "street" => Sort::Street,
            "zip" => Sort::Zip,
            "phone" => Sort::Phone,
            "email" => Sort::Email,
            "descr" => Sort::Descr,
            "reference" => Sort::Reference,
            "essay" => Sort::Essay,
            _ => return None,
        })
    }

    fn can_be_nasty(self) -> bool {
        matches!(self, Sort::Company | Sort::Person | Sort::Last | Sort::City | Sort::Street | Sort::Descr)
    }
}
