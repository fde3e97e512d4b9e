//! The OpenAPI document, made of the table of routes and of the types that handlers read and write.
//!
//! A route says in its row what it takes and answers ([`Doc`]); what every route may answer besides (refusals,
//! credentials) stands here once.

use std::collections::BTreeSet;

use axum::http::Method;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::api::requests::RequestPayload;
use crate::api::versions::{FRAMES_CONTENT_TYPE, IDEMPOTENCY_HEADER, VERSION};
use crate::base::Error;

/// Statuses of refusals: those of `Kind::http_status`, and what is said of bodies (422) and of a server that stops (503).
const REFUSALS: [u16; 13] = [
    400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504, 507,
];

/// Makes the schema of a type.
type Make = fn(&mut SchemaGenerator) -> Schema;

/// What a route takes and answers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Doc {
    /// Query.
    query: Option<Make>,
    /// Body.
    body: Body,
    /// Answer when all is well.
    answer: Answer,
}

/// What is sent.
#[derive(Debug, Clone, Copy, Default)]
enum Body {
    /// Nothing.
    #[default]
    None,
    /// JSON of a type.
    Json(Make),
    /// Bytes.
    Bytes,
}

/// What comes back.
#[derive(Debug, Clone, Copy, Default)]
enum Answer {
    /// Any JSON.
    #[default]
    Any,
    /// Null, and the id of the request that was made.
    Request,
    /// JSON of a type.
    Json(Make),
    /// A request that is over; one that failed comes with status 500.
    Ended,
    /// A log as it grows.
    Stream,
    /// Text.
    Text,
    /// A page for browsers.
    Html,
    /// A zip archive.
    Zip,
}

impl Doc {
    /// Takes a query.
    pub(crate) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(|generator| T::json_schema(generator));
        self
    }

    /// Takes a JSON body.
    pub(crate) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Body::Json(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// Takes bytes.
    pub(crate) fn bytes(mut self) -> Self {
        self.body = Body::Bytes;
        self
    }

    /// Answers with JSON.
    pub(crate) fn json<T: JsonSchema>(mut self) -> Self {
        self.answer = Answer::Json(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// Answers with the id of a request.
    pub(crate) fn request(mut self) -> Self {
        self.answer = Answer::Request;
        self
    }

    /// Answers with a request that is over.
    pub(crate) fn ended(mut self) -> Self {
        self.answer = Answer::Ended;
        self
    }

    /// Answers with a log.
    pub(crate) fn stream(mut self) -> Self {
        self.answer = Answer::Stream;
        self
    }

    /// Answers with text.
    pub(crate) fn text(mut self) -> Self {
        self.answer = Answer::Text;
        self
    }

    /// Answers with a page.
    pub(crate) fn html(mut self) -> Self {
        self.answer = Answer::Html;
        self
    }

    /// Answers with an archive.
    pub(crate) fn zip(mut self) -> Self {
        self.answer = Answer::Zip;
        self
    }
}

/// Returns the document of routes.
pub(crate) fn document(routes: &[(Method, &'static str, Doc)]) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator();
    let error = generator.subschema_for::<Error>();
    let mut paths = Map::new();
    for (method, path, doc) in routes {
        let operation = operation(method, path, doc, &mut generator);
        let at = paths.entry(*path).or_insert_with(|| json!({}));
        at[method.as_str().to_ascii_lowercase()] = operation;
    }
    let refusal = json!({
        "type": "object",
        "properties": {
            "detail": { "description": "For SkyPilot's clients: a text, a list of what is wrong where, or an exception." },
            "error": { "anyOf": [error, { "type": "string" }] },
            "message": { "type": "string" },
        },
    });
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Refusal".to_owned(), refusal);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "sky",
            "version": VERSION,
            "description": "Work on clusters through durable requests. A verb answers the id of its request in the header \
                            X-SkyPilot-Request-ID; /api/stream follows its log, /api/get waits for its result.",
        },
        "security": [{}, { "token": [] }, { "password": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "sky_…" },
                "password": { "type": "http", "scheme": "basic" },
            },
            "responses": {
                "Refusal": {
                    "description": "It was not done; `error` says why, and what to do next.",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Refusal" } } },
                },
                "Unauthenticated": {
                    "description": "No valid credentials.",
                    "content": { "application/json": { "schema": {} } },
                },
            },
        },
    })
}

/// Describes a route.
fn operation(method: &Method, path: &str, doc: &Doc, generator: &mut SchemaGenerator) -> Value {
    let words: Vec<&str> = path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let method = method.as_str().to_ascii_lowercase();
    let mut parameters = path_parameters(path);
    if let Some(query) = doc.query {
        parameters.extend(query_parameters(&query(generator)));
    }
    if matches!(doc.answer, Answer::Request) && method == "post" {
        parameters.push(json!({
            "name": IDEMPOTENCY_HEADER, "in": "header", "schema": { "type": "string", "pattern": "^[!-~]{1,255}$" },
            "description": "The same key never makes a second request.",
        }));
    }
    let mut operation = json!({
        "operationId": format!("{method}_{}", words.join("_")),
        "parameters": parameters,
        "responses": responses(doc.answer, generator),
    });
    let content = match doc.body {
        Body::None => return operation,
        Body::Json(make) => json!({ "application/json": { "schema": make(generator) } }),
        Body::Bytes => json!({ "application/octet-stream": { "schema": {} } }),
    };
    operation["requestBody"] = json!({ "required": true, "content": content });
    operation
}

/// The words of a path that stand for others.
fn path_parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect()
}

/// The fields of a query.
fn query_parameters(schema: &Schema) -> Vec<Value> {
    let value = schema.as_value();
    let required: BTreeSet<&str> = value["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let fields = value["properties"].as_object().into_iter().flatten();
    fields
        .map(|(name, schema)| {
            json!({
                "name": name,
                "in": "query",
                "required": required.contains(name.as_str()),
                "schema": schema,
            })
        })
        .collect()
}

/// What a route may answer.
fn responses(answer: Answer, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for status in REFUSALS {
        let name = if status == 401 {
            "Unauthenticated"
        } else {
            "Refusal"
        };
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        responses.insert(status.to_string(), reference);
    }
    let as_json = |schema: Value| json!({ "application/json": { "schema": schema } });
    let text = || json!({ "schema": { "type": "string" } });
    let content = match answer {
        Answer::Any => as_json(json!({})),
        Answer::Request => as_json(json!({ "type": "null" })),
        Answer::Json(make) => as_json(make(generator).to_value()),
        Answer::Ended => {
            let payload = generator.subschema_for::<RequestPayload>().to_value();
            let failed = json!({
                "type": "object",
                "properties": {
                    "detail": { "anyOf": [payload, { "type": "string" }] },
                },
            });
            let described =
                json!({ "description": "The request failed.", "content": as_json(failed) });
            responses.insert("500".to_owned(), described);
            as_json(payload)
        }
        Answer::Stream => {
            json!({ "text/plain": text(), "text/html": text(), FRAMES_CONTENT_TYPE: text() })
        }
        Answer::Text => json!({ "text/plain": text() }),
        Answer::Html => json!({ "text/html": text() }),
        Answer::Zip => json!({ "application/zip": {} }),
    };
    let mut good = json!({ "description": "Done.", "content": content });
    if matches!(answer, Answer::Request) {
        good["headers"] = json!({
            "X-SkyPilot-Request-ID": { "required": true, "schema": { "type": "string" }, "description": "The id of the request." },
        });
    }
    responses.insert("200".to_owned(), good);
    Value::Object(responses)
}
