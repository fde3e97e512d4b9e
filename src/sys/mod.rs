//! The only door to the operating system: environment, paths, files, locks, processes, signals.

pub(crate) mod bounded_log;
pub(crate) mod browser;
pub(crate) mod env;
pub(crate) mod fs;
pub(crate) mod limits;
pub(crate) mod lock;
pub(crate) mod paths;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod ready;
pub(crate) mod signals;
pub(crate) mod walk;
