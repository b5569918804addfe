//! The fields of a record of the contract, and of what is linked to it, as columns.

use std::collections::HashSet;

use acumatica_client::catalog::{Contract, FieldType, Member, MemberType};

use crate::draft::{ColumnDraft, sql_type};
use crate::names::{is_step, snake};
use crate::origin::Origin;
use crate::{ColumnKind, NameCase, keys};

/// Links from one record to the next, at most.
pub(crate) const LINK_DEPTH: usize = 2;

/// A record as the entity leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Record<'a> {
    pub entity: &'a str,
    /// Links and lists from the entity on; none for the entity itself.
    pub path: Vec<&'a str>,
    /// From the entity's to its own.
    pub types: Vec<&'a str>,
}

impl<'a> Record<'a> {
    pub(crate) fn of_entity(entity: &'a str, type_name: &'a str) -> Self {
        Self { entity, path: Vec::new(), types: vec![type_name] }
    }

    /// The one that a link or a list leads to.
    pub(crate) fn inner(&self, name: &'a str, type_name: &'a str) -> Self {
        let mut inner = self.clone();
        inner.path.push(name);
        inner.types.push(type_name);
        inner
    }

    pub(crate) fn type_name(&self) -> &'a str {
        self.types[self.types.len() - 1]
    }

    pub(crate) fn field(&self, relative: &[&str], sql_type: &'static str, kind: ColumnKind) -> ColumnDraft {
        let path = [&self.path[..], relative].concat().join("/");
        ColumnDraft::new(relative, Origin::Field(path), sql_type, kind).within(self.container())
    }

    /// What a name of the record gets in front where it is taken.
    pub(crate) fn container(&self) -> &'a str {
        self.path.last().copied().unwrap_or(self.entity)
    }
}

/// What a member is, as far as the definition goes.
pub(crate) enum MemberShape<'a> {
    Value(FieldType),
    Linked(&'a str),
    List(&'a str),
    /// None that a column can have.
    LeftOut,
}

/// Reads records.
pub(crate) struct RecordReader<'a> {
    pub contract: &'a Contract,
    pub case: NameCase,
    pub notices: Vec<String>,
    unknown: HashSet<&'a str>,
    /// Contract 5 compares a drop-down by its code, so that a text must be known to be none: a definition that has
    /// drop-downs says which fields are.
    tells_choices: bool,
}

impl<'a> RecordReader<'a> {
    pub(crate) fn new(contract: &'a Contract, case: NameCase) -> Self {
        let is_choice = |member: &Member| {
            use FieldType::{Choice, Choices, IntChoice};
            matches!(member.ty, MemberType::Value(Choice | IntChoice | Choices))
        };
        let tells_choices = contract.number >= 5 && contract.types.values().flatten().any(is_choice);
        Self { contract, case, notices: Vec::new(), unknown: HashSet::new(), tells_choices }
    }

    pub(crate) fn members(&self, type_name: &str) -> &'a [Member] {
        self.contract.types.get(type_name).map_or(&[], Vec::as_slice)
    }

    /// Types that the definition lacks are told of once.
    pub(crate) fn shape(&mut self, record: &Record<'a>, member: &'a Member) -> MemberShape<'a> {
        let is_defined = |name: &String| self.contract.types.contains_key(name);
        let name = match &member.ty {
            _ if !is_step(&member.name) => {
                let place = format!("field \"{}\" of \"{}\"", member.name, record.entity);
                self.notices.push(format!(
                    "{place} is left out: its name cannot be written in the options of a column"
                ));
                return MemberShape::LeftOut;
            }
            // Whether it must be expanded, nobody can tell.
            MemberType::Value(FieldType::Json) => "(inline)",
            MemberType::Value(ty) => return MemberShape::Value(*ty),
            MemberType::Linked(name) if is_defined(name) => return MemberShape::Linked(name),
            MemberType::List(name) if is_defined(name) => return MemberShape::List(name),
            MemberType::Linked(name) | MemberType::List(name) | MemberType::Unknown(name) => name,
        };
        if self.unknown.insert(name) {
            self.notices.push(format!(
                "type \"{name}\" of \"{}\" of \"{}\" is not known: fields of this type are left out",
                member.name, record.entity
            ));
        }
        MemberShape::LeftOut
    }

    /// Everything that a table of these records may have of them and of what is linked to them.
    pub(crate) fn fields(&mut self, record: &Record<'a>) -> Vec<ColumnDraft> {
        let mut drafts = Vec::new();
        self.read(record, &[], &record.types, &mut drafts);
        drafts
    }

    fn read(
        &mut self,
        record: &Record<'a>,
        links: &[&'a str],
        types: &[&'a str],
        drafts: &mut Vec<ColumnDraft>,
    ) {
        let members = self.members(types[types.len() - 1]);
        let kind = if links.is_empty() { ColumnKind::Own } else { ColumnKind::Flattened };
        let (mut linked, mut lists) = (Vec::new(), Vec::new());
        for member in members {
            let path = [links, &[member.name.as_str()]].concat();
            match self.shape(record, member) {
                MemberShape::Value(ty) => {
                    let mut columns = values(record, &path, ty, kind);
                    let plain = ty == FieldType::Text && links.is_empty() && record.path.is_empty();
                    if self.tells_choices && plain {
                        columns.iter_mut().for_each(|column| column.pushdown = Some(true));
                    }
                    drafts.extend(columns);
                }
                MemberShape::LeftOut => {}
                MemberShape::Linked(type_name) => linked.push((path, type_name)),
                MemberShape::List(_) => lists.push(path),
            }
        }
        if links.is_empty() {
            self.rename_last_modified(members, drafts);
        }
        for (path, type_name) in linked {
            if links.is_empty() {
                drafts.push(record.field(&path, "jsonb", ColumnKind::Link));
            }
            if path.len() <= LINK_DEPTH && !types.contains(&type_name) {
                self.read(record, &path, &[types, &[type_name]].concat(), drafts);
            }
        }
        if links.is_empty() {
            drafts.extend(lists.iter().map(|path| record.field(path, "jsonb", ColumnKind::Detail)));
        }
    }

    /// One name for the time of change, however the record calls it.
    fn rename_last_modified(&self, members: &[Member], drafts: &mut [ColumnDraft]) {
        const NAME: &str = "LastModified";
        let Some(field) = keys::last_modified(members).filter(|_| self.case == NameCase::Snake) else {
            return;
        };
        let taken = |member: &&Member| member.name != field && snake(&member.name) == snake(NAME);
        if members.iter().any(|member| taken(&member)) {
            return;
        }
        for draft in drafts.iter_mut().filter(|draft| draft.words == [field]) {
            draft.words = vec![NAME.to_owned()];
        }
    }
}

/// The column of a field; drop-downs have one for their code, too.
pub(crate) fn values(
    record: &Record<'_>,
    path: &[&str],
    ty: FieldType,
    kind: ColumnKind,
) -> Vec<ColumnDraft> {
    if ty == FieldType::Choices {
        // A `jsonb` column of the field itself would be the whole object, and be expanded as linked entities are.
        let draft = record.field(&[path, &["value"]].concat(), sql_type(ty), kind);
        return vec![ColumnDraft { words: path.iter().map(|word| (*word).to_owned()).collect(), ..draft }];
    }
    let mut drafts = vec![record.field(path, sql_type(ty), kind)];
    let code = match ty {
        FieldType::Choice => Some("text"),
        FieldType::IntChoice => Some("integer"),
        _ => None,
    };
    if let Some(code) = code {
        let kind = if kind == ColumnKind::Flattened { kind } else { ColumnKind::Code };
        drafts.push(record.field(&[path, &["id"]].concat(), code, kind));
    }
    drafts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, ty: MemberType) -> Member {
        Member { name: name.into(), ty }
    }

    fn text(name: &str) -> Member {
        member(name, MemberType::Value(FieldType::Text))
    }

    fn link(name: &str, ty: &str) -> Member {
        member(name, MemberType::Linked(ty.into()))
    }

    #[test]
    fn texts_are_vouched_for_where_drop_downs_are_told_from_them() {
        let pushdown = |number, status: Member| {
            let contract = Contract { number, ..contract(vec![("Order", vec![text("OrderNbr"), status])]) };
            let mut reader = RecordReader::new(&contract, NameCase::Snake);
            let drafts = reader.fields(&Record::of_entity("Order", "Order"));
            drafts.iter().map(|draft| draft.pushdown).collect::<Vec<_>>()
        };
        let choice = || member("Status", MemberType::Value(FieldType::Choice));
        assert_eq!(pushdown(5, choice()), [Some(true), None, None]);
        assert_eq!(pushdown(5, text("Status")), [None, None]);
        assert_eq!(pushdown(4, choice()), [None, None, None]);
    }

    fn contract(types: Vec<(&str, Vec<Member>)>) -> Contract {
        let types = types.into_iter().map(|(name, members)| (name.to_owned(), members)).collect();
        Contract { number: 4, types, ..Contract::default() }
    }

    /// Name and kind of the columns of records of type `T`, within `path`.
    fn read(
        contract: &Contract,
        path: &[&'static str],
        case: NameCase,
    ) -> (Vec<(String, ColumnKind)>, Vec<String>) {
        let mut reader = RecordReader::new(contract, case);
        let record = Record { entity: "E", path: path.to_vec(), types: vec!["T"] };
        let drafts = reader.fields(&record);
        let name = |draft: &ColumnDraft| match &draft.remote {
            Origin::Field(path) => format!("{}={path}", draft.words.join("_")),
            other => panic!("{other:?}"),
        };
        (drafts.iter().map(|draft| (name(draft), draft.kind)).collect(), reader.notices)
    }

    #[test]
    fn links_are_followed_twice_and_never_to_where_they_come_from() {
        let contract = contract(vec![
            ("T", vec![link("Contact", "C"), text("A")]),
            ("C", vec![link("Address", "D"), text("Email"), link("Back", "T")]),
            ("D", vec![text("City"), link("Country", "F")]),
            ("F", vec![text("Name")]),
        ]);
        let (columns, notices) = read(&contract, &["Details"], NameCase::Snake);
        let expected = [
            ("A=Details/A", ColumnKind::Own),
            ("Contact=Details/Contact", ColumnKind::Link),
            ("Contact_Email=Details/Contact/Email", ColumnKind::Flattened),
            ("Contact_Address_City=Details/Contact/Address/City", ColumnKind::Flattened),
        ];
        assert_eq!(columns, expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(notices, [""; 0]);
    }

    #[test]
    fn drop_downs_have_a_code_and_lists_are_whole() {
        let contract = contract(vec![(
            "T",
            vec![
                member("Lines", MemberType::List("T".into())),
                member("Status", MemberType::Value(FieldType::Choice)),
            ],
        )]);
        let (columns, _) = read(&contract, &[], NameCase::Snake);
        let expected = [
            ("Status=Status", ColumnKind::Own),
            ("Status_id=Status/id", ColumnKind::Code),
            ("Lines=Lines", ColumnKind::Detail),
        ];
        assert_eq!(columns, expected.map(|(name, kind)| (name.to_owned(), kind)));
    }

    /// 2.7: as the definition of 26.200.001 has them.
    #[test]
    fn issue_2_7_drop_downs_of_all_kinds() {
        let contract = contract(vec![(
            "T",
            vec![
                member("Owners", MemberType::Value(FieldType::Choices)),
                member("Priority", MemberType::Value(FieldType::IntChoice)),
            ],
        )]);
        let mut reader = RecordReader::new(&contract, NameCase::Snake);
        let drafts = reader.fields(&Record { entity: "E", path: Vec::new(), types: vec!["T"] });
        let place = |draft: &ColumnDraft| match &draft.remote {
            Origin::Field(path) => format!("{}={path}", draft.words.join("_")),
            other => panic!("{other:?}"),
        };
        let columns: Vec<_> = drafts.iter().map(|draft| (place(draft), draft.sql_type)).collect();
        let expected = [
            ("Owners=Owners/value", "jsonb"),
            ("Priority=Priority", "text"),
            ("Priority_id=Priority/id", "integer"),
        ];
        assert_eq!(columns, expected.map(|(name, ty)| (name.to_owned(), ty)));
        assert_eq!(reader.notices, [""; 0]);
    }

    #[test]
    fn unknown_types_are_told_of_once() {
        let unknown = |name| member(name, MemberType::Unknown("OddValue".into()));
        let contract = contract(vec![("T", vec![unknown("A"), unknown("B"), link("L", "Missing")])]);
        let (columns, notices) = read(&contract, &[], NameCase::Snake);
        assert!(columns.is_empty(), "{columns:?}");
        assert_eq!(
            notices,
            [
                "type \"OddValue\" of \"A\" of \"E\" is not known: fields of this type are left out",
                "type \"Missing\" of \"L\" of \"E\" is not known: fields of this type are left out",
            ]
        );
    }

    #[test]
    fn the_time_of_change_has_one_name() {
        let names = |fields: &[&str], case| -> Vec<String> {
            let contract = contract(vec![("T", fields.iter().map(|name| text(name)).collect())]);
            read(&contract, &[], case).0.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&["LastModifiedDateTime"], NameCase::Snake), ["LastModified=LastModifiedDateTime"]);
        assert_eq!(
            names(&["LastModifiedDateTime", "LastModified"], NameCase::Snake),
            ["LastModifiedDateTime=LastModifiedDateTime", "LastModified=LastModified"]
        );
        assert_eq!(names(&["LastModifiedDateTime", "Last_Modified"], NameCase::Snake).len(), 2);
        assert_eq!(
            names(&["LastModifiedDateTime", "Last_Modified"], NameCase::Snake)[0],
            "LastModifiedDateTime=LastModifiedDateTime"
        );
        assert_eq!(
            names(&["LastModifiedDateTime"], NameCase::Preserve),
            ["LastModifiedDateTime=LastModifiedDateTime"]
        );
    }
}
