//! What a definition knows, beyond what tables are made of.

use std::collections::{HashMap, HashSet};

use acumatica_client::catalog::{Contract, CustomField, EntitySet, FieldType, Member, MemberType, Model};

/// Members of every record that definitions need not name.
const SYSTEM: [&str; 5] = ["id", "rowNumber", "note", "files", "custom"];

/// Answers whether something that a table was once made of is still there.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownSources {
    /// Type of each entity or set, by all its names.
    roots: HashMap<String, String>,
    types: HashMap<String, Vec<Member>>,
    system: &'static [&'static str],
    /// View and name of the custom fields of those entities that they are known of.
    custom: HashMap<String, HashSet<String>>,
    /// Whether some of the definition could not be read.
    pub incomplete: bool,
}

impl KnownSources {
    pub(crate) fn of_contract(contract: &Contract, custom: &HashMap<String, Vec<CustomField>>) -> Self {
        let roots = contract.entities.iter().map(|entity| (entity.name.clone(), entity.type_name.clone()));
        let names = |fields: &Vec<CustomField>| {
            fields.iter().map(|field| format!("{}.{}", field.view, field.name)).collect()
        };
        Self {
            roots: roots.collect(),
            types: contract.types.clone(),
            system: &SYSTEM,
            custom: custom.iter().map(|(entity, fields)| (entity.clone(), names(fields))).collect(),
            incomplete: false,
        }
    }

    pub(crate) fn of_model(model: &Model) -> Self {
        let names = |set: &EntitySet| [std::slice::from_ref(&set.name), &set.aliases].concat();
        let roots =
            model.sets.iter().flat_map(|set| names(set).into_iter().map(|name| (name, set.name.clone())));
        Self {
            roots: roots.collect(),
            types: model.sets.iter().map(|set| (set.name.clone(), members(set))).collect(),
            incomplete: !model.faults.is_empty(),
            ..Self::default()
        }
    }

    /// Whether the entity, or the set, leads anywhere by that path.
    pub(crate) fn has(&self, root: &str, path: &str) -> bool {
        let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        self.roots.get(root).is_some_and(|type_name| self.leads(type_name, &path))
    }

    fn leads(&self, type_name: &str, path: &[&str]) -> bool {
        let Some((name, rest)) = path.split_first() else { return true };
        let Some(members) = self.types.get(type_name) else { return true };
        match members.iter().find(|member| member.name == *name).map(|member| &member.ty) {
            None => self.system.contains(name),
            Some(MemberType::Value(FieldType::Choice | FieldType::IntChoice)) => {
                matches!(rest, [] | ["id" | "description"])
            }
            Some(MemberType::Value(FieldType::Json | FieldType::Choices) | MemberType::Unknown(_)) => true,
            Some(MemberType::Value(_)) => rest.is_empty(),
            Some(MemberType::Linked(inner) | MemberType::List(inner)) => self.leads(inner, rest),
        }
    }

    /// Whether the entity has the custom field, or may have it for all we know.
    pub(crate) fn has_custom(&self, root: &str, field: &str) -> bool {
        self.custom.get(root).is_none_or(|fields| fields.contains(field))
    }
}

fn members(set: &EntitySet) -> Vec<Member> {
    let properties = set
        .properties
        .iter()
        .map(|property| Member { name: property.name.clone(), ty: MemberType::Value(property.ty) });
    let relations = set.relations.iter().map(|relation| Member {
        name: relation.name.clone(),
        ty: MemberType::Linked(relation.target.clone()),
    });
    properties.chain(relations).collect()
}

#[cfg(test)]
mod tests {
    use acumatica_client::catalog::{Entity, Property, Relation};

    use super::*;

    #[test]
    fn paths_lead_as_far_as_the_definition_does() {
        let member = |name: &str, ty| Member { name: name.into(), ty };
        let types = HashMap::from([
            (
                "Order".to_owned(),
                vec![
                    member("Status", MemberType::Value(FieldType::Choice)),
                    member("Nbr", MemberType::Value(FieldType::Text)),
                    member("Lines", MemberType::List("Line".into())),
                    member("Odd", MemberType::Linked("Nowhere".into())),
                ],
            ),
            ("Line".to_owned(), vec![member("Order", MemberType::Linked("Order".into()))]),
        ]);
        let entities = vec![Entity { name: "SalesOrder".into(), type_name: "Order".into(), title: None }];
        let field = |name: &str| CustomField {
            within: Vec::new(),
            view: "Document".into(),
            name: name.into(),
            ty: FieldType::Text,
        };
        let custom = HashMap::from([("SalesOrder".to_owned(), vec![field("UsrX")])]);
        let known = KnownSources::of_contract(&Contract { number: 5, entities, types }, &custom);
        for path in
            ["", "Nbr", "Status/id", "Lines", "Lines/Order/Lines/Order/Nbr", "Lines/rowNumber", "Odd/x", "id"]
        {
            assert!(known.has("SalesOrder", path), "{path}");
        }
        for path in ["nbr", "Nbr/id", "Status/x", "Lines/Nbr"] {
            assert!(!known.has("SalesOrder", path), "{path}");
        }
        assert!(!known.has("Order", ""));
        assert!(known.has_custom("SalesOrder", "Document.UsrX"));
        assert!(!known.has_custom("SalesOrder", "Document.UsrY"));
        assert!(known.has_custom("Customer", "Document.UsrY"));
    }

    #[test]
    fn sets_go_by_all_their_names() {
        let property = Property {
            name: "Nbr".into(),
            ty: FieldType::Text,
            nullable: true,
            filterable: true,
            title: None,
        };
        let relation =
            Relation { name: "Lines".into(), target: "PX_Order".into(), many: true, columns: Vec::new() };
        let set = EntitySet {
            name: "PX_Order".into(),
            aliases: vec!["Order".into()],
            properties: vec![property],
            relations: vec![relation],
            ..EntitySet::default()
        };
        let known = KnownSources::of_model(&Model { sets: vec![set], faults: vec!["one".into()] });
        assert!(known.has("Order", "Lines/Nbr") && known.has("PX_Order", "Nbr") && known.incomplete);
        assert!(!known.has("Order", "id") && !known.has("Order", "Lines/X"));
    }
}
