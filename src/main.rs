//! The one binary: command line, API server and node agent.

fn main() -> std::process::ExitCode {
    sky::run()
}
