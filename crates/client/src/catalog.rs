//! The definitions of an instance as plain data.

/// The type of a field, as far as its definition says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// A text of any length.
    Text,
    /// A drop-down of contract 5, which has a code and a description (`StringSingleSelectValue`).
    Choice,
    /// The same, with a number as code (`IntSingleSelectValue`).
    IntChoice,
    /// Several values of a drop-down (`StringMultiSelectValue`).
    Choices,
    /// True or false.
    Bool,
    /// A whole number of 16 bits.
    Int2,
    /// A whole number of 32 bits.
    Int4,
    /// A whole number of 64 bits.
    Int8,
    /// A binary floating-point number of 32 bits.
    Float4,
    /// A binary floating-point number of 64 bits.
    Float8,
    /// A decimal number, whose scale is kept.
    Numeric,
    /// A day without a time.
    Date,
    /// A date and a time in UTC or with an offset.
    TimestampTz,
    /// A time of day.
    Time,
    /// A span of time.
    Interval,
    /// Binary data, sent in base64.
    Bytes,
    /// A GUID.
    Uuid,
    /// An object or array.
    Json,
}

/// The definition of a contract endpoint (`swagger.json`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// 4 or 5 (docs/acumatica.md section 2).
    pub number: u32,
    /// In the order of the definition.
    pub entities: Vec<Entity>,
    /// The members of the types of records and of nested records, by the name of the type.
    pub types: std::collections::HashMap<String, Vec<Member>>,
}

/// A top-level entity of an endpoint: a list of records, or an inquiry form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// As in the URL.
    pub name: String,
    /// The type of its records; a name in [`Contract::types`].
    pub type_name: String,
    /// The title for people, such as `Sales Orders (SO301000)`.
    pub title: Option<String>,
}

/// A member of a record, system members such as `id`, `note` and `custom` left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// As the definition writes it; the server distinguishes case (docs/acumatica.md section 2.2).
    pub name: String,
    /// A value, a linked record or a detail.
    pub ty: MemberType,
}

/// What a member of a record is (docs/acumatica.md section 2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberType {
    /// A field with one value.
    Value(FieldType),
    /// Another record, of the type named.
    Linked(String),
    /// A detail: records of the type named.
    List(String),
    /// A type that is not known here, by its name in the definition.
    Unknown(String),
}

/// A custom field, as the template record of an entity lists it (`$adHocSchema`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomField {
    /// The links and details that lead to the record that has it; empty for the entity itself.
    pub within: Vec<String>,
    /// Such as `Document`.
    pub view: String,
    /// Such as `UsrPriority`.
    pub name: String,
    /// From its `type`, such as `CustomDecimalField` (docs/acumatica.md section 2.1).
    pub ty: FieldType,
}

/// The `$metadata` of generic inquiries or of data access classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// In the order of the document.
    pub sets: Vec<EntitySet>,
    /// What was left out, and why, in words for people.
    pub faults: Vec<String>,
}

impl Model {
    /// Keeps only the sets with a name that is `wanted`. Of the others only the names stay: the definitions of
    /// thousands of classes would be large.
    pub fn keep_only(&mut self, wanted: impl Fn(&str) -> bool) {
        for set in &mut self.sets {
            if !std::iter::once(&set.name).chain(&set.aliases).chain(&set.class).any(|name| wanted(name)) {
                *set = EntitySet {
                    name: std::mem::take(&mut set.name),
                    aliases: std::mem::take(&mut set.aliases),
                    class: set.class.take(),
                    ..EntitySet::default()
                };
            }
        }
    }
}

/// A generic inquiry or a data access class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntitySet {
    /// As in the URL: that of the class with its namespace, else the longest of its names.
    pub name: String,
    /// Other names of sets of the same type, such as `SalesOrder` for `PX_Objects_SO_SOOrder`. One may be the name of
    /// another class.
    pub aliases: Vec<String>,
    /// The class without its namespace, such as `SOOrder`.
    pub class: Option<String>,
    /// A setup class: one object and no list.
    pub singleton: bool,
    /// The title for people.
    pub title: Option<String>,
    /// Names of properties, in order; empty if it has no key.
    pub key: Vec<String>,
    /// In the order of the document, which for an inquiry is that of its grid.
    pub properties: Vec<Property>,
    /// The parameters of an inquiry that is read by calling a function. Without the call it returns no rows, or those
    /// of default values.
    pub parameters: Vec<InquiryParameter>,
    /// The name of that function, unless another inquiry has a function of the same name.
    pub function: Option<String>,
    /// Its navigation properties.
    pub relations: Vec<Relation>,
}

impl EntitySet {
    /// The properties of an inquiry that may not be on its grid. Keys that are not on it are appended behind all
    /// others, and conditions on them find other rows (docs/acumatica.md section 3). A grid may end with keys as well,
    /// so some of these may be on it; the first column certainly is.
    pub fn appended(&self) -> &[Property] {
        let is_key = |property: &Property| self.key.contains(&property.name);
        let last = self.properties.iter().rposition(|property| !is_key(property)).unwrap_or(0);
        self.properties.get(last + 1..).unwrap_or_default()
    }
}

/// A column of an inquiry or of a data access class: a `<Property>` of CSDL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// As in `$select` and `$filter`, case included.
    pub name: String,
    /// From the type that CSDL declares, such as `Edm.Decimal`.
    pub ty: FieldType,
    /// Whether CSDL allows NULL. Appended keys can be NULL whatever it says (docs/acumatica.md section 3.3).
    pub nullable: bool,
    /// Whether it can stand in `$filter` and `$select` (`NonFilterableProperties`).
    pub filterable: bool,
    /// The caption that the document gives it, if any.
    pub title: Option<String>,
}

/// A parameter of a generic inquiry, as its `FunctionImport` or `Function` declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InquiryParameter {
    /// As in the URL of the call.
    pub name: String,
    /// From the type that CSDL declares; it decides how the value is written in the URL.
    pub ty: FieldType,
    /// Whether the inquiry cannot be called without it.
    pub required: bool,
}

/// The target of a navigation property of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The name of the navigation property.
    pub name: String,
    /// Name of the target's set, as in [`EntitySet::name`]; of its type if it has no set.
    pub target: String,
    /// Whether it leads to many rows.
    pub many: bool,
    /// Pairs of a property here and one of the target; empty if the definition does not say.
    pub columns: Vec<(String, String)>,
}

/// A name without case and without characters other than letters and digits, unless nothing else is left. People write
/// names differently in SQL in these respects.
pub fn loose(name: &str) -> String {
    let loose: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if loose.is_empty() { name.to_owned() } else { loose }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loose_names_forget_how_they_are_written() {
        assert_eq!(loose("AR-Aging by Customer"), loose("ar_aging_by_customer"));
        assert_eq!(loose("OrderNbr"), loose("order_nbr"));
        assert_ne!(loose("Größe"), loose("Grosse"));
    }
}
