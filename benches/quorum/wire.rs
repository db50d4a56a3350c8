//! What is written and read, whoever keeps it, and one connection to one of its members.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use kraken_testkit::etcd::{Grpc, GrpcWatch};
use tokio::time::timeout;

use super::rest::{Rest, RestWatch};

/// Bytes of a value.
const VALUE_BYTES: usize = 256;
/// What a value begins with; then comes its number.
const MARK: &[u8] = b"v:";
/// Digits of the number.
const DIGITS: usize = 16;
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Numbered values of one size.
pub(crate) struct Value(String);

impl Value {
    pub(crate) fn new(number: u64) -> Self {
        let filler = VALUE_BYTES - MARK.len() - DIGITS;
        Self(format!("v:{number:0DIGITS$}{:x<filler$}", ""))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// The number of the value that stands somewhere in these bytes.
pub(crate) fn value_in(bytes: &[u8]) -> Option<u64> {
    let at = bytes.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    std::str::from_utf8(bytes.get(at..at + DIGITS)?).ok()?.parse().ok()
}

/// The name of an object.
pub(crate) fn key(at: u64) -> String {
    format!("k{at:07}")
}

/// How a read is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// It sees every write that was acknowledged before.
    Linearizable,
    /// It sees what the member that answers has applied.
    Stale,
}

/// How a member stands in its quorum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) leads: bool,
    pub(crate) term: u64,
}

/// Where a member listens, and how it is spoken to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// A member of ours.
    Rest(SocketAddr),
    /// One of etcd's.
    Grpc(SocketAddr),
}

/// A connection to one member.
pub(crate) enum Wire {
    /// To ours.
    Rest(Rest),
    /// To etcd.
    Grpc(Grpc),
}

impl Wire {
    pub(crate) async fn connect(place: Place) -> Result<Self> {
        let connected = async {
            Ok(match place {
                Place::Rest(at) => Self::Rest(Rest::connect(at).await?),
                Place::Grpc(at) => Self::Grpc(Grpc::connect(at).await?),
            })
        };
        timeout(CONNECT_MAX, connected).await.context("no connection in time")?
    }

    pub(crate) async fn put(&mut self, at: u64, value: &Value) -> Result<()> {
        match self {
            Self::Rest(rest) => rest.put(at, value).await,
            Self::Grpc(grpc) => grpc.put(&key(at), value.text()).await,
        }
    }

    /// Puts one value at several keys, all or nothing.
    pub(crate) async fn put_many(&mut self, keys: &[u64], value: &Value) -> Result<()> {
        match self {
            Self::Rest(rest) => rest.put_many(keys, value).await,
            Self::Grpc(grpc) => {
                let keys: Vec<String> = keys.iter().copied().map(key).collect();
                grpc.put_many(&keys, value.text()).await
            }
        }
    }

    /// The number of the value there; nothing where there is none.
    pub(crate) async fn read(&mut self, at: u64, read: Read) -> Result<Option<u64>> {
        match self {
            Self::Rest(rest) => rest.read(at, read).await,
            Self::Grpc(grpc) => {
                let found = grpc.read(&key(at), read == Read::Stale).await?;
                Ok(found.and_then(|value| value_in(&value)))
            }
        }
    }

    /// How the member at the other end stands.
    pub(crate) async fn standing(&mut self) -> Result<Standing> {
        match self {
            Self::Rest(rest) => rest.standing().await,
            Self::Grpc(grpc) => {
                let status = grpc.status().await?;
                Ok(Standing { leads: status.leads, term: status.term })
            }
        }
    }

    /// Watches one object from now on.
    pub(crate) async fn watch(self, at: u64) -> Result<Watch> {
        Ok(match self {
            Self::Rest(rest) => Watch::Rest(rest.watch(at).await?),
            Self::Grpc(grpc) => Watch::Grpc(grpc.watch(&[&key(at)]).await?),
        })
    }
}

/// What is told of one object.
pub(crate) enum Watch {
    /// By ours.
    Rest(RestWatch),
    /// By etcd.
    Grpc(GrpcWatch),
}

impl Watch {
    /// The number of the value that was put next.
    pub(crate) async fn next(&mut self) -> Result<u64> {
        match self {
            Self::Rest(watch) => watch.next().await,
            Self::Grpc(watch) => loop {
                if let Some(number) = value_in(&watch.next().await?) {
                    return Ok(number);
                }
            },
        }
    }
}
