//! Everything a user sees. The only place that writes to the terminal.
//!
//! stdout carries results: tables, logs, JSON. stderr carries questions, errors and the spinner.

mod dress;
pub(crate) mod log;
pub(crate) mod markup;
pub(crate) mod printer;
mod progress;
pub(crate) mod prompt;
pub(crate) mod report;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod times;

pub(crate) use printer::Ui;
pub(crate) use prompt::OnEnter;
pub(crate) use style::{Tone, paint};
pub(crate) use table::{Cell, Table};
