//! What every journal must do. Implementations call [`run`] in their tests with a way to make an empty log.

use super::{Append, Journal, Settled};

/// Runs the suite on a fresh, empty log. `AtCommit` journals are excused from what the store's commit does for them.
///
/// # Panics
///
/// With the promise that was broken.
pub fn run(journal: &dyn Journal) {
    let first = journal.append(0, b"one");
    if first == Append::AtCommit {
        at_commit(journal);
        return;
    }
    assert_eq!(first, Append::Appended, "an empty log takes the first batch");
    assert_eq!(journal.append(0, b"other"), Append::Conflict, "a position is given once");
    assert_eq!(journal.append(1, b"two"), Append::Appended, "the next position follows");
    assert_eq!(journal.append(5, b"far"), Append::Conflict, "no position is left out");
    assert_eq!(journal.head().expect("reachable"), Some(2), "the head counts what was appended and nothing else");
    let all = journal.follow(0, 10).expect("reachable");
    assert_eq!(all, [(1, b"one".to_vec()), (2, b"two".to_vec())], "batches are read in order, without gap, as written");
    assert_eq!(journal.follow(0, 1).expect("reachable").len(), 1, "a limit is kept");
    assert_eq!(journal.follow(2, 10).expect("reachable"), [], "nothing is after the head");
    assert_eq!(journal.settle(1, b"two"), Settled::Ours, "what landed is settled as ours");
    assert_eq!(journal.settle(1, b"late"), Settled::Theirs, "what lost can never land");
    assert_eq!(journal.head().expect("reachable"), Some(2), "settling a loser appends nothing");
}

fn at_commit(journal: &dyn Journal) {
    assert_eq!(journal.append(7, b"any"), Append::AtCommit, "the store's commit is always the answer");
    assert_eq!(journal.head().expect("reachable"), None, "the store's own head is the head");
    assert_eq!(journal.follow(0, 10).expect("reachable"), [], "nobody else writes");
    assert!(journal.trim(1).is_ok(), "there is nothing to drop");
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_embedded_journal_passes_the_suite() {
        super::run(&super::super::Embedded);
    }
}
