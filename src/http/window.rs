//! The end of a growing log in memory: what all of its followers read while it is young.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::api::frames::MAX_PAYLOAD;

/// How much of the end of a log stays in memory.
pub(crate) const WINDOW: u64 = 256 * 1024;
/// In how many pieces: each costs some bytes beyond its own.
const MOST_PIECES: usize = 4096;

/// Pieces of the end of a log, without gaps.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The pieces with their offsets.
    pieces: VecDeque<(u64, Bytes)>,
    /// Bytes in them.
    held: u64,
}

impl Window {
    /// Adds what follows the last piece and forgets what is too old.
    pub(crate) fn push(&mut self, offset: u64, bytes: Bytes) {
        debug_assert!(
            self.end().is_none_or(|end| end == offset),
            "a window has no gaps"
        );
        self.held += bytes.len() as u64;
        self.pieces.push_back((offset, bytes));
        while (self.held > WINDOW || self.pieces.len() > MOST_PIECES) && self.pieces.len() > 1 {
            if let Some((_, old)) = self.pieces.pop_front() {
                self.held -= old.len() as u64;
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns where it begins; nothing when it is empty.
    pub(crate) fn start(&self) -> Option<u64> {
        self.pieces.front().map(|(offset, _)| *offset)
    }

    /// Returns where it ends; nothing when it is empty.
    pub(crate) fn end(&self) -> Option<u64> {
        self.pieces
            .back()
            .map(|(offset, bytes)| offset + bytes.len() as u64)
    }

    /// Returns what it has from `offset` on, at most one payload; nothing outside of it.
    ///
    /// Who keeps up gets the last piece itself, shared with all others; only who is behind costs a copy.
    pub(crate) fn at(&self, offset: u64) -> Option<Bytes> {
        if offset < self.start()? || offset >= self.end()? {
            return None;
        }
        let at = self.pieces.partition_point(|(start, _)| *start <= offset) - 1;
        let (start, piece) = self.pieces.get(at)?;
        let skip = usize::try_from(offset - start).ok()?;
        let head = piece.slice(skip.min(piece.len())..);
        if at + 1 == self.pieces.len() || head.len() >= MAX_PAYLOAD {
            return Some(head.slice(..head.len().min(MAX_PAYLOAD)));
        }
        let mut all = Vec::from(head);
        for (_, piece) in self.pieces.iter().skip(at + 1) {
            if all.len() + piece.len() > MAX_PAYLOAD {
                break;
            }
            all.extend_from_slice(piece);
        }
        Some(all.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_in_it_is_the_end_of_what_was_pushed(
            first in 0_u64..1000,
            sizes in proptest::collection::vec(1_usize..90_000, 1..40),
            probe in 0.0_f64..1.0,
        ) {
            let mut window = Window::default();
            let mut all = Vec::new();
            for (n, size) in sizes.iter().enumerate() {
                let piece: Vec<u8> = (n..n + size).map(|i| i.to_le_bytes()[0]).collect();
                window.push(first + all.len() as u64, piece.clone().into());
                all.extend(piece);
            }
            let (start, end) = (window.start().expect("some"), window.end().expect("some"));
            prop_assert_eq!(end, first + all.len() as u64);
            prop_assert!(end - start <= WINDOW.max(*sizes.last().expect("some") as u64));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a probe")]
            let offset = start + ((end - start) as f64 * probe) as u64;
            let got = window.at(offset).expect("inside");
            let from = usize::try_from(offset - first).expect("small");
            prop_assert!(!got.is_empty() && got.len() <= MAX_PAYLOAD);
            prop_assert_eq!(&got[..], &all[from..from + got.len()]);
            prop_assert_eq!(window.at(end), None);
            prop_assert_eq!(start.checked_sub(1).and_then(|before| window.at(before)), None);
        }
    }
}
