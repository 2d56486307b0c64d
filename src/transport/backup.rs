//! `LogService.Backup`: a copy that is made and verified first, and then read out piece by piece.

use std::{path::Path, pin::Pin, sync::Arc};

use prost::bytes::Bytes;
use tokio::{fs::File, io::AsyncReadExt as _, sync::mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{App, audit, request::Caller};
use crate::{
    domain::error::{Error, Reason, Result},
    limits::{BACKUP_PIECE_BYTES, BACKUP_PIECES, GOODBYE, STALL_TIMEOUT},
    pb::v1::{BackupBegin, BackupEnd, BackupResponse, backup_response::Part},
    store::{
        Head,
        packed::{self, Work},
    },
    tasks::{copying, if_any},
};

/// The messages of a backup.
pub(super) type Parts = Pin<Box<dyn Stream<Item = std::result::Result<BackupResponse, Status>> + Send>>;

type Sender = mpsc::Sender<std::result::Result<BackupResponse, Status>>;

/// Begins a backup, if none is under way.
pub(super) fn parts(app: &Arc<App>, caller: &Caller) -> Result<Parts> {
    let own = (caller.open()?, caller.open_snapshot()?);
    let place = Arc::clone(&app.backups)
        .try_acquire_owned()
        .map_err(|_| Error::new(Reason::Overloaded, "another backup is under way; nothing happened"))
        .inspect_err(|error| caller.noted(error))?;
    let (parts, told) = mpsc::channel(BACKUP_PIECES);
    let (backup, caller, refused) = (Arc::clone(app), caller.clone(), caller.refused());
    app.tasks.spawn("backup", async move {
        let made = tokio::select! {
            made = make(&backup, &parts) => made,
            () = parts.closed() => Ok(None),
            error = if_any(refused) => Err(error),
            () = backup.hub.draining().cancelled() => {
                Err(Error::new(Reason::Draining, "the server is shutting down; ask another for a backup"))
            }
            () = caller.cut_soon() => {
                let why = "the connection is about to be cut: a backup takes less than max_connection_age_seconds and a \
                           minute, or that has to be raised";
                Err(Error::new(Reason::Draining, why))
            }
        };
        note(&caller, &made);
        if let Err(error) = made {
            // Who has gone, or does not read, does not want to know.
            let _ = tokio::time::timeout(GOODBYE, parts.send(Err(error.into()))).await;
        }
        drop((place, own));
    });
    Ok(Box::pin(ReceiverStream::new(told)))
}

/// A backup that was sent to its end.
struct Sent {
    revision: u64,
    bytes: u64,
}

/// Has the log say what came of it. Of one whose reader went away it is known that they were admitted, and no more.
fn note(caller: &Caller, made: &Result<Option<Sent>>) {
    let (bytes, came) = match made {
        Ok(None) => return,
        Ok(Some(sent)) => (Some(sent.bytes), Ok(sent.revision)),
        Err(error) => (None, Err(error)),
    };
    audit::done(caller, &audit::Act { bytes, ..audit::Act::default() }, came);
}

async fn make(app: &Arc<App>, parts: &Sender) -> Result<Option<Sent>> {
    let folder = app.store.folder().to_owned();
    let given_up = CancellationToken::new();
    // With this future: a drain, or whoever goes away, does not leave a thread that copies on.
    let _waits = given_up.clone().drop_guard();
    let (work, head) = copying(move || {
        let work = Work::begin(&folder, packed::BACKUP)?;
        let head = work.copy(&folder, &given_up)?;
        work.pack(&given_up)?;
        Ok((work, head))
    })
    .await?;
    send(&work.packed(), head, parts).await
}

/// Sends a packed store; `None` if its reader goes away before it has ended.
async fn send(packed: &Path, head: Head, parts: &Sender) -> Result<Option<Sent>> {
    let unreadable = |error: std::io::Error| Error::internal(format!("{}: {error}", packed.display()));
    let mut file = File::open(packed).await.map_err(unreadable)?;
    let size = file.metadata().await.map_err(unreadable)?.len();
    let token = head.token().encode();
    let begin = BackupBegin { revision: head.revision, size_bytes: i64::try_from(size).unwrap_or(i64::MAX) };
    let mut digest = blake3::Hasher::new();
    let mut next = Some(Part::Begin(begin));
    while let Some(part) = next.take() {
        let is_end = matches!(part, Part::End(_));
        let message = BackupResponse { part: Some(part), token: token.clone() };
        let sent = tokio::time::timeout(STALL_TIMEOUT, parts.send(Ok(message)));
        match sent.await {
            Ok(Ok(())) if is_end => return Ok(Some(Sent { revision: head.revision, bytes: size })),
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ok(None),
            // Others wait for its place.
            Err(_) => return Err(Error::new(Reason::Overloaded, "the transport accepted nothing for too long")),
        }
        let mut piece = vec![0; BACKUP_PIECE_BYTES];
        let read = file.read(&mut piece).await.map_err(unreadable)?;
        piece.truncate(read);
        digest.update(&piece);
        next = Some(match read {
            0 => Part::End(BackupEnd { blake3: digest.finalize().as_bytes().to_vec() }),
            _ => Part::Piece(Bytes::from(piece).into()),
        });
    }
    Ok(None)
}
