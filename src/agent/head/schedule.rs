//! The queue at work: who starts, and what follows a transition.

use tokio::sync::MutexGuard;

use super::{Head, Table};
use crate::agent::state::{Effect, Event, State};
use crate::agent::{drive, queue};
use crate::api::agent::Phase;
use crate::base::clock::Moment;
use crate::base::ids::JobId;

impl Head {
    /// Does what a transition asks for.
    pub(super) async fn follow_up(
        &self,
        table: &mut MutexGuard<'_, Table>,
        id: JobId,
        effects: &[Effect],
    ) {
        for effect in effects {
            match effect {
                Effect::Drive => self.spawn_driver(table, id),
                Effect::Clear => {
                    if let Some(open) = table.jobs.get(&id) {
                        open.cut.cancel();
                    }
                }
                Effect::Schedule => self.schedule(table).await,
            }
        }
    }

    /// Gives resources to jobs at the head of the queue as long as they fit.
    pub(super) async fn schedule(&self, table: &mut Table) {
        loop {
            let Some(config) = table.facts.config.clone().filter(|_| !table.closing) else {
                return;
            };
            let held = table.jobs.values().filter_map(|o| o.record.state.held());
            let next = table
                .jobs
                .values()
                .find(|open| matches!(open.record.state, State::Pending));
            let Some(next) = next else { return };
            let Some(held) = queue::place(&next.record.spec, &config, held) else {
                return;
            };
            let phase = if next.record.spec.setup.is_some() {
                Phase::Setup
            } else {
                Phase::Run
            };
            let id = next.record.id;
            let mut record = next.record.clone();
            let placed = Event::Placed { held, phase };
            let Ok((state, _drive)) = record.state.apply(placed, Moment::now()) else {
                return;
            };
            record.state = state;
            // Unlike an end, a beginning waits for the disk: its record is what recovery goes by.
            if !self.save(record.clone(), None).await {
                self.inner.unsaved.notify_one();
                return;
            }
            if let Some(open) = table.jobs.get_mut(&id) {
                open.record = record;
            }
            self.after(table, id, None, true);
            self.spawn_driver(table, id);
        }
    }

    /// Starts the task that runs a job.
    pub(super) fn spawn_driver(&self, table: &Table, id: JobId) {
        let (Some(open), Some(config)) = (table.jobs.get(&id), &table.facts.config) else {
            return;
        };
        let driver = drive::Driver::new(
            self.clone(),
            open.record.clone(),
            config.clone(),
            open.growth.clone(),
            open.cut.clone(),
        );
        self.inner.tasks.spawn(driver.run());
    }
}
