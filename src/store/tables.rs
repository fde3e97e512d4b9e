//! Names of tables with the type of what they hold, and spans of keys.

use std::marker::PhantomData;
use std::ops::Bound;

/// A table: a name, and the type of its values. Keys are bytes; their order is the order of a walk.
pub(crate) struct Table<T> {
    /// The name in the file.
    pub(super) name: &'static str,
    /// What it holds.
    holds: PhantomData<fn() -> T>,
}

impl<T> Table<T> {
    /// Declares a table.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            holds: PhantomData,
        }
    }
}

/// A span of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first key.
    pub(super) from: Bound<Vec<u8>>,
    /// The key after the last.
    pub(super) to: Bound<Vec<u8>>,
}

impl Span {
    /// All keys.
    pub(crate) const fn all() -> Self {
        Self {
            from: Bound::Unbounded,
            to: Bound::Unbounded,
        }
    }

    /// All keys that begin with `prefix`.
    pub(crate) fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let from = prefix.into();
        let mut to = from.clone();
        // The first key after all that begin with the prefix: the prefix with its last byte one higher.
        while to.last() == Some(&u8::MAX) {
            to.pop();
        }
        let to = match to.last_mut() {
            Some(last) => {
                *last += 1;
                Bound::Excluded(to)
            }
            None => Bound::Unbounded,
        };
        Self {
            from: Bound::Included(from),
            to,
        }
    }

    /// All keys from `from` (with it) to `to` (with it).
    pub(crate) fn between(from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) -> Self {
        Self {
            from: Bound::Included(from.into()),
            to: Bound::Included(to.into()),
        }
    }

    /// Returns the bounds as the store takes them.
    pub(super) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (
            self.from.as_ref().map(Vec::as_slice),
            self.to.as_ref().map(Vec::as_slice),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_span_ends_before_the_next_prefix() {
        assert_eq!(
            Span::prefix(*b"ab"),
            Span {
                from: Bound::Included(b"ab".to_vec()),
                to: Bound::Excluded(b"ac".to_vec()),
            }
        );
        assert_eq!(
            Span::prefix([1, 255]).to,
            Bound::Excluded(vec![2]),
            "the carry shortens the bound"
        );
        assert_eq!(Span::prefix([255]).to, Bound::Unbounded);
        assert_eq!(Span::prefix([]).to, Bound::Unbounded);
    }
}
