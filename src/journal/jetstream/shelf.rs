//! Small values beside the log, in a key-value bucket: the cursors that replicas share.
//!
//! Read from the leader of the bucket's stream: a copy may not have yet what another replica was told is kept.

use async_nats::jetstream::{
    Context, ErrorCode,
    kv::{self, UpdateErrorKind},
    stream::{LastRawMessageErrorKind, StorageType},
};
use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::{
    super::{Kept, Trouble},
    code,
    stream::{self, Settings},
    within,
};
use crate::limits::{JOURNAL_POLL_PAUSE, JOURNAL_RETRY_PAUSE, MAX_KEPT_BYTES};

/// How often a bucket is looked at before it is opened without its leader.
const BUCKET_LOOKS: usize = 10;
/// A key that has no value, and a version that it has not: nothing can be put there.
const NO_KEY: &str = "0";
const NO_VERSION: u64 = 1 << 50;

/// What a bucket of this name is kept in.
pub(super) fn stream_of(settings: &Settings) -> String {
    format!("KV_{}", bucket(settings))
}

fn bucket(settings: &Settings) -> String {
    format!("{}_CURSORS", settings.stream)
}

/// The bucket of one stream's replicas.
pub(super) struct Bucket {
    store: kv::Store,
}

impl Bucket {
    /// Opens the bucket, making it if there is none.
    pub async fn open(context: &Context, settings: &Settings) -> Result<Self, Trouble> {
        let bucket = bucket(settings);
        let unreachable = |why: String| Trouble::Unreachable(format!("the bucket {bucket}: {why}"));
        let config = kv::Config {
            bucket: bucket.clone(),
            description: "Positions of consumers of an Attaché registry.".to_owned(),
            history: 1,
            max_value_size: MAX_KEPT_BYTES,
            storage: StorageType::File,
            num_replicas: settings.replicas,
            ..kv::Config::default()
        };
        let store = match context.get_key_value(&bucket).await {
            Ok(store) => store,
            Err(_) => match context.create_key_value(config).await {
                Ok(store) => store,
                // Another replica may have made it meanwhile.
                Err(error) => context.get_key_value(&bucket).await.map_err(|_| unreachable(error.to_string()))?,
            },
        };
        // One that was made just now has no leader for a moment; one that stays without is no reason to keep the log shut.
        let bucket = Self { store };
        for _ in 0..BUCKET_LOOKS {
            match bucket.is_reached().await {
                Ok(()) => break,
                Err(trouble) => tracing::debug!(%trouble, "the bucket is not reached yet"),
            }
            tokio::time::sleep(JOURNAL_RETRY_PAUSE).await;
        }
        Ok(bucket)
    }

    /// Whether its leader answers, and what is put finds the way to it, which the servers tell each other later: what nobody takes
    /// has no stream, they say.
    async fn is_reached(&self) -> Result<(), Trouble> {
        self.last(NO_KEY).await?;
        self.put(NO_KEY, Bytes::new(), NO_VERSION).await.map(drop)
    }

    /// The newest value of a key.
    ///
    /// A leader that the others do not hear any more answers with what it had: whoever it is, is asked once it has answered. And
    /// before, because the client may go over to another server between two questions, where another one leads.
    pub async fn get(&self, key: &str) -> Result<Option<Kept>, Trouble> {
        let before = self.leader().await?;
        let kept = self.last(key).await?;
        let after = self.leader().await?;
        if before == after {
            return Ok(kept);
        }
        Err(Trouble::Unreachable(format!("{before} led the bucket of cursors, and {after} does since it was asked")))
    }

    /// Who leads the bucket, and has heard from a majority lately.
    async fn leader(&self) -> Result<String, Trouble> {
        let info = within(self.store.stream.get_info()).await?.map_err(Trouble::unreachable)?;
        stream::check_led(&info)?;
        Ok(info.cluster.and_then(|cluster| cluster.leader).unwrap_or_default())
    }

    /// What a leader of the bucket has, if it is one still.
    async fn last(&self, key: &str) -> Result<Option<Kept>, Trouble> {
        let subject = format!("{}{key}", self.store.prefix);
        match within(self.store.stream.get_last_raw_message_by_subject(&subject)).await? {
            Ok(message) => Ok(Some(Kept { value: message.payload.to_vec(), version: message.sequence })),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Trouble::unreachable(error)),
        }
    }

    /// The keys that have values.
    pub async fn keys(&self) -> Result<Vec<String>, Trouble> {
        let keys = within(self.store.keys()).await?.map_err(Trouble::unreachable)?;
        within(keys.try_collect()).await?.map_err(Trouble::unreachable)
    }

    /// Sets a value whose version is `after`; `false` if it is another.
    pub async fn put(&self, key: &str, value: Bytes, after: u64) -> Result<bool, Trouble> {
        // A value that is not there has version 0.
        match within(self.store.update(key, value, after)).await? {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
            // Another value is under way.
            Err(error) if code(&error) == Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT) => {
                tokio::time::sleep(JOURNAL_POLL_PAUSE).await;
                Ok(false)
            }
            Err(error) => Err(Trouble::unreachable(error)),
        }
    }
}
