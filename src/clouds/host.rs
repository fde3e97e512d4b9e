//! One host: our binary on it, and questions to `sky __node` there.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::AsyncSeekExt as _;

use super::binary::{Arch, Binary, File};
use crate::base::ids::clip;
use crate::base::timings::{self, Part};
use crate::base::{Error, Kind, Result};
use crate::node::protocol::{Answer, Ask, NodeName};
use crate::transport::ByteStream;
use crate::transport::ssh::{Done, Ssh};

/// How long the binary may take to reach a host.
const COPY_DEADLINE: Duration = Duration::from_secs(900);
/// How long a look at the host may take.
const LOOK_DEADLINE: Duration = Duration::from_secs(20);
/// The exit code by which the look says that the binary is not there yet.
const ABSENT: i32 = 97;
/// Tries to copy a binary without getting further; each goes on where the one before ended.
const COPIES: u32 = 3;

/// A host and the binary that belongs on it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Host {
    /// The way.
    pub(super) ssh: Ssh,
    /// This program's files.
    pub(super) binary: Binary,
}

impl Host {
    /// Asks `sky __node` there; copies the binary first where it is missing.
    pub(super) async fn ask<T: DeserializeOwned>(&self, ask: &Ask, most: Duration) -> Result<T> {
        let answer = self.put(ask, most, true).await?;
        answer.ok_or_else(|| Error::new(Kind::Internal, "a host was asked without our file on it"))
    }

    /// The same where the binary is there already; nothing where it is not.
    pub(super) async fn ask_if_ready<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        most: Duration,
    ) -> Result<Option<T>> {
        self.put(ask, most, false).await
    }

    /// Asks; `copies` says what happens where the binary is missing.
    async fn put<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        most: Duration,
        copies: bool,
    ) -> Result<Option<T>> {
        // It is read and hashed when it is needed first.
        let locate = timings::during(Part::Copy, self.binary.locate()).await?;
        let question = serde_json::to_string(ask).map_err(|e| Error::internal("ask a host", &e))?;
        let command = format!(
            r#"echo; {locate}if [ -x "$f" ]; then exec "$f" __node {}; fi; uname -sm; exit {ABSENT}"#,
            shell_words::quote(&question),
        );
        let asked = || timings::during(Part::Start, self.ssh.ask(&command, most));
        let mut done = asked().await?;
        if done.code == ABSENT && !copies {
            return Ok(None);
        }
        if done.code == ABSENT {
            let file = self.file_for(&done).await?;
            // Somebody else here may be copying it just now.
            let turn = self.binary.turn(self.ssh.destination());
            let _turn = timings::during(Part::Copy, turn).await;
            done = asked().await?;
            if done.code == ABSENT {
                timings::during(Part::Copy, self.copy_binary(&file)).await?;
                done = asked().await?;
            }
        }
        self.read(&done).map(Some)
    }

    /// Reads an answer: the last line that is one.
    fn read<T: DeserializeOwned>(&self, done: &Done) -> Result<T> {
        let text = String::from_utf8_lossy(&done.stdout);
        let answer = text
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str::<Answer>(line).ok());
        let host = self.ssh.destination();
        match answer {
            Some(Answer::Ok(value)) => serde_json::from_value(value)
                .map_err(|e| Error::internal(format!("read the answer of host `{host}`"), &e)),
            Some(Answer::Error(error)) => Err(error.context(format!("host `{host}`"))),
            None => {
                let last = done.stderr.lines().last().unwrap_or("it printed nothing");
                Err(Error::new(
                    Kind::CommandFailed,
                    format!(
                        "`sky __node` failed on host `{host}` (exit code {}): {last}",
                        done.code
                    ),
                ))
            }
        }
    }

    /// Returns the file that runs on a host, by what its `uname -sm` said.
    async fn file_for(&self, done: &Done) -> Result<Arc<File>> {
        let text = String::from_utf8_lossy(&done.stdout);
        let theirs = text.lines().last().unwrap_or_default().trim();
        let host = self.ssh.destination();
        let arch = theirs.strip_prefix("Linux ").map(str::parse::<Arch>);
        let Some(Ok(arch)) = arch else {
            return Err(Error::new(
                Kind::NotSupported,
                format!(
                    "host `{host}` is `{}`, for which there is no sky",
                    clip(theirs)
                ),
            )
            .hint("leave it out of the pool"));
        };
        let file = self.binary.file(arch).await;
        file.map_err(|e| e.context(format!("host `{host}` cannot be used")))
    }

    /// Copies the binary; goes on where an earlier try ended, and takes it only when its hash is right.
    async fn copy_binary(&self, file: &File) -> Result<()> {
        let (mut tries, mut reached) = (0, 0);
        loop {
            let before = reached;
            let copied = self.copy_once(file, &mut reached).await;
            tries = if reached > before { 1 } else { tries + 1 };
            match copied {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == Kind::Unreachable && tries < COPIES => {
                    tracing::info!(host = self.ssh.destination(), error = %error.one_line(), "copying on");
                }
                Err(error) => {
                    let what = format!(
                        "cannot copy sky ({} MB) to host `{}`",
                        file.length >> 20,
                        self.ssh.destination()
                    );
                    return Err(if error.kind() == Kind::CommandFailed {
                        let by_hand = self.ssh.by_hand();
                        error.context(what).hint(format!(
                            "see what keeps it from being written there: {by_hand} 'df -h ~; ls -ld ~/.sky ~/.sky/bin'"
                        ))
                    } else {
                        error.context(what)
                    });
                }
            }
        }
    }

    /// One try; `reached` becomes how much was there when it began.
    async fn copy_once(&self, file: &File, reached: &mut u64) -> Result<()> {
        let (part, whole, size) = (&file.remote_part, &file.remote, file.length);
        let look = format!(r#"{{ wc -c < "$HOME/{part}"; }} 2>/dev/null || echo 0"#);
        let done = self
            .ssh
            .run(&look, tokio::io::empty(), LOOK_DEADLINE)
            .await?;
        let there: u64 = String::from_utf8_lossy(&done.stdout)
            .lines()
            .last()
            .and_then(|line| line.trim().parse().ok())
            .unwrap_or(0);
        let from = if there > size { 0 } else { there };
        *reached = from.max(*reached);
        let mut local = file.open().await?;
        local
            .seek(std::io::SeekFrom::Start(from))
            .await
            .map_err(|e| Error::io("read this program's file", &e))?;
        // Onto a new file: what an earlier connection still brings, once its link is back, goes into the old one.
        let put = format!(
            r#"umask 077; p="$HOME/{part}"; f="$HOME/{whole}"; mkdir -p "$HOME/.sky/bin" || exit 1
if [ {from} -eq 0 ]; then rm -f "$p"; else cp "$p" "$p.on" && mv -f "$p.on" "$p" || exit 1; [ "$(wc -c < "$p")" -eq {from} ] || exit 98; fi
cat >> "$p" || {{ rm -f "$p"; exit 1; }}
if [ "$(wc -c < "$p")" -ne {size} ]; then exit 98; fi
if command -v sha256sum >/dev/null 2>&1 && [ "$(sha256sum < "$p" | cut -c1-64)" != {hash} ]; then rm -f "$p"; exit 99; fi
chmod 700 "$p" && mv -f "$p" "$f""#,
            hash = file.hash,
        );
        let done = self.ssh.run(&put, local, COPY_DEADLINE).await?;
        match done.code {
            0 => Ok(()),
            98 => Err(Error::new(Kind::Unreachable, "only a part arrived")),
            99 => Err(Error::new(Kind::Unreachable, "it arrived damaged")),
            code => {
                let last = done.stderr.lines().last().unwrap_or("no reason was given");
                Err(Error::new(
                    Kind::CommandFailed,
                    format!("exit code {code}: {last}"),
                ))
            }
        }
    }

    /// Opens a stream to the agent of a node there.
    pub(super) async fn open_agent(&self, node: &NodeName) -> Result<Box<dyn ByteStream>> {
        let locate = self.binary.locate().await?;
        let command = format!(
            r#"{locate}exec "$f" __agent connect --dir "$HOME/.sky/nodes/{}/{}""#,
            node.set, node.rank
        );
        self.ssh.open(&command).await
    }
}
