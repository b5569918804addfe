//! Reads an endpoint definition: Swagger 2.0 with `definitions`, or OpenAPI 3 with `components.schemas`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// The type that all records extend.
const BASE: &str = "Entity";

/// What the `value` of a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapper {
    Text,
    Decimal,
    Double,
    Int,
    Short,
    Long,
    Byte,
    Bool,
    DateTime,
    Date,
    Guid,
    Choice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    Value(Wrapper),
    /// One record of a type, by its number.
    Link(usize),
    Detail(usize),
    /// A type that cannot be read; shown as a field without a value.
    Unknown,
}

/// A record type: its members, sorted as they are shown.
pub struct Record {
    pub members: Vec<(String, Member)>,
}

impl Record {
    pub fn member(&self, name: &str) -> Option<Member> {
        self.members.iter().find(|(known, _)| known == name).map(|(_, member)| *member)
    }
}

/// A top-level entity.
pub struct Entity {
    pub name: String,
    pub record: usize,
    /// An inquiry form: parameters in, results out.
    pub form: bool,
}

/// One contract endpoint.
pub struct Model {
    pub endpoint: String,
    pub version: String,
    pub contract5: bool,
    /// The file as it stands.
    pub text: Vec<u8>,
    pub records: Vec<Record>,
    /// In the order of their names.
    pub entities: Vec<Entity>,
}

impl Model {
    /// # Errors
    /// If it is no endpoint definition.
    pub fn parse(text: Vec<u8>) -> Result<Model, String> {
        let document: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
        let schemas = document.pointer("/components/schemas").or_else(|| document.get("definitions"));
        let schemas = schemas.and_then(Value::as_object).ok_or("there are no definitions")?;
        let (endpoint, version) = identity(&document).ok_or("neither title nor URL name the endpoint")?;
        let reader = Reader::new(schemas);
        let records: Vec<Record> = reader.numbers.keys().map(|name| reader.record(name)).collect();
        let paths = document["paths"].as_object().into_iter().flatten();
        let mut entities: Vec<Entity> =
            paths.filter_map(|(p, item)| reader.entity(p, item, &records)).collect();
        entities.sort_by(|a, b| a.name.cmp(&b.name));
        let contract5 = document["info"]["version"].as_str() == Some("5");
        drop(reader);
        Ok(Model { endpoint, version, contract5, records, entities, text })
    }
}

/// Name and version: the title (`Default/24.200.001`), or the URL's two segments behind `entity`.
fn identity(document: &Value) -> Option<(String, String)> {
    let pair = |text: &str| {
        let (name, version) = text.split_once('/')?;
        let version = version.trim_end_matches('/');
        let good = !name.is_empty() && !version.is_empty() && !version.contains('/');
        good.then(|| (name.to_string(), version.to_string()))
    };
    let url = document["basePath"].as_str().or_else(|| document.pointer("/servers/0/url")?.as_str());
    document["info"]["title"]
        .as_str()
        .and_then(pair)
        .or_else(|| url?.split_once("/entity/").and_then(|(_, rest)| pair(rest)))
}

/// The name of the type that a schema refers to, directly or by an `allOf` of one.
fn reference(schema: &Value) -> Option<&str> {
    let direct = schema["$ref"].as_str();
    let single = || match schema["allOf"].as_array()?.as_slice() {
        [one] => one["$ref"].as_str(),
        _ => None,
    };
    direct.or_else(single)?.rsplit('/').next()
}

struct Reader<'a> {
    schemas: &'a Map<String, Value>,
    /// Record types by name.
    numbers: BTreeMap<&'a str, usize>,
}

impl<'a> Reader<'a> {
    fn new(schemas: &'a Map<String, Value>) -> Reader<'a> {
        let mut reader = Reader { schemas, numbers: BTreeMap::new() };
        let names: BTreeSet<&str> =
            schemas.keys().map(String::as_str).filter(|name| reader.extends_base(name, 0)).collect();
        reader.numbers = names.into_iter().enumerate().map(|(i, name)| (name, i)).collect();
        reader
    }

    fn parts(&self, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.schemas.get(name).and_then(|s| s["allOf"].as_array()).into_iter().flatten()
    }

    /// `depth` ends the search in types that extend each other in a circle.
    fn extends_base(&self, name: &str, depth: usize) -> bool {
        let mut bases = self.parts(name).filter_map(reference);
        depth < 16 && bases.any(|base| base == BASE || self.extends_base(base, depth + 1))
    }

    fn record(&self, name: &str) -> Record {
        let mut members = BTreeMap::new();
        self.collect(name, 0, &mut members);
        let mut members: Vec<(String, Member)> =
            members.into_iter().map(|(name, member)| (name.to_string(), member)).collect();
        members.sort_by_key(|(name, _)| name.to_lowercase());
        Record { members }
    }

    fn collect(&self, name: &str, depth: usize, members: &mut BTreeMap<&'a str, Member>) {
        for part in self.parts(name).chain(self.schemas.get(name)) {
            if let Some(base) = part["$ref"].as_str().and_then(|r| r.rsplit('/').next())
                && base != BASE
                && depth < 16
            {
                self.collect(base, depth + 1, members);
            }
            for (name, schema) in part["properties"].as_object().into_iter().flatten() {
                members.insert(name, self.member(schema));
            }
        }
    }

    fn member(&self, schema: &Value) -> Member {
        if let Some(name) = reference(schema) {
            return match self.numbers.get(name) {
                Some(number) => Member::Link(*number),
                None => self.wrapper(name).map_or(Member::Unknown, Member::Value),
            };
        }
        let item = reference(&schema["items"]).and_then(|name| self.numbers.get(name));
        item.map_or(Member::Unknown, |number| Member::Detail(*number))
    }

    fn wrapper(&self, name: &str) -> Option<Wrapper> {
        let value = &self.schemas.get(name)?["properties"]["value"];
        let value = reference(value).and_then(|inner| self.schemas.get(inner)).unwrap_or(value);
        let inner = &value["properties"];
        if inner["id"].is_object() && inner["description"].is_object() {
            return Some(Wrapper::Choice);
        }
        // The formats do not tell a short or a byte from an integer, nor a decimal from a double.
        Some(match (name, value["type"].as_str()?, value["format"].as_str().unwrap_or("")) {
            ("DecimalValue", ..) => Wrapper::Decimal,
            ("ShortValue", ..) => Wrapper::Short,
            ("ByteValue", ..) => Wrapper::Byte,
            (_, "string", "date-time") => Wrapper::DateTime,
            (_, "string", "date") | ("DateOnlyValue", "string", _) => Wrapper::Date,
            (_, "string", "uuid") => Wrapper::Guid,
            (_, "string", _) => Wrapper::Text,
            (_, "integer", "int64") => Wrapper::Long,
            (_, "integer", _) => Wrapper::Int,
            (_, "number", _) => Wrapper::Double,
            (_, "boolean", _) => Wrapper::Bool,
            _ => return None,
        })
    }

    /// A path of one segment names an entity; its type has the same name, or is what the path speaks of.
    fn entity(&self, path: &str, item: &Value, records: &[Record]) -> Option<Entity> {
        let name = path.strip_prefix('/').filter(|n| !n.is_empty() && !n.contains(['/', '{', '$']))?;
        let record = self.numbers.get(name).copied().or_else(|| self.mentioned(item))?;
        let list = |name| matches!(records[record].member(name), Some(Member::Detail(_)));
        let form = name.ends_with("Inquiry") || list("Results") || list("Result");
        Some(Entity { name: name.to_string(), record, form })
    }

    fn mentioned(&self, value: &Value) -> Option<usize> {
        let own = reference(value).and_then(|name| self.numbers.get(name)).copied();
        own.or_else(|| match value {
            Value::Object(members) => members.values().find_map(|v| self.mentioned(v)),
            Value::Array(items) => items.iter().find_map(|v| self.mentioned(v)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(document: &Value) -> Result<Model, String> {
        Model::parse(document.to_string().into_bytes())
    }

    fn schemas() -> Value {
        let link = |name: &str| json!({ "$ref": format!("#/definitions/{name}") });
        let value = |schema: Value| json!({ "type": "object", "properties": { "value": schema } });
        let record = |members: Value| json!({ "allOf": [link("Entity"), { "properties": members }] });
        json!({
            "Entity": { "type": "object", "properties": { "id": { "type": "string" } } },
            "StringValue": value(json!({ "type": "string" })),
            "ShortValue": value(json!({ "type": "integer", "format": "int32" })),
            "Choice": { "properties": { "id": { "type": "string" }, "description": { "type": "string" } } },
            "DropDownValue": value(link("Choice")),
            "Part": record(json!({ "Owner": link("Whole"), "Nbr": link("ShortValue") })),
            "Whole": record(json!({
                "zeta": link("StringValue"), "Alpha": { "allOf": [link("DropDownValue")] },
                "Parts": { "type": "array", "items": link("Part") },
                "Odd": { "type": "object" }, "Elsewhere": link("NoSuch"),
            })),
            "More": { "allOf": [link("Whole"), { "properties": { "Extra": link("StringValue") } }] },
        })
    }

    fn document() -> Value {
        let paths = json!({ "/Whole": {}, "/Whole/{id}": {}, "/More": {}, "/StringValue": {},
            "/Other": { "get": { "schema": { "items": { "$ref": "#/definitions/Part" } } } } });
        json!({ "info": { "title": "Own/1.0", "version": "5" }, "definitions": schemas(), "paths": paths })
    }

    #[test]
    fn members_are_sorted_without_regard_to_case_and_have_their_kinds() {
        let model = parse(&document()).unwrap();
        let names = ["More", "Part", "Whole"];
        let number = |name: &str| names.iter().position(|n| *n == name).unwrap();
        let of = |name: &str| &model.records[number(name)];
        let names: Vec<&str> = of("Whole").members.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["Alpha", "Elsewhere", "Odd", "Parts", "zeta"]);
        assert_eq!(of("Whole").member("Alpha"), Some(Member::Value(Wrapper::Choice)));
        assert_eq!(of("Whole").member("Elsewhere"), Some(Member::Unknown));
        assert_eq!(of("Whole").member("Odd"), Some(Member::Unknown));
        assert_eq!(of("Part").member("Nbr"), Some(Member::Value(Wrapper::Short)));
        assert_eq!(of("Whole").member("Parts"), Some(Member::Detail(number("Part"))));
        assert_eq!(of("More").members.len(), 6, "what it extends and its own");
    }

    #[test]
    fn entities_are_the_paths_of_one_segment() {
        let model = parse(&document()).unwrap();
        let names: Vec<&str> = model.entities.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["More", "Other", "Whole"]);
        assert!(model.records[model.entities[1].record].member("Owner").is_some(), "a Part");
    }

    #[test]
    fn the_endpoint_is_in_the_title_or_in_the_url() {
        let named = |document: &Value| parse(document).map(|m| (m.endpoint, m.version));
        let own = ("Own".to_string(), "1.0".to_string());
        assert_eq!(named(&document()).unwrap(), own);
        let mut document = document();
        document["info"]["title"] = json!("Untitled");
        assert!(named(&document).is_err());
        document["servers"] = json!([{ "url": "http://localhost/dir/entity/Own/1.0/" }]);
        assert_eq!(named(&document).unwrap(), own);
        document["basePath"] = json!("/entity/Base/2");
        assert_eq!(named(&document).unwrap().0, "Base");
        assert!(parse(&json!({ "info": { "title": "A/1" } })).is_err());
    }

    #[test]
    fn types_that_extend_each_other_in_a_circle_end() {
        let mut document = document();
        document["definitions"]["A"] = json!({ "allOf": [{ "$ref": "#/definitions/B" }] });
        document["definitions"]["B"] = json!({ "allOf": [{ "$ref": "#/definitions/A" }] });
        assert!(parse(&document).is_ok());
    }
}
