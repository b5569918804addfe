//! Tables of a contract endpoint: entities, their details, inquiry forms.

use std::collections::{HashMap, HashSet};

use acumatica_client::catalog::{Contract, CustomField, Entity, MemberType};

use crate::draft::{self, ColumnDraft, TableDraft, sql_type};
use crate::keys::{self, EntityKey};
use crate::known::KnownSources;
use crate::names::is_step;
use crate::origin::Origin;
use crate::record::{LINK_DEPTH, MemberShape, Record, RecordReader, values};
use crate::{ColumnKind, REST, Schema, Settings};

/// Lists that make an entity without a key an inquiry form.
const RESULTS: [&str; 2] = ["Results", "Result"];

/// Without these, the form has nothing to tell.
const REQUIRED_PARAMETERS: [(&str, &str); 2] =
    [("InventoryAllocationInquiry", "InventoryID"), ("InventorySummaryInquiry", "InventoryID")];

/// The tables of an endpoint, given its name and version; `custom` holds the custom fields of those
/// entities that they are known of.
pub fn contract_tables(
    contract: &Contract,
    endpoint: (&str, &str),
    custom: &HashMap<String, Vec<CustomField>>,
    settings: &Settings,
) -> Schema {
    let reader = RecordReader::new(contract, settings.case);
    let mut forms = Forms { reader, endpoint, custom, settings, tables: Vec::new(), not_taken: Vec::new() };
    for entity in &contract.entities {
        forms.add(entity);
    }
    forms.tell_of_fields_not_taken();
    let Forms { reader: RecordReader { mut notices, .. }, tables, .. } = forms;
    Schema {
        surface: REST,
        tables: draft::finish(tables, settings, &mut notices),
        notices,
        endpoint: Some((endpoint.0.to_owned(), endpoint.1.to_owned())),
        known: KnownSources::of_contract(contract, custom),
    }
}

struct Forms<'a> {
    reader: RecordReader<'a>,
    endpoint: (&'a str, &'a str),
    custom: &'a HashMap<String, Vec<CustomField>>,
    settings: &'a Settings,
    tables: Vec<TableDraft>,
    /// Entities whose form has fields that neither the contract nor a customization has, and how many.
    not_taken: Vec<(&'a str, usize)>,
}

/// An entity that tables are made of.
#[derive(Clone, Copy)]
struct Form<'a> {
    entity: &'a Entity,
    key: Option<EntityKey>,
}

impl<'a> Forms<'a> {
    fn add(&mut self, entity: &'a Entity) {
        if !is_step(&entity.name) {
            let name = &entity.name;
            self.reader.notices.push(format!(
                "\"{name}\" is left out: its name cannot be written in the options of a table"
            ));
            return;
        }
        if !self.reader.contract.types.contains_key(&entity.type_name) {
            self.reader.notices.push(format!("\"{}\" is left out: its definition is missing", entity.name));
            return;
        }
        let members = self.reader.members(&entity.type_name);
        let form = Form { entity, key: keys::key(&entity.name, members) };
        let root = Record::of_entity(&entity.name, &entity.type_name);
        let lists = self.lists(&root);
        let is_result = |list: &Record| RESULTS.contains(&list.container());
        let is_inquiry =
            entity.name.ends_with("Inquiry") || (form.key.is_none() && lists.iter().any(is_result));
        if is_inquiry && !lists.is_empty() {
            self.add_inquiry(form, &root, &lists);
        } else {
            let first = self.tables.len();
            self.add_entity(form, &root);
            self.add_details(form, &root, &[], 0);
            self.tell_of_custom_fields(form, first);
        }
    }

    fn lists(&mut self, record: &Record<'a>) -> Vec<Record<'a>> {
        let members = self.reader.members(record.type_name());
        let mut lists = Vec::new();
        for member in members {
            if let MemberShape::List(type_name) = self.reader.shape(record, member) {
                lists.push(record.inner(&member.name, type_name));
            }
        }
        lists
    }

    fn add_entity(&mut self, form: Form<'a>, root: &Record<'a>) {
        let mut fields = self.reader.fields(root);
        let id =
            ColumnDraft { not_null: self.settings.not_null, ..root.field(&["id"], "uuid", ColumnKind::Id) };
        let mut columns = vec![id];
        for (index, field) in form.key.iter().flat_map(|key| key.fields).enumerate() {
            let is_part = |draft: &mut ColumnDraft| is_field(draft, field);
            let part: Vec<ColumnDraft> = fields.extract_if(.., is_part).collect();
            columns.extend(part.into_iter().map(|draft| self.as_key(draft, index)));
        }
        columns.append(&mut fields);
        columns.extend(self.attached(root));
        self.push("entity", form, root, columns);
    }

    /// The field as part of the key; the code of a drop-down only goes with it.
    fn as_key(&self, draft: ColumnDraft, index: usize) -> ColumnDraft {
        if draft.kind == ColumnKind::Code {
            return draft;
        }
        ColumnDraft { kind: ColumnKind::Key, key: Some(index + 1), not_null: self.settings.not_null, ..draft }
    }

    /// Tables of all lists that the record leads to, given the lists that it is within itself and the
    /// links since the last of them.
    fn add_details(&mut self, form: Form<'a>, record: &Record<'a>, outer: &[Record<'a>], links: usize) {
        for member in self.reader.members(record.type_name()) {
            match self.reader.shape(record, member) {
                MemberShape::List(type_name) if !record.types.contains(&type_name) => {
                    let list = record.inner(&member.name, type_name);
                    self.add_detail(form, &list, outer);
                    let outer = [outer, std::slice::from_ref(&list)].concat();
                    self.add_details(form, &list, &outer, 0);
                }
                MemberShape::Linked(type_name)
                    if links < LINK_DEPTH && !record.types.contains(&type_name) =>
                {
                    self.add_details(form, &record.inner(&member.name, type_name), outer, links + 1);
                }
                _ => {}
            }
        }
    }

    fn add_detail(&mut self, form: Form<'a>, list: &Record<'a>, outer: &[Record<'a>]) {
        let mut columns = self.parent(form);
        columns.extend(outer.iter().map(|outer| {
            let words = [&outer.path[..], &["rowNumber"]].concat();
            ColumnDraft { words: words.into_iter().map(str::to_owned).collect(), ..row_number(outer) }
        }));
        columns.push(row_number(list));
        columns.extend(self.reader.fields(list));
        columns.extend(self.attached(list));
        self.push("entity", form, list, columns);
    }

    /// What tells which record of the entity a detail belongs to.
    fn parent(&self, form: Form<'a>) -> Vec<ColumnDraft> {
        let root = Record::of_entity(&form.entity.name, &form.entity.type_name);
        let Some(key) = form.key else {
            let words = vec!["parent_id".to_owned()];
            let id = root.field(&["id"], "uuid", ColumnKind::Id);
            return vec![ColumnDraft { words, not_null: self.settings.not_null, ..id }];
        };
        let members = self.reader.members(&form.entity.type_name);
        let parts = key.fields.iter().enumerate().flat_map(|(index, field)| {
            let ty = members.iter().find_map(|member| match member.ty {
                MemberType::Value(ty) if member.name == *field => Some(ty),
                _ => None,
            });
            let drafts = ty.map_or_else(Vec::new, |ty| values(&root, &[field], ty, ColumnKind::Own));
            drafts.into_iter().map(move |draft| self.as_key(draft, index))
        });
        parts.collect()
    }

    /// What every record may carry besides its fields.
    fn attached(&self, record: &Record<'a>) -> Vec<ColumnDraft> {
        let mut columns = vec![
            record.field(&["note"], "text", ColumnKind::Attached),
            record.field(&["files"], "jsonb", ColumnKind::Attached),
        ];
        let custom = self.custom_of(record.entity);
        columns.extend(custom.filter(|field| field.within == record.path).map(|field| {
            let remote = Origin::Custom(format!("{}.{}", field.view, field.name));
            ColumnDraft::new(&[&field.name], remote, sql_type(field.ty), ColumnKind::Custom)
                .within(&field.view)
        }));
        columns
    }

    /// The custom fields of an entity that are wanted.
    fn custom_of(&self, entity: &str) -> impl Iterator<Item = &'a CustomField> {
        let all = self.settings.all_custom;
        let custom = self.custom.get(entity).into_iter().flatten();
        custom.filter(move |field| all || is_customized(&field.name))
    }

    /// Custom fields that get no column: those of linked records, which there is no asking for, by name, and those that no
    /// customization added, which are counted.
    fn tell_of_custom_fields(&mut self, form: Form<'a>, first: usize) {
        let name = &form.entity.name;
        let paths: HashSet<&str> = self.tables[first..].iter().map(|table| table.remote.as_str()).collect();
        let all = self.custom.get(name).map_or(0, Vec::len);
        let others = all - self.custom_of(name).count();
        self.not_taken.extend((others > 0).then_some((name.as_str(), others)));
        let left_out = self.custom_of(name).filter(|field| {
            let path = [std::slice::from_ref(name), &field.within].concat().join("/");
            !paths.contains(path.as_str())
        });
        let names: Vec<String> = left_out
            .map(|field| format!("{}/{}.{}", field.within.join("/"), field.view, field.name))
            .collect();
        if !names.is_empty() {
            self.reader.notices.push(format!(
                "\"{name}\": custom fields of linked records are left out: {}",
                names.join(", ")
            ));
        }
    }

    /// One notice for all entities, since nearly every form has such fields. It names a few of them.
    fn tell_of_fields_not_taken(&mut self) {
        let named = self.not_taken.iter().take(3).map(|(name, fields)| format!("{fields} of \"{name}\""));
        let mut whose: Vec<String> = named.collect();
        if let Some(more) = self.not_taken.len().checked_sub(whose.len()).filter(|more| *more > 0) {
            whose.push(format!("those of {more} more"));
        }
        if !whose.is_empty() {
            self.reader.notices.push(format!(
                "fields of forms that neither the contract nor a customization has are left out: {}; \
                 custom_fields 'all' takes them too",
                whose.join(", ")
            ));
        }
    }

    fn add_inquiry(&mut self, form: Form<'a>, root: &Record<'a>, lists: &[Record<'a>]) {
        for list in lists {
            let mut columns = self.parameters(root);
            columns.push(row_number(list));
            columns.extend(self.reader.fields(list));
            self.push("inquiry", form, list, columns);
            let table = self.tables.last_mut().expect("it was just added");
            if lists.len() == 1 || list.container() == RESULTS[0] {
                table.words.truncate(1);
                table.remote.clone_from(&form.entity.name);
            }
        }
    }

    fn parameters(&mut self, root: &Record<'a>) -> Vec<ColumnDraft> {
        let mut columns = Vec::new();
        for member in self.reader.members(root.type_name()) {
            if let MemberShape::Value(ty) = self.reader.shape(root, member) {
                let name = member.name.clone();
                let required = REQUIRED_PARAMETERS.contains(&(root.entity, &name));
                let remote = Origin::Parameter { name, required };
                columns.push(
                    ColumnDraft::new(&[&member.name], remote, sql_type(ty), ColumnKind::Parameter)
                        .within(root.entity),
                );
            }
        }
        columns
    }

    fn push(&mut self, what: &'static str, form: Form<'a>, record: &Record<'a>, columns: Vec<ColumnDraft>) {
        let entity = form.entity;
        let words: Vec<String> = std::iter::once(entity.name.as_str())
            .chain(record.path.iter().copied())
            .map(str::to_owned)
            .collect();
        let detail = (!record.path.is_empty()).then(|| record.path.join("/"));
        let mut options = vec![
            ("schema", REST.to_owned()),
            (what, entity.name.clone()),
            ("endpoint_name", self.endpoint.0.to_owned()),
            ("endpoint_version", self.endpoint.1.to_owned()),
        ];
        let comment = match &detail {
            Some(path) if what == "entity" => {
                Some(format!("{path} of {}", entity.title.as_ref().unwrap_or(&entity.name)))
            }
            _ => entity.title.clone(),
        };
        // Endpoints of others have versions of their own, which do not tell.
        let told = self
            .endpoint
            .1
            .split('.')
            .next()
            .and_then(|year| year.parse::<u32>().ok())
            .is_some_and(|year| year >= 26);
        let contract = self.reader.contract.number;
        options.extend((told != (contract >= 5)).then(|| ("contract", contract.clamp(4, 5).to_string())));
        options.extend(detail.map(|path| ("detail", path)));
        self.tables.push(TableDraft {
            remote: words.join("/"),
            words,
            aliases: Vec::new(),
            class: None,
            comment,
            options,
            columns,
            key_order_known: form.key.is_none_or(|key| key.order_known),
        });
    }
}

fn row_number(list: &Record<'_>) -> ColumnDraft {
    list.field(&["rowNumber"], "bigint", ColumnKind::RowNumber)
}

/// Whether the column is that of the entity's field, or of its code.
fn is_field(draft: &ColumnDraft, field: &str) -> bool {
    let Origin::Field(path) = &draft.remote else { return false };
    path == field || (draft.kind == ColumnKind::Code && path.strip_suffix("/id") == Some(field))
}

/// Whether a customization added the field, or a user-defined one: what `$adHocSchema` lists besides are all fields of the
/// form that the contract lacks, 91 for StockItem (docs/acumatica.md section 2). Three fields of the standard begin with
/// `Attribute`, by the recorded schemas.
fn is_customized(name: &str) -> bool {
    let standard = ["AttributeID", "AttributeCategory", "AttributeDescription"];
    name.starts_with("Usr") || name.starts_with("Attribute") && !standard.contains(&name)
}

#[cfg(test)]
mod tests;
