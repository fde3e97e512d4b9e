//! One file is the whole product: it runs where nothing else is installed.
//!
//! Needs root for `chroot` and `mount`, as in a container; without it the test says so and passes.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::world::{free_port, sky_binary};

/// An empty root directory with nothing but the binary and `/tmp`.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let sky = dir.path().join("sky");
        if fs::hard_link(sky_binary(), &sky).is_err() {
            fs::copy(sky_binary(), &sky).expect("a copy");
        }
        for name in ["tmp", "proc", "dev"] {
            fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs a script in a mount namespace of its own, with `$ROOT`; its exit code and what it printed.
    fn script(&self, text: &str) -> (bool, String) {
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-euc", text])
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", "/tmp")
            .env("ROOT", self.path())
            .env("SKYPILOT_API_SERVER_LOCAL_PORT", free_port().to_string())
            .output()
            .expect("unshare runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

/// Demands what these tests need: the right to make a mount namespace.
fn demand_namespaces() {
    let output = Command::new("unshare").args(["--mount", "true"]).output();
    let permitted = output.is_ok_and(|output| output.status.success());
    assert!(
        permitted,
        "these tests make mount namespaces: run them as root, with `unshare`"
    );
}

#[test]
fn the_binary_asks_for_no_loader() {
    let bytes = fs::read(sky_binary()).expect("the binary");
    let word = |at: usize, len: usize| {
        bytes[at..at + len]
            .iter()
            .rev()
            .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    // ELF64, little endian: the table of program headers, its entry size and count.
    let (table, size, count) = (word(32, 8), word(54, 2), word(56, 2));
    let interpreter = (0..count).any(|i| word(table + i * size, 4) == 3);
    assert!(!interpreter, "the executable names a dynamic loader");
}

#[test]
fn the_command_line_runs_in_an_empty_root() {
    demand_namespaces();
    let root = Root::new();
    let (ok, text) = root.script("chroot $ROOT /sky --version; chroot $ROOT /sky launch --help");
    assert!(ok, "{text}");
    assert!(text.contains("sky, version "), "{text}");
    assert!(text.contains("Usage: sky launch"), "{text}");
}

#[test]
fn server_and_clusters_run_with_what_an_empty_container_has() {
    demand_namespaces();
    let root = Root::new();
    // What every container runtime puts into an empty image. No users, no shells, no libraries, no certificates.
    let (ok, text) = root.script(
        "mount -t proc proc $ROOT/proc
         mount -t tmpfs tmpfs $ROOT/dev
         for name in null random urandom; do touch $ROOT/dev/$name; mount --bind /dev/$name $ROOT/dev/$name; done
         trap 'chroot $ROOT /sky down -y -a; chroot $ROOT /sky api stop' EXIT
         chroot $ROOT /sky api status
         chroot $ROOT /sky launch -y -d -c bare 'there is no shell to run this'
         chroot $ROOT /sky status",
    );
    assert!(ok, "{text}");
    assert!(text.contains("No requests in progress"), "{text}");
    assert!(text.contains("Job submitted, ID: 1"), "{text}");
    assert!(text.contains("Terminating cluster bare...done."), "{text}");
    assert!(text.contains("API server stopped"), "{text}");
}
