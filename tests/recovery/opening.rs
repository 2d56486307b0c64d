//! What a server says of a store that it cannot or must not use.

use std::path::Path;

use attache::store::{
    FILE, StoreError,
    packed::{self, Work},
    verify,
};
use rusqlite::Connection;

use crate::{
    process::{Process, refused, serve_at},
    requests::{agreement, verified},
};

/// A store with three entries, closed.
async fn store() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::at(folder.path());
    for number in 0..3 {
        server.filing().file_reports(agreement(&format!("a{number}"), number)).await.expect("it is taken");
    }
    folder
}

fn change(folder: &Path, sql: &str) {
    Connection::open(folder.join(FILE)).unwrap().execute_batch(sql).unwrap();
}

fn damage_found(folder: &Path) -> String {
    match verify::folder(folder) {
        Err(StoreError::Damaged(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_store_that_another_process_uses_is_refused_and_goes_on_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Process::at(folder.path());
    let (code, said) = refused(&mut serve_at(folder.path()));
    assert_eq!(code, Some(1));
    assert!(said.contains("in use by another process"), "{said}");
    assert!(said.contains(&*folder.path().to_string_lossy()), "{said}");
    first.filing().file_reports(agreement("a", 0)).await.expect("the first goes on");
    first.kill();
    let second = Process::at(folder.path());
    second.filing().file_reports(agreement("b", 1)).await.expect("the lock went with its owner");
}

/// Leaves what a restore has when it is killed.
fn killed_restore(folder: &Path) {
    let work = Work::begin(folder, packed::RESTORE).expect("a folder");
    std::fs::write(work.path().join(FILE), "half of a store").expect("a file");
    std::mem::forget(work);
}

#[tokio::test]
async fn no_log_is_begun_where_a_restore_did_not_end_until_that_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join(packed::RESTORE);
    killed_restore(folder.path());
    for _ in 0..2 {
        let (code, said) = refused(&mut serve_at(folder.path()));
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(&format!("{} is what a restore left", left.display())), "{said}");
        assert!(!folder.path().join(FILE).exists(), "nothing was begun");
    }
    std::fs::remove_dir_all(&left).unwrap();
    let mut server = Process::at(folder.path());
    server.filing().file_reports(agreement("a", 0)).await.expect("a new log is begun");
    server.kill();
    // Beside a store it is no more than what is left.
    killed_restore(folder.path());
    let again = Process::at(folder.path());
    again.filing().file_reports(agreement("b", 1)).await.expect("the log goes on");
    assert!(!left.exists(), "and it is gone");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    let folder = store().await;
    let version = || -> u32 {
        let file = Connection::open(folder.path().join(FILE)).unwrap();
        file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    let own = version();
    change(folder.path(), "PRAGMA user_version = 99");
    let (code, said) = refused(&mut serve_at(folder.path()));
    assert_eq!(code, Some(1));
    assert!(said.contains("schema 99") && said.contains("newer version"), "{said}");
    assert_eq!(version(), 99);
    change(folder.path(), &format!("PRAGMA user_version = {own}"));
    assert_eq!(verified(folder.path()).entries, 3);
}

#[tokio::test]
async fn a_store_whose_end_is_not_what_its_log_says_is_refused_by_name_of_the_damage() {
    let damages = [
        ("UPDATE entries SET hash = zeroblob(32) WHERE revision = 3", "entry 3"),
        ("UPDATE entries SET hash = zeroblob(7) WHERE revision = 3", "entry 3"),
        ("UPDATE entries SET header = x'00' WHERE revision = 3", "entry 3"),
        ("UPDATE entries SET hash = zeroblob(32) WHERE revision = 2", "entry 3"),
        ("DELETE FROM entries WHERE revision = 2", "entry 2"),
        ("DELETE FROM entries WHERE revision = 3", "revision 3"),
        ("UPDATE log_state SET hash = zeroblob(32)", "entry 3"),
        ("UPDATE log_state SET revision = 2", "ends at 3"),
        ("DELETE FROM log_state", "ends at 3"),
    ];
    for (sql, place) in damages {
        let folder = store().await;
        change(folder.path(), sql);
        let (code, said) = refused(&mut serve_at(folder.path()));
        assert_eq!(code, Some(1), "{sql}");
        assert!(said.contains("the store is damaged") && said.contains(place), "{sql}: {said}");
        damage_found(folder.path());
    }
}

#[tokio::test]
async fn damage_anywhere_in_the_log_is_found_by_verifying() {
    let damages = [
        ("UPDATE entries SET hash = zeroblob(32) WHERE revision = 1", "entry 1"),
        ("UPDATE entries SET header = CAST(header || x'00' AS BLOB) WHERE revision = 1", "entry 1"),
        ("UPDATE entries SET payload = CAST(payload || x'00' AS BLOB) WHERE revision = 1", "entry 1"),
        ("UPDATE entries SET payload = zeroblob(length(payload)) WHERE revision = 2", "entry 2"),
        ("UPDATE entries SET recorded_at_us = recorded_at_us - 1 WHERE revision = 2", "entry 2"),
        ("UPDATE entries SET events = events + 1 WHERE revision = 2", "entry 2"),
        ("DELETE FROM entries WHERE revision = 1", "entry 1"),
        ("UPDATE log_state SET recorded_at_us = 0", "revision 3"),
    ];
    for (sql, place) in damages {
        let folder = store().await;
        assert_eq!(verified(folder.path()).entries, 3);
        change(folder.path(), sql);
        let why = damage_found(folder.path());
        assert!(why.contains(place), "{sql}: {why}");
    }
}

#[tokio::test]
async fn a_store_that_follows_a_stream_is_not_served_as_a_log_of_its_own_nor_one_that_was_moved() {
    let folder = store().await;
    let before = verified(folder.path());
    for (home, advice) in [("stream S", "--journal"), ("moved to stream S", "folders of their own")] {
        change(folder.path(), &format!("UPDATE home SET name = '{home}'"));
        let (code, said) = refused(&mut serve_at(folder.path()));
        assert_eq!(code, Some(1));
        assert!(said.contains("stream S") && said.contains(advice), "{said}");
    }
    assert_eq!(verified(folder.path()), before, "nothing was written");
    change(folder.path(), "UPDATE home SET name = 'own'");
    Process::at(folder.path()).filing().file_reports(agreement("b", 7)).await.expect("it is its own again");
}
