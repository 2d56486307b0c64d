//! Snapshots beside the log, in an object store: chunks in a stream of their own, with as many copies as the log has.

use std::path::Path;

use async_nats::jetstream::{
    Context,
    object_store::{self, ObjectStore},
    stream::StorageType,
};
use futures_util::TryStreamExt as _;
use tokio::fs::File;

use super::{
    super::{Stored, Trouble},
    Settings,
};
use crate::limits::SNAPSHOT_CHUNK_SILENCE;

/// What it has, by name.
pub(super) async fn list(context: &Context, settings: &Settings) -> Result<Vec<Stored>, Trouble> {
    let depot = open(context, settings).await?;
    let found = depot.list().await.map_err(Trouble::unreachable)?;
    let found: Vec<_> = in_time(found.try_collect()).await?.map_err(Trouble::unreachable)?;
    let stored = |info: object_store::ObjectInfo| Stored { name: info.name, bytes: info.size as u64 };
    let mut stored: Vec<_> = found.into_iter().map(stored).collect();
    stored.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(stored)
}

/// Puts a file. Its name is written last, so that it is there whole or not at all.
pub(super) async fn put(context: &Context, settings: &Settings, name: &str, file: &Path) -> Result<(), Trouble> {
    let depot = open(context, settings).await?;
    let mut file = File::open(file).await.map_err(|e| unusable(file, &e))?;
    depot.put(name, &mut file).await.map(drop).map_err(Trouble::unreachable)
}

/// Writes what it has under a name into a file; the digest is compared at its end.
pub(super) async fn fetch(context: &Context, settings: &Settings, name: &str, into: &Path) -> Result<(), Trouble> {
    let depot = open(context, settings).await?;
    let mut object = in_time(depot.get(name)).await?.map_err(Trouble::unreachable)?;
    let mut file = File::create(into).await.map_err(|e| unusable(into, &e))?;
    let expected = object.info().size as u64;
    let mut written = 0;
    // Part by part, because a server that is gone says nothing.
    while written < expected {
        let mut part = tokio::io::AsyncReadExt::take(&mut object, PART_BYTES);
        let copied = in_time(tokio::io::copy(&mut part, &mut file)).await?;
        written += match copied.map_err(Trouble::unreachable)? {
            0 => return Err(Trouble::Unreachable(format!("{name} ends after {written} of {expected} bytes"))),
            copied => copied,
        };
    }
    file.sync_all().await.map_err(|e| unusable(into, &e))
}

/// Drops what it has under a name.
pub(super) async fn remove(context: &Context, settings: &Settings, name: &str) -> Result<(), Trouble> {
    let depot = open(context, settings).await?;
    in_time(depot.delete(name)).await?.map_err(Trouble::unreachable)
}

/// Bytes that are waited for at once.
const PART_BYTES: u64 = 1024 * 1024;

/// Whether it may have any, asked without making anything.
pub(super) async fn has_some(context: &Context, settings: &Settings) -> bool {
    // It remembers what was dropped, so only nothing is nothing for sure.
    let stream = in_time(context.get_stream(stream_of(settings))).await;
    stream.is_ok_and(|found| found.is_ok_and(|stream| stream.cached_info().state.messages > 0))
}

/// What an object store of this name is kept in.
pub(super) fn stream_of(settings: &Settings) -> String {
    format!("OBJ_{}", bucket(settings))
}

fn bucket(settings: &Settings) -> String {
    format!("{}_SNAPSHOTS", settings.stream)
}

async fn open(context: &Context, settings: &Settings) -> Result<ObjectStore, Trouble> {
    let bucket = bucket(settings);
    if let Ok(found) = in_time(context.get_object_store(&bucket)).await? {
        return Ok(found);
    }
    let config = object_store::Config {
        bucket: bucket.clone(),
        description: Some("Snapshots of the stores of an Attaché registry.".to_owned()),
        storage: StorageType::File,
        num_replicas: settings.replicas,
        ..object_store::Config::default()
    };
    match in_time(context.create_object_store(config)).await? {
        Ok(made) => Ok(made),
        // Another replica may have made it meanwhile.
        Err(error) => {
            let found = in_time(context.get_object_store(&bucket)).await?;
            found.map_err(|_| Trouble::Unreachable(format!("the bucket {bucket}: {error}")))
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, Trouble> {
    let silent = |_| Trouble::Unreachable(format!("nothing came for {SNAPSHOT_CHUNK_SILENCE:?}"));
    tokio::time::timeout(SNAPSHOT_CHUNK_SILENCE, answer).await.map_err(silent)
}

fn unusable(file: &Path, error: &std::io::Error) -> Trouble {
    Trouble::Unreachable(format!("{}: {error}", file.display()))
}
