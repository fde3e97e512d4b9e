//! Users and tokens in the store.

use super::model::{Accounts, Token, User, Write};
use crate::base::Result;
use crate::store::{JsonRecord, Read, Span, Table, WriteTx};

/// Users by id.
const USERS: Table<User> = Table::new("users");
/// Tokens by id.
const TOKENS: Table<Token> = Table::new("tokens");

impl JsonRecord for User {
    const WHAT: &'static str = "user";
}

impl JsonRecord for Token {
    const WHAT: &'static str = "token";
}

/// Reads everything. A team has hundreds of users, not millions.
pub(crate) fn load(tx: &impl Read) -> Result<Accounts> {
    let users = tx.range(&USERS, &Span::all())?;
    let tokens = tx.range(&TOKENS, &Span::all())?;
    let users = users.into_iter().map(|(_, user)| Write::User(user));
    let tokens = tokens.into_iter().map(|(_, token)| Write::Token(token));
    let mut accounts = Accounts::default();
    accounts.absorb(users.chain(tokens).collect());
    Ok(accounts)
}

/// Stores changes.
pub(crate) fn save(tx: &mut WriteTx<'_>, writes: &[Write]) -> Result<()> {
    for write in writes {
        match write {
            Write::User(user) => tx.put(&USERS, user.id.as_str().as_bytes(), user)?,
            Write::Token(token) => tx.put(&TOKENS, token.id.as_bytes(), token)?,
            Write::DropUser(id) => drop(tx.delete(&USERS, id.as_str().as_bytes())?),
            Write::DropToken(id) => drop(tx.delete(&TOKENS, id.as_bytes())?),
        }
    }
    Ok(())
}
