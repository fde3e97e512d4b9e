//! The start of the head: everything that is not at rest is taken up again.

use std::sync::Arc;

use tokio::sync::{Mutex, Notify, watch};
use tokio_util::task::TaskTracker;

use super::{Head, Inner, Open, Table};
use crate::agent::events::News;
use crate::agent::runner::Runner;
use crate::agent::state::{Event, Recovery};
use crate::agent::store;
use crate::agent::watch::Watcher;
use crate::base::Result;
use crate::base::clock::Moment;
use crate::store::Db;

/// Why jobs are over that a restart of the machine has ended.
const RESTARTED: &str = "the node was restarted";

impl Head {
    /// Reads the store and goes on with every job that is not at rest.
    pub(crate) async fn start(db: Db, runner: Runner, watcher: Watcher) -> Result<Self> {
        let boot = crate::sys::process::boot_id();
        let (mut facts, open) = db
            .read(|tx| Ok((store::facts(tx)?, store::open(tx)?)))
            .await?;
        let same_boot = facts.boot == boot;
        if !same_boot {
            facts.boot.clone_from(&boot);
            facts.autostop = None;
            let noted = db
                .write(move |tx| {
                    store::change_facts(tx, |facts| {
                        facts.boot = boot;
                        facts.autostop = None;
                    })
                })
                .await;
            // On a full disk the agent starts all the same: the next start finds the old note and the same answer.
            if let Err(error) = noted {
                tracing::warn!(error = %error.one_line(), "cannot note the boot of the machine");
            }
        }
        if let Some(config) = &facts.config {
            runner.set_grace(config.kill_grace_secs);
        }
        let head = Self {
            inner: Arc::new(Inner {
                db,
                runner,
                watcher,
                table: Mutex::new(Table {
                    jobs: std::collections::BTreeMap::new(),
                    facts,
                    closing: false,
                }),
                news: News::default(),
                tasks: TaskTracker::new(),
                unsaved: Notify::new(),
                activity: watch::channel(0).0,
                started: Moment::now(),
            }),
        };
        head.take_up(open, same_boot).await;
        Ok(head)
    }

    /// Goes on with jobs where they were.
    async fn take_up(&self, open: Vec<store::JobRecord>, same_boot: bool) {
        let mut table = self.inner.table.lock().await;
        let mut recoveries = Vec::new();
        for record in open {
            recoveries.push((record.id, record.state.on_restart(same_boot)));
            let length = std::fs::metadata(self.log_path(&record)).map_or(0, |m| m.len());
            table.jobs.insert(record.id, Open::new(record, length));
        }
        for (id, recovery) in recoveries {
            match recovery {
                Recovery::Drive | Recovery::Clear => self.spawn_driver(&table, id),
                Recovery::Close => {
                    // With a driver for what it held: nodes that were not restarted may still run parts of it.
                    self.spawn_driver(&table, id);
                    let reason = RESTARTED.to_owned();
                    self.step(&mut table, id, Event::Lost { reason }).await;
                }
                Recovery::Queue | Recovery::Rest => {}
            }
        }
        self.schedule(&mut table).await;
    }
}
