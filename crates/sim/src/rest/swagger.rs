//! `swagger.json`: Swagger 2.0 from old releases, OpenAPI 3.0.1 from others, in the shape of the real files.

use serde_json::{Map, Value, json};

use crate::data::schema::{Role, SCHEMA, Table};
use crate::data::value::Kind;
use crate::filter::Dialect;
use crate::reply::Reply;
use crate::state::State;

struct SchemaWriter {
    /// Swagger 2.0.
    old: bool,
    contract5: bool,
}

pub fn document(state: &State, endpoint: &str, version: &str, dialect: Dialect) -> Reply {
    // The format goes with the release of the site, not with the endpoint (docs/acumatica.md §2.1, FG).
    let old = state.config.release.is_old();
    let writer = SchemaWriter { old, contract5: dialect == Dialect::Contract5 };
    let info = json!({ "title": format!("{endpoint}/{version}"), "version": if writer.contract5 { "5" } else { "4" } });
    let (paths, schemas) = (writer.paths(), writer.schemas());
    let site = format!("{}/entity/{endpoint}/{version}", state.config.site());
    let shown = || SCHEMA.tables.iter().filter(|t| has_path(t));
    let tag = |t: &Table| json!({ "name": t.name, "description": format!("{} ({})", t.title, t.screen) });
    let tags: Vec<Value> = shown().map(tag).collect();
    let document = if old {
        json!({
            "swagger": "2.0", "info": info, "host": "localhost", "basePath": site, "schemes": ["http"],
            "paths": paths, "definitions": schemas, "tags": tags,
        })
    } else {
        json!({
            "openapi": "3.0.1", "info": info, "servers": [{ "url": format!("http://localhost{site}") }],
            "paths": paths, "tags": tags,
            "components": { "schemas": schemas, "responses": responses(writer.contract5), "parameters": parameters() },
        })
    };
    Reply::json(200, &document)
}

fn has_path(table: &Table) -> bool {
    matches!(table.role, Role::Entity { .. } | Role::Inquiry { .. })
}

/// Name, place, description and type of each parameter.
const PARAMETERS: &[(&str, &str, &str, &str, &str)] = &[
    ("select", "$select", "query", "The fields of the entity to be returned from the system.", "string"),
    (
        "filter",
        "$filter",
        "query",
        "The conditions that determine which records should be selected from the system.",
        "string",
    ),
    ("expand", "$expand", "query", "The linked and detail entities that should be expanded.", "string"),
    (
        "custom",
        "$custom",
        "query",
        "The fields that are not defined in the contract of the endpoint to be returned from the system.",
        "string",
    ),
    (
        "skip",
        "$skip",
        "query",
        "The number of records to be skipped from the list of returned records.",
        "integer",
    ),
    ("top", "$top", "query", "The number of records to be returned from the system.", "integer"),
    (
        "ids",
        "ids",
        "path",
        "The values of the key fields of the record. The values are slash-delimited.",
        "string",
    ),
    ("id", "id", "path", "The session ID of the record.", "string"),
];

fn parameters() -> Value {
    let one = |(id, name, place, description, kind): &(&str, &str, &str, &str, &str)| {
        let mut value =
            json!({ "name": name, "in": place, "description": description, "schema": { "type": kind } });
        if *place == "path" {
            value["required"] = json!(true);
        }
        if *kind == "integer" {
            value["schema"]["format"] = json!("int32");
        }
        (id.to_string(), value)
    };
    Value::Object(PARAMETERS.iter().map(one).collect())
}

fn responses(contract5: bool) -> Value {
    let error = |description: &str| {
        json!({
            "description": description,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/HttpError" } } },
        })
    };
    let mut responses = json!({
        "ContractBasedControllerBase_401": error("The user is not logged in to the system."),
        "ContractBasedControllerBase_500": error("Internal server error."),
        "PutEntity_400": error("The data specified in the request is invalid."),
    });
    if contract5 {
        responses["EntityController_409"] = error(
            "A long operation is running for this screen in the current session. Please try again later.",
        );
    }
    responses
}

impl SchemaWriter {
    fn reference(&self, name: &str) -> Value {
        let place = if self.old { "#/definitions/" } else { "#/components/schemas/" };
        json!({ "$ref": format!("{place}{name}") })
    }

    fn parameter(&self, id: &str) -> Value {
        if !self.old {
            return json!({ "$ref": format!("#/components/parameters/{id}") });
        }
        let found = PARAMETERS.iter().find(|p| p.0 == id);
        let (_, name, place, description, kind) = found.copied().unwrap_or(("", "", "query", "", "string"));
        let mut value = json!({ "in": place, "name": name, "description": description, "type": kind });
        match (id, kind) {
            ("ids", _) => {
                value["type"] = json!("array");
                value["items"] = json!({ "type": "string" });
                value["collectionFormat"] = json!("pipes");
            }
            ("id", _) => value["format"] = json!("uuid"),
            (_, "integer") => value["format"] = json!("int32"),
            _ => {}
        }
        if place == "path" {
            value["required"] = json!(true);
        }
        value
    }

    fn answer(&self, description: &str, schema: Value) -> Value {
        if self.old {
            return json!({ "description": description, "schema": schema });
        }
        let content = json!({ "schema": schema });
        json!({ "description": description, "content": { "application/json": content, "text/json": content } })
    }

    fn operation(&self, table: &Table, summary: &str, name: &str, parameters: &[&str], ok: Value) -> Value {
        let parameters: Vec<Value> = parameters.iter().map(|p| self.parameter(p)).collect();
        let (unauthorized, failed) = if self.old {
            let error = self.reference("HttpError");
            (
                self.answer("The user is not logged in to the system.", error.clone()),
                self.answer("Internal server error.", error),
            )
        } else {
            let reference = |code: &str| json!({ "$ref": format!("#/components/responses/ContractBasedControllerBase_{code}") });
            (reference("401"), reference("500"))
        };
        let mut operation = json!({
            "tags": [table.name],
            "summary": summary,
            "operationId": format!("{}_{name}", table.name),
            "parameters": parameters,
            "responses": { "401": unauthorized, "500": failed, "200": ok },
        });
        if self.contract5 && !self.old {
            operation["responses"]["409"] = json!({ "$ref": "#/components/responses/EntityController_409" });
        }
        if self.old {
            operation["produces"] = json!(["application/json", "text/json"]);
        }
        operation
    }

    fn paths(&self) -> Value {
        let mut paths = Map::new();
        for table in SCHEMA.tables.iter().filter(|t| has_path(t)) {
            let record = || self.reference(table.name);
            let list = self.answer(
                "The list of records that satisfy the specified conditions.",
                json!({ "type": "array", "items": record() }),
            );
            let all = ["select", "filter", "expand", "custom", "skip", "top"];
            let summary = "Retrieves records that satisfy the specified conditions from the system.";
            let get = self.operation(table, summary, "GetList", &all, list);
            let saved = self.answer("The created or updated record.", record());
            let summary = "Creates a record or updates an existing record.";
            let mut put = self.operation(table, summary, "PutEntity", &all[..4], saved);
            let description = "The record to be passed to the system.";
            if self.old {
                put["consumes"] = json!(["application/json", "text/json"]);
                let body = json!({ "in": "body", "name": "entity", "description": description, "required": true, "schema": record() });
                if let Some(list) = put["parameters"].as_array_mut() {
                    list.push(body);
                }
            } else {
                let mut body = self.answer(description, record());
                body["required"] = json!(true);
                put["requestBody"] = body;
            }
            let mut path = json!({ "get": get, "put": put });
            if self.contract5 {
                // It changes a record that there is (CST).
                path["patch"] = path["put"].clone();
                path["patch"]["operationId"] = json!(format!("{}_PatchEntity", table.name));
            }
            paths.insert(format!("/{}", table.name), path);
            let one = || self.answer("The requested record.", record());
            let by_key = ["ids", "select", "filter", "expand", "custom"];
            let summary = "Retrieves a record by the values of its key fields from the system.";
            let get = self.operation(table, summary, "GetByKeys", &by_key, one());
            paths.insert(format!("/{}/{{ids}}", table.name), json!({ "get": get }));
            let by_id = ["id", "select", "filter", "expand", "custom"];
            let summary = "Retrieves a record by the value of the session entity ID from the system.";
            let get = self.operation(table, summary, "GetById", &by_id, one());
            paths.insert(format!("/{}/{{id}}", table.name), json!({ "get": get }));
            let summary = "Retrieves the schema of custom fields of the entity from the system.";
            let get = self.operation(table, summary, "GetAdHocSchema", &[], one());
            paths.insert(format!("/{}/$adHocSchema", table.name), json!({ "get": get }));
        }
        Value::Object(paths)
    }

    fn wrapper_of(&self, kind: Kind) -> &'static str {
        match kind {
            // As the definition of Default/26.200.001 has them (CST).
            Kind::Choice if self.contract5 => "StringSingleSelectValue",
            Kind::Date if self.contract5 => "DateOnlyValue",
            Kind::Text | Kind::Choice | Kind::Binary => "StringValue",
            Kind::Int => "IntValue",
            Kind::Short => "ShortValue",
            Kind::Long => "LongValue",
            Kind::Byte => "ByteValue",
            Kind::Dec(_) => "DecimalValue",
            Kind::Double => "DoubleValue",
            Kind::Bool => "BooleanValue",
            Kind::Date | Kind::Ts => "DateTimeValue",
            Kind::Guid => "GuidValue",
        }
    }

    fn schemas(&self) -> Value {
        let mut schemas = Map::new();
        let kinds = [
            ("String", json!({ "type": "string" })),
            ("Decimal", json!({ "type": "number", "format": "double" })),
            ("Double", json!({ "type": "number", "format": "double" })),
            ("Int", json!({ "type": "integer", "format": "int32" })),
            ("Short", json!({ "type": "integer", "format": "int32" })),
            ("Long", json!({ "type": "integer", "format": "int64" })),
            ("Byte", json!({ "type": "string", "format": "byte" })),
            ("Boolean", json!({ "type": "boolean" })),
            ("DateTime", json!({ "type": "string", "format": "date-time" })),
            ("Guid", json!({ "type": "string", "format": "uuid" })),
        ];
        for (name, value) in kinds {
            let members = json!({ "value": value, "error": { "type": "string" } });
            schemas.insert(format!("{name}Value"), json!({ "type": "object", "properties": members }));
            let all = json!([self.reference("CustomField"), { "type": "object", "properties": members }]);
            schemas.insert(format!("Custom{name}Field"), json!({ "allOf": all }));
        }
        if self.contract5 {
            let choice = json!({
                "required": ["id"], "type": "object",
                "properties": { "id": { "type": "string" }, "description": { "type": "string", "nullable": true } },
            });
            schemas.insert("StringSelectInnerValue".into(), choice);
            let one = self.reference("StringSelectInnerValue");
            let several = json!({ "type": "array", "items": one, "nullable": true });
            for (name, value) in [("Single", one), ("Multi", several)] {
                let members = json!({ "value": value, "error": { "type": "string" } });
                let schema = json!({ "type": "object", "properties": members });
                schemas.insert(format!("String{name}SelectValue"), schema);
            }
            let members =
                json!({ "value": { "type": "string", "format": "date" }, "error": { "type": "string" } });
            schemas.insert("DateOnlyValue".into(), json!({ "type": "object", "properties": members }));
        }
        let discriminator = if self.old { json!("type") } else { json!({ "propertyName": "type" }) };
        schemas.insert(
            "CustomField".into(),
            json!({
                "required": ["type"], "type": "object", "properties": { "type": { "type": "string" } },
                "discriminator": discriminator,
            }),
        );
        let text = || json!({ "type": "string" });
        schemas.insert(
            "FileLink".into(),
            json!({
                "type": "object",
                "properties": {
                    "id": { "type": "string", "format": "uuid" }, "filename": text(),
                    "href": { "type": "string", "format": "uri" }, "comment": text(),
                },
            }),
        );
        schemas.insert(
            "HttpError".into(),
            json!({
                "type": "object",
                "properties": { "message": text(), "exceptionMessage": text(), "exceptionType": text(), "stackTrace": text() },
            }),
        );
        let custom = json!({ "type": "object", "additionalProperties": self.reference("CustomField") });
        schemas.insert(
            "Entity".into(),
            json!({
                "type": "object",
                "properties": {
                    "id": { "type": "string", "format": "uuid" },
                    "rowNumber": { "type": "integer", "format": "int64" },
                    "note": self.reference("StringValue"),
                    "custom": { "type": "object", "additionalProperties": custom },
                    "error": text(),
                    "files": { "type": "array", "items": self.reference("FileLink") },
                },
            }),
        );
        for table in SCHEMA.tables.iter().filter(|t| t.role != Role::Setup) {
            schemas.insert(table.name.to_string(), self.table(table));
        }
        Value::Object(schemas)
    }

    fn table(&self, table: &Table) -> Value {
        let mut members = Map::new();
        for col in table.cols.iter().filter(|c| !c.hidden && !c.custom) {
            members.insert(col.name.to_string(), self.reference(self.wrapper_of(col.kind)));
        }
        for link in table.links.iter().filter(|l| l.rest) {
            members.insert(link.name.to_string(), self.reference(SCHEMA.tables[link.to].name));
        }
        let array =
            |child: usize| json!({ "type": "array", "items": self.reference(SCHEMA.tables[child].name) });
        for detail in table.details.iter().filter(|d| d.rest) {
            members.insert(detail.name.to_string(), array(detail.child));
        }
        if self.contract5 && has_path(table) {
            let actions = json!({ "type": "object", "additionalProperties": { "type": "object" } });
            members.insert("_workflowActions".into(), actions);
        }
        if let Role::Inquiry { results } = table.role {
            members.insert("Results".into(), array(results));
        }
        json!({ "allOf": [self.reference("Entity"), { "type": "object", "properties": members }] })
    }
}
