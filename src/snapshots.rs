//! Snapshots of the store beside the journal: made by the replicas in turn, and what a new replica begins with.
//!
//! A snapshot is the whole file as of one revision, verified entry by entry before it is put, compressed, and named by that
//! revision. It is used only if the journal has at its place what it has.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use prost::Message as _;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    domain::error::{Error, Reason, Result},
    journal::{Depot, Journal, Position, Shelf, Stored, Trouble},
    limits::{SNAPSHOT_INTERVAL, SNAPSHOT_RETRY, SNAPSHOTS_KEPT},
    pb::log::SnapshotClaim,
    store::{
        self, Head, Home, Store,
        alone::Alone,
        packed::{self, Work},
        scrub, snapshot, verify,
    },
    tasks::asking,
    writer::{self, Writer},
};

/// The place on the shelf that says who makes the next one; cursors have a dot in theirs.
const CLAIM: &str = "snapshots";

/// Who makes snapshots of a replica's store, when it is its turn, and looks for one to begin anew with.
#[derive(Clone)]
pub struct Maker {
    /// Beside which they are kept.
    pub journal: Arc<dyn Journal>,
    /// Of what.
    pub store: Store,
    /// Who changes that, and says whether it is of the journal's log.
    pub writer: Writer,
    /// In this folder.
    pub folder: PathBuf,
    /// By which they fall due.
    pub clock: Arc<dyn Clock>,
    /// How often, on all replicas together; `None` is never.
    pub interval: Option<Duration>,
}

impl Maker {
    /// Makes them, and purges what they and a trim have made superfluous, until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let (Some(depot), Some(shelf)) = (Arc::clone(&self.journal).depot(), Arc::clone(&self.journal).shelf()) else {
            return;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            // A store that is not of the journal's log has nothing to put beside it, and nothing to say of it.
            () = self.writer.failed() => {}
            () = self.make_when_due(&depot, &shelf) => {}
            () = self.purge_when_trimmed(&depot) => {}
        }
    }

    /// Why a server that runs had better end: the journal has dropped what comes next in its store, and has a snapshot that
    /// the store begins anew with when it is started again. As long as there is none it is not done, and looks for one
    /// whenever another may have been made.
    ///
    /// A snapshot is fetched and compared for that as it will be then: whoever ended for one that cannot be used would end
    /// watches for nothing, and again after each start.
    pub async fn left_behind(&self) -> Error {
        self.writer.failed().await;
        let fault = self.writer.fault().filter(|fault| fault.reason == Reason::HistoryTrimmed);
        let Some(fault) = fault else { return std::future::pending().await };
        let interval = self.interval.unwrap_or(SNAPSHOT_INTERVAL);
        let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
        loop {
            let began = self.clock.now_us();
            let pause = match self.would_begin_anew().await {
                Ok(true) => {
                    let why = format!("{}: start it again, and it begins anew with a snapshot", fault.message);
                    return Error::new(fault.reason, why);
                }
                // It was said in the log why; the journal may just have come back.
                Ok(false) => interval.min(SNAPSHOT_RETRY),
                Err(error) if error.reason == Reason::LogDiverged => {
                    tell_of_another_log(&error);
                    interval
                }
                Err(error) => {
                    tracing::error!(%error, "a snapshot to begin anew with could not be tried");
                    interval.min(SNAPSHOT_RETRY)
                }
            };
            tracing::error!("this server is read as it is, and looks for a snapshot to begin anew with again");
            let next = began.saturating_add(pause);
            while self.clock.now_us() < next {
                self.clock.wait_until(next).await;
            }
        }
    }

    /// Whether the store would begin anew with a snapshot if the server were started now.
    async fn would_begin_anew(&self) -> Result<bool> {
        let Some(depot) = Arc::clone(&self.journal).depot() else { return Ok(false) };
        let (journal, folder, here) = (Arc::clone(&self.journal), self.folder.clone(), self.store.head());
        asking(move || {
            let work = Work::begin(&folder, packed::TRIAL)?;
            Ok(unpack_for(&*depot, &journal, &work, here)?.is_some())
        })
        .await
    }

    async fn make_when_due(&self, depot: &Arc<dyn Depot>, shelf: &Arc<dyn Shelf>) {
        let Some(interval) = self.interval else { return std::future::pending().await };
        let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
        let mut due = self.clock.now_us().saturating_add(interval);
        loop {
            self.clock.wait_until(due).await;
            let now = self.clock.now_us();
            if now < due {
                continue;
            }
            match self.take_turn(depot, shelf, now, interval).await {
                Ok(last) => due = last.saturating_add(interval),
                Err(error) => {
                    tracing::warn!(%error, "no snapshot could be made; it is tried again");
                    due = now.saturating_add(interval.min(SNAPSHOT_RETRY));
                }
            }
        }
    }

    /// Makes the next one, unless another replica does; when it was claimed.
    async fn take_turn(&self, depot: &Arc<dyn Depot>, shelf: &Arc<dyn Shelf>, now: i64, interval: i64) -> Result<i64> {
        let head = self.store.head();
        let (depot, shelf, folder) = (Arc::clone(depot), Arc::clone(shelf), self.folder.clone());
        let journal = Arc::clone(&self.journal);
        let given_up = CancellationToken::new();
        // With this future, when the server stops.
        let _waits = given_up.clone().drop_guard();
        asking(move || {
            let last = match claim(&*shelf, head.revision, now, interval)? {
                Claimed::Elsewhere(at) => return Ok(at),
                Claimed::Here(last) => last,
            };
            if last.as_ref().is_none_or(|last| last.revision != head.revision) {
                let put = put(&*journal, &*depot, &folder, head.revision, &given_up)
                    .inspect_err(|_| give_back(&*shelf, now, last.unwrap_or_default()))?;
                if let Some((stored, Head { revision, .. })) = &put {
                    tracing::info!(revision, bytes = stored.bytes, "put a snapshot beside the journal");
                }
                purge(&*journal, &*depot, put.map_or(head, |(_, copied)| copied))?;
            }
            Ok(now)
        })
        .await
    }

    async fn purge_when_trimmed(&self, depot: &Arc<dyn Depot>) {
        let mut heads = self.store.follow_head();
        let mut purged = 0;
        loop {
            let moved = heads.wait_for(|head| head.floor > purged).await.map(|head| *head);
            let Ok(head) = moved else { return std::future::pending().await };
            let (journal, depot) = (Arc::clone(&self.journal), Arc::clone(depot));
            if let Err(error) = asking(move || purge(&*journal, &*depot, head)).await {
                // Every replica does it, and whoever makes the next snapshot again.
                tracing::warn!(%error, "the journal keeps what was trimmed for now");
            }
            purged = head.floor;
        }
    }
}

/// Purges from the journal what is older than the log's floor, and what has been erased since, but nothing that follows the
/// second-newest snapshot: a replica may begin with that. Whoever made one verified it before it was put; what is named beyond
/// this store is none of its log, or not known here yet.
fn purge(journal: &dyn Journal, depot: &dyn Depot, head: Head) -> Result<()> {
    if head.floor.max(head.redacted) == 0 {
        return Ok(());
    }
    let mut of_store = newest_first(listed(depot)?).into_iter().filter(|revision| *revision <= head.revision);
    let Some(second) = of_store.nth(1) else { return Ok(()) };
    let through = second.min(head.floor.max(head.redacted));
    let position = writer::position_of(journal, through)?;
    if position > 0 && journal.batch(position)?.is_some() {
        journal.trim(position)?;
        tracing::info!(position, "purged the journal up to there");
    }
    Ok(())
}

/// Whose turn it is.
enum Claimed {
    /// This replica's; what was claimed before it.
    Here(Option<SnapshotClaim>),
    /// Another's, which claimed it then.
    Elsewhere(i64),
}

/// Claims the next snapshot, unless another replica did within the interval.
fn claim(shelf: &dyn Shelf, revision: u64, now_us: i64, interval_us: i64) -> Result<Claimed> {
    let kept = shelf.get(CLAIM)?;
    // One that cannot be read is as good as none.
    let last = kept.as_ref().and_then(|kept| SnapshotClaim::decode(kept.value.as_slice()).ok());
    // Nor is one of a clock that was far ahead.
    if let Some(last) = &last
        && last.claimed_at_us.abs_diff(now_us) < interval_us.unsigned_abs()
    {
        return Ok(Claimed::Elsewhere(last.claimed_at_us));
    }
    let next = SnapshotClaim { revision, claimed_at_us: now_us }.encode_to_vec();
    match shelf.put(CLAIM, &next, kept.map_or(0, |kept| kept.version))? {
        true => Ok(Claimed::Here(last)),
        false => Ok(Claimed::Elsewhere(now_us)),
    }
}

/// Gives a turn back that came to nothing, for whoever tries next: what was claimed before stands again.
fn give_back(shelf: &dyn Shelf, claimed_at_us: i64, last: SnapshotClaim) {
    let back = || match shelf.get(CLAIM)? {
        Some(kept) if SnapshotClaim::decode(&*kept.value).is_ok_and(|claim| claim.claimed_at_us == claimed_at_us) => {
            shelf.put(CLAIM, &last.encode_to_vec(), kept.version).map(drop)
        }
        _ => Ok(()),
    };
    if let Err(error) = back() {
        tracing::warn!(%error, "the turn to make a snapshot stays taken for its interval");
    }
}

/// Copies, verifies, compresses and puts the store in a folder, whoever has it open, and drops the oldest ones; `None` if one of
/// that revision is there. The store stands at a revision that was looked up, or goes on from it meanwhile.
///
/// # Errors
///
/// If the copy is not sound, or not of the journal's log, or has free pages that are to be written over, or any of it cannot
/// be done, or it is given up.
fn put(
    journal: &dyn Journal,
    depot: &dyn Depot,
    folder: &Path,
    revision: u64,
    given_up: &CancellationToken,
) -> Result<Option<(Stored, Head)>> {
    // Asked first: a whole store is not copied, and read entry by entry, for one that is there.
    if is_there(depot, revision)? {
        return Ok(None);
    }
    check_scrubbed(folder)?;
    let work = Work::begin(folder, packed::SNAPSHOT)?;
    let head = work.copy(folder, given_up)?;
    // Something may have been erased before the copy began.
    check_scrubbed(work.path())?;
    // And again: it may be of a later revision, and another replica may have been quicker.
    if is_there(depot, head.revision)? {
        return Ok(None);
    }
    writer::stands_in(journal, head)?;
    let stored = put_packed(depot, &work, &name(head.revision), given_up)?;
    remove(depot, superseded(&newest_first(listed(depot)?), head.revision).iter().map(|revision| name(*revision)))?;
    Ok(Some((stored, head)))
}

/// The revisions of the snapshots, the newest first. What has another name is none, and stays.
fn newest_first(stored: Vec<Stored>) -> Vec<u64> {
    let revision = |stored: Stored| stored.name.parse().ok().filter(|revision| name(*revision) == stored.name);
    stored.into_iter().rev().filter_map(revision).collect()
}

/// Those to be dropped by a store that stands at a revision: all but the newest. What is named beyond the store counts, since a replica that
/// is ahead may have put it, but is left to others, and the two newest that the store has go for none of those.
fn superseded(newest_first: &[u64], here: u64) -> &[u64] {
    let beyond = newest_first.partition_point(|revision| *revision > here);
    newest_first.get(SNAPSHOTS_KEPT.max(beyond + 2)..).unwrap_or_default()
}

/// Refuses a store whose free pages may have what was erased: a copy takes them along, and this replica alone knows of its own.
fn check_scrubbed(folder: &Path) -> Result<()> {
    match scrub::is_under_way(folder)? {
        true => Err(Error::internal("free pages, which may have what was erased, are not all written over yet")),
        false => Ok(()),
    }
}

fn is_there(depot: &dyn Depot, revision: u64) -> Result<bool> {
    let name = name(revision);
    Ok(listed(depot)?.iter().any(|stored| stored.name == name))
}

/// Puts the store in a folder as that of a log which it has been moved to, in place of all that are there: they are of
/// another.
///
/// # Errors
///
/// As of a snapshot that falls due.
pub fn put_moved(depot: &dyn Depot, folder: &Path, head: Head, home: &Home) -> Result<Stored> {
    let work = Work::begin(folder, packed::SNAPSHOT)?;
    // Whoever moves a log waits for it.
    let given_up = CancellationToken::new();
    snapshot::copy(folder, work.path(), &given_up)?;
    Alone::open(work.path())?.say(head, home)?;
    verify::folder(work.path())?;
    remove(depot, listed(depot)?.into_iter().map(|stored| stored.name))?;
    put_packed(depot, &work, &name(head.revision), &given_up)
}

fn put_packed(depot: &dyn Depot, work: &Work, name: &str, given_up: &CancellationToken) -> Result<Stored> {
    depot.put(name, &work.pack(given_up)?)?;
    let stored = listed(depot)?.into_iter().find(|stored| stored.name == name);
    stored.ok_or_else(|| Error::internal("a snapshot that was put is not there"))
}

fn listed(depot: &dyn Depot) -> Result<Vec<Stored>> {
    depot.list().map_err(Error::from)
}

fn remove(depot: &dyn Depot, mut names: impl Iterator<Item = String>) -> Result<()> {
    names.try_for_each(|name| depot.remove(&name)).map_err(Error::from)
}

/// Names sort by revision.
fn name(revision: u64) -> String {
    format!("{revision:020}")
}

/// Begins a store in an empty folder with the newest snapshot that the journal goes on from; `None` if there is none, or
/// there is a store already. One whose next batch the journal has dropped is put aside for a snapshot, if that shows that the
/// store is the beginning of the same log; `home` is whose that must be.
///
/// # Errors
///
/// If another process holds the folder, or a file cannot be written.
pub fn begin(journal: &Arc<dyn Journal>, folder: &Path, home: &Home) -> Result<Option<Head>> {
    let Some(depot) = Arc::clone(journal).depot() else { return Ok(None) };
    let lock = store::lock(folder)?;
    // What a process that was killed left there takes the room that a snapshot needs.
    packed::sweep(folder)?;
    if snapshot::is_there(folder) {
        // Whoever opens it holds the folder again.
        drop(lock);
        return begin_anew(&*depot, journal, folder, home);
    }
    let work = Work::begin(folder, packed::SNAPSHOT)?;
    let Some(head) = unpack_newest(&*depot, journal, &work) else { return Ok(None) };
    work.settle(folder)?;
    tracing::info!(revision = head.revision, position = head.position, "the store begins with a snapshot");
    Ok(Some(head))
}

/// Puts a store aside that the journal has left behind, and begins with a snapshot in its place.
fn begin_anew(depot: &dyn Depot, journal: &Arc<dyn Journal>, folder: &Path, home: &Home) -> Result<Option<Head>> {
    match has_dropped_next(&**journal, snapshot::log_position(folder)?) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(trouble) => {
            // It is followed when it answers.
            tracing::warn!(%trouble, "nobody says whether the journal has what comes next in this store");
            return Ok(None);
        }
    }
    let left = Alone::open(folder)?;
    // Another's store stays as it is: whoever opens it to serve it says so.
    if left.home()?.is_some_and(|found| found != *home) {
        return Ok(None);
    }
    let here = left.head();
    let Head { revision, position, .. } = here;
    tracing::warn!(revision, position, "the journal has dropped what comes next in this store");
    let work = Work::begin(folder, packed::SNAPSHOT)?;
    let head = match unpack_for(depot, journal, &work, here) {
        Err(error) if error.reason == Reason::LogDiverged => {
            tell_of_another_log(&error);
            return Ok(None);
        }
        unpacked => unpacked?,
    };
    let Some(head) = head else { return Ok(None) };
    let Head { revision, position, .. } = head;
    match left.give_way(folder, &work)? {
        None => tracing::info!(revision, position, "the store, which had nothing yet, begins with a snapshot"),
        Some(aside) => {
            let aside = aside.display();
            tracing::warn!(
                revision,
                position,
                %aside,
                "the store begins anew with a snapshot, and the one that was there is kept aside"
            );
        }
    }
    Ok(Some(head))
}

/// Unpacks the newest snapshot that the journal goes on from, for a store that stands here; `None` if there is none, which
/// the log tells.
///
/// # Errors
///
/// `LOG_DIVERGED` if the snapshot shows that the store is not the beginning of its log.
fn unpack_for(depot: &dyn Depot, journal: &Arc<dyn Journal>, work: &Work, here: Head) -> Result<Option<Head>> {
    let Some(head) = unpack_newest(depot, journal, work) else {
        tracing::error!("there is no snapshot to begin with: the store stays as it is, and gets nothing new");
        return Ok(None);
    };
    goes_on_from(work, here).map(|()| Some(head))
}

fn tell_of_another_log(error: &Error) {
    tracing::error!(%error, "the store is not the beginning of the log that the snapshot is of, and stays as it is");
}

/// Whether the journal goes on, and has no more what comes right after a position.
fn has_dropped_next(journal: &dyn Journal, position: Position) -> std::result::Result<bool, Trouble> {
    match journal.head()? {
        Some(end) if end > position => Ok(journal.batch(position + 1)?.is_none()),
        _ => Ok(false),
    }
}

/// Checks that a store is the beginning of the log that the unpacked one is of. If the log was trimmed since, the epoch alone
/// says so; a store that is further than it has what the log has not.
fn goes_on_from(work: &Work, here: Head) -> Result<()> {
    if here.revision == 0 {
        return Ok(());
    }
    let unpacked = Alone::open(work.path())?;
    let Head { epoch, floor, revision, .. } = unpacked.head();
    if here.revision > revision {
        let why = format!("the store stands at revision {}, and the snapshot at {revision}", here.revision);
        return Err(Error::new(Reason::LogDiverged, why));
    }
    let hash = if here.revision < floor {
        tracing::warn!("the log was trimmed past this store: that it is its beginning is said by the epoch alone");
        here.hash
    } else {
        unpacked.hash_of(here.revision)?
    };
    writer::check_place(&format!("revision {}, as the snapshot has it", here.revision), here, epoch, hash)
}

/// Unpacks the newest snapshot that the journal goes on from; `None` if there is none, which the log tells.
fn unpack_newest(depot: &dyn Depot, journal: &Arc<dyn Journal>, work: &Work) -> Option<Head> {
    let stored = match depot.list() {
        Ok(stored) => stored,
        Err(trouble) => {
            tracing::warn!(%trouble, "no snapshot can be asked for");
            return None;
        }
    };
    for Stored { name, bytes } in stored.iter().rev() {
        tracing::info!(snapshot = name, bytes, "fetching a snapshot");
        match fetch(depot, journal, name, work) {
            Ok(head) => return Some(head),
            Err(error) => tracing::warn!(snapshot = name, %error, "a snapshot cannot be used"),
        }
    }
    None
}

/// Fetches one, and checks that it is of this log.
fn fetch(depot: &dyn Depot, journal: &Arc<dyn Journal>, name: &str, work: &Work) -> Result<Head> {
    let packed = work.packed();
    depot.fetch(name, &packed)?;
    work.unpack(&packed)?;
    // It may be of an older version of this program, as far as that ended it with its digest; one of a newer is refused.
    let head = Alone::open(work.path())?.head();
    if self::name(head.revision) != name {
        return Err(Error::internal(format!("it stands at revision {}", head.revision)));
    }
    match writer::stands_in(&**journal, head)? {
        true => Ok(head),
        false => Err(Error::internal("the journal has nothing that it could be compared with")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{
        domain::token::Epoch,
        journal::{Append, Embedded, Kept, Settled, Wake},
        pb::log::{Batch, Entry},
        store::Options,
    };

    type Answer<T> = std::result::Result<T, Trouble>;

    /// Has snapshots of these revisions, and takes none.
    struct Full(&'static [u64]);

    fn refused<T>() -> Answer<T> {
        Err(Trouble::Unreachable("it takes nothing".to_owned()))
    }

    impl Depot for Full {
        fn list(&self) -> Answer<Vec<Stored>> {
            Ok(self.0.iter().map(|revision| Stored { name: name(*revision), bytes: 1 }).collect())
        }

        fn put(&self, _: &str, _: &Path) -> Answer<()> {
            refused()
        }

        fn fetch(&self, _: &str, _: &Path) -> Answer<()> {
            refused()
        }

        fn remove(&self, _: &str) -> Answer<()> {
            refused()
        }
    }

    #[test]
    fn no_store_is_copied_for_a_snapshot_that_is_there() {
        // There is no store: whoever copies it says so.
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(put(&Embedded, &Full(&[17]), folder.path(), 17, &CancellationToken::new()).unwrap(), None);
        assert!(put(&Embedded, &Full(&[16]), folder.path(), 17, &CancellationToken::new()).is_err());
    }

    /// The last position of [`Pairs`].
    const LAST: u64 = 20;

    /// A journal with two revisions in each batch, which says how far it was trimmed, each time.
    #[derive(Default)]
    struct Pairs(Mutex<Vec<u64>>);

    impl Journal for Pairs {
        fn append(&self, _: u64, _: &[u8]) -> Append {
            Append::NotSent("it is only read".to_owned())
        }

        fn settle(&self, _: u64, _: &[u8]) -> Settled {
            Settled::NotYet
        }

        fn head(&self) -> Answer<Option<u64>> {
            Ok(Some(LAST))
        }

        fn follow(&self, _: u64, _: usize) -> Answer<Vec<(u64, Vec<u8>)>> {
            refused()
        }

        fn batch(&self, position: u64) -> Answer<Option<Vec<u8>>> {
            if self.0.lock().unwrap().last().is_some_and(|trimmed| position <= *trimmed) {
                return Ok(None);
            }
            let batch = Batch {
                epoch: Epoch::nil().as_bytes().to_vec(),
                first_revision: 2 * position - 1,
                previous_hash: vec![0; 32],
                entries: vec![Entry::default(); 2],
                ..Batch::default()
            };
            Ok(Some(batch.encode_to_vec()))
        }

        fn on_arrival(&self, _: Wake) {}

        fn trim(&self, up_to: u64) -> Answer<()> {
            self.0.lock().unwrap().push(up_to);
            Ok(())
        }
    }

    #[test]
    fn what_is_purged_is_never_past_the_second_newest_snapshot_nor_what_was_neither_trimmed_nor_erased() {
        let purged = |snapshots, floor, redacted| {
            let (journal, head) =
                (Pairs::default(), Head { revision: 31, floor, redacted, ..Head::empty(Epoch::nil()) });
            purge(&journal, &Full(snapshots), head).unwrap();
            // What is gone already is not purged again.
            purge(&journal, &Full(snapshots), head).unwrap();
            journal.0.into_inner().unwrap()
        };
        let three = &[10, 20, 31];
        assert_eq!(purged(three, 30, 0), [10], "the trim reaches past the second-newest, of revision 20");
        assert_eq!(purged(three, 12, 0), [6], "the trim ends before it");
        assert_eq!(purged(three, 13, 0), [6], "half of a batch is not purged");
        assert_eq!((purged(three, 4, 30), purged(three, 0, 12)), (vec![10], vec![6]), "so does what was erased");
        assert_eq!((purged(three, 0, 0), purged(&[20, 31], 30, 0)), (vec![], vec![10]));
        assert_eq!(
            (purged(&[31], 30, 30), purged(&[], 30, 30)),
            (vec![], vec![]),
            "a replica has to begin with something"
        );
        assert_eq!(purged(&[10, 20, 32], 30, 0), [5], "one that is beyond the store is not of it, as far as is known");
    }

    #[test]
    fn what_counts_as_a_snapshot_has_the_name_of_a_revision() {
        let named = |name: &str| Stored { name: name.to_owned(), bytes: 1 };
        let revisions = [5, 10, 20].map(|revision| named(&name(revision)));
        let others = ["32", "7", "notes.txt"].map(named);
        assert_eq!(newest_first(revisions.into_iter().chain(others).collect()), [20, 10, 5]);
    }

    #[test]
    fn three_snapshots_are_kept_whoever_puts_the_next_and_two_of_the_stores_own() {
        let dropped = |newest_first: &[u64], here| superseded(newest_first, here).to_vec();
        assert_eq!((dropped(&[], 31), dropped(&[31, 20, 10], 31)), (vec![], vec![]));
        assert_eq!(dropped(&[31, 20, 10, 5], 31), [5]);
        assert_eq!(dropped(&[40, 31, 20, 10], 31), [10], "a replica that is ahead put one");
        assert_eq!(dropped(&[99, 98, 97, 31, 20, 10], 31), [10], "what is none of this log costs none its place");
        assert_eq!(dropped(&[99, 98, 97, 96, 31], 31), Vec::<u64>::new(), "nor is it dropped");
    }

    /// One place on a shelf.
    #[derive(Default)]
    struct One(Mutex<Option<Kept>>);

    impl Shelf for One {
        fn get(&self, _: &str) -> Answer<Option<Kept>> {
            Ok(self.0.lock().unwrap().clone())
        }

        fn put(&self, _: &str, value: &[u8], version: u64) -> Answer<bool> {
            let mut kept = self.0.lock().unwrap();
            let is_next = kept.as_ref().map_or(0, |kept| kept.version) == version;
            if is_next {
                *kept = Some(Kept { value: value.to_vec(), version: version + 1 });
            }
            Ok(is_next)
        }

        fn keys(&self) -> Answer<Vec<String>> {
            refused()
        }
    }

    #[test]
    fn a_turn_that_came_to_nothing_is_taken_again_and_another_replicas_is_not_given_back() {
        let shelf = One::default();
        let mine = |now| matches!(claim(&shelf, 17, now, 1000).unwrap(), Claimed::Here(_));
        assert!(mine(2000) && !mine(2001), "it is taken");
        give_back(&shelf, 2000, SnapshotClaim::default());
        assert!(mine(2001), "and given back");
        give_back(&shelf, 2000, SnapshotClaim::default());
        assert!(!mine(2002), "the one of 2001 is somebody else's");
    }

    #[test]
    fn a_snapshot_that_another_replica_put_meanwhile_is_not_put_again() {
        let folder = tempfile::tempdir().unwrap();
        drop(store::open(folder.path(), &Options::default()).unwrap());
        // The store stands at another revision than it was thought to.
        assert_eq!(put(&Embedded, &Full(&[0]), folder.path(), 17, &CancellationToken::new()).unwrap(), None);
        let refused = put(&Embedded, &Full(&[1]), folder.path(), 17, &CancellationToken::new()).unwrap_err();
        assert!(refused.message.contains("it takes nothing"), "{refused}");
    }

    #[test]
    fn no_snapshot_is_made_while_free_pages_may_have_what_was_erased() {
        let folder = tempfile::tempdir().unwrap();
        let (_store, write) = store::open(folder.path(), &Options::default()).unwrap();
        let old = "CREATE TABLE old (words BLOB); INSERT INTO old VALUES (zeroblob(64 * 8192)); DROP TABLE old";
        write.connection.execute_batch(old).unwrap();
        scrub::begin(&write.connection).unwrap();
        let refused = || put(&Embedded, &Full(&[1]), folder.path(), 17, &CancellationToken::new()).unwrap_err();
        assert!(refused().message.contains("not all written over yet"), "{}", refused());
        while scrub::some(&write.connection, 4).unwrap() {}
        assert!(refused().message.contains("it takes nothing"), "{}", refused());
    }
}
