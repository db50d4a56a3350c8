//! `kraken cluster recover`: a quorum that has lost its majority for good goes on with one member.

use std::path::PathBuf;

use anyhow::Context as _;
use kraken_raft::recover;

use crate::{
    console::Console,
    daemon,
    exit::{Exit, Failure},
    server::RAFT_FOLDER,
};

/// Makes one member the whole quorum, after the others are lost for good
///
/// To be run where the member was, with its server stopped. What it holds goes on in another epoch;
/// what only the lost members held is lost. They must never be started again with their old data.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The data folder of the member (node.data)
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// The other members are lost for good
    #[arg(long)]
    others_are_lost: bool,
}

impl Args {
    /// Recovers.
    pub(super) async fn run(self, console: &Console) -> Result<(), Failure> {
        if !self.others_are_lost {
            let words = "members that are only away would go on as another quorum";
            let hint = "bring a majority back; where it is lost for good, add --others-are-lost";
            return Err(Failure::new(Exit::Refused, words).hint(hint));
        }
        let data = self.data.join(RAFT_FOLDER);
        if !data.exists() {
            let words = format!("there is no member in {}", self.data.display());
            return Err(Failure::failed(words).hint("give its node.data"));
        }
        let _lock = daemon::lock(&self.data)?;
        let recovered = recover(&data).await.context("nothing was changed")?;
        console.print(format!(
            "cluster {:x} goes on in epoch {} at revision {}, with {} objects as of revision {}\n\
             the data of before is kept in {}\n\
             start this server, then let new members join it with empty data folders\n",
            recovered.cluster.get(),
            recovered.epoch,
            recovered.revision,
            recovered.objects,
            recovered.held,
            recovered.kept.display(),
        ))
    }
}
