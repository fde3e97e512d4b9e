//! `POST /download`: a zip of directories in the caller's own log tree.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::Response;
use tokio::sync::mpsc;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::reply::CLIENTS;
use crate::base::ids::{UserId, clip};
use crate::base::{Error, Kind, Result};

/// Bytes sent at a time.
const PIECE: usize = 64 * 1024;
/// Pieces that may wait for a slow reader.
const QUEUE: usize = 8;
/// The deepest directory; logs are not that deep, loops are.
const DEEPEST: usize = 64;

/// A directory to send.
#[derive(Debug, PartialEq)]
struct Folder {
    /// Where it is.
    path: PathBuf,
    /// Its name in the archive.
    name: String,
}

/// Answers with an archive of `wanted`, directories as an earlier result named them.
pub(crate) fn answer(
    clients: &Path,
    home: &Path,
    user: &UserId,
    wanted: &[String],
) -> Result<Response> {
    let folders = wanted
        .iter()
        .map(|path| folder(clients, home, user, path))
        .collect::<Result<Vec<_>>>()?;
    let (pieces, mut receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(QUEUE);
    drop(tokio::task::spawn_blocking(move || send(&folders, &pieces)));
    let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    let home = HeaderValue::from_bytes(home.as_os_str().as_encoded_bytes())
        .map_err(|e| Error::internal("name the home directory in a header", &e))?;
    headers.insert(HeaderName::from_static("x-home-path"), home);
    Ok(response)
}

/// Finds a directory and refuses everything outside of the caller's own tree.
fn folder(clients: &Path, home: &Path, user: &UserId, wanted: &str) -> Result<Folder> {
    let outside = || {
        Error::new(
            Kind::Invalid,
            format!(
                "`{}` is not in your log directory on the server",
                clip(wanted)
            ),
        )
    };
    let tree = format!("{CLIENTS}/{user}/sky_logs");
    let rest = Path::new(wanted)
        .strip_prefix(&tree)
        .map_err(|_| outside())?;
    if !rest
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Err(outside());
    }
    let root = clients.join(user.as_str()).join("sky_logs");
    let path = root.join(rest);
    let missing = |_| {
        Error::new(
            Kind::NotFound,
            format!("`{}` does not exist on the server", clip(wanted)),
        )
    };
    // What came from a node may hold links: the real place decides.
    let real = path.canonicalize().map_err(missing)?;
    if !real.starts_with(root.canonicalize().map_err(missing)?) {
        return Err(outside());
    }
    let home = home.to_string_lossy();
    let below_home = Path::new(&tree).join(rest);
    let below_home = below_home.strip_prefix("~").unwrap_or(rest);
    let name = format!("{}/{}", home.trim_matches('/'), below_home.display());
    Ok(Folder {
        path: real,
        name: name.trim_start_matches('/').to_owned(),
    })
}

/// Writes the archive into the channel. Ends early when nobody reads any more.
fn send(folders: &[Folder], pieces: &mpsc::Sender<Result<Bytes, std::io::Error>>) {
    let sink = Pieces {
        pieces: pieces.clone(),
        buffer: Vec::with_capacity(PIECE),
    };
    let write = || -> std::io::Result<()> {
        let mut zip = ZipWriter::new_stream(sink);
        for folder in folders {
            add(&mut zip, &folder.path, &folder.name, DEEPEST)?;
        }
        zip.finish()?.flush()
    };
    if let Err(e) = write() {
        tracing::warn!(error = %e, "a download broke off");
        // The reader learns of it by a body that breaks off.
        drop(pieces.blocking_send(Err(e)));
    }
}

/// Adds a file or directory. Links are left out: they may lead anywhere.
fn add(zip: &mut Archive, path: &Path, name: &str, depth: usize) -> std::io::Result<()> {
    let meta = path.symlink_metadata()?;
    let options = SimpleFileOptions::default()
        .unix_permissions(meta.mode() & 0o777)
        .large_file(true);
    if meta.is_file() {
        zip.start_file(name, options)?;
        // Exactly so much: a log that grows meanwhile would be cut anywhere anyhow.
        std::io::copy(&mut File::open(path)?.take(meta.len()), zip)?;
        return Ok(());
    }
    if !meta.is_dir() || depth == 0 {
        return Ok(());
    }
    zip.add_directory(name, options)?;
    let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<std::io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        add(zip, &entry.path(), &name, depth - 1)?;
    }
    Ok(())
}

/// The archive on its way.
type Archive = ZipWriter<zip::write::StreamWriter<Pieces>>;

/// Gathers bytes and sends them in pieces.
struct Pieces {
    /// To the connection.
    pieces: mpsc::Sender<Result<Bytes, std::io::Error>>,
    /// What has gathered.
    buffer: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.pieces
            .blocking_send(Ok(piece.into()))
            .map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn only_the_own_log_tree_is_sent() {
        let dir = tempfile::tempdir().expect("a directory");
        let clients = dir.path().join("clients");
        let logs = clients.join("ann/sky_logs/c/1-job");
        std::fs::create_dir_all(&logs).expect("it is ours");
        std::fs::create_dir_all(clients.join("bob/sky_logs")).expect("it is ours");
        std::fs::write(logs.join("run.log"), "hello\n").expect("it is ours");
        std::os::unix::fs::symlink("/etc", clients.join("ann/sky_logs/out")).expect("it is ours");
        std::os::unix::fs::symlink("/etc/passwd", logs.join("link")).expect("it is ours");
        let user: UserId = "ann".parse().expect("a valid id");
        let home = Path::new("/home/srv");
        let try_one = |path: &str| answer(&clients, home, &user, &[path.to_owned()]);
        for (path, kind) in [
            ("~/.sky/api_server/clients/bob/sky_logs", Kind::Invalid),
            (
                "~/.sky/api_server/clients/ann/sky_logs/../../bob",
                Kind::Invalid,
            ),
            ("~/.sky/api_server/clients/ann/sky_logs/out", Kind::Invalid),
            ("/etc", Kind::Invalid),
            ("", Kind::Invalid),
            (
                "~/.sky/api_server/clients/ann/sky_logs/none",
                Kind::NotFound,
            ),
        ] {
            let error = try_one(path).expect_err(path);
            assert_eq!(error.kind(), kind, "{path}");
        }
        let response = try_one("~/.sky/api_server/clients/ann/sky_logs/c").expect("its own");
        assert_eq!(response.headers()["x-home-path"], "/home/srv");
        let bytes = response
            .into_body()
            .collect()
            .await
            .expect("it ends")
            .to_bytes();
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).expect("an archive");
        let base = "home/srv/.sky/api_server/clients/ann/sky_logs/c";
        let names: Vec<_> = zip.file_names().map(str::to_owned).collect();
        let expected = [
            format!("{base}/"),
            format!("{base}/1-job/"),
            format!("{base}/1-job/run.log"),
        ];
        assert_eq!(names, expected);
        let mut text = String::new();
        let mut entry = zip.by_name(&expected[2]).expect("it is there");
        entry.read_to_string(&mut text).expect("it is text");
        assert_eq!(text, "hello\n");
    }
}
