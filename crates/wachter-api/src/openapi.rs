use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::{Problem, ROUTES, Route, Schemas};

/// Describes the interface as OpenAPI 3.1, whose shapes are JSON Schema 2020-12 as they are.
///
/// # Panics
/// Never: every shape that is declared can be described, which a test sees to.
#[must_use]
pub fn openapi() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for route in ROUTES {
        let schemas = (route.schemas)(&mut generator);
        let schemas = Shapes::of(&schemas, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_string().to_lowercase()] =
            operation(route, schemas, problem.as_value());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wachter node",
            "summary": "What a node can be asked over its unix socket",
            "version": "1",
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

/// The schemas of a route as JSON, the query taken apart into its keys.
struct Shapes {
    query: Vec<Value>,
    body: Option<Value>,
    answer: Option<Value>,
}

impl Shapes {
    fn of(schemas: &Schemas, generator: &mut schemars::SchemaGenerator) -> Self {
        let query = schemas.query.as_ref().map_or_else(Vec::new, |query| {
            // A query is an object by itself; OpenAPI wants its keys one by one.
            let name = query.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            let object = name.and_then(|name| generator.definitions().get(name)).cloned();
            let object = object.unwrap_or_else(|| query.clone().into());
            let properties = object.get("properties").and_then(Value::as_object).cloned();
            properties
                .unwrap_or_default()
                .into_iter()
                .map(|(name, schema)| {
                    let description = schema.get("description").cloned();
                    json!({ "name": name, "in": "query", "description": description, "schema": schema })
                })
                .collect()
        });
        let value = |schema: &Option<schemars::Schema>| schema.clone().map(Value::from);
        Self { query, body: value(&schemas.body), answer: value(&schemas.answer) }
    }
}

fn operation(route: &Route, shapes: Shapes, problem: &Value) -> Value {
    let mut parameters = shapes.query;
    if let Some((_, rest)) = route.path.split_once('{') {
        let name = rest.split('}').next().unwrap_or_default();
        parameters.insert(
            0,
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }),
        );
    }
    let media = if route.streaming { "application/jsonl" } else { "application/json" };
    let mut answer =
        json!({ "description": if route.streaming { "One answer a line" } else { "Done" } });
    if let Some(schema) = shapes.answer {
        answer["content"] = json!({ media: { "schema": schema } });
    }
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "x-role": route.role,
        "parameters": parameters,
        "responses": {
            "200": answer,
            "default": {
                "description": "It was not carried out",
                "content": { "application/problem+json": { "schema": problem } },
            },
        },
    });
    if let Some(schema) = shapes.body {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}
