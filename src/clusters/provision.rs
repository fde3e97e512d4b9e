//! From a wish to machines whose agents answer: intent, machines (with failover over candidates), agents.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::agents::AWAY;
use super::failover::{MOST_TRIES, Next, Search, after_refusal};
use super::refusals::{Refusals, may_change, place, place_of};
use super::{Cluster, Clusters, Event, Owner, State, names, store};
use crate::base::clock::{Moment, monotonic};
use crate::base::cx::Cx;
use crate::base::ids::ClusterName;
use crate::base::timings::{self, Part};
use crate::base::{Error, Kind, Result};
use crate::catalog::{Block, Offer};
use crate::clouds::{Category, CloudError, CloudId, CloudResult, NodeSet};
use crate::optimizer::Plan;
use crate::task::Shape;

/// A place to try, and what is asked for there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    /// The node.
    pub(crate) offer: Offer,
    /// The alternative of the task that it meets.
    pub(crate) wish: Arc<Shape>,
}

impl Choice {
    /// Returns where a cluster is.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self {
            offer: cluster.set.offer.clone(),
            wish: Arc::new(cluster.set.wish.clone()),
        }
    }
}

/// What a launch does that every place has refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It takes everything back.
    GiveUp,
    /// It keeps its record, and tries again later.
    Wait,
}

/// Where a launch found or put its cluster: the outcome of the intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    /// The cluster.
    pub(crate) name: ClusterName,
    /// This life of the name.
    pub(crate) hash: String,
    /// Whether this request made the record: then it may also remove it again.
    pub(crate) created: bool,
}

impl Clusters {
    /// Stores that machines are wanted: makes the record, or takes up the one that is there.
    ///
    /// Called again by the same request it gives the same answer.
    pub(crate) async fn intend(
        &self,
        cx: &Cx,
        name: &ClusterName,
        nodes: u32,
        choice: &Choice,
    ) -> Result<Placed> {
        let cloud: CloudId = choice.offer.cloud.parse()?;
        let owner = Owner::from(cx.caller());
        let (name, choice, by) = (name.clone(), choice.clone(), cx.request());
        let (placed, cluster) = self
            .inner
            .db
            .write(move |tx| {
                let now = Moment::now();
                let (mut cluster, created) = if let Some(cluster) = store::get(tx, &name)? {
                    let created = cluster.provisioned_by == by && !cluster.ever_up;
                    (cluster, created)
                } else {
                    let set = NodeSet {
                        name: names::on_cloud(&name, &owner.id),
                        count: nodes,
                        labels: labels(&name, &choice.wish),
                        offer: choice.offer,
                        wish: (*choice.wish).clone(),
                        token: uuid::Uuid::new_v4().to_string(),
                    };
                    (
                        Cluster::intended(name.clone(), owner, cloud, set, by, now),
                        true,
                    )
                };
                if !matches!(cluster.state, State::Up { .. }) {
                    cluster.apply(Event::LaunchIntended, now).map_err(|e| {
                        Error::new(
                            Kind::Conflict,
                            format!("cluster `{name}` cannot be launched now"),
                        )
                        .caused_by(&e)
                        .hint(format!("finish its removal first: sky down {name}"))
                    })?;
                    cluster.provisioned_by = by;
                    cluster.launched_at = now;
                    cluster.waits = None;
                    cluster.open_usage(now);
                }
                store::put(tx, &cluster)?;
                let placed = Placed {
                    name,
                    hash: cluster.hash.clone(),
                    created,
                };
                Ok((placed, cluster))
            })
            .await?;
        // Who watches it knows machines that may be replaced now.
        self.watch(&cluster);
        self.inner.changed.notify_one();
        Ok(placed)
    }

    /// Takes a launch up again that was placed: after a wait, the record says again that machines are wanted.
    pub(crate) async fn resume(&self, cx: &Cx, placed: &Placed) -> Result<()> {
        let cluster = self.get(&placed.name).await?;
        if matches!(cluster.state, State::Launching { .. }) && cluster.waits.is_none() {
            return Ok(());
        }
        let choice = Choice::of(&cluster);
        self.intend(cx, &placed.name, cluster.set.count, &choice)
            .await
            .map(drop)
    }

    /// Makes the machines at the best place that gives them.
    ///
    /// A set that exists already is started where it is: never elsewhere, and never removed.
    pub(crate) async fn provision(
        &self,
        cx: &Cx,
        placed: &Placed,
        choices: Vec<Choice>,
        patience: Patience,
    ) -> Result<Cluster> {
        let mut cluster = self.get(&placed.name).await?;
        if !placed.created {
            return self.start_again(cx, cluster).await;
        }
        let mut search = Search::new(choices, cluster.set.count);
        if cluster.tried {
            search.resume(Choice::of(&cluster));
        }
        let mut refusals = Refusals::default();
        while let Some(choice) = self.next_place(cx, &mut search, &mut refusals).await? {
            cx.check()?;
            cluster = self.try_at(&cluster, &choice).await?;
            cx.line(format!("⚙︎ Launching on {}.", place_of(&cluster)));
            let refused = match self.make(cx, &cluster).await? {
                Ok(cluster) => return Ok(cluster),
                Err(refused) => refused,
            };
            let place = place_of(&cluster);
            cx.line(format!("⨯ {place}: {}", refused.error.error.one_line()));
            let ends = refused.block.is_none();
            let new = refused.block.clone().map(|block| search.refuse(*block));
            refusals.add(place, refused);
            cluster = self
                .leave_place(&cluster, new.unwrap_or_default(), &refusals)
                .await?;
            cluster = self.sweep(cluster).await?;
            if ends {
                break;
            }
            say_what_is_left(cx, &choice.offer, &search, cluster.set.count);
        }
        cx.line(format!(
            "⨯ Failed to provision resources.  View logs: sky logs --provision {}",
            placed.name
        ));
        let error = refusals.into_error(&placed.name);
        if patience == Patience::Wait && may_change(&error) {
            return Err(error);
        }
        Err(self.give_up(&cluster, error).await)
    }

    /// Returns the best place that is left; where an offer leaves the zone open, its first zone.
    async fn next_place(
        &self,
        cx: &Cx,
        search: &mut Search,
        refusals: &mut Refusals,
    ) -> Result<Option<Choice>> {
        while let Some(choice) = search.best().cloned() {
            if choice.offer.zone.is_some() {
                return Ok(Some(choice));
            }
            let id: CloudId = choice.offer.cloud.parse()?;
            let cloud = self.clouds().get(id);
            let zones = patiently(cx, &choice.offer, 1, || cloud.zones(&choice.offer)).await?;
            match zones {
                Ok(zones) if zones.is_empty() => return Ok(Some(choice)),
                Ok(zones) => search.open(&choice.offer, &zones),
                Err(refused) => {
                    let place = place(id, &choice.offer);
                    cx.line(format!("⨯ {place}: {}", refused.error.error.one_line()));
                    let block = refused.block.clone();
                    refusals.add(place, refused);
                    let Some(block) = block else {
                        return Ok(None);
                    };
                    let new = search.refuse(*block);
                    self.remember(new).await?;
                }
            }
        }
        Ok(None)
    }

    /// Starts machines that exist, or repairs their set, where they are.
    async fn start_again(&self, cx: &Cx, cluster: Cluster) -> Result<Cluster> {
        cx.line(format!("⚙︎ Launching on {}.", place_of(&cluster)));
        let refused = match self.make(cx, &cluster).await? {
            Ok(cluster) => return Ok(cluster),
            Err(refused) => refused,
        };
        let (name, place) = (cluster.name.clone(), place_of(&cluster));
        cx.line(format!("⨯ {place}: {}", refused.error.error.one_line()));
        self.put_back(&cluster, &refused.error.error.one_line())
            .await;
        let mut refusals = Refusals::default();
        refusals.add(place, refused);
        Err(refusals.into_error(&name))
    }

    /// After a start that failed: what was stopped is stopped again, what was half well is that.
    pub(crate) async fn put_back(&self, cluster: &Cluster, why: &str) {
        let failed = if cluster.was_stopped() {
            self.stop(cluster, false).await.err()
        } else {
            None
        };
        if cluster.was_stopped() && failed.is_none() {
            return;
        }
        let reason = match failed {
            None => format!("its start failed: {why}"),
            Some(error) => format!(
                "its start failed ({why}), and so did stopping it again: {}",
                error.one_line()
            ),
        };
        let event = Event::FoundUnhealthy { reason };
        if let Err(error) = self.transition(cluster, event, |_| {}).await {
            tracing::warn!(cluster = %cluster.name, error = %error.one_line(), "the record does not say that a start failed");
        }
    }

    /// Makes the machines where the record says.
    async fn make(&self, cx: &Cx, cluster: &Cluster) -> Result<Result<Cluster, Refused>> {
        cx.spinner("[bold cyan]Launching[/]");
        let cloud = self.clouds().get(cluster.cloud);
        let set = &cluster.set;
        let instances = match patiently(cx, &set.offer, set.count, || cloud.provision(set)).await? {
            Ok(instances) => instances,
            Err(refused) => return Ok(Err(refused)),
        };
        let cluster = self
            .adjust(cluster, move |c| c.instances = instances)
            .await?;
        cx.line(if cluster.set.count == 1 {
            "└── Instance is up."
        } else {
            "└── Instances are up."
        });
        Ok(Ok(cluster))
    }

    /// Makes all agents run and says so in the record. What a launch made and cannot use is removed again.
    pub(crate) async fn bring_up(&self, cx: &Cx, placed: &Placed) -> Result<Cluster> {
        let cluster = self.get(&placed.name).await?;
        cx.spinner("[bold cyan]Preparing SkyPilot runtime[/]");
        match timings::during(Part::Start, self.agents_up(&cluster)).await {
            Err(error) if is_the_machines(&error) => {
                let why = error.one_line();
                if placed.created {
                    let nothing = Refusals::default();
                    let cluster = self.leave_place(&cluster, Vec::new(), &nothing).await?;
                    let cluster = self.sweep(cluster).await?;
                    return Err(self.give_up(&cluster, error).await);
                }
                self.put_back(&cluster, &why).await;
                Err(error)
            }
            other => other,
        }
    }

    /// Makes all agents run and says so in the record.
    async fn agents_up(&self, cluster: &Cluster) -> Result<Cluster> {
        self.ensure_agents(cluster).await?;
        if let Some(setting) = &cluster.autostop {
            self.head(cluster)?.set_autostop(Some(setting)).await?;
        }
        self.transition(cluster, Event::AllUp, |_| {}).await
    }
}

/// Whether an error says something about the machines; else it is about the record, or the request.
fn is_the_machines(error: &Error) -> bool {
    !matches!(
        error.kind(),
        Kind::Cancelled | Kind::ClusterNotFound | Kind::Conflict | Kind::StorageFull
    )
}

/// A call to a cloud that failed for good, and what is to be left out; nothing when trying elsewhere cannot help.
#[derive(Debug)]
pub(super) struct Refused {
    /// What the cloud said.
    pub(super) error: CloudError,
    /// What is to be left out.
    pub(super) block: Option<Box<Block>>,
}

/// Calls a cloud until it answers, or refuses for good: some refusals ask for patience only.
async fn patiently<T, F>(
    cx: &Cx,
    offer: &Offer,
    nodes: u32,
    call: impl Fn() -> F,
) -> Result<Result<T, Refused>>
where
    F: Future<Output = CloudResult<T>>,
{
    let mut tries = 1;
    let mut first_failed = None;
    loop {
        let error = match timings::during(Part::Cloud, call()).await {
            Ok(answer) => return Ok(Ok(answer)),
            Err(error) => error,
        };
        let away = first_failed.get_or_insert_with(monotonic).elapsed();
        // A call to a host of the user's that is away takes long enough by itself.
        if away > AWAY && offer.is_cut_to_size() && error.category == Category::Transient {
            tries = MOST_TRIES;
        }
        let block = match after_refusal(offer, nodes, &error, tries, Moment::now()) {
            Next::Again(pause) => {
                let why = format!(
                    "{} asks for patience ({}): attempt {} of {MOST_TRIES} in {} s",
                    offer.infra_text(),
                    error.error.one_line(),
                    tries + 1,
                    pause.as_secs_f64().ceil()
                );
                timings::during(Part::Cloud, cx.pause(pause, &why)).await?;
                cx.spinner("[bold cyan]Launching[/]");
                tries += 1;
                continue;
            }
            Next::Elsewhere(block) => Some(block),
            Next::Stop => None,
        };
        return Ok(Err(Refused { error, block }));
    }
}

/// Says that the search goes on; shows the table again where its first row has changed.
fn say_what_is_left(cx: &Cx, refused: &Offer, search: &Search, nodes: u32) {
    let Some(next) = search.best() else { return };
    cx.line("↺ Trying other potential resources.");
    let row = |o: &Offer| (o.cloud.clone(), o.region.clone(), o.instance_type.clone());
    if row(refused) != row(&next.offer) {
        let offers = search.left().map(|choice| choice.offer.clone());
        let plan = Plan::of_offers(offers, nodes);
        cx.line(crate::optimizer::table(&plan).trim_end());
    }
}

/// Labels of the machines of a cluster: the user's, and its name.
pub(super) fn labels(name: &ClusterName, wish: &Shape) -> BTreeMap<String, String> {
    let mut labels = wish.labels.clone();
    labels.insert("sky-cluster".to_owned(), name.to_string());
    labels
}
