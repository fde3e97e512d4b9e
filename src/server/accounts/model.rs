//! Users and tokens, and the rules of changing them. Pure: a change is a list of writes for the store and for memory.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use super::token::Hash;
use crate::api::users::{TokenInfo, UserInfo};
use crate::base::clock::Moment;
use crate::base::cx::{Caller, Role};
use crate::base::ids::{UserId, clip};
use crate::base::{Error, Kind, Result};

/// Name of the user that the first admin token stands for.
pub(crate) const ADMIN: &str = "admin";
/// How long a token lives when its maker says nothing.
const DEFAULT_DAYS: u32 = 30;
/// The longest login or token name.
const LONGEST_NAME: usize = 64;

/// What sort of user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sort {
    /// Logs in with a password.
    Basic,
    /// Stands behind a token.
    Sa,
    /// Made by the server.
    System,
}

impl Sort {
    /// The word on the wire.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Sa => "sa",
            Self::System => "system",
        }
    }
}

/// A user, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct User {
    /// Id.
    pub(crate) id: UserId,
    /// Login name, unique.
    pub(crate) name: String,
    /// What sort of user.
    pub(crate) sort: Sort,
    /// Permission.
    pub(crate) role: Role,
    /// When it was made.
    pub(crate) created: Moment,
    /// Argon2 hash; none = no login with a password.
    pub(crate) password: Option<String>,
}

impl User {
    /// The user as a caller.
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            id: self.id.clone(),
            name: self.name.clone(),
            role: self.role,
        }
    }

    /// The user as it is listed.
    pub(crate) fn info(&self) -> UserInfo {
        UserInfo {
            id: self.id.to_string(),
            name: self.name.clone(),
            created_at: self.created.secs(),
            role: self.role,
            user_type: self.sort.as_str().to_owned(),
        }
    }
}

/// A token, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// Id.
    pub(crate) id: String,
    /// Display name.
    pub(crate) name: String,
    /// SHA-256 of the text, in hexadecimal.
    pub(crate) sha256: String,
    /// The user that it stands for.
    pub(crate) user: UserId,
    /// Who made it.
    pub(crate) creator: UserId,
    /// When it was made or rotated.
    pub(crate) created: Moment,
    /// When it ends; none = never.
    pub(crate) expires: Option<Moment>,
}

/// One change of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    /// Puts a user.
    User(User),
    /// Removes a user.
    DropUser(UserId),
    /// Puts a token.
    Token(Token),
    /// Removes a token.
    DropToken(String),
}

/// What a token should be.
pub(crate) struct NewToken {
    /// Id of the token.
    pub(crate) id: String,
    /// Id of the user behind it.
    pub(crate) account: UserId,
    /// Hash of the text.
    pub(crate) hash: Hash,
    /// Display name.
    pub(crate) name: String,
    /// Days until it expires.
    pub(crate) days: Option<u32>,
    /// Role.
    pub(crate) role: Option<Role>,
}

/// All users and tokens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    /// Users by id.
    users: BTreeMap<UserId, User>,
    /// Tokens by id.
    tokens: BTreeMap<String, Token>,
    /// Ids of tokens by hash.
    by_hash: HashMap<String, String>,
}

impl Accounts {
    /// Takes changes over.
    pub(crate) fn absorb(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::User(user) => drop(self.users.insert(user.id.clone(), user)),
                Write::DropUser(id) => drop(self.users.remove(&id)),
                Write::Token(token) => {
                    self.forget_hash(&token.id);
                    self.by_hash.insert(token.sha256.clone(), token.id.clone());
                    self.tokens.insert(token.id.clone(), token);
                }
                Write::DropToken(id) => {
                    self.forget_hash(&id);
                    self.tokens.remove(&id);
                }
            }
        }
    }

    /// Removes the present hash of a token from the index.
    fn forget_hash(&mut self, id: &str) {
        if let Some(old) = self.tokens.get(id) {
            self.by_hash.remove(&old.sha256);
        }
    }

    /// Returns the user with this login name.
    pub(crate) fn by_name(&self, name: &str) -> Option<&User> {
        self.users.values().find(|user| user.name == name)
    }

    /// Returns a user.
    pub(crate) fn user(&self, id: &str) -> Result<&User> {
        let found = self.users.iter().find(|(key, _)| key.as_str() == id);
        found.map(|(_, user)| user).ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("user `{}` does not exist", clip(id)),
            )
        })
    }

    /// Lists the users.
    pub(crate) fn users(&self) -> Vec<UserInfo> {
        self.users.values().map(User::info).collect()
    }

    /// Whether anybody could administer this server.
    pub(crate) fn has_admin(&self) -> bool {
        self.users.values().any(|user| user.role == Role::Admin)
    }

    /// Returns the token with this hash and its user; an expired token is as good as none.
    pub(crate) fn by_token(&self, hash: &Hash, now: Moment) -> Option<(&Token, &User)> {
        let token = self.tokens.get(self.by_hash.get(&hex::encode(hash))?)?;
        if token.expires.is_some_and(|end| end <= now) {
            return None;
        }
        Some((token, self.users.get(&token.user)?))
    }

    /// The admin and its token at the first start of a team server.
    pub(crate) fn first_admin(id: String, hash: &Hash, now: Moment) -> Result<Vec<Write>> {
        let user = User {
            id: id_of_name(ADMIN)?,
            name: ADMIN.to_owned(),
            sort: Sort::System,
            role: Role::Admin,
            created: now,
            password: None,
        };
        let token = Token {
            id,
            name: ADMIN.to_owned(),
            sha256: hex::encode(hash),
            user: user.id.clone(),
            creator: user.id.clone(),
            created: now,
            expires: None,
        };
        Ok(vec![Write::User(user), Write::Token(token)])
    }

    /// A new user.
    pub(crate) fn create_user(
        &self,
        name: &str,
        password: String,
        role: Role,
        now: Moment,
    ) -> Result<Vec<Write>> {
        check_name(name)?;
        let id = id_of_name(name)?;
        if self.by_name(name).is_some() || self.users.contains_key(&id) {
            return Err(Error::new(
                Kind::Conflict,
                format!("user `{name}` exists already"),
            ));
        }
        Ok(vec![Write::User(User {
            id,
            name: name.to_owned(),
            sort: Sort::Basic,
            role,
            created: now,
            password: Some(password),
        })])
    }

    /// Another role or password for a user.
    pub(crate) fn update_user(
        &self,
        by: &Caller,
        id: &str,
        role: Option<Role>,
        password: Option<String>,
    ) -> Result<Vec<Write>> {
        let mut user = self.user(id)?.clone();
        if by.role != Role::Admin && (by.id != user.id || role.is_some()) {
            return Err(forbidden());
        }
        if let Some(role) = role {
            self.keep_an_admin(&user, role)?;
            user.role = role;
        }
        let mut writes = Vec::new();
        if password.is_some() {
            user.password = password;
            writes.extend(self.end_sessions(&user.id));
        }
        writes.push(Write::User(user));
        Ok(writes)
    }

    /// A user less, with its tokens.
    pub(crate) fn delete_user(&self, by: &Caller, id: &str) -> Result<Vec<Write>> {
        let user = self.user(id)?;
        if by.id == user.id {
            return Err(Error::new(Kind::Conflict, "nobody can delete themselves"));
        }
        self.keep_an_admin(user, Role::Viewer)?;
        let tokens = self.tokens_of(&user.id);
        let mut writes: Vec<_> = tokens.map(|t| Write::DropToken(t.id.clone())).collect();
        writes.push(Write::DropUser(user.id.clone()));
        Ok(writes)
    }

    /// Refuses a change after which nobody could administer the server.
    fn keep_an_admin(&self, user: &User, role: Role) -> Result<()> {
        let others = || {
            self.users
                .values()
                .any(|other| other.id != user.id && other.role == Role::Admin)
        };
        if user.role == Role::Admin && role != Role::Admin && !others() {
            return Err(Error::new(
                Kind::Conflict,
                format!("user `{}` is the only admin", user.name),
            ));
        }
        Ok(())
    }

    /// The tokens that stand for a user.
    pub(super) fn tokens_of(&self, user: &UserId) -> impl Iterator<Item = &Token> {
        self.tokens
            .values()
            .filter(move |token| token.user == *user)
    }

    /// Lists the tokens that a caller may see.
    pub(crate) fn tokens(&self, by: &Caller) -> Vec<TokenInfo> {
        let visible = self.tokens.values().filter(|token| owns(by, token));
        visible
            .filter_map(|token| Some(token_info(token, self.users.get(&token.user)?)))
            .collect()
    }

    /// A new token with a user of its own behind it.
    pub(crate) fn create_token(by: &Caller, new: NewToken, now: Moment) -> Result<Vec<Write>> {
        check_name(&new.name)?;
        let user = User {
            id: new.account,
            name: new.name.clone(),
            sort: Sort::Sa,
            role: at_most(new.role.unwrap_or(Role::User), by)?,
            created: now,
            password: None,
        };
        let token = Token {
            id: new.id,
            name: new.name,
            sha256: hex::encode(new.hash),
            user: user.id.clone(),
            creator: by.id.clone(),
            created: now,
            expires: expiry(new.days, now),
        };
        Ok(vec![Write::User(user), Write::Token(token)])
    }

    /// Returns a token that a caller may change; others look as if they did not exist.
    pub(crate) fn token(&self, by: &Caller, id: &str) -> Result<&Token> {
        let found = self.tokens.get(id).filter(|token| owns(by, token));
        found.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("token `{}` does not exist", clip(id)),
            )
        })
    }

    /// A token less; the user behind it goes too unless it is a person's.
    pub(crate) fn delete_token(&self, by: &Caller, id: &str) -> Result<Vec<Write>> {
        let token = self.token(by, id)?;
        let mut writes = vec![Write::DropToken(token.id.clone())];
        let is_session = token.creator == token.user;
        let account = self.users.get(&token.user).filter(|u| u.sort == Sort::Sa);
        if let Some(user) = account.filter(|_| !is_session) {
            writes.push(Write::DropUser(user.id.clone()));
        }
        Ok(writes)
    }

    /// Another text for a token.
    pub(crate) fn rotate_token(
        &self,
        by: &Caller,
        id: &str,
        hash: &Hash,
        days: Option<u32>,
        now: Moment,
    ) -> Result<Vec<Write>> {
        let mut token = self.token(by, id)?.clone();
        let mut writes: Vec<_> = self.end_sessions(&token.user).collect();
        token.sha256 = hex::encode(hash);
        token.created = now;
        token.expires = expiry(days, now);
        writes.push(Write::Token(token));
        Ok(writes)
    }

    /// Another role for the user behind a token.
    pub(crate) fn set_token_role(&self, by: &Caller, id: &str, role: Role) -> Result<Vec<Write>> {
        let token = self.token(by, id)?;
        let mut user = self.user(token.user.as_str())?.clone();
        self.keep_an_admin(&user, role)?;
        user.role = at_most(role, by)?;
        Ok(vec![Write::User(user)])
    }
}

/// Whether a caller may see and change a token.
fn owns(by: &Caller, token: &Token) -> bool {
    by.role == Role::Admin || token.creator == by.id
}

/// Refuses to give more permission than the giver has.
fn at_most(role: Role, by: &Caller) -> Result<Role> {
    if role > by.role {
        return Err(forbidden());
    }
    Ok(role)
}

/// When a token made now ends.
pub(super) fn expiry(days: Option<u32>, now: Moment) -> Option<Moment> {
    let days = days.unwrap_or(DEFAULT_DAYS);
    (days > 0).then(|| now.after(Duration::from_secs(u64::from(days) * 86_400)))
}

/// The token as it is listed.
fn token_info(token: &Token, user: &User) -> TokenInfo {
    TokenInfo {
        token_id: token.id.clone(),
        token_name: token.name.clone(),
        created_at: token.created.secs(),
        last_used_at: None,
        expires_at: token.expires.map(Moment::secs),
        creator_user_hash: token.creator.to_string(),
        service_account_user_id: user.id.to_string(),
        service_account_name: user.name.clone(),
        service_account_roles: vec![user.role],
    }
}

/// A user id as `SkyPilot` derives it from a name: clusters stay with who comes back under the same name.
fn id_of_name(name: &str) -> Result<UserId> {
    hex::encode(Md5::digest(name.as_bytes()))[..8].parse()
}

/// Refuses names that could not be typed into a log-in, or that break a header.
fn check_name(name: &str) -> Result<()> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || c == ':' || c == ';';
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.contains(bad) {
        return Err(Error::new(
            Kind::InvalidName,
            format!(
                "name `{}` is not valid: it must have 1 to {LONGEST_NAME} characters without spaces, `:` and `;`",
                clip(name)
            ),
        ));
    }
    Ok(())
}

/// Valid credentials that do not permit this.
pub(crate) fn forbidden() -> Error {
    Error::new(Kind::PermissionDenied, "Forbidden")
        .hint("your role does not permit this: `sky api info` shows it, an admin can change it")
}
