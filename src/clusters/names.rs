//! The name of a cluster on its cloud: made of the user's name for it and the user's id, fit for every cloud.

use sha2::{Digest, Sha256};

use crate::base::ids::{ClusterName, UserId};

/// The longest name on a cloud.
const MAX_LEN: usize = 50;

/// Returns the name on the cloud: lower case, `.` and `_` become `-`, the user's id behind; too long ones are cut
/// and made distinct by a hash. Two names that would read the same are kept apart by the hash too.
pub(crate) fn on_cloud(name: &ClusterName, user: &UserId) -> String {
    let plain: String = name
        .as_str()
        .chars()
        .map(|c| {
            if c == '.' || c == '_' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect();
    let user: String = user
        .as_str()
        .to_ascii_lowercase()
        .chars()
        .take(16)
        .collect();
    let whole = format!("{plain}-{user}");
    if plain == name.as_str() && whole.len() <= MAX_LEN {
        return whole;
    }
    let hash = hex::encode(Sha256::digest(name.as_str()));
    let tail = format!("-{}-{user}", &hash[..6]);
    let kept: String = plain
        .chars()
        .take(MAX_LEN.saturating_sub(tail.len()))
        .collect();
    format!("{}{tail}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> String {
        on_cloud(
            &name.parse().expect("a name"),
            &"a1b2c3d4".parse().expect("a user"),
        )
    }

    #[test]
    fn plain_names_stay_readable() {
        assert_eq!(named("demo"), "demo-a1b2c3d4");
    }

    #[test]
    fn names_that_would_read_the_same_stay_apart() {
        let all = ["a-b", "a.b", "a_b", "A-b"].map(named);
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), 4, "{all:?}");
    }

    #[test]
    fn long_names_are_cut() {
        let long = named(&"x".repeat(100));
        assert!(long.len() <= MAX_LEN, "{long}");
        assert_ne!(long, named(&"x".repeat(101)));
    }
}
