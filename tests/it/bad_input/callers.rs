//! Another user of the machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::Target;

/// Runs a script of Python as another user; these tests run as root.
fn as_another_user(script: &str) -> String {
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["/usr/bin/env", "python3", "-c", script])
        .current_dir("/")
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .output()
        .expect("setpriv runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What another user gets who connects to the socket at `path` and asks for something.
fn over_the_socket(path: &Path, call: &str) -> String {
    as_another_user(&format!(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(10)\ntry:\n  s.connect({:?})\n\
         except PermissionError:\n  print('not permitted')\n  raise SystemExit\n\
         s.sendall(b'{call} HTTP/1.1\\r\\nHost: sky\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{{}}')\n\
         got = b''\nwhile True:\n  part = s.recv(65536)\n  if not part: break\n  got += part\n\
         print(got.decode())",
        path.display().to_string()
    ))
}

#[test]
fn the_socket_refuses_another_user_even_when_all_doors_are_open() {
    let target = Target::new();
    let state = target.world.state();
    let socket = state.join("api.sock");
    let open = |path: &Path| {
        fs::set_permissions(path, Permissions::from_mode(0o777)).expect("permissions change");
    };
    // Every directory up to the temporary one of the machine.
    let machine = std::env::temp_dir();
    for dir in state.ancestors().take_while(|dir| *dir != machine) {
        open(dir);
    }
    let answer = over_the_socket(&socket, "GET /api/health");
    assert_eq!(answer.trim(), "not permitted", "the socket's own mode");
    open(&socket);
    for call in [
        "GET /api/health",
        "POST /status",
        "POST /launch",
        "GET /nope",
    ] {
        let answer = over_the_socket(&socket, call);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{call}: {answer}");
        assert!(answer.contains("belongs to another user"), "{answer}");
        for secret in ["healthy", "\"pid\"", "root", "request_id"] {
            assert!(
                !answer.contains(secret),
                "{call} tells `{secret}`: {answer}"
            );
        }
    }
    target.unharmed();
}

#[test]
fn another_user_reaches_neither_the_socket_nor_the_port() {
    let target = Target::new();
    let state = target.world.state();
    let mode = fs::metadata(&state).expect("a directory").permissions();
    assert_eq!(mode.mode() & 0o777, 0o700, "the socket's directory");
    let socket = state.join("api.sock");
    let answer = over_the_socket(&socket, "GET /api/health");
    assert_eq!(answer.trim(), "not permitted");
    for call in [
        "GET /api/health",
        "GET /api/status",
        "POST /launch",
        "GET /nope",
    ] {
        let answer = as_another_user(&format!(
            "import socket\ns = socket.create_connection(('127.0.0.1', {port}))\ns.settimeout(10)\n\
             s.sendall(b'{call} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nContent-Length: 2\\r\\n\
             Connection: close\\r\\n\\r\\n{{}}')\n\
             got = b''\nwhile True:\n  part = s.recv(65536)\n  if not part: break\n  got += part\n\
             print(got.decode())",
            port = target.world.port()
        ));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{call}: {answer}");
        assert!(answer.contains("belongs to another user"), "{answer}");
        for secret in ["healthy", "\"pid\"", "root", "request_id"] {
            assert!(
                !answer.contains(secret),
                "{call} tells `{secret}`: {answer}"
            );
        }
    }
    target.unharmed();
}
