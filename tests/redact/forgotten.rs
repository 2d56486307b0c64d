//! What is erased is forgotten before anybody can know that it is.

use std::sync::{Arc, Mutex};

use attache::{
    domain::{filter::Filters, report::Report, revision::Revision, token::Epoch},
    feed::{Hub, Polled, Settings},
    store::{Head, Store},
    writer::{Act, Feed},
};

use super::{common::visit_report, registry::Registry};

/// What a feed was told to do, and the newest revision that a reader of the store found there by then.
type Noted = Arc<Mutex<Vec<(&'static str, u64)>>>;

struct Noting {
    store: Store,
    noted: Noted,
}

impl Noting {
    fn note(&self, what: &'static str) {
        let sql = "SELECT max(revision) FROM entries";
        let newest = self.store.read(|c| Ok(c.query_row(sql, [], |row| row.get(0)).expect("some")));
        self.noted.lock().expect("nobody panicked").push((what, newest.expect("a readable store")));
    }
}

impl Feed for Noting {
    fn forget(&self) {
        self.note("forget");
    }

    fn tell(&self, _: Vec<Revision>, _: Head) {
        self.note("tell");
    }
}

fn report() -> Report {
    Report::parse(&visit_report("a", "leak", "KZ", "AZ", "2023-05-01"), None, "report").expect("a report")
}

fn erasing(report: &Report) -> Act {
    Act::Redact { reports: vec![report.name.clone()], reason: "ordered by a court".into() }
}

#[test]
fn what_is_erased_is_forgotten_before_a_reader_of_the_store_can_know_of_it() {
    let noted = Noted::default();
    let noting =
        |store: &Store, _| Box::new(Noting { store: store.clone(), noted: Arc::clone(&noted) }) as Box<dyn Feed>;
    let registry = Registry::telling("2023-06-01", noting);
    let report = report();
    let filed = registry.file(vec![report.clone()]).revision;
    let erased = registry.act(erasing(&report)).expect("it is erased").revision;
    let noted = noted.lock().expect("nobody panicked").clone();
    assert!(erased > filed && noted.ends_with(&[("tell", filed), ("forget", filed), ("tell", erased)]), "{noted:?}");
}

#[test]
fn what_was_committed_with_its_redaction_is_not_told_from_memory() {
    let registry = Registry::on("2023-06-01");
    let report = report();
    let filed = registry.file(vec![report.clone()]).revision;
    let erased = registry.act(erasing(&report)).expect("it is erased").revision;
    // A replica that is behind applies both in one transaction, and tells them together.
    let hub = Hub::new(Head::empty(Epoch::nil()), Settings::default());
    let subscriber = hub.subscribe(Filters::default(), Vec::new()).expect("it does not drain");
    hub.publish(registry.told(), registry.head());
    assert!(matches!(subscriber.poll(filed - 1, 10), Polled::Behind), "the store tells it, as it is now");
    let Polled::Revisions(found) = subscriber.poll(erased - 1, 10) else { panic!("the redaction is there") };
    assert_eq!(found.iter().map(|revision| revision.number).collect::<Vec<_>>(), [erased]);
}
