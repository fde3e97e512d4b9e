//! Who is at the door: which rule applies to a connection, and whom the server takes the caller for.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, AUTHORIZATION, COOKIE};

use super::accounts::{Credential, Directory};
use super::login;
use crate::api::bodies::Common;
use crate::api::versions::{
    API_VERSION_HEADER, FRAMES_CONTENT_TYPE, IDEMPOTENCY_HEADER, PLAIN_JSON_CONTENT_TYPE,
    SKY_VERSION_HEADER, USER_HEADER, VERSION_HEADER,
};
use crate::base::cx::{Caller, Role};
use crate::base::ids::{IdempotencyKey, UserId};
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};
use crate::http::listen::{Peer, Policy};
use crate::ops::Origin;

/// The variables in which a body says who asks.
const ID_VARIABLE: &str = "SKYPILOT_USER_ID";
/// Display name.
const NAME_VARIABLE: &str = "SKYPILOT_USER";

/// Which rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A process of the user that runs the server: may do everything, and says who it is.
    Local,
    /// Anybody: is who the credentials say.
    Team,
}

impl Standing {
    /// Returns the rule of a connection.
    pub(crate) const fn of(peer: &Peer) -> Self {
        match peer.policy {
            Policy::SameUser => Self::Local,
            Policy::Open => Self::Team,
        }
    }

    /// Returns where the caller's files are.
    pub(crate) const fn origin(self) -> Origin {
        match self {
            Self::Local => Origin::Local,
            Self::Team => Origin::Remote,
        }
    }
}

/// Whose words a client understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Ours: plain JSON, byte cursors, errors as answers.
    Sky,
    /// `SkyPilot`'s: errors arrive as results of requests.
    SkyPilot,
}

impl Dialect {
    /// Recognises a client by its headers.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let accept = text(headers, ACCEPT.as_str()).unwrap_or_default();
        let ours = accept.contains(PLAIN_JSON_CONTENT_TYPE)
            || accept.contains(FRAMES_CONTENT_TYPE)
            || headers.contains_key(SKY_VERSION_HEADER);
        if ours { Self::Sky } else { Self::SkyPilot }
    }
}

/// Who calls, and how.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// Whom the server takes the caller for.
    pub(crate) caller: Caller,
    /// Which rule applies.
    pub(crate) standing: Standing,
    /// Whether a body may say who asks: a local caller that has not done so in a header.
    pub(crate) anonymous: bool,
    /// The id by which the client knows itself, as its body says: not whom the server takes it for.
    pub(crate) claimed: Option<String>,
    /// Whose words the client understands.
    pub(crate) dialect: Dialect,
    /// Whether it is a client of `SkyPilot`'s indeed, and not just anybody: it says its version, as all of them do.
    pub(crate) published: bool,
    /// Makes a submission repeatable.
    pub(crate) key: Option<IdempotencyKey>,
}

impl Visitor {
    /// Recognises a caller on a local connection.
    pub(crate) fn local(headers: &HeaderMap, own: &Caller) -> Result<Self> {
        let named = text(headers, USER_HEADER).map(named).transpose()?;
        Ok(Self {
            anonymous: named.is_none(),
            caller: named.unwrap_or_else(|| own.clone()),
            standing: Standing::Local,
            claimed: None,
            dialect: Dialect::of(headers),
            published: is_published(headers),
            key: key(headers)?,
        })
    }

    /// Recognises a caller by credentials; `None` without any.
    pub(crate) async fn team(headers: &HeaderMap, directory: &Directory) -> Result<Option<Self>> {
        let Some(credential) = credential(headers)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            caller: directory.authenticate(credential).await?,
            standing: Standing::Team,
            anonymous: false,
            claimed: None,
            dialect: Dialect::of(headers),
            published: is_published(headers),
            key: key(headers)?,
        }))
    }

    /// Settles who asks: takes the name from an anonymous local body, and puts the settled name into it.
    ///
    /// Nothing else of the client's environment is kept: it may hold keys.
    pub(crate) fn settle(&mut self, common: &mut Common) -> Result<()> {
        if self.anonymous
            && let Some(id) = common.env_vars.get(ID_VARIABLE)
        {
            let name = common.env_vars.get(NAME_VARIABLE).unwrap_or(id).clone();
            self.caller = local_caller(id.parse()?, name);
            self.anonymous = false;
        }
        self.claimed = common.env_vars.remove(ID_VARIABLE);
        common.env_vars.clear();
        let Caller { id, name, .. } = &self.caller;
        common.env_vars.insert(ID_VARIABLE.into(), id.to_string());
        common.env_vars.insert(NAME_VARIABLE.into(), name.clone());
        Ok(())
    }

    /// Returns whose requests this caller may see and cancel; none = everybody's.
    pub(crate) fn scope(&self) -> Option<&UserId> {
        (self.caller.role != Role::Admin).then_some(&self.caller.id)
    }
}

/// Whether a client of `SkyPilot`'s calls.
fn is_published(headers: &HeaderMap) -> bool {
    Dialect::of(headers) == Dialect::SkyPilot
        && headers.contains_key(API_VERSION_HEADER)
        && headers.contains_key(VERSION_HEADER)
}

/// A caller on this machine may do everything.
pub(crate) const fn local_caller(id: UserId, name: String) -> Caller {
    Caller {
        id,
        name,
        role: Role::Admin,
    }
}

/// Reads what a caller shows: the header, else the cookie that a log-in with a browser left.
fn credential(headers: &HeaderMap) -> Result<Option<Credential>> {
    if let Some(header) = text(headers, AUTHORIZATION.as_str()) {
        let credential = Credential::parse(header)
            .ok_or_else(|| Error::new(Kind::Unauthenticated, "Invalid authentication method"))?;
        return Ok(Some(credential));
    }
    let cookies = headers.get_all(COOKIE).into_iter();
    let session = cookies
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, _)| *name == login::COOKIE);
    Ok(session.map(|(_, token)| Credential::Token(Secret::new(token))))
}

/// Reads `id;name`.
fn named(header: &str) -> Result<Caller> {
    let (id, name) = header.split_once(';').unwrap_or((header, header));
    Ok(local_caller(id.trim().parse()?, name.trim().to_owned()))
}

/// Reads the idempotency key.
fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>> {
    text(headers, IDEMPOTENCY_HEADER)
        .map(str::parse)
        .transpose()
}

/// Returns a header as text; one that is not text counts as absent.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in rows {
            map.insert(*name, value.parse().expect("a valid value"));
        }
        map
    }

    fn own() -> Caller {
        local_caller("0123abcd".parse().expect("a valid id"), "me".into())
    }

    #[test]
    fn a_local_caller_is_named_by_header_then_body_then_the_account() {
        let mut common = Common::default();
        common.env_vars.insert(ID_VARIABLE.into(), "body1".into());
        common
            .env_vars
            .insert("AWS_SECRET_ACCESS_KEY".into(), "hunter2".into());
        let mut visitor = Visitor::local(&headers(&[]), &own()).expect("it is local");
        assert_eq!(visitor.caller.id.as_str(), "0123abcd");
        visitor.settle(&mut common).expect("a valid id");
        assert_eq!(visitor.caller.id.as_str(), "body1");
        assert!(!common.env_vars.contains_key("AWS_SECRET_ACCESS_KEY"));
        let by_header = headers(&[(USER_HEADER, "head1;Ann Lee")]);
        let mut visitor = Visitor::local(&by_header, &own()).expect("it is local");
        visitor.settle(&mut common).expect("a valid id");
        assert_eq!(visitor.caller.id.as_str(), "head1");
        assert_eq!(common.env_vars[ID_VARIABLE], "head1");
        assert_eq!(common.env_vars[NAME_VARIABLE], "Ann Lee");
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let bad = headers(&[(USER_HEADER, "../x;y")]);
        assert!(Visitor::local(&bad, &own()).is_err());
        let mut common = Common::default();
        common.env_vars.insert(ID_VARIABLE.into(), "a/b".into());
        let mut visitor = Visitor::local(&headers(&[]), &own()).expect("it is local");
        assert!(visitor.settle(&mut common).is_err());
    }

    #[test]
    fn our_client_is_recognised() {
        assert_eq!(Dialect::of(&headers(&[])), Dialect::SkyPilot);
        let ours = headers(&[("accept", PLAIN_JSON_CONTENT_TYPE)]);
        assert_eq!(Dialect::of(&ours), Dialect::Sky);
    }
}
