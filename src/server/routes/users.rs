//! Users and tokens of a team server.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::health::role;
use super::table::Table;
use crate::api::users::{
    CreateToken, CreateUser, DeleteUser, NameToken, TokenCreated, TokenInfo, UpdateUser, UserInfo,
};
use crate::base::Result;
use crate::server::app::App;
use crate::server::extract::{Asked, Form};
use crate::server::openapi::Doc;

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    const TOKENS: &str = "/users/service-account-tokens";
    table
        .get("/users", list)
        .doc(Doc::default().json::<Vec<UserInfo>>())
        .post("/users/create", create)
        .doc(Doc::default().body::<CreateUser>().json::<UserInfo>())
        .post("/users/update", update)
        .doc(Doc::default().body::<UpdateUser>())
        .post("/users/delete", delete)
        .doc(Doc::default().body::<DeleteUser>())
        .get("/users/role", my_role)
        .get(TOKENS, tokens)
        .doc(Doc::default().json::<Vec<TokenInfo>>())
        .post(TOKENS, create_token)
        .doc(Doc::default().body::<CreateToken>().json::<TokenCreated>())
        .post("/users/service-account-tokens/delete", delete_token)
        .doc(Doc::default().body::<NameToken>())
        .post("/users/service-account-tokens/rotate", rotate_token)
        .doc(Doc::default().body::<NameToken>().json::<TokenCreated>())
        .post("/users/service-account-tokens/get-role", token_role)
        .doc(Doc::default().body::<NameToken>())
        .post("/users/service-account-tokens/update-role", set_token_role)
        .doc(Doc::default().body::<NameToken>())
}

/// A query without fields.
type Nothing = std::collections::BTreeMap<String, String>;

/// Lists users.
async fn list(State(app): State<App>) -> Json<Vec<UserInfo>> {
    Json(app.directory.users())
}

/// Makes a user.
async fn create(State(app): State<App>, form: Form<CreateUser>) -> Result<Json<UserInfo>> {
    Ok(Json(app.directory.create_user(form.body).await?))
}

/// Changes a user.
async fn update(State(app): State<App>, form: Form<UpdateUser>) -> Result<Json<Value>> {
    app.directory
        .update_user(&form.visitor.caller, form.body)
        .await?;
    Ok(success())
}

/// Deletes a user.
async fn delete(State(app): State<App>, form: Form<DeleteUser>) -> Result<Json<Value>> {
    let by = &form.visitor.caller;
    app.directory.delete_user(by, &form.body.user_id).await?;
    Ok(success())
}

/// Says who the caller is.
async fn my_role(asked: Asked<Nothing>) -> Json<Value> {
    let caller = asked.visitor.caller;
    Json(json!({ "id": caller.id, "name": caller.name, "role": role(caller.role) }))
}

/// Lists tokens.
async fn tokens(State(app): State<App>, asked: Asked<Nothing>) -> Json<Vec<TokenInfo>> {
    Json(app.directory.tokens(&asked.visitor.caller))
}

/// Makes a token.
async fn create_token(
    State(app): State<App>,
    form: Form<CreateToken>,
) -> Result<Json<TokenCreated>> {
    let by = &form.visitor.caller;
    Ok(Json(app.directory.create_token(by, form.body).await?))
}

/// Deletes a token.
async fn delete_token(State(app): State<App>, form: Form<NameToken>) -> Result<Json<Value>> {
    let by = &form.visitor.caller;
    app.directory.delete_token(by, &form.body.token_id).await?;
    Ok(success())
}

/// Gives a token another text.
async fn rotate_token(State(app): State<App>, form: Form<NameToken>) -> Result<Json<TokenCreated>> {
    let by = &form.visitor.caller;
    Ok(Json(app.directory.rotate_token(by, form.body).await?))
}

/// Says what a token may do.
async fn token_role(State(app): State<App>, form: Form<NameToken>) -> Result<Json<Value>> {
    let (by, id) = (&form.visitor.caller, &form.body.token_id);
    let user = app.directory.token_user(by, id)?;
    Ok(Json(
        json!({ "token_id": id, "user_id": user.id, "role": role(user.role) }),
    ))
}

/// Changes what a token may do.
async fn set_token_role(State(app): State<App>, form: Form<NameToken>) -> Result<Json<Value>> {
    let by = &form.visitor.caller;
    app.directory.set_token_role(by, form.body).await?;
    Ok(success())
}

/// The answer to a change.
fn success() -> Json<Value> {
    Json(json!({ "status": "success" }))
}
