//! The rules of changing users and tokens.

use std::time::Duration;

use super::model::{ADMIN, Accounts, NewToken, Write};
use super::token::Hash;
use crate::base::Result;
use crate::base::clock::Moment;
use crate::base::cx::{Caller, Role};

const NOW: Moment = Moment::from_micros(1_700_000_000_000_000);

fn caller(id: &str, role: Role) -> Caller {
    Caller {
        id: id.parse().expect("a valid id"),
        name: id.to_owned(),
        role,
    }
}

fn with(writes: Result<Vec<Write>>) -> Accounts {
    let mut accounts = Accounts::default();
    accounts.absorb(writes.expect("a permitted change"));
    accounts
}

fn new_token(id: &str, hash: Hash, days: Option<u32>, role: Option<Role>) -> NewToken {
    NewToken {
        id: id.to_owned(),
        account: format!("sa-{id}").parse().expect("a valid id"),
        hash,
        name: "ci".to_owned(),
        days,
        role,
    }
}

#[test]
fn the_only_admin_stays() {
    let accounts = with(Accounts::first_admin("t".into(), &[1; 32], NOW));
    let admin = accounts.by_name(ADMIN).expect("it is there").clone();
    let other = caller("other", Role::Admin);
    let id = admin.id.as_str();
    assert!(
        accounts
            .update_user(&other, id, Some(Role::User), None)
            .is_err()
    );
    assert!(accounts.delete_user(&other, id).is_err());
    assert!(accounts.delete_user(&admin.caller(), id).is_err());
    assert!(accounts.set_token_role(&other, "t", Role::User).is_err());
}

#[test]
fn users_change_their_password_and_nothing_else() {
    let accounts = with(Accounts::default().create_user("ann", "h".into(), Role::User, NOW));
    let ann = accounts.by_name("ann").expect("it is there");
    let id = ann.id.as_str();
    let change = |by: &Caller, role, password| accounts.update_user(by, id, role, password);
    assert!(change(&ann.caller(), None, Some("new".into())).is_ok());
    assert!(change(&ann.caller(), Some(Role::Admin), None).is_err());
    assert!(change(&caller("bob", Role::User), None, Some("new".into())).is_err());
    assert!(change(&caller("root", Role::Admin), Some(Role::Viewer), None).is_ok());
    assert!(
        accounts
            .create_user("ann", "h".into(), Role::User, NOW)
            .is_err()
    );
    assert!(
        accounts
            .create_user("a b", "h".into(), Role::User, NOW)
            .is_err()
    );
}

#[test]
fn a_token_gives_no_more_than_its_maker_has() {
    let by = caller("ann", Role::User);
    let make = |role| Accounts::create_token(&by, new_token("t", [1; 32], None, role), NOW);
    assert!(make(None).is_ok());
    assert!(make(Some(Role::Viewer)).is_ok());
    assert!(make(Some(Role::Admin)).is_err());
}

#[test]
fn tokens_expire_rotate_and_vanish() {
    let by = caller("ann", Role::User);
    let new = new_token("t", [1; 32], Some(1), None);
    let mut accounts = with(Accounts::create_token(&by, new, NOW));
    let day = Duration::from_secs(86_400);
    assert!(accounts.by_token(&[1; 32], NOW).is_some());
    assert!(accounts.by_token(&[1; 32], NOW.after(day)).is_none());
    let stranger = caller("bob", Role::User);
    assert!(
        accounts
            .rotate_token(&stranger, "t", &[2; 32], Some(0), NOW)
            .is_err()
    );
    let rotated = accounts.rotate_token(&by, "t", &[2; 32], Some(0), NOW);
    accounts.absorb(rotated.expect("its maker may"));
    assert!(accounts.by_token(&[1; 32], NOW).is_none());
    assert!(
        accounts
            .by_token(&[2; 32], NOW.after(day * 10_000))
            .is_some()
    );
    let deleted = accounts.delete_token(&by, "t").expect("its maker may");
    accounts.absorb(deleted);
    assert!(accounts.by_token(&[2; 32], NOW).is_none());
    assert!(accounts.users().is_empty());
}
