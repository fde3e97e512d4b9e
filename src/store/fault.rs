//! What an error of the storage engine means to everybody else.

use crate::base::{Error, Kind, Result};

/// Makes an error from one of the engine; a full disk keeps its own kind.
pub(super) fn fault(doing: &str, source: impl Into<redb::Error>) -> Error {
    match source.into() {
        redb::Error::Io(e) => match Error::io(doing, &e) {
            full if full.kind() == Kind::StorageFull => full.hint(
                "free some space on the disk that holds the state directory; sky goes on by itself",
            ),
            other => other,
        },
        // Every other variant of the engine's (open) enum is a fault of the file or a bug.
        other => Error::internal(doing, &other),
    }
}

/// Runs `work`; a panic of the engine (it trusts the file's bytes in places) becomes an error.
pub(super) fn guarded<T>(doing: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Error::new(Kind::Internal, format!("failed to {doing}"))
            .context_of_panic(panic.as_ref()))
    })
}

/// Adds the text of a panic as the cause.
trait PanicCause {
    /// Returns the error with the panic's text as its nearest cause.
    fn context_of_panic(self, panic: &(dyn std::any::Any + Send)) -> Self;
}

impl PanicCause for Error {
    fn context_of_panic(self, panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic".to_owned());
        let message = self.message().to_owned();
        Self::new(self.kind(), text).context(message)
    }
}
