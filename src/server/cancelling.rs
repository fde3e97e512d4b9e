//! `POST /api/cancel`: which requests are meant, and what became of each.

use super::app::App;
use super::visitor::Visitor;
use crate::api::bodies::ApiCancelBody;
use crate::api::records::CancelReceipt;
use crate::base::ids::UserId;
use crate::base::{Error, Kind, Result};
use crate::requests::Which;

/// Cancels what a caller means and may.
pub(crate) async fn cancel(
    app: &App,
    visitor: &Visitor,
    body: ApiCancelBody,
) -> Result<CancelReceipt> {
    let Some(prefixes) = body.request_ids else {
        let which = all_of(visitor, body.user_id.as_deref())?;
        return app.requests.cancel(which, &visitor.caller).await;
    };
    let mut ids = Vec::new();
    let mut unknown = Vec::new();
    let mut left = Vec::new();
    for prefix in prefixes {
        match app.requests.resolve(&prefix, visitor.scope()).await {
            Ok(id) => ids.push(id),
            Err(error) if error.kind() == Kind::NotFound => {
                left.push((prefix.clone(), error.one_line()));
                unknown.push(prefix);
            }
            Err(error) => return Err(error),
        }
    }
    let mut receipt = app
        .requests
        .cancel(Which::Ids(ids), &visitor.caller)
        .await?;
    receipt.left.extend(left);
    receipt.unknown = unknown;
    Ok(receipt)
}

/// All requests of a user, or of everybody; those of others only for admins.
fn all_of(visitor: &Visitor, user: Option<&str>) -> Result<Which> {
    // "All of mine" arrives with the id by which the client knows itself, which on a team server is not the caller's.
    let user: Option<UserId> = match user {
        Some(id) if visitor.claimed.as_deref() == Some(id) => Some(visitor.caller.id.clone()),
        other => other.map(str::parse).transpose()?,
    };
    let permitted = visitor.scope().is_none_or(|own| user.as_ref() == Some(own));
    if !permitted {
        return Err(Error::new(
            Kind::PermissionDenied,
            "only admins cancel requests of others",
        )
        .hint("to cancel all of your own: sky api cancel -a"));
    }
    Ok(user.map_or(Which::All, Which::OfUser))
}
