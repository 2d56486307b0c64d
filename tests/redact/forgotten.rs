//! What is erased is forgotten before anybody can know that it is.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use attache::{
    clock::SystemClock,
    domain::{report::Report, revision::Revision},
    journal::Embedded,
    pb::v1::Intent,
    store::{self, Head, Options, Store},
    writer::{self, Act, Answer, Feed, Parts, Request, Writer},
};

use super::common::visit_report;

/// What a feed was told to do, and where readers of the store were told that it stands by then.
type Noted = Arc<Mutex<Vec<(&'static str, u64)>>>;

struct Noting {
    store: Store,
    noted: Noted,
}

impl Noting {
    fn note(&self, what: &'static str) {
        self.noted.lock().expect("nobody panicked").push((what, self.store.head().revision));
    }
}

impl Feed for Noting {
    fn forget(&mut self) {
        self.note("forget");
    }

    fn tell(&mut self, _: Vec<Revision>, _: Head) {
        self.note("tell");
    }
}

fn begin(folder: &Path, noted: &Noted) -> (Writer, writer::WriterThread) {
    let (store, write) = store::open(folder, &Options::default()).expect("a new store");
    let feed = Box::new(Noting { store, noted: Arc::clone(noted) });
    let parts = Parts::new(write, Arc::new(Embedded), Arc::new(SystemClock));
    Parts { feed, ..parts }.start().expect("a new writer")
}

async fn act(writer: &Writer, act: Act) -> Answer {
    let request = Request {
        act,
        principal: "tester".into(),
        may_rule: true,
        request_id: String::new(),
        digest: None,
        validate_only: false,
        recorded_at_us: None,
    };
    writer.file(request, None).await.expect("it is done")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_is_forgotten_before_anybody_is_told_where_the_store_stands() {
    let (folder, noted) = (tempfile::tempdir().expect("a folder"), Noted::default());
    let (writer, thread) = begin(folder.path(), &noted);
    let report = Report::parse(&visit_report("a", "leak", "KZ", "AZ", "2023-05-01"), None, "report").expect("a report");
    let name = report.name.clone();
    let filing = Act::File { reports: vec![report], preconditions: Vec::new(), intent: Intent::Unspecified };
    let filed = act(&writer, filing).await.revision;
    let erased = act(&writer, Act::Redact { reports: vec![name], reason: "ordered by a court".into() }).await.revision;
    writer.stop().await;
    thread.join().expect("it ended");
    let noted = noted.lock().expect("nobody panicked").clone();
    assert!(erased > filed && noted.ends_with(&[("tell", filed), ("forget", filed), ("tell", erased)]), "{noted:?}");
}
