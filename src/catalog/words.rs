//! Texts that occur many times, kept once: names of machine types, accelerators, regions and zones.

use std::collections::HashMap;

/// A text of a table: four bytes instead of a string. Only its table can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Word(u32);

impl Word {
    /// The empty text, in every table.
    pub(super) const EMPTY: Self = Self(0);

    /// Returns whether it is the empty text.
    pub(super) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }
}

/// The texts of a table, one after the other in one piece of memory.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// All texts.
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Words {
    /// Returns a text.
    pub(super) fn get(&self, word: Word) -> &str {
        let at = word.0 as usize;
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin as usize..self.ends[at] as usize]
    }

    /// Returns bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<u32>()
    }
}

/// Collects texts while a table is read.
#[derive(Debug)]
pub(super) struct Interner {
    /// What was collected.
    words: Words,
    /// Which text is which word; not needed after reading.
    known: HashMap<Box<str>, Word>,
}

impl Interner {
    /// Begins with the empty text.
    pub(super) fn new() -> Self {
        let mut interner = Self {
            words: Words::default(),
            known: HashMap::new(),
        };
        interner.word("");
        interner
    }

    /// Returns the word of a text.
    pub(super) fn word(&mut self, text: &str) -> Word {
        if let Some(word) = self.known.get(text) {
            return *word;
        }
        let word = Word(u32::try_from(self.words.ends.len()).unwrap_or(u32::MAX));
        self.words.text.push_str(text);
        let end = u32::try_from(self.words.text.len()).unwrap_or(u32::MAX);
        self.words.ends.push(end);
        self.known.insert(text.into(), word);
        word
    }

    /// Returns a text.
    pub(super) fn get(&self, word: Word) -> &str {
        self.words.get(word)
    }

    /// Ends collecting.
    pub(super) fn finish(mut self) -> Words {
        self.words.text.shrink_to_fit();
        self.words.ends.shrink_to_fit();
        self.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_kept_once() {
        let mut interner = Interner::new();
        let (a, b) = (interner.word("us-east-1"), interner.word("é"));
        assert_eq!(interner.word("us-east-1"), a);
        assert!(interner.word("").is_empty());
        let words = interner.finish();
        assert_eq!(
            (words.get(a), words.get(b), words.get(Word::EMPTY)),
            ("us-east-1", "é", "")
        );
        assert_eq!(words.text, "us-east-1é");
    }
}
