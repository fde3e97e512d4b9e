//! The live directory: answers who a credential belongs to, and changes accounts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::sync::Semaphore;

use super::model::{Accounts, NewToken, Write};
use super::token::{self, Hash};
use super::{password, store};
use crate::api::users::{
    CreateToken, CreateUser, NameToken, TokenCreated, TokenInfo, UpdateUser, UserInfo,
};
use crate::base::clock::{Moment, monotonic};
use crate::base::cx::{Caller, Role};
use crate::base::ids::UserId;
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};
use crate::store::{Db, WriteTx};

/// How long a verified password is believed without hashing it again.
const BELIEVED: Duration = Duration::from_secs(300);
/// How many verified passwords are remembered.
const MOST_BELIEVED: usize = 1024;
/// Passwords that are hashed at the same time: each takes 19 MiB and a core.
const HASHERS: usize = 1;
/// Calls that may wait for a hasher; further ones are told to come back.
const MOST_WAITING: usize = 32;

/// What a caller shows, taken from `Authorization`.
#[derive(Debug)]
pub(crate) enum Credential {
    /// `Bearer sky_…`
    Token(Secret),
    /// `Basic base64(name:password)`
    Basic {
        /// Login name.
        name: String,
        /// Password.
        password: Secret,
        /// Hash of both, by which a verified one is recognised.
        hash: Hash,
    },
}

impl Credential {
    /// Reads the value of `Authorization`; `None` when it is of no kind that we know.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Token(Secret::new(rest)));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(BASE64.decode(rest).ok()?).ok()?;
        let (name, password) = text.split_once(':')?;
        if password.starts_with(token::PREFIX) {
            // `https://anything:sky_…@host` works wherever only a URL can be configured.
            return Some(Self::Token(Secret::new(password)));
        }
        Some(Self::Basic {
            name: name.to_owned(),
            password: Secret::new(password),
            hash: token::hash(&text),
        })
    }
}

/// Users and tokens of this server.
pub(crate) struct Directory {
    /// Where they are kept.
    db: Db,
    /// What is held in memory.
    live: Arc<Live>,
    /// Limits the hashing.
    hashers: Semaphore,
    /// Limits those who wait for it.
    waiting: Semaphore,
}

/// What is held in memory, and follows the store.
#[derive(Default)]
struct Live {
    /// Users and tokens.
    accounts: RwLock<Accounts>,
    /// Passwords that were verified a short time ago.
    believed: Mutex<HashMap<Hash, (UserId, Instant)>>,
}

impl Directory {
    /// Reads users and tokens from the store. Blocks.
    pub(crate) fn load(db: Db) -> Result<Self> {
        let accounts = db.read_blocking(store::load)?;
        Ok(Self {
            db,
            live: Arc::new(Live {
                accounts: RwLock::new(accounts),
                believed: Mutex::default(),
            }),
            hashers: Semaphore::new(HASHERS),
            waiting: Semaphore::new(MOST_WAITING),
        })
    }

    /// Makes the first admin and its token, unless there is an admin. The text is returned this once.
    pub(crate) async fn ensure_admin(&self) -> Result<Option<Secret>> {
        if self.with(Accounts::has_admin) {
            return Ok(None);
        }
        let text = token::generate()?;
        let id = token::random_hex::<8>()?;
        let hash = token::hash(text.reveal());
        self.change(move |_| Accounts::first_admin(id, &hash, Moment::now()))
            .await?;
        Ok(Some(text))
    }

    /// Returns who a credential belongs to.
    pub(crate) async fn authenticate(&self, credential: Credential) -> Result<Caller> {
        match credential {
            Credential::Token(text) => self.by_token(&text),
            Credential::Basic {
                name,
                password,
                hash,
            } => self.by_password(name, password, hash).await,
        }
    }

    /// Returns who a token belongs to.
    fn by_token(&self, text: &Secret) -> Result<Caller> {
        let hash = token::hash(text.reveal());
        let caller = self.with(|accounts| {
            let (_, user) = accounts.by_token(&hash, Moment::now())?;
            Some(user.caller())
        });
        caller.ok_or_else(|| {
            Error::new(
                Kind::Unauthenticated,
                "Invalid or expired service account token",
            )
            .hint("log in again: sky api login")
        })
    }

    /// Returns who a name and a password belong to.
    async fn by_password(&self, name: String, password: Secret, hash: Hash) -> Result<Caller> {
        if let Some(caller) = self.recently_verified(&hash) {
            return Ok(caller);
        }
        let busy = || {
            Error::new(Kind::TooBusy, "too many log-ins at the same time")
                .retry_after(Duration::from_secs(1))
        };
        let _waiting = self.waiting.try_acquire().map_err(|_| busy())?;
        let _hasher = self.hashers.acquire().await.map_err(|_| busy())?;
        // Whoever waited with the same password finds it verified by the first.
        if let Some(caller) = self.recently_verified(&hash) {
            return Ok(caller);
        }
        let stored = self.with(|accounts| accounts.by_name(&name)?.password.clone());
        let compared = stored.clone();
        let right = blocking(move || Ok(password::verify(&password, compared.as_deref()))).await?;
        // The account as it is now: it may have changed while the password was hashed.
        let caller = self.with(|accounts| {
            let user = accounts.by_name(&name)?;
            (right && user.password == stored).then(|| user.caller())
        });
        let caller = caller.ok_or_else(|| {
            Error::new(Kind::Unauthenticated, "Invalid credentials")
                .hint("log in again: sky api login")
        })?;
        self.believe(hash, caller.id.clone());
        Ok(caller)
    }

    /// Returns who showed this name and password a short time ago.
    fn recently_verified(&self, hash: &Hash) -> Option<Caller> {
        let believed = self
            .live
            .believed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (id, since) = believed.get(hash)?;
        if since.elapsed() > BELIEVED {
            return None;
        }
        let user = self.with(|accounts| accounts.user(id.as_str()).ok().cloned());
        user.map(|user| user.caller())
    }

    /// Remembers a verified name and password.
    fn believe(&self, hash: Hash, id: UserId) {
        let mut believed = self
            .live
            .believed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if believed.len() >= MOST_BELIEVED {
            believed.retain(|_, (_, since)| since.elapsed() <= BELIEVED);
        }
        if believed.len() < MOST_BELIEVED {
            believed.insert(hash, (id, monotonic()));
        }
    }

    /// Lists the users.
    pub(crate) fn users(&self) -> Vec<UserInfo> {
        self.with(Accounts::users)
    }

    /// Makes a user.
    pub(crate) async fn create_user(&self, new: CreateUser) -> Result<UserInfo> {
        let password = new.password;
        let hash = blocking(move || password::hash(&password)).await?;
        let (name, role) = (new.username, new.role.unwrap_or(Role::User));
        let now = Moment::now();
        let login = name.clone();
        self.change(move |accounts| accounts.create_user(&login, hash, role, now))
            .await?;
        let made = self.with(|accounts| accounts.by_name(&name).map(super::model::User::info));
        made.ok_or_else(|| Error::new(Kind::Conflict, format!("user `{name}` was deleted again")))
    }

    /// Gives a user another role or password.
    pub(crate) async fn update_user(&self, by: &Caller, update: UpdateUser) -> Result<()> {
        let hash = match update.password {
            Some(password) => Some(blocking(move || password::hash(&password)).await?),
            None => None,
        };
        let (by, id, role) = (by.clone(), update.user_id, update.role);
        self.change(move |accounts| accounts.update_user(&by, &id, role, hash))
            .await
    }

    /// Deletes a user with its tokens.
    pub(crate) async fn delete_user(&self, by: &Caller, id: &str) -> Result<()> {
        let (by, id) = (by.clone(), id.to_owned());
        self.change(move |accounts| accounts.delete_user(&by, &id))
            .await
    }

    /// Lists the tokens that a caller may see.
    pub(crate) fn tokens(&self, by: &Caller) -> Vec<TokenInfo> {
        self.with(|accounts| accounts.tokens(by))
    }

    /// Makes a token.
    pub(crate) async fn create_token(&self, by: &Caller, new: CreateToken) -> Result<TokenCreated> {
        let text = token::generate()?;
        let id = token::random_hex::<8>()?;
        let account: UserId = format!("sa-{}", token::random_hex::<8>()?).parse()?;
        let new = NewToken {
            id: id.clone(),
            account,
            hash: token::hash(text.reveal()),
            name: new.token_name,
            days: new.expires_in_days,
            role: new.role,
        };
        let now = Moment::now();
        let maker = by.clone();
        self.change(move |_| Accounts::create_token(&maker, new, now))
            .await?;
        self.created(by, &id, &text)
    }

    /// Gives a token another text.
    pub(crate) async fn rotate_token(&self, by: &Caller, which: NameToken) -> Result<TokenCreated> {
        let text = token::generate()?;
        let hash = token::hash(text.reveal());
        let (id, days) = (which.token_id, which.expires_in_days);
        let now = Moment::now();
        let (maker, token) = (by.clone(), id.clone());
        self.change(move |accounts| accounts.rotate_token(&maker, &token, &hash, days, now))
            .await?;
        self.created(by, &id, &text)
    }

    /// The answer that shows a token's text.
    fn created(&self, by: &Caller, id: &str, text: &Secret) -> Result<TokenCreated> {
        let token = self.with(|accounts| accounts.token(by, id).cloned())?;
        Ok(TokenCreated {
            token_id: token.id,
            token_name: token.name,
            token: text.reveal().to_owned(),
            expires_at: token.expires.map(Moment::secs),
            service_account_user_id: token.user.to_string(),
            creator_user_id: token.creator.to_string(),
            message: "keep this token: it is not shown again".to_owned(),
        })
    }

    /// Deletes a token.
    pub(crate) async fn delete_token(&self, by: &Caller, id: &str) -> Result<()> {
        let (by, id) = (by.clone(), id.to_owned());
        self.change(move |accounts| accounts.delete_token(&by, &id))
            .await
    }

    /// Returns the user behind a token.
    pub(crate) fn token_user(&self, by: &Caller, id: &str) -> Result<UserInfo> {
        self.with(|accounts| {
            let token = accounts.token(by, id)?;
            Ok(accounts.user(token.user.as_str())?.info())
        })
    }

    /// Gives the user behind a token another role.
    pub(crate) async fn set_token_role(&self, by: &Caller, which: NameToken) -> Result<()> {
        let role = which
            .role
            .ok_or_else(|| Error::new(Kind::Invalid, "`role` is missing"))?;
        let (by, id) = (by.clone(), which.token_id);
        self.change(move |accounts| accounts.set_token_role(&by, &id, role))
            .await
    }

    /// Reads the accounts.
    fn with<T>(&self, read: impl FnOnce(&Accounts) -> T) -> T {
        read(
            &self
                .live
                .accounts
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Makes a change: computed from what is stored, then stored and taken over, also when the caller goes away.
    pub(super) async fn change(
        &self,
        plan: impl FnOnce(&Accounts) -> Result<Vec<Write>> + Send + 'static,
    ) -> Result<()> {
        let live = Arc::clone(&self.live);
        let change = move |tx: &mut WriteTx<'_>| {
            let writes = plan(&store::load(tx)?)?;
            store::save(tx, &writes)?;
            tx.on_commit(move || live.take_over(writes));
            Ok(())
        };
        self.db.write(change).await
    }
}

impl Live {
    /// Takes changes over that are on disk. Whoever was verified before has to be verified again.
    fn take_over(&self, writes: Vec<Write>) {
        let mut accounts = self
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        accounts.absorb(writes);
        let mut believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        believed.clear();
    }
}

/// Runs work that takes a core for a while away from the runtime's workers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("run a task", &e))?
}
