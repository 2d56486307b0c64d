//! The store: one SQLite file in WAL mode, always a prefix of the log.
//!
//! One connection writes, on the writer's thread; a pool of read-only connections answers lookups. Every read names the
//! revision it is at, so that what a later transaction adds or ends is invisible to it.

mod addresses;
pub mod alone;
pub mod apply;
pub mod aside;
mod copy_back;
pub mod coverage;
mod error;
mod head;
mod home;
mod hot;
pub mod list;
pub mod log;
pub mod merges;
mod options;
pub mod packed;
pub mod pairs;
pub mod peek;
mod postings;
pub mod read;
mod recall;
mod schema;
pub mod scrub;
mod seal;
pub mod search;
pub mod snapshot;
pub mod trim;
mod usage;
pub mod verify;

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, config::DbConfig, ffi};
use scheduled_thread_pool::ScheduledThreadPool;
use tokio::sync::watch;

use self::{addresses::Addresses, apply::Known, copy_back::CopyBack, hot::Hot};
pub use self::{
    copy_back::Copier,
    error::{StoreError, from_sqlite, is_full},
    head::Head,
    home::Home,
    options::{Options, Sync},
    recall::Recalled,
    schema::OPEN,
    usage::{Cached, empty_bytes},
};
use crate::{
    domain::{
        date::Day,
        error::{Error, Reason},
        filter::Filters,
        name::RecordName,
        revision::Revision,
        token::{Epoch, GENESIS, Hash, Phase, Token},
    },
    failpoints::{self, Fault},
    limits::{
        BUSY_TIMEOUT, CUT_TIMEOUT, LOCK_PAUSE, LOCK_TRIES, POINT_CACHE_KIB, POINT_READERS, READ_CACHE_KIB,
        READ_CONNECTIONS, SCRUB_BYTES, SCRUBS_AT_ONCE, WRITE_CACHE_KIB,
    },
    metrics::Caching,
    pb::v1,
};

/// The name of the store's file in its folder.
pub const FILE: &str = "attache.db";
const LOCK: &str = "attache.lock";
/// Whether what is deleted is written over; by itself as far as that writes no page more.
const SECURE_DELETE: &str = "secure_delete";
const WITHIN_PAGES: &str = "FAST";
/// Bytes of a page of a new store; one of an older version keeps its own, which are twice as large. A filing writes to some thirty
/// trees, a row or two each: a page is what that costs, and what a lookup reads. Most entries and records fit in one.
const PAGE_BYTES: u64 = 4096;

/// A point at which tests have a write fail as SQLite would.
///
/// # Errors
///
/// What is to happen there; nothing in a program that is shipped.
#[inline]
pub fn failing(point: &str) -> rusqlite::Result<()> {
    let code = match failpoints::at(point) {
        None => return Ok(()),
        Some(Fault::Full) => ffi::SQLITE_FULL,
        Some(Fault::Io) => ffi::SQLITE_IOERR,
    };
    Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(format!("the failpoint {point}"))))
}

/// Does something, and has the pages that it lets go of written over with zeros.
///
/// # Errors
///
/// If SQLite refuses to be told; what was done answers for itself.
fn written_over<T>(connection: &Connection, work: impl FnOnce() -> T) -> rusqlite::Result<T> {
    connection.pragma_update(None, SECURE_DELETE, "ON")?;
    let done = work();
    connection.pragma_update(None, SECURE_DELETE, WITHIN_PAGES)?;
    Ok(done)
}

/// The readers' side of a store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool<SqliteConnectionManager>,
    /// Of those who read records by name alone.
    point_readers: Pool<SqliteConnectionManager>,
    head: watch::Receiver<Head>,
    hot: Arc<Hot>,
    addresses: Arc<Addresses>,
    aids: Arc<search::Aids>,
    options: Options,
    /// What of its file may be in use; `None` is the disk's to say.
    allowed_bytes: Option<u64>,
    /// Where it lies.
    folder: Arc<Path>,
    /// Held as long as anybody uses the store.
    _lock: Arc<File>,
}

/// The writer's side: the one connection that changes the store.
pub struct WriteStore {
    /// The connection.
    pub connection: Connection,
    head: watch::Sender<Head>,
    hot: Arc<Hot>,
    /// What its transactions found.
    pub known: Known,
    copy_back: CopyBack,
    path: PathBuf,
    options: Options,
}

/// Opens the store in a folder, making both if they are not there.
///
/// # Errors
///
/// If another process holds it, if it is newer than this version, or if the file cannot be used.
pub fn open(folder: &Path, options: &Options) -> Result<(Store, WriteStore), StoreError> {
    let lock = lock(folder)?;
    packed::sweep(folder)?;
    let path = folder.join(FILE);
    usage::check_allowance(&path, options)?;
    let mut connection = connect_writer(&path, options)?;
    schema::migrate(&mut connection, &path)?;
    home::check(&connection, &options.home)?;
    let head = read_head(&connection)?;
    verify_head(&connection, &head)?;
    let allowed_bytes = options.max_bytes.map(|_| usage::allowed(&connection)).transpose()?;
    let (sender, receiver) = watch::channel(head);
    let keepers = ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("store-connections").build();
    let keepers = Arc::new(keepers);
    let pool = readers(&path, READ_CONNECTIONS, READ_CACHE_KIB, &keepers)?;
    let point_readers = readers(&path, POINT_READERS, POINT_CACHE_KIB, &keepers)?;
    let hot = Arc::new(Hot::new());
    let store = Store {
        pool,
        point_readers,
        folder: folder.into(),
        head: receiver,
        hot: Arc::clone(&hot),
        addresses: Arc::new(Addresses::new()),
        aids: Arc::default(),
        options: options.clone(),
        allowed_bytes,
        _lock: Arc::new(lock),
    };
    let copy_back = CopyBack::of(&connection)?;
    Ok((
        store,
        WriteStore {
            connection,
            head: sender,
            hot,
            known: Known::default(),
            copy_back,
            path,
            options: options.clone(),
        },
    ))
}

/// Holds a folder for this process alone, making it if it is not there, until the file is dropped.
///
/// # Errors
///
/// If another process holds it.
pub fn lock(folder: &Path) -> Result<File, StoreError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Io { path, source }
    };
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let path = folder.join(LOCK);
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(io(&path))?;
    let mut tries = LOCK_TRIES;
    loop {
        tries -= 1;
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            // Somebody who looks whether it is in use has it for an instant.
            Err(TryLockError::WouldBlock) if tries > 0 => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(folder.to_owned())),
            Err(TryLockError::Error(source)) => return Err(io(&path)(source)),
        }
    }
}

/// Statements of a connection that are kept prepared: more than there are.
const STATEMENTS: usize = 128;

/// Keeps statements as they were prepared. Without the guarantee, one with a bound `LIMIT` is prepared again each time it is
/// bound, for the sake of its value: three times the work of most of them.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn connect_writer(path: &Path, options: &Options) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    // A file that it may not write is opened all the same, and refuses each filing.
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        return Err(StoreError::ReadOnly(path.to_owned()));
    }
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_plans(&connection)?;
    // One that is there keeps its own, also in the copy that is made before it is brought up to this version.
    if usage::number(&connection, "page_count")? == 0 {
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", options.sync.pragma())?;
    connection.pragma_update(None, "cache_size", -WRITE_CACHE_KIB)?;
    // The rows of an entry name each other as the entry does, so they are not looked up again; `verify` checks them all.
    connection.pragma_update(None, "foreign_keys", false)?;
    // What is moved within a page or taken from it is written over: nothing that is erased later stays behind in its slack.
    connection.pragma_update(None, SECURE_DELETE, WITHIN_PAGES)?;
    // What a statement may have to undo is kept in memory: it is one row or a few, and would else go to a file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    copy_back::leave_to_thread(&connection);
    if let Some(bytes) = options.max_bytes {
        // 0 pages would be no allowance at all to SQLite, which is all there is.
        let pages = usage::pages(&connection, bytes)?.max(1);
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(connection)
}

/// Connections that read the file at a path, made when they are needed, each with so much of it in its page cache; `keepers` is
/// the thread that makes them.
fn readers(
    path: &Path,
    most: u32,
    cache_kib: i64,
    keepers: &Arc<ScheduledThreadPool>,
) -> Result<Pool<SqliteConnectionManager>, StoreError> {
    let manager = SqliteConnectionManager::file(path)
        .with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .with_init(move |c| {
            c.busy_timeout(BUSY_TIMEOUT)?;
            keep_plans(c)?;
            c.pragma_update(None, "cache_size", -cache_kib)
        });
    // None is given up for its age: what it has read goes with it.
    let pool = Pool::builder().max_size(most).min_idle(Some(1)).test_on_check_out(false).max_lifetime(None);
    Ok(pool.thread_pool(Arc::clone(keepers)).build(manager)?)
}

/// Where the store stands; a new one is given its epoch.
fn read_head(connection: &Connection) -> Result<Head, StoreError> {
    if let Some(head) = find_head(connection)? {
        return Ok(head);
    }
    let head = Head::empty(Epoch::new_v4());
    // A log without its head is not a new one: nothing may be written over it.
    verify_head(connection, &head)?;
    apply::write_head(connection, &head)?;
    Ok(head)
}

fn find_head(connection: &Connection) -> Result<Option<Head>, StoreError> {
    let sql =
        "SELECT epoch, position, revision, hash, recorded_at_us, day, pending_day, pending_part, replaying, floor,
               floor_hash, redacted FROM log_state";
    let row = |row: &rusqlite::Row<'_>| {
        let epoch = Epoch::from_bytes(row.get::<_, [u8; 16]>(0)?);
        let pending: (Option<Day>, Option<u32>) = (row.get(6)?, row.get(7)?);
        Ok(Head {
            epoch,
            position: row.get(1)?,
            revision: row.get(2)?,
            hash: row.get(3)?,
            recorded_at_us: row.get(4)?,
            day: row.get(5)?,
            pending: pending.0.zip(pending.1),
            replaying: row.get(8)?,
            floor: row.get(9)?,
            floor_hash: row.get(10)?,
            redacted: row.get(11)?,
        })
    };
    connection.query_row(sql, [], row).optional().map_err(|e| unreadable(e, "where it stands"))
}

/// What does not have its type or length is damage; the rest is SQLite's to say.
fn unreadable(error: rusqlite::Error, what: &str) -> StoreError {
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => {
            StoreError::Damaged(format!("{what} cannot be read: {error}"))
        }
        other => StoreError::Sqlite(other),
    }
}

/// The newest entry must be the one that the head names, and must be chained to the one before it.
fn verify_head(connection: &Connection, head: &Head) -> Result<(), StoreError> {
    let newest: u64 = connection.query_row("SELECT coalesce(max(revision), 0) FROM entries", [], |row| row.get(0))?;
    if newest != head.revision {
        let why = format!("it stands at revision {}, and its log ends at {newest}", head.revision);
        return Err(StoreError::Damaged(why));
    }
    if newest == 0 {
        return Ok(());
    }
    let entry = |revision: u64| -> Result<(Hash, Vec<u8>), StoreError> {
        let sql = "SELECT hash, header FROM entries WHERE revision = ?1";
        let found = connection.query_row(sql, [revision], |row| Ok((row.get(0)?, row.get(1)?))).optional();
        let found = found.map_err(|e| unreadable(e, &format!("entry {revision}")))?;
        found.ok_or_else(|| StoreError::Damaged(format!("entry {revision} is missing")))
    };
    let previous = if newest == 1 { GENESIS } else { entry(newest - 1)?.0 };
    let (hash, header) = entry(newest)?;
    if log::chain(&previous, &header) != hash || hash != head.hash {
        return Err(StoreError::Damaged(format!("entry {newest}, the newest, has a wrong hash")));
    }
    Ok(())
}

/// Runs a read on one of these connections.
fn read_on<T>(
    connections: &Pool<SqliteConnectionManager>,
    read: impl FnOnce(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let connection = connections.get().map_err(|e| Error::from(StoreError::from(e)))?;
    read(&connection)
}

impl Store {
    /// Where the store stands.
    #[must_use]
    pub fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// Follows where the store stands.
    #[must_use]
    pub fn follow_head(&self) -> watch::Receiver<Head> {
        self.head.clone()
    }

    /// Whether commits are synced.
    #[must_use]
    pub fn sync(&self) -> Sync {
        self.options.sync
    }

    /// Runs a short read on a connection of the pool. Blocks: call it off the async threads.
    ///
    /// # Errors
    ///
    /// What the read answers, or that there is no connection.
    pub fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        read_on(&self.pool, read)
    }

    /// One page of a list. Blocks: call it off the async threads.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn list(&self, query: &list::Query<'_>) -> Result<list::Page, Error> {
        self.read(|connection| list::page(connection, &self.aids.sets, query))
    }

    /// One page of a search. Blocks: call it off the async threads.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn search(
        &self,
        search: &search::Search<'_>,
        limit: usize,
        after: Option<&list::Place>,
    ) -> Result<search::Page, Error> {
        self.read(|connection| search::page(connection, &self.aids, search, limit, after))
    }

    /// The records that may be the same as a partial one, the likeliest first. Blocks: call it off the async threads.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn matching(
        &self,
        partial: &v1::Record,
        filters: &Filters,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<search::Candidate>, Error> {
        self.read(|connection| search::matching(connection, &self.aids, partial, filters, revision, limit))
    }

    /// Where it lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the cache of records counts.
    #[must_use]
    pub fn cache_counts(&self) -> &Caching {
        &self.hot.counts
    }

    /// The record that stands under a name as of a revision, encoded, if it is in memory; never blocks on the disk.
    #[must_use]
    pub fn hot(&self, name: &RecordName, revision: u64) -> Option<Bytes> {
        self.hot.get(name.as_str(), revision)
    }

    /// The record that stands under a name as of a revision, encoded, and kept in memory if that revision is the newest;
    /// `None` if none stands under that very name.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn standing(&self, name: &RecordName, revision: u64) -> Result<Option<Bytes>, Error> {
        self.read(|connection| self.keep(connection, name, revision))
    }

    /// The same of several names, in their order, in one transaction: that begins once.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn standing_each<'n>(
        &self,
        names: impl Iterator<Item = (&'n RecordName, u64)>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        read_on(&self.point_readers, |connection| {
            failing(failpoints::READ).map_err(|e| from_sqlite(&e))?;
            let snapshot = connection.unchecked_transaction().map_err(|e| from_sqlite(&e))?;
            names.map(|(name, revision)| self.keep(&snapshot, name, revision)).collect()
        })
    }

    fn keep(&self, connection: &Connection, name: &RecordName, revision: u64) -> Result<Option<Bytes>, Error> {
        let address = self.addresses.get(name.as_str());
        let Some((version, body)) = read::encoded_at(connection, name, revision, address)? else { return Ok(None) };
        if revision == self.head().revision {
            if address != Some(version) {
                self.addresses.keep(name.as_str(), version);
            }
            if let Some(body) = &body {
                self.hot.keep(name.as_str(), revision, body.clone());
            }
        }
        Ok(body)
    }

    /// The revision of a token that came in the field `field`, if it belongs to this log and is applied here.
    ///
    /// # Errors
    ///
    /// `LOG_REPLACED` for another log or history, `TOKEN_IN_FUTURE` for what is not applied here, `HISTORY_TRIMMED` for
    /// what is not kept any more.
    pub fn locate(&self, token: &Token, field: &str) -> Result<u64, Error> {
        let head = self.head();
        let replaced =
            || Error::field(Reason::LogReplaced, field, "belongs to another log; start again with a snapshot");
        if token.epoch != head.epoch {
            return Err(replaced());
        }
        if token.revision > head.revision {
            let why = format!("is ahead of the log, which ends at revision {}", head.revision);
            return Err(Error::field(Reason::TokenInFuture, field, why).with("head_token", head.token().encode()));
        }
        if head.is_trimmed(token) {
            return Err(head.trimmed(field));
        }
        let hash = self.hash_at(token.revision)?;
        if crate::domain::token::short(&hash) == token.hash { Ok(token.revision) } else { Err(replaced()) }
    }

    /// Checks that what was just read at a revision had not been trimmed: asked after the read, because nothing is dropped
    /// before the floor has moved.
    ///
    /// # Errors
    ///
    /// `HISTORY_TRIMMED`.
    pub fn check_kept(&self, revision: u64) -> Result<(), Error> {
        let head = self.head();
        if revision < head.floor { Err(head.trimmed("position")) } else { Ok(()) }
    }

    /// The chain's hash after a revision that is applied here.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn hash_at(&self, revision: u64) -> Result<Hash, Error> {
        let head = self.head();
        if revision == head.floor {
            return Ok(head.floor_hash);
        }
        self.read(|c| log::hash_of(c, revision))
    }

    /// The token after a whole revision that is applied here.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn token_at(&self, revision: u64) -> Result<Token, Error> {
        let head = self.head();
        if revision == head.revision {
            return Ok(head.token());
        }
        Ok(Token { phase: Phase::Whole, ..Token::at(head.epoch, revision, &self.hash_at(revision)?) })
    }
}

impl WriteStore {
    /// Where the store stands.
    #[must_use]
    pub fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// Checks that the disk has room for a commit that must not fail.
    ///
    /// # Errors
    ///
    /// `STORAGE_FULL` if it has less.
    pub fn check_room(&self, bytes: u64) -> Result<(), Error> {
        let folder = self.path.parent().unwrap_or(&self.path);
        if failpoints::at(failpoints::ROOM).is_none() && peek::room(folder)? >= bytes {
            return Ok(());
        }
        let why = format!("the disk has less than {bytes} bytes left, which commits need; nothing happened");
        Err(Error::new(Reason::StorageFull, why))
    }

    /// Makes a committed position visible to readers, with the revisions that lead to it.
    pub fn advance(&self, head: Head, revisions: &[Revision]) {
        self.known.commit();
        for revision in revisions {
            revision.changes.iter().for_each(|change| self.hot.changed(&change.name, revision.number));
        }
        self.head.send_replace(head);
    }

    /// Writes over what was erased, as far as nobody waits for it too long, and empties the write-ahead log of it.
    pub fn cleanse(&self) {
        self.scrub_at_once();
        self.cut_log();
    }

    /// As much of it as nobody waits for too long.
    fn scrub_at_once(&self) {
        for _ in 0..SCRUBS_AT_ONCE {
            match self.scrub() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "pages that were free keep what they had for now");
                    return;
                }
            }
        }
    }

    /// Writes over some of the pages that were free when something was erased; `false` if none is left. What it wrote is in
    /// the write-ahead log, until that is emptied.
    ///
    /// # Errors
    ///
    /// If the store has no room, or cannot be written.
    pub fn scrub(&self) -> Result<bool, Error> {
        let portion = usage::pages(&self.connection, SCRUB_BYTES);
        portion.and_then(|pages| scrub::some(&self.connection, pages)).map_err(|e| from_sqlite(&e))
    }

    /// Empties the write-ahead log, which has pages as they were before something was erased; `false` if somebody reads one of
    /// them now.
    pub fn cut_log(&self) -> bool {
        if failpoints::at("store.cut").is_some() {
            return false;
        }
        let truncate = || {
            self.connection.busy_timeout(CUT_TIMEOUT)?;
            let busy: i64 = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            Ok(busy == 0)
        };
        let cut = truncate();
        let cut = self.connection.busy_timeout(BUSY_TIMEOUT).and(cut);
        let is_cut = cut.unwrap_or_else(|error: rusqlite::Error| {
            tracing::warn!(%error, "the write-ahead log could not be emptied of what was erased");
            false
        });
        // No more is written over until it is, so what was taken must not keep the room that whoever files needs.
        let make_room = || scrub::make_room(&self.connection, usage::pages(&self.connection, SCRUB_BYTES)?);
        if !is_cut && let Err(error) = make_room() {
            tracing::warn!(%error, "pages that were taken to be written over keep their room for now");
        }
        is_cut
    }

    /// Who copies the write-ahead log back beside the writer, on a thread that it is to be given. Without one the writer
    /// does it.
    #[must_use]
    pub fn copier(&self) -> Copier {
        self.copy_back.copier(&self.path, self.options.sync.pragma())
    }

    /// Sees to it that the write-ahead log stays short: to be called after commits, when nobody waits for an answer.
    pub fn shorten_log(&self) {
        self.copy_back.after_commit(&self.connection);
    }

    /// Drops some of what is older than a floor that the log has or had; whether there may be more.
    ///
    /// # Errors
    ///
    /// If the store has no room, or cannot be written.
    pub fn sweep(&self, floor: u64, limit: usize) -> Result<bool, Error> {
        trim::sweep(&self.connection, floor.min(self.head().floor), limit).map_err(|e| from_sqlite(&e))
    }

    /// Opens the file again after an error whose outcome is unknown, and reads where it stands.
    ///
    /// # Errors
    ///
    /// If the file cannot be used, or is not what its log says.
    pub fn reopen(&mut self) -> Result<Head, StoreError> {
        self.connection = connect_writer(&self.path, &self.options)?;
        self.known = Known::default();
        let head = read_head(&self.connection)?;
        verify_head(&self.connection, &head)?;
        Ok(head)
    }
}
