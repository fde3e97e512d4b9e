//! Reading log files at any offset without holding up a worker of the runtime.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};

use super::lines::TailScan;
use crate::api::frames::MAX_PAYLOAD;

/// The most that is read at once: a frame. Larger reads gained nothing against `cat` through a socket.
const CHUNK: usize = MAX_PAYLOAD;
/// The step of a backward search.
const TAIL_BLOCK: u64 = 64 * 1024;

/// Reads up to a chunk at `offset`; empty at or beyond the end.
///
/// What is in the page cache is read at once, which is the case for all logs that live; only what has to come from
/// the disk goes to the blocking pool.
pub(crate) async fn read_at(file: &Arc<File>, offset: u64) -> io::Result<Bytes> {
    let available = file.metadata()?.len().saturating_sub(offset);
    if available == 0 {
        return Ok(Bytes::new());
    }
    let mut buffer = vec![0; usize::try_from(available).unwrap_or(CHUNK).min(CHUNK)];
    let slices = &mut [IoSliceMut::new(&mut buffer)];
    match rustix::io::preadv2(&**file, slices, offset, ReadWriteFlags::NOWAIT) {
        Ok(len) => {
            buffer.truncate(len);
            return Ok(buffer.into());
        }
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        Err(e) => return Err(e.into()),
    }
    let file = Arc::clone(file);
    blocking(move || {
        let len = file.read_at(&mut buffer, offset)?;
        buffer.truncate(len);
        Ok(buffer.into())
    })
    .await
}

/// Returns where the last `lines` lines begin that are in the file now.
pub(crate) async fn tail_offset(file: Arc<File>, lines: u64) -> io::Result<u64> {
    blocking(move || {
        let mut scan = TailScan::new(lines);
        let mut end = file.metadata()?.len();
        if lines == 0 {
            return Ok(end);
        }
        while end > 0 {
            let start = end.saturating_sub(TAIL_BLOCK);
            let mut block = vec![0; usize::try_from(end - start).unwrap_or(0)];
            file.read_exact_at(&mut block, start)?;
            if let Some(offset) = scan.push_front(&block, start) {
                return Ok(offset);
            }
            end = start;
        }
        Ok(0)
    })
    .await
}

/// Runs on the blocking pool.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
