//! Sessions: what a log-in with a browser leaves on the machine of the client.
//!
//! A session is a token that stands for the person itself. It ends by its date, with the person, or with the password.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::directory::Directory;
use super::model::{Accounts, Token, Write, expiry};
use super::token::{self, Hash};
use crate::base::Result;
use crate::base::clock::Moment;
use crate::base::ids::UserId;
use crate::base::secret::Secret;

/// Name of the tokens that are sessions.
const NAME: &str = "log-in";
/// As long as clients keep theirs.
const DAYS: u32 = 7;

impl Accounts {
    /// A session for a person; those that have expired go.
    fn create_session(
        &self,
        id: String,
        user: &UserId,
        hash: &Hash,
        now: Moment,
    ) -> Result<Vec<Write>> {
        let person = self.user(user.as_str())?;
        let expired = self
            .sessions(user)
            .filter(|session| session.expires.is_some_and(|end| end <= now));
        let mut writes: Vec<_> = expired.map(|s| Write::DropToken(s.id.clone())).collect();
        // What a token vouched for does not outlive the token.
        let token = self
            .tokens_of(user)
            .find(|token| token.creator != token.user);
        let end = token.and_then(|token| token.expires);
        let week = expiry(Some(DAYS), now);
        writes.push(Write::Token(Token {
            id,
            name: NAME.to_owned(),
            sha256: hex::encode(hash),
            user: person.id.clone(),
            creator: person.id.clone(),
            created: now,
            expires: end.into_iter().chain(week).min(),
        }));
        Ok(writes)
    }

    /// The end of all sessions of a person.
    pub(super) fn end_sessions(&self, user: &UserId) -> impl Iterator<Item = Write> {
        self.sessions(user).map(|s| Write::DropToken(s.id.clone()))
    }

    /// The sessions of a person.
    fn sessions(&self, user: &UserId) -> impl Iterator<Item = &Token> {
        let tokens = self.tokens_of(user);
        tokens.filter(|token| token.creator == token.user && token.name == NAME)
    }
}

impl Directory {
    /// Makes a session for a person and returns its text.
    pub(crate) async fn create_session(&self, user: UserId) -> Result<Secret> {
        let text = token::generate()?;
        let hash = token::hash(text.reveal());
        let id = token::random_hex::<8>()?;
        let now = Moment::now();
        self.change(move |accounts| accounts.create_session(id, &user, &hash, now))
            .await?;
        Ok(text)
    }
}

/// Returns the challenge that belongs to a client's secret.
pub(crate) fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(token::hash(verifier))
}
