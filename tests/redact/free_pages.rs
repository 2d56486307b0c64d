//! Pages of the file that were free when something was erased are written over, and whoever files has room meanwhile.

use attache::{
    limits::{SCRUB_BYTES, SCRUBS_AT_ONCE},
    store::scrub,
};

use super::*;

/// A word that stood in the file before anything was filed.
const LITTER: &str = "Vorrzylbane";
const PAGE_BYTES: u64 = 4096;
/// As many as are written over in one transaction.
const PORTION: u64 = SCRUB_BYTES / PAGE_BYTES;

/// Leaves so many pages in the file of a store free that have a word all over, as pages had before they were written over;
/// nobody has it open.
fn litter(folder: &Path, pages: u64) {
    let mut file = Connection::open(folder.join(store::FILE)).expect("the store");
    file.pragma_update(None, "secure_delete", "OFF").expect("it leaves what it drops");
    let words = LITTER.repeat((PAGE_BYTES * 64) as usize / LITTER.len());
    let once = file.transaction().expect("a transaction");
    once.execute_batch("CREATE TABLE old (words TEXT)").expect("a table");
    for _ in 0..pages / 64 {
        once.execute("INSERT INTO old VALUES (?1)", [&words]).expect("a row");
    }
    once.commit().expect("it is there");
    file.execute_batch("DROP TABLE old").expect("it is dropped");
}

/// Does something with a store as its writer has it, and empties its write-ahead log.
fn writing<T>(folder: &Path, options: &Options, work: impl FnOnce(&Connection) -> T) -> T {
    let (_store, write) = store::open(folder, options).expect("the store opens");
    let done = work(&write.connection);
    assert!(write.cut_log(), "nobody reads it");
    done
}

/// Reads the store as it is now, until it is dropped.
fn reading(folder: &Path) -> Connection {
    let reader = Connection::open(folder.join(store::FILE)).expect("the store");
    reader.execute_batch("BEGIN").expect("it begins");
    reader.query_row("SELECT count(*) FROM records", [], |_| Ok(())).expect("it reads");
    reader
}

fn free_pages(connection: &Connection) -> u64 {
    connection.pragma_query_value(None, "freelist_count", |row| row.get(0)).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_free_page_is_written_over_portion_by_portion_however_often_that_is_interrupted() {
    const PORTION: u64 = 16;
    let folder = tempfile::tempdir().expect("a folder");
    serve(folder.path()).await.stop().await;
    litter(folder.path(), 256);
    assert!(is_stored(folder.path(), LITTER), "it stands on free pages");
    // The file may not grow by a page meanwhile.
    let size = fs::metadata(folder.path().join(store::FILE)).expect("the store").len();
    let options = Options { max_bytes: Some(size), ..Options::default() };
    let before = writing(folder.path(), &options, |connection| {
        scrub::begin(connection).expect("it is noted");
        let free = free_pages(connection);
        assert_eq!(scrub::left(connection).expect("a number"), free * PAGE_BYTES);
        free
    });
    assert!(before >= 256, "{before}");
    // Each portion as after a restart.
    let mut portions = 0;
    while writing(folder.path(), &options, |connection| scrub::some(connection, PORTION).expect("a portion")) {
        portions += 1;
        assert!(portions > 1 || is_stored(folder.path(), LITTER), "one portion is not all");
    }
    assert!(portions >= before / PORTION, "{portions}");
    assert!(!is_stored(folder.path(), LITTER), "no file has it");
    let after = writing(folder.path(), &options, |connection| {
        assert_eq!(scrub::left(connection).expect("a number"), 0);
        free_pages(connection)
    });
    assert_eq!(after, before, "all are given back");
    verify::folder(folder.path()).expect("the store is sound");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_pages_beyond_those_that_an_answer_waits_for_are_written_over_behind_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path()).await;
    server.file(vec![telling("a", "leak", SECRET)]).await;
    server.stop().await;
    litter(folder.path(), PORTION * (u64::from(SCRUBS_AT_ONCE) + 2));
    let server = serve(folder.path()).await;
    // Somebody reads, so that the log cannot be emptied, and nothing goes on behind the answer.
    let reader = reading(folder.path());
    let done = redact(&server, report_of("a", "leak")).await;
    assert!(done.free_bytes_left > 0, "the answer did not wait for all of them");
    drop(reader);
    // Whoever asks is told how far it came.
    let about = || What::FiledAbout(v1::FiledAbout { source: "sources/leak".into(), person: "persons/x".into() });
    let none_is_left =
        async { while ask(&server, Some(about()), true).await.expect("an answer").free_bytes_left > 0 {} };
    patiently("the last free page", none_is_left).await;
    server.stop().await;
    writing(folder.path(), &Options::default(), |_| {});
    assert!(!is_stored(folder.path(), LITTER) && !is_stored(folder.path(), SECRET), "no file has it");
    verify::folder(folder.path()).expect("the store is sound");
}

#[test]
fn who_files_has_room_in_a_file_that_may_not_grow_while_free_pages_are_taken_and_the_log_cannot_be_emptied() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(store::open(folder.path(), &Options::default()).expect("the store opens"));
    litter(folder.path(), PORTION * 4);
    let size = fs::metadata(folder.path().join(store::FILE)).expect("the store").len();
    let options = Options { max_bytes: Some(size), ..Options::default() };
    let (_store, write) = store::open(folder.path(), &options).expect("the store opens");
    let free = || free_pages(&write.connection);
    write.connection.execute_batch("CREATE TABLE filed (words BLOB)").expect("a table");
    scrub::begin(&write.connection).expect("it is noted");
    let reader = reading(folder.path());
    // Two portions are taken; then the half of one is filed again and again, three in all.
    assert!(write.scrub().expect("a portion") && write.scrub().expect("another"));
    for _ in 0..6 {
        let words = "INSERT INTO filed VALUES (zeroblob(?1))";
        write.connection.execute(words, [PORTION / 2 * PAGE_BYTES]).expect("there is room");
        assert!(!write.cut_log(), "somebody reads it");
        assert!(free() >= PORTION, "{}", free());
    }
    drop(reader);
    while write.scrub().expect("a portion") {}
    assert_eq!(scrub::left(&write.connection).expect("a number"), 0);
    assert!(write.cut_log(), "nobody reads it");
    assert!(!is_stored(folder.path(), LITTER), "no file has it");
}
