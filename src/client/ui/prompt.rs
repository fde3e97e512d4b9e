//! Questions. Without anybody to answer, the answer is no.

use std::io::BufRead as _;

use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::printer::Ui;
use crate::base::Error;
use crate::client::exit::{Outcome, Stop};
use crate::sys::signals;

/// What the Enter key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnEnter {
    /// Yes.
    Yes,
    /// No.
    No,
}

impl Ui {
    /// Asks; everything but yes is [`Stop::Aborted`].
    pub(crate) async fn confirm(&self, question: &str, default: OnEnter) -> Outcome<()> {
        let choices = match default {
            OnEnter::Yes => "[Y/n]",
            OnEnter::No => "[y/N]",
        };
        loop {
            let Some(line) = self.ask(&format!("{question} {choices}: ")).await? else {
                self.err("");
                return Err(Stop::Aborted);
            };
            match answer(&line, default) {
                Some(true) => return Ok(()),
                Some(false) => return Err(Stop::Aborted),
                None => self.err("Please answer `y` or `n`."),
            }
        }
    }

    /// Asks for a line of text; `None` at the end of input.
    pub(crate) async fn ask(&self, question: &str) -> Outcome<Option<String>> {
        let signals = signals::watch()?;
        self.end_spin();
        self.err_text(question);
        // The thread is left behind when the user leaves: a read from a terminal cannot be called off.
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .map(|n| (n > 0).then_some(line))
        });
        tokio::select! {
            biased;
            () = signals.asked().cancelled() => {
                if !self.is_interactive() {
                    self.err("");
                }
                Err(Stop::Aborted)
            }
            read = read => match read {
                Ok(Ok(line)) => Ok(line.map(|l| l.trim().to_owned())),
                Ok(Err(e)) => Err(Error::io("read the answer", &e).into()),
                Err(e) => Err(Error::internal("read the answer", &e).into()),
            },
        }
    }

    /// Asks for a line that is not shown while it is typed.
    pub(crate) async fn ask_secret(&self, question: &str) -> Outcome<Option<String>> {
        let hidden = Hidden::begin();
        let answer = self.ask(question).await;
        if hidden.is_some() {
            // The Enter key was not shown either.
            self.err("");
        }
        answer
    }

    /// Demands that a word is typed, for what cannot be undone.
    pub(crate) async fn demand(&self, question: &str, word: &str) -> Outcome<()> {
        let line = self
            .ask(&format!("{question} Type `{word}` to go on: "))
            .await?;
        if line.is_none() {
            self.err("");
        }
        if line.as_deref() == Some(word) {
            Ok(())
        } else {
            Err(Stop::Aborted)
        }
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden {
    /// How it was.
    before: Termios,
}

impl Hidden {
    /// Hides what is typed; `None` where the input is no terminal.
    fn begin() -> Option<Self> {
        let before = tcgetattr(stdin()).ok()?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Now, &now).ok()?;
        Some(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing more anyway.
        tcsetattr(stdin(), OptionalActions::Now, &self.before).unwrap_or_default();
    }
}

/// Reads an answer; `None` when it is neither yes nor no.
fn answer(line: &str, default: OnEnter) -> Option<bool> {
    match line.to_ascii_lowercase().as_str() {
        "" => Some(default == OnEnter::Yes),
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert_eq!(answer("", OnEnter::Yes), Some(true));
        assert_eq!(answer("", OnEnter::No), Some(false));
        assert_eq!(answer("Yes", OnEnter::No), Some(true));
        assert_eq!(answer("n", OnEnter::Yes), Some(false));
        assert_eq!(answer("maybe", OnEnter::Yes), None);
    }
}
