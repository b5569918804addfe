//! Names that PostgreSQL, people and their tools take without quotes.

use std::collections::HashSet;

/// How remote names become local ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameCase {
    /// `OrderNbr` becomes `order_nbr`.
    Snake,
    /// As they are, as far as PostgreSQL has room for them.
    Preserve,
}

/// Bytes of a name in PostgreSQL (`NAMEDATALEN` less one).
const MAX_BYTES: usize = 63;

/// Reserved in PostgreSQL 15 to 18, be it only where a column or a table can stand
/// (`kwlist.h`: `RESERVED_KEYWORD` and `TYPE_FUNC_NAME_KEYWORD`).
#[rustfmt::skip]
const RESERVED: [&str; 101] = [
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "binary",
    "both", "case", "cast", "check", "collate", "collation", "column", "concurrently", "constraint", "create",
    "cross", "current_catalog", "current_date", "current_role", "current_schema", "current_time",
    "current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end",
    "except", "false", "fetch", "for", "foreign", "freeze", "from", "full", "grant", "group", "having",
    "ilike", "in", "initially", "inner", "intersect", "into", "is", "isnull", "join", "lateral", "leading",
    "left", "like", "limit", "localtime", "localtimestamp", "natural", "not", "notnull", "null", "offset",
    "on", "only", "or", "order", "outer", "overlaps", "placing", "primary", "references", "returning",
    "right", "select", "session_user", "similar", "some", "symmetric", "system_user", "table", "tablesample",
    "then", "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "verbose", "when",
    "where", "window", "with",
];

/// Columns that every table has.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// The name of a table for what the words name; it may still be too long or taken ([`Names::claim`]).
pub(crate) fn table_name(case: NameCase, prefix: &str, words: &[impl AsRef<str>]) -> String {
    finish(case, format!("{prefix}{}", join(case, words)))
}

/// The name of a column, likewise.
pub(crate) fn column_name(case: NameCase, words: &[impl AsRef<str>]) -> String {
    let name = finish(case, join(case, words));
    if SYSTEM_COLUMNS.contains(&name.as_str()) { name + "_" } else { name }
}

fn join(case: NameCase, words: &[impl AsRef<str>]) -> String {
    let words = words.iter().map(|word| match case {
        NameCase::Snake => snake(word.as_ref()),
        NameCase::Preserve => word.as_ref().replace('\0', ""),
    });
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
}

fn finish(case: NameCase, name: String) -> String {
    match (case, name.as_bytes().first()) {
        (_, None) => "_".into(),
        (NameCase::Snake, Some(b'0'..=b'9')) => format!("_{name}"),
        (NameCase::Snake, _) if RESERVED.contains(&name.as_str()) => name + "_",
        _ => name,
    }
}

/// Words in lower case with `_` between them; nothing else but letters and digits, and none at the ends.
pub(crate) fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 8);
    for (index, letter) in letters.iter().enumerate() {
        let parts = !is_letter(*letter) || begins_word(&letters, index);
        if parts && !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
        if is_letter(*letter) {
            out.extend(letter.to_lowercase());
        }
    }
    out.truncate(out.trim_end_matches('_').len());
    out
}

/// Accents that stand by themselves belong to the letter before them.
fn is_letter(letter: char) -> bool {
    letter.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&letter)
}

/// Whether a capital letter is the first of a word: behind anything but a capital, and as the last of
/// several capitals where small letters follow (`APInvoice`), unless these are the `s` of `IDs`.
fn begins_word(letters: &[char], index: usize) -> bool {
    let Some(before) = index.checked_sub(1).map(|index| letters[index]) else { return false };
    let letter = letters[index];
    if !letter.is_uppercase() {
        return false;
    }
    if !before.is_uppercase() {
        return true;
    }
    let small = |index: usize| letters.get(index).is_some_and(|letter| letter.is_lowercase());
    small(index + 1) && !(letters[index + 1] == 's' && is_plural(letter, letters.get(index + 2)))
}

/// Of an `s` behind the last of several capitals: `EmployeeIDs`, yet `AccountIDIsActive`.
fn is_plural(capital: char, after: Option<&char>) -> bool {
    match after {
        Some(after) if after.is_lowercase() => false,
        Some(after) if after.is_uppercase() => !matches!(capital, 'A' | 'I' | 'U'),
        _ => true,
    }
}

/// Names that are given away, each once. Those that differ in case only count as the same: PostgreSQL
/// tells them apart, people and their tools do not.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    pub(crate) fn new<'a>(taken: impl IntoIterator<Item = &'a str>) -> Self {
        Self(taken.into_iter().map(str::to_lowercase).collect())
    }

    /// The first of the names that is free and not too long; else the first one with digits behind it
    /// that come from the remote name alone, so that they are the same at each import.
    pub(crate) fn claim(&mut self, wanted: &[String], remote: &str) -> String {
        for name in wanted.iter().filter(|name| name.len() <= MAX_BYTES) {
            if self.0.insert(name.to_lowercase()) {
                return name.clone();
            }
        }
        let mut attempt = 1;
        loop {
            let name = mark(&wanted[0], remote, attempt);
            if self.0.insert(name.to_lowercase()) {
                return name;
            }
            attempt += 1;
        }
    }
}

/// The name, cut where it must be, with four digits of the remote name's hash behind it, and four more
/// at each further attempt.
fn mark(name: &str, remote: &str, attempt: usize) -> String {
    let hash = match attempt {
        ..=4 => fnv1a(remote),
        _ => fnv1a(&format!("{remote}\0{attempt}")),
    };
    let digits = &format!("{hash:016x}")[..(4 * attempt).min(16)];
    let room = name.floor_char_boundary(MAX_BYTES - 1 - digits.len());
    format!("{}_{digits}", name[..room].trim_end_matches('_'))
}

/// FNV-1a of 64 bits: the same on every machine and in every version, unlike what std has.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Whether a remote name can stand in the path of a field: paths have their own meaning of slashes, stars and space.
pub(crate) fn is_step(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.contains(['/', '*', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> String {
        column_name(NameCase::Snake, &[name])
    }

    #[test]
    fn words_are_found() {
        let expected = [
            ("InventoryID", "inventory_id"),
            ("OrderNbr", "order_nbr"),
            ("APInvoice", "ap_invoice"),
            ("SOOrder", "so_order"),
            ("LastModifiedDateTime", "last_modified_date_time"),
            ("Phone1", "phone1"),
            ("Phone1Type", "phone1_type"),
            ("F1099Box", "f1099_box"),
            ("1099Box", "_1099_box"),
            ("_1stSale", "_1st_sale"),
            ("L3Code", "l3_code"),
            ("BI-SalesOrders", "bi_sales_orders"),
            ("AR-Aging by Customer", "ar_aging_by_customer"),
            ("Größe & Gewicht", "größe_gewicht"),
            ("ÄnderungsDatum", "änderungs_datum"),
            ("Gro\u{308}ße", "gro\u{308}ße"),
            ("数量", "数量"),
            ("EmployeeIDs", "employee_ids"),
            ("EmployeeIDsOld", "employee_ids_old"),
            ("FileURLs", "file_urls"),
            ("AccountIDIsActive", "account_id_is_active"),
            ("IsAKit", "is_a_kit"),
            ("UsrX", "usr_x"),
            ("GLAccounts", "gl_accounts"),
            ("UOM", "uom"),
            ("QtyOnHand_2", "qty_on_hand_2"),
            ("  a -- b  ", "a_b"),
            ("% €", "_"),
            ("", "_"),
            ("rowNumber", "row_number"),
        ];
        for (remote, local) in expected {
            assert_eq!(column(remote), local, "{remote}");
        }
    }

    #[test]
    fn words_of_a_path_are_joined_before_they_are_judged() {
        assert_eq!(
            column_name(NameCase::Snake, &["MainContact", "Address", "City"]),
            "main_contact_address_city"
        );
        assert_eq!(column_name(NameCase::Snake, &["Vendor", "1099Box"]), "vendor_1099_box");
        assert_eq!(column_name(NameCase::Snake, &["Case", "%", "Check"]), "case_check");
        assert_eq!(column_name(NameCase::Preserve, &["MainContact", "E-Mail"]), "MainContact_E-Mail");
        assert_eq!(column_name(NameCase::Preserve, &["a\0b"]), "ab");
    }

    #[test]
    fn reserved_words_and_system_columns_get_an_underscore() {
        assert_eq!(
            (column("Case"), column("Check"), column("User")),
            ("case_".into(), "check_".into(), "user_".into())
        );
        assert_eq!(column("SystemUser"), "system_user_");
        assert_eq!((column("Left"), column("Xmin")), ("left_".into(), "xmin_".into()));
        assert_eq!((column("Date"), column("Type")), ("date".into(), "type".into()));
        assert_eq!(column_name(NameCase::Preserve, &["Case"]), "Case");
        assert_eq!(column_name(NameCase::Preserve, &["ctid"]), "ctid_");
        assert_eq!(table_name(NameCase::Snake, "", &["Case"]), "case_");
        assert_eq!(table_name(NameCase::Snake, "acu_", &["Case"]), "acu_case");
        assert_eq!(table_name(NameCase::Snake, "acu_", &["1099Vendor"]), "acu_1099_vendor");
        assert_eq!(table_name(NameCase::Preserve, "acu_", &["Case", "Activities"]), "acu_Case_Activities");
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn long_names_are_cut_at_characters_and_marked() {
        let mut names = Names::default();
        let long = "ä".repeat(40);
        let cut = names.claim(std::slice::from_ref(&long), &long);
        assert!(cut.len() <= MAX_BYTES && cut.starts_with(&"ä".repeat(29)));
        assert_eq!(cut.rsplit_once('_').unwrap().1.len(), 4);
        assert_eq!(Names::default().claim(std::slice::from_ref(&long), &long), cut);
        assert_eq!(names.claim(&["x".repeat(63)], "x"), "x".repeat(63));
    }

    #[test]
    fn a_name_is_given_once_whatever_its_case() {
        let mut names = Names::new(["Status"]);
        let first = names.claim(&["status".into()], "Status");
        assert!(first.starts_with("status_") && first.len() == 11, "{first}");
        assert_eq!(
            names.claim(&["status".into(), "details_status".into()], "Details/Status"),
            "details_status"
        );
        assert_eq!(names.claim(&[first.to_uppercase()], "odd").len(), first.len() + 5);
    }

    #[test]
    fn names_are_distinct_and_short_whatever_comes() {
        let alphabet: Vec<char> = "aAzZ019_ -ß漢é\0\"'".chars().collect();
        let mut state = 7u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for case in [NameCase::Snake, NameCase::Preserve] {
            let (mut names, mut seen) = (Names::default(), HashSet::new());
            for _ in 0..3_000 {
                let length = if next(10) == 0 { 80 } else { 6 };
                let remote: String = (0..next(length)).map(|_| alphabet[next(alphabet.len())]).collect();
                let name = names.claim(&[column_name(case, &[&remote])], &remote);
                assert!(
                    (1..=MAX_BYTES).contains(&name.len()) && !name.contains('\0'),
                    "{remote:?}: {name:?}"
                );
                assert!(
                    case == NameCase::Preserve || name.chars().all(|c| c == '_' || is_letter(c)),
                    "{name:?}"
                );
                assert!(seen.insert(name.to_lowercase()), "{remote:?}: {name:?}");
            }
        }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }
}
