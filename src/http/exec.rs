//! The owner of the tasks that drive connections.

use std::future::Future;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Spawns tasks that end with it: on drop all of them are stopped where they stand.
///
/// Cancel policy: dropped (a connection owns no outside effect). Error policy: each task deals with its own.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// What spawns.
    spawner: Spawner,
    /// Stops all.
    _guard: DropGuard,
}

/// Spawns into a [`Tasks`]; what hyper calls an executor.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    /// Counts.
    tracker: TaskTracker,
    /// Stops.
    stop: CancellationToken,
}

impl Default for Tasks {
    fn default() -> Self {
        let stop = CancellationToken::new();
        Self {
            spawner: Spawner {
                tracker: TaskTracker::new(),
                stop: stop.clone(),
            },
            _guard: stop.drop_guard(),
        }
    }
}

impl Tasks {
    /// Returns the executor for hyper.
    pub(crate) fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Returns the number of tasks that run.
    pub(crate) fn len(&self) -> usize {
        self.spawner.tracker.len()
    }

    /// Waits until all tasks have ended by themselves.
    pub(crate) async fn wait(&self) {
        self.spawner.tracker.close();
        self.spawner.tracker.wait().await;
    }

    /// Stops all tasks where they stand and waits until they are gone.
    pub(crate) async fn abort(&self) {
        self.spawner.stop.cancel();
        self.wait().await;
    }
}

impl Spawner {
    /// Starts a task.
    pub(crate) fn spawn<F>(&self, task: F)
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let stop = self.stop.clone();
        // Boxed here, or each layer around it would hold room for it twice: 7 KiB for each idle connection.
        let task = Box::pin(task);
        self.tracker.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
