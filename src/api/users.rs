//! Users and tokens of a team server: bodies and answers of `/users…`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::base::cx::Role;
use crate::base::secret::Secret;

/// `POST /users/create`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct CreateUser {
    /// Login name.
    pub(crate) username: String,
    /// Password.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String")]
    pub(crate) password: Secret,
    /// Role; none = `user`.
    #[serde(default)]
    pub(crate) role: Option<Role>,
}

/// `POST /users/update`: admins anybody, others their own password.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct UpdateUser {
    /// Whom.
    pub(crate) user_id: String,
    /// The new role.
    #[serde(default)]
    pub(crate) role: Option<Role>,
    /// The new password.
    #[serde(default, deserialize_with = "optional_secret")]
    #[schemars(with = "Option<String>")]
    pub(crate) password: Option<Secret>,
}

/// `POST /users/delete`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct DeleteUser {
    /// Whom.
    pub(crate) user_id: String,
}

/// `POST /users/service-account-tokens`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct CreateToken {
    /// Display name.
    pub(crate) token_name: String,
    /// Days until it expires; 0 = never, none = 30.
    #[serde(default)]
    pub(crate) expires_in_days: Option<u32>,
    /// Role; none = `user`, never more than the creator has.
    #[serde(default)]
    pub(crate) role: Option<Role>,
}

/// `POST /users/service-account-tokens/{delete,get-role,rotate,update-role}`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct NameToken {
    /// Which.
    pub(crate) token_id: String,
    /// For `update-role`.
    #[serde(default)]
    pub(crate) role: Option<Role>,
    /// For `rotate`: days until the new text expires; 0 = never, none = 30.
    #[serde(default)]
    pub(crate) expires_in_days: Option<u32>,
}

/// A user, as `GET /users` lists it. Never with a password, hashed or not.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UserInfo {
    /// Id.
    pub(crate) id: String,
    /// Login name.
    pub(crate) name: String,
    /// Seconds since the epoch.
    pub(crate) created_at: i64,
    /// Role.
    pub(crate) role: Role,
    /// `basic`, `sa` or `system`.
    pub(crate) user_type: String,
}

/// A token, as `GET /users/service-account-tokens` lists it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TokenInfo {
    /// Id.
    pub(crate) token_id: String,
    /// Display name.
    pub(crate) token_name: String,
    /// Seconds since the epoch.
    pub(crate) created_at: i64,
    /// Seconds since the epoch; none = not since the server started.
    pub(crate) last_used_at: Option<i64>,
    /// Seconds since the epoch; none = never.
    pub(crate) expires_at: Option<i64>,
    /// Who made it.
    pub(crate) creator_user_hash: String,
    /// The user that it stands for.
    pub(crate) service_account_user_id: String,
    /// Display name of that user.
    pub(crate) service_account_name: String,
    /// Roles of that user.
    pub(crate) service_account_roles: Vec<Role>,
}

/// Answer to the creation or rotation of a token: the only time that its text is shown.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TokenCreated {
    /// Id.
    pub(crate) token_id: String,
    /// Display name.
    pub(crate) token_name: String,
    /// The text.
    pub(crate) token: String,
    /// Seconds since the epoch; none = never.
    pub(crate) expires_at: Option<i64>,
    /// The user that it stands for.
    pub(crate) service_account_user_id: String,
    /// Who made it.
    pub(crate) creator_user_id: String,
    /// What to do with it.
    pub(crate) message: String,
}

impl fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCreated")
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

/// Reads a secret text.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

/// Reads a secret text that may be left out or null.
fn optional_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}
