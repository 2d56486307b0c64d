//! Items into batches: one revision each, small enough for an entry of the log.

use std::{collections::BTreeSet, ops::Range};

use prost::Message as _;

use super::{Import, Outcome, Terms, report_name, size};
use crate::{
    limits::{MAX_IMPORT_BATCH_BYTES, MAX_IMPORT_BATCH_ITEMS},
    pb::v1::{ImportItem, ImportReportsRequest},
};

/// A batch, and which row each of its items comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The message to send.
    pub request: ImportReportsRequest,
    /// For each item the index of its row.
    pub rows: Vec<usize>,
}

/// What all batches of one run have in common.
#[derive(Debug, Clone)]
pub struct Run {
    /// What request ids begin with. The same run, number and content make the same id.
    pub id: String,
    /// Nothing is to be filed.
    pub validate_only: bool,
}

/// The batches of an import, in order, made as they are needed.
pub struct Batches<'a> {
    import: &'a Import,
    run: Run,
    next: usize,
    number: usize,
}

impl<'a> Batches<'a> {
    /// All of them.
    #[must_use]
    pub fn of(import: &'a Import, run: Run) -> Self {
        Self { import, run, next: 0, number: 0 }
    }

    fn items(&self, row: usize) -> &'a [ImportItem] {
        match &self.import.rows[row].outcome {
            Outcome::Items(items) => items,
            Outcome::Repeats(_) | Outcome::Refused(_) => &[],
        }
    }

    /// The rows that go together: of the same terms, each report once, within the bounds.
    fn range(&self) -> Option<Range<usize>> {
        let source = self.import.source.as_ref().map_or("", |s| s.name.as_str());
        let start = (self.next..self.import.rows.len()).find(|row| !self.items(*row).is_empty())?;
        let terms = self.import.rows[start].terms;
        let (mut names, mut count, mut bytes) = (BTreeSet::new(), 0, 0);
        for row in start..self.import.rows.len() {
            let items = self.items(row);
            count += items.len();
            bytes += items.iter().map(size).sum::<usize>();
            let fits = count <= MAX_IMPORT_BATCH_ITEMS && bytes <= MAX_IMPORT_BATCH_BYTES;
            let is_like = items.is_empty() || self.import.rows[row].terms == terms;
            let is_new = items.iter().all(|item| names.insert(report_name(item, source)));
            if row > start && !(fits && is_like && is_new) {
                return Some(start..row);
            }
        }
        Some(start..self.import.rows.len())
    }

    fn batch(&self, range: Range<usize>) -> Batch {
        let Terms { recorded_at, intent, reason } = self.import.rows[range.start].terms;
        let pairs = range.flat_map(|row| self.items(row).iter().map(move |item| (row, item.clone())));
        let (rows, items) = pairs.unzip();
        let mut request = ImportReportsRequest {
            request_id: String::new(),
            items,
            source: self.import.source.clone(),
            intent: intent as i32,
            reason: reason as i32,
            recorded_at,
            validate_only: self.run.validate_only,
        };
        let digest = blake3::hash(&request.encode_to_vec()).to_hex();
        request.request_id = format!("{}-{}-{}", self.run.id, self.number, &digest[..16]);
        Batch { request, rows }
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let range = self.range()?;
        self.next = range.end;
        let batch = self.batch(range);
        self.number += 1;
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{File, Kind, States, read};

    fn import(text: &str) -> Import {
        let file = File { name: "f".into(), bytes: text.as_bytes().to_vec() };
        read(Kind::Reports, &[file], &States::built_in()).unwrap()
    }

    fn report(id: usize, note: &str) -> String {
        format!(
            "{{\"record\":\"visits/v-{id}\",\"source\":{{\"name\":\"sources/s\",\"kind\":\"SOURCE_KIND_SECONDARY\",\
             \"publisher\":{{\"nameAsStated\":\"P\"}}}},\"visit\":{{\"note\":\"{note}\"}}}}\n"
        )
    }

    fn batches(import: &Import) -> Vec<Batch> {
        Batches::of(import, Run { id: "t".into(), validate_only: false }).collect()
    }

    #[test]
    fn batches_keep_the_bounds_and_every_item_in_order() {
        let text: String = (0..250).map(|i| report(i, &"n".repeat(3000))).collect();
        let import = import(&text);
        let batches = batches(&import);
        assert!(batches.iter().all(|b| b.request.items.len() <= MAX_IMPORT_BATCH_ITEMS));
        assert!(batches.iter().all(|b| b.request.encoded_len() <= MAX_IMPORT_BATCH_BYTES + 64 * 1024));
        let rows: Vec<usize> = batches.iter().flat_map(|b| b.rows.clone()).collect();
        assert_eq!(rows, (0..250).collect::<Vec<_>>());
    }

    #[test]
    fn one_report_twice_comes_in_two_batches() {
        let import = import(&(report(1, "a") + &report(2, "a") + &report(1, "b")));
        let sizes: Vec<usize> = batches(&import).iter().map(|b| b.request.items.len()).collect();
        assert_eq!(sizes, [2, 1]);
    }

    #[test]
    fn the_same_run_has_the_same_ids_and_no_id_twice() {
        let text: String = (0..300).map(|i| report(i, "x")).collect();
        let ids = |text: &str| batches(&import(text)).iter().map(|b| b.request.request_id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&text), ids(&text));
        let distinct: BTreeSet<String> = ids(&text).into_iter().collect();
        assert_eq!(distinct.len(), 3);
    }
}
