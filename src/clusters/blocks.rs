//! What was refused a short time ago: stored, so that no launch asks for the same again and again.

use super::{Clusters, store};
use crate::base::Result;
use crate::base::clock::Moment;
use crate::catalog::Block;
use crate::clouds::CloudId;

impl Clusters {
    /// Returns the refusals that hold now.
    pub(crate) async fn blocks(&self) -> Result<Vec<Block>> {
        let now = Moment::now();
        self.inner.db.read(move |tx| store::blocks(tx, now)).await
    }

    /// Stores refusals.
    pub(super) async fn remember(&self, blocks: Vec<Block>) -> Result<()> {
        if blocks.is_empty() {
            return Ok(());
        }
        self.inner
            .db
            .write(move |tx| {
                let now = Moment::now();
                blocks
                    .iter()
                    .try_for_each(|block| store::put_block(tx, block, now))
            })
            .await
    }

    /// Forgets the refusals of a cloud that its user had to do something about: it was checked, and can be used.
    pub(crate) async fn set_up(&self, cloud: CloudId) -> Result<()> {
        let mine = |block: &Block| {
            block.cause.is_the_users() && block.infra.cloud.as_deref() == Some(cloud.as_str())
        };
        let over: Vec<Block> = self.blocks().await?.into_iter().filter(mine).collect();
        if over.is_empty() {
            return Ok(());
        }
        self.inner
            .db
            .write(move |tx| {
                over.iter()
                    .try_for_each(|block| store::remove_block(tx, block))
            })
            .await
    }
}
