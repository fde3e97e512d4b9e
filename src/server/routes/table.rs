//! The router. Every route is registered here with the access table at hand: what is not in it is not served.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{clusters, files, health, infra, login, logs, requests, ssh, unsupported, users};
use crate::api::bodies::HasCommon;
use crate::base::{Error, Kind};
use crate::ops::Op;
use crate::server::access;
use crate::server::admission::submit;
use crate::server::app::App;
use crate::server::extract::Posted;
use crate::server::gate::gate;
use crate::server::openapi::Doc;

/// Routes on their way to a router.
pub(super) struct Table {
    /// The router so far.
    router: Router<App>,
    /// What it serves, and what each route takes and answers.
    pub(super) served: Vec<(Method, &'static str, Doc)>,
}

impl Table {
    /// All routes.
    pub(super) fn full() -> Self {
        let table = Self {
            router: Router::new(),
            served: Vec::new(),
        };
        let table = health::routes(table);
        let table = requests::routes(table);
        let table = clusters::routes(table);
        let table = infra::routes(table);
        let table = ssh::routes(table);
        let table = logs::routes(table);
        let table = files::routes(table);
        let table = users::routes(table);
        let table = login::routes(table);
        unsupported::routes(table)
    }

    /// Adds a GET route.
    pub(super) fn get<T: 'static>(self, path: &'static str, handler: impl Handler<T, App>) -> Self {
        self.add(Method::GET, MethodFilter::GET, path, handler)
    }

    /// Adds a POST route.
    pub(super) fn post<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, App>,
    ) -> Self {
        self.add(Method::POST, MethodFilter::POST, path, handler)
    }

    /// Adds a verb: a POST that is stored as a request.
    pub(super) fn verb<B>(self, path: &'static str, op: fn(B) -> Op) -> Self
    where
        B: DeserializeOwned + HasCommon + JsonSchema + Send + 'static,
    {
        let table = self.post(
            path,
            move |State(app): State<App>, posted: Posted<B>| async move {
                submit(&app, posted.visitor, op(posted.body)).await
            },
        );
        table.doc(Doc::default().body::<B>().request())
    }

    /// Says what the route that was added last takes and answers.
    pub(super) fn doc(mut self, doc: Doc) -> Self {
        if let Some((_, _, last)) = self.served.last_mut() {
            *last = doc;
        }
        self
    }

    /// Adds a route that has a rule; one without would be open to everybody who has an account.
    fn add<T: 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        handler: impl Handler<T, App>,
    ) -> Self {
        if access::of(&method, path).is_none() {
            tracing::error!(%method, path, "a route without a rule is not served");
            return self;
        }
        self.router = self.router.route(path, on(filter, handler));
        self.served.push((method, path, Doc::default()));
        self
    }
}

/// Returns the service behind every listener.
pub(crate) fn router(app: App) -> Router {
    Table::full()
        .router
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(app.clone(), gate))
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

/// The answer to an unknown path.
async fn not_found() -> Response {
    let error = Error::new(Kind::NotFound, "the server does not know this path");
    let body = axum::Json(json!({ "detail": "Not Found", "error": error }));
    (StatusCode::NOT_FOUND, body).into_response()
}

/// The answer to a wrong method.
async fn wrong_method() -> Response {
    let error = Error::new(Kind::Invalid, "this path has no such method");
    let body = axum::Json(json!({ "detail": "Method Not Allowed", "error": error }));
    (StatusCode::METHOD_NOT_ALLOWED, body).into_response()
}
