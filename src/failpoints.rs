//! Places at which a test has the program die, or a write fail. Without the feature `failpoints` there is nothing here, and
//! so in every program that is shipped.
//!
//! A point is armed by the environment, `FAILPOINTS="store.commit=3*off->1*return(kill)"`, as the crate `fail` reads it. The
//! words are `kill`, after which not one instruction more is executed; `full`, as if the disk were; and `io`, as if it
//! answered with an error.

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no room.
    Full,
    /// The disk answers with an error.
    Io,
}

/// Where a write of the store may fail or be the last thing that happens, in the order in which a filing comes by.
pub const WRITES: &[&str] = &[
    "store.entry",
    "store.report",
    "store.version",
    "store.deadline",
    "store.request",
    "store.erase",
    "store.index",
    "store.head",
    "store.commit",
    "store.committed",
    "store.cursor",
];

/// Where the program may die on the way of a filing, besides.
pub const STEPS: &[&str] = &["writer.decided", "writer.appending", "writer.committed", "writer.answered"];

/// Where a replica finds that the disk has no room for what it is about to append, whatever it has.
pub const ROOM: &str = "store.room";

/// Where the read of lookups that are read together may fail.
pub const READ: &str = "store.points";

/// Where free pages are written over after a redaction, and the write-ahead log is emptied: it may fail, and nobody is
/// refused anything for it, since it is made up for later.
pub const ERASED: &[&str] = &["store.scrub", "store.cut"];

/// Where a store may fail to be made, or to be brought up to this version, or the program die at it.
pub const OPENING: &[&str] = &["store.schema", "store.home"];

/// On the way of a store into one file: before a part of it is copied, and before the copy is packed.
pub const PACKING: &[&str] = &["store.copy", "store.pack"];

/// On the way out of it: before it is unpacked, and before it is moved to where it is opened from.
pub const UNPACKING: &[&str] = &["store.unpack", "store.settle"];

/// Where a journal on JetStream may fail, or the program die at it.
pub const JOURNAL: &[&str] = &["journal.publish", "journal.published", "writer.following"];

/// Before and after a value is put on the shelf beside it: a cursor, or whose turn it is to make a snapshot.
pub const SHELF: &[&str] = &["journal.shelve", "journal.shelved"];

/// Before and after a snapshot is put beside it.
pub const DEPOT: &[&str] = &["journal.put", "journal.was_put"];

/// Before and after it is purged of what was trimmed or erased.
pub const PURGE: &[&str] = &["journal.purge", "journal.purged"];

/// On the way of a sweep after a trim: whether it waits first, and after a portion that failed; and each portion before it
/// is committed.
pub const SWEEP: &[&str] = &["sweep.grace", "store.sweep"];

/// Arms the points that the environment names.
pub fn arm() {
    #[cfg(feature = "failpoints")]
    std::mem::forget(fail::FailScenario::setup());
}

/// What is to happen at a point.
#[cfg(feature = "failpoints")]
fn word(point: &str) -> Option<String> {
    fail::fail_point!(point, |word| word);
    None
}

#[cfg(not(feature = "failpoints"))]
#[inline]
fn word(_: &str) -> Option<String> {
    None
}

/// A point at which the program may die; how what comes next is to fail, if it is to.
#[inline]
pub fn at(point: &str) -> Option<Fault> {
    let word = word(point)?;
    // What comes of it is not always seen from outside: a test reads this.
    tracing::warn!("the failpoint {point} is met: {word}");
    match word.as_str() {
        "kill" => std::process::abort(),
        "full" => Some(Fault::Full),
        _ => Some(Fault::Io),
    }
}
