//! Copying the write-ahead log back into the file, beside the writer.
//!
//! SQLite by itself does it within a commit, and whoever files then waits for pages all over the file to be synced. Here
//! a thread with a connection of its own copies while the writer goes on appending; the writer copies only what came
//! meanwhile, when that is little, because the log can begin anew only when all of it is copied.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;

use super::usage::pages;
use crate::limits::{BUSY_TIMEOUT, WAL_COPY_BYTES, WAL_LEFT_BYTES, WAL_MAX_BYTES};

thread_local! {
    /// Pages of the write-ahead log after this thread's last commit.
    static WAL_PAGES: Cell<u64> = const { Cell::new(0) };
}

/// What the writer knows of the log and of whoever copies it. Dropped, it lets the copier end.
pub(super) struct CopyBack {
    shared: Arc<Shared>,
    bounds: Bounds,
}

/// In pages of the log.
struct Bounds {
    /// From here on it is copied.
    copy: u64,
    /// What the writer copies by itself.
    left: u64,
    /// Here the writer waits.
    max: u64,
}

/// Copies beside the writer, on a thread that is given to it.
pub struct Copier {
    shared: Arc<Shared>,
    path: PathBuf,
    synchronous: &'static str,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// A copier runs.
    attended: bool,
    /// A copy was asked for and has not ended.
    busy: bool,
    /// Pages of the log, as far as it is copied.
    copied: u64,
    stop: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked left whole values.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves copying to a [`CopyBack`], and notes how long the log is after each commit.
pub(super) fn leave_to_thread(connection: &Connection) {
    connection.wal_hook(Some(|_, pages| {
        WAL_PAGES.set(u64::try_from(pages).unwrap_or_default());
        Ok(())
    }));
}

impl CopyBack {
    /// For the file that a connection writes, with pages as large as it has.
    pub fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let bounds = Bounds {
            copy: pages(connection, WAL_COPY_BYTES)?,
            left: pages(connection, WAL_LEFT_BYTES)?,
            max: pages(connection, WAL_MAX_BYTES)?,
        };
        Ok(Self { shared: Arc::default(), bounds })
    }

    /// Who copies for the file at a path, once it runs, and syncs as `PRAGMA synchronous` says.
    pub fn copier(&self, path: &Path, synchronous: &'static str) -> Copier {
        Copier { shared: Arc::clone(&self.shared), path: path.to_owned(), synchronous }
    }

    /// After a commit of this thread on a connection: has the log copied when it is long, and copies what is left of
    /// it when that is little. Waits for the copier only when the log is as long as it may be.
    pub fn after_commit(&self, connection: &Connection) {
        let Bounds { copy: from, left: own, max } = self.bounds;
        let pages = WAL_PAGES.get();
        let mut state = self.shared.state();
        if pages < state.copied {
            // The log began anew.
            state.copied = 0;
        }
        if pages >= max {
            state = self.shared.changed.wait_while(state, |s| s.busy).unwrap_or_else(PoisonError::into_inner);
        }
        let left = pages - state.copied.min(pages);
        if state.busy || left == 0 || pages < from {
            return;
        }
        if state.attended && left > own && pages < max {
            state.busy = true;
            self.shared.changed.notify_all();
            return;
        }
        copy(connection, &mut state.copied);
    }
}

impl Drop for CopyBack {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.changed.notify_all();
    }
}

impl Copier {
    /// Copies whenever the writer asks, until it is gone. Errors are logged: the log stays whole, and is copied later.
    pub fn run(&self) {
        self.shared.state().attended = true;
        // Whatever ends it, nobody waits for it.
        let _unattended = Unattended(&self.shared);
        let mut connection = None;
        loop {
            let waited = self.shared.changed.wait_while(self.shared.state(), |s| !s.busy && !s.stop);
            let state = waited.unwrap_or_else(PoisonError::into_inner);
            if state.stop {
                break;
            }
            let mut copied = state.copied;
            drop(state);
            match self.opened(&mut connection) {
                Ok(connection) => copy(connection, &mut copied),
                Err(error) => tracing::warn!(%error, "the write-ahead log cannot be copied back beside the writer"),
            }
            let mut state = self.shared.state();
            state.copied = copied;
            state.busy = false;
            self.shared.changed.notify_all();
        }
    }

    fn opened<'c>(&self, connection: &'c mut Option<Connection>) -> rusqlite::Result<&'c Connection> {
        let opened = match connection.take() {
            Some(opened) => opened,
            None => {
                let new = Connection::open(&self.path)?;
                new.busy_timeout(BUSY_TIMEOUT)?;
                new.pragma_update(None, "synchronous", self.synchronous)?;
                new
            }
        };
        Ok(connection.insert(opened))
    }
}

struct Unattended<'a>(&'a Shared);

impl Drop for Unattended<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        (state.attended, state.busy) = (false, false);
        self.0.changed.notify_all();
    }
}

/// Copies as much as no reader needs where it was. The log stays whole, whatever comes of it.
fn copy(connection: &Connection, copied: &mut u64) {
    let told = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(2));
    match told {
        Ok(pages) => *copied = u64::try_from(pages).unwrap_or_default(),
        Err(error) => tracing::warn!(%error, "the write-ahead log could not be copied back"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_BYTES: u64 = 4096;
    const COMMIT_PAGES: u64 = 10;

    struct Written {
        folder: tempfile::TempDir,
        connection: Connection,
        copy_back: CopyBack,
    }

    impl Written {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let connection = Connection::open(folder.path().join("db")).unwrap();
            connection.pragma_update(None, "page_size", PAGE_BYTES).unwrap();
            connection.pragma_update(None, "journal_mode", "WAL").unwrap();
            connection.execute("CREATE TABLE blobs (id INTEGER PRIMARY KEY, content BLOB)", []).unwrap();
            leave_to_thread(&connection);
            let copy_back = CopyBack { shared: Arc::default(), bounds: Bounds { copy: 50, left: 20, max: 200 } };
            Self { folder, connection, copy_back }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("db")
        }

        fn commit(&self, times: u64) {
            for _ in 0..times {
                let sql = "INSERT INTO blobs (content) VALUES (randomblob(?1))";
                self.connection.execute(sql, [COMMIT_PAGES * PAGE_BYTES]).unwrap();
                self.copy_back.after_commit(&self.connection);
            }
        }

        /// How long the log ever was, in pages: it is not made shorter, it begins anew.
        fn log_pages(&self) -> u64 {
            std::fs::metadata(self.folder.path().join("db-wal")).unwrap().len() / PAGE_BYTES
        }

        fn blobs(&self) -> u64 {
            let other = Connection::open(self.path()).unwrap();
            other.query_row("SELECT count(*) FROM blobs WHERE length(content) > 0", [], |row| row.get(0)).unwrap()
        }
    }

    #[test]
    fn bounds_are_so_many_bytes_whatever_a_page_has() {
        for bytes in [4096, 8192] {
            let connection = Connection::open_in_memory().unwrap();
            connection.pragma_update(None, "page_size", bytes).unwrap();
            let Bounds { copy, left, max } = CopyBack::of(&connection).unwrap().bounds;
            assert_eq!([copy, left, max].map(|pages| pages * bytes), [WAL_COPY_BYTES, WAL_LEFT_BYTES, WAL_MAX_BYTES]);
        }
    }

    #[test]
    fn without_a_copier_the_writer_keeps_the_log_short() {
        let written = Written::new();
        written.commit(100);
        // It is looked at after each commit, whose pages come with a few of the tree.
        assert!(written.log_pages() < 50 + 2 * COMMIT_PAGES, "{} pages", written.log_pages());
        assert_eq!(written.blobs(), 100);
    }

    #[test]
    fn with_a_copier_the_log_stays_within_its_bound_and_all_is_there() {
        let written = Written::new();
        let copier = written.copy_back.copier(&written.path(), "FULL");
        std::thread::scope(|threads| {
            let copying = threads.spawn(move || copier.run());
            written.commit(300);
            assert!(written.log_pages() < 200 + 2 * COMMIT_PAGES, "{} pages", written.log_pages());
            let Written { folder, connection, copy_back } = written;
            drop(copy_back);
            copying.join().unwrap();
            let count = connection.query_row("SELECT count(*) FROM blobs", [], |row| row.get::<_, u64>(0));
            assert_eq!(count.unwrap(), 300);
            drop(folder);
        });
    }

    #[test]
    fn what_no_copier_can_copy_the_writer_does() {
        let written = Written::new();
        // A folder is no file to copy into: every copy fails.
        let copier = written.copy_back.copier(written.folder.path(), "FULL");
        std::thread::scope(|threads| {
            let copying = threads.spawn(move || copier.run());
            written.commit(100);
            assert!(written.log_pages() < 200 + 2 * COMMIT_PAGES, "{} pages", written.log_pages());
            assert_eq!(written.blobs(), 100);
            drop(written);
            copying.join().unwrap();
        });
    }
}
