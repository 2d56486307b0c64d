//! What every journal must do. Implementations call [`run`] in their tests with a way to make an empty log.

use std::sync::Arc;

use super::{Append, Depot, Journal, Settled, Shelf, Stored};

/// Runs the suite on a fresh, empty log. `AtCommit` journals are excused from what the store's commit does for them.
///
/// # Panics
///
/// With the promise that was broken.
pub fn run(journal: &Arc<dyn Journal>) {
    let first = journal.append(0, b"one");
    if first == Append::AtCommit {
        at_commit(&**journal);
        return;
    }
    assert_eq!(first, Append::Appended, "an empty log takes the first batch");
    assert_eq!(journal.append(0, b"other"), Append::Conflict, "a position is given once");
    assert_eq!(journal.append(1, b"two"), Append::Appended, "the next position follows");
    let far = journal.append(5, b"far");
    assert!(matches!(far, Append::Conflict | Append::NotSent(_)), "no position is left out: {far:?}");
    assert_eq!(journal.head().expect("reachable"), Some(2), "the head counts what was appended and nothing else");
    let all = journal.follow(0, 10).expect("reachable");
    assert_eq!(all, [(1, b"one".to_vec()), (2, b"two".to_vec())], "batches are read in order, without gap, as written");
    assert_eq!(journal.follow(0, 1).expect("reachable").len(), 1, "a limit is kept");
    assert_eq!(journal.follow(2, 10).expect("reachable"), [], "nothing is after the head");
    assert_eq!(journal.batch(1).expect("reachable"), Some(b"one".to_vec()), "a batch is found at its place");
    assert_eq!(journal.settle(1, b"two"), Settled::Ours, "what landed is settled as ours");
    assert_eq!(journal.settle(1, b"late"), Settled::Theirs, "what lost can never land");
    assert_eq!(journal.head().expect("reachable"), Some(2), "settling a loser appends nothing");
    assert_eq!(journal.settle(2, b"three"), Settled::Ours, "what never landed lands when it is offered again");
    assert_eq!(journal.settle(2, b"three"), Settled::Ours, "and is ours when it is asked for once more");
    assert_eq!(journal.settle(2, b"thrice"), Settled::Theirs, "its place is taken then");
    assert_eq!(journal.head().expect("reachable"), Some(3), "it stands once");
    assert_eq!(journal.batch(3).expect("reachable"), Some(b"three".to_vec()), "as it was offered");
    if let Some(shelf) = Arc::clone(journal).shelf() {
        keeps(&*shelf);
    }
    if let Some(depot) = Arc::clone(journal).depot() {
        stores(&*depot);
    }
}

fn keeps(shelf: &dyn Shelf) {
    let value = |key| shelf.get(key).expect("reachable").map(|kept| kept.value);
    let version = |key| shelf.get(key).expect("reachable").map_or(0, |kept| kept.version);
    assert_eq!(value("a.b"), None, "an empty shelf has nothing");
    assert_eq!(shelf.put("a.b", b"one", 0), Ok(true), "what is not there is put");
    assert_eq!(shelf.put("a.b", b"other", 0), Ok(false), "what is there is not put again");
    let first = version("a.b");
    assert_eq!(shelf.put("a.b", b"two", first), Ok(true), "what is as expected is set");
    assert_eq!(shelf.put("a.b", b"other", first), Ok(false), "what has changed is not");
    assert_eq!(value("a.b"), Some(b"two".to_vec()), "the newest value is read");
    assert_eq!(value("a.c"), None, "keys are apart");
    assert_eq!(shelf.put("a.c", b"three", 0), Ok(true), "another is put");
    let mut keys = shelf.keys().expect("reachable");
    keys.sort();
    assert_eq!(keys, ["a.b", "a.c"], "every key is listed once");
}

fn stores(depot: &dyn Depot) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (from, into) = (folder.path().join("from"), folder.path().join("into"));
    let file = |bytes: &[u8]| std::fs::write(&from, bytes).expect("a file is written");
    assert_eq!(depot.list().expect("reachable"), [], "an empty depot has nothing");
    assert!(depot.fetch("2", &into).is_err(), "what is not there is not fetched");
    let large: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    file(&large);
    depot.put("2", &from).expect("a large file is put");
    file(b"one");
    depot.put("1", &from).expect("a small file is put");
    let stored = |name: &str, bytes: usize| Stored { name: name.into(), bytes: bytes as u64 };
    assert_eq!(depot.list().expect("reachable"), [stored("1", 3), stored("2", large.len())], "by name, with sizes");
    depot.fetch("2", &into).expect("it is fetched");
    assert!(std::fs::read(&into).expect("a file") == large, "as it was put");
    depot.remove("2").expect("it is removed");
    assert_eq!(depot.list().expect("reachable"), [stored("1", 3)], "the other is left");
}

fn at_commit(journal: &dyn Journal) {
    assert_eq!(journal.append(7, b"any"), Append::AtCommit, "the store's commit is always the answer");
    assert_eq!(journal.head().expect("reachable"), None, "the store's own head is the head");
    assert!(journal.is_alone(), "and whoever asks knows it without asking the journal");
    assert_eq!(journal.follow(0, 10).expect("reachable"), [], "nobody else writes");
    assert!(journal.trim(1).is_ok(), "there is nothing to drop");
}

#[cfg(test)]
mod tests {
    use super::{super::Embedded, *};

    #[test]
    fn the_embedded_journal_passes_the_suite() {
        let journal: Arc<dyn Journal> = Arc::new(Embedded);
        run(&journal);
    }
}
