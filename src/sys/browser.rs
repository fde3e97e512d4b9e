//! The user's browser.
#![expect(
    clippy::disallowed_methods,
    reason = "this file is the seam through which browsers are started"
)]

use std::process::{Command, Stdio};

use super::env;

/// Opens an address where there is a screen; whoever has none opens it by hand.
pub(crate) fn open(url: &str) {
    let named = env::var("BROWSER");
    let has_screen = env::var("DISPLAY").is_some() || env::var("WAYLAND_DISPLAY").is_some();
    let program = match &named {
        Some(program) => program.as_str(),
        None if has_screen => "xdg-open",
        None => return,
    };
    let mut command = Command::new(program);
    command.arg(url);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // The address stands on the terminal too: nothing is lost when this fails.
    drop(command.spawn());
}
