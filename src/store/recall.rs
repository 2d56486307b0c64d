//! Where records lie, read ahead of those who ask: along an index of all versions that has their names, which is a thirtieth of
//! what reading the versions would be. Some newest version may be passed over, of a record with several of one date: it is found by
//! its name then.

use super::{Store, list::Place, read};
use crate::{
    domain::{error::Result, name::KINDS},
    limits::{ADDRESSES, RECALLED_AT_ONCE},
};

/// How far [`Store::recall`] has come.
#[derive(Debug, Clone)]
pub struct Recalled {
    /// Of [`KINDS`].
    kind: usize,
    /// The last place of that kind that it looked at.
    after: Place,
    /// How many versions it looked at, of all kinds.
    names: usize,
}

impl Recalled {
    fn begin(kind: usize, names: usize) -> Self {
        Self { kind, after: Place { key: i64::MIN, name: String::new() }, names }
    }
}

impl Default for Recalled {
    fn default() -> Self {
        Self::begin(0, 0)
    }
}

impl Store {
    /// Notes where some more records lie, and answers how far that has come; `None` at the end, and when as many were looked at
    /// as have room. Blocks: call it off the async threads.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn recall(&self, Recalled { kind, after, names }: Recalled) -> Result<Option<Recalled>> {
        let Some(of) = KINDS.get(kind).filter(|_| names < ADDRESSES) else { return Ok(None) };
        let limit = RECALLED_AT_ONCE.min(ADDRESSES - names);
        let mut found = self.read(|connection| read::versions_after(connection, *of, &after, limit))?;
        for (version, place) in &found {
            self.addresses.offer(&place.name, *version);
        }
        let names = names + found.len();
        Ok(Some(match found.pop() {
            Some((_, after)) => Recalled { kind, after, names },
            None => Recalled::begin(kind + 1, names),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{self, Options};

    #[test]
    fn each_name_of_every_kind_is_known_by_its_newest_version() {
        let folder = tempfile::tempdir().unwrap();
        let (store, writing) = store::open(folder.path(), &Options::default()).unwrap();
        let begun = writing.connection.unchecked_transaction().unwrap();
        let mut put = begun
            .prepare(
                "INSERT INTO versions (id, record, from_revision, to_revision, kind, name, newest_first, oldest_first,
                 updated_at_us, facets) VALUES (?1, ?2, ?1, 9, ?3, ?4, ?5, 0, 0, x'')",
            )
            .unwrap();
        // Of each kind more than are read at once, the first version of each after the second one in that order.
        let records = RECALLED_AT_ONCE * 8 + 7;
        let name = |record: usize| format!("any/{record}");
        for (version, record) in (0..records).chain(0..records).enumerate() {
            let key = if version < records { record } else { 0 };
            put.execute((version + 1, record, KINDS[record % KINDS.len()] as i32, name(record), key)).unwrap();
        }
        drop(put);
        begun.commit().unwrap();

        let mut next = Some(Recalled::default());
        while let Some(from) = next {
            next = store.recall(from).unwrap();
        }
        let known = (0..records).filter(|r| store.addresses.get(&name(*r)) == Some((records + r + 1) as u64)).count();
        // (Two names may take each other's place; of so few, next to none do.)
        assert!(known > records / 100 * 99, "{known} of {records}");
    }
}
