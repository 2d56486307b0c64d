//! A replica that dies, or is in doubt, at each of its steps with the journal.

use attache::{failpoints, pb::v1};
use tonic_types::StatusExt as _;

use crate::{
    common::{visit_report, watching::*},
    filers::standing,
    nats::{Cluster, Sync},
    process::Process,
    serve_on,
};

/// Filings on each side while a point is armed.
const FILINGS: usize = 3;

fn request(id: &str) -> v1::FileReportsRequest {
    let reports = vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")];
    v1::FileReportsRequest { reports, request_id: Some(id.to_owned()), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_or_doubts_at_any_step_with_the_journal_files_each_filing_once() {
    let cluster = Cluster::start(Sync::Always);
    let settings = cluster.settings();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = |name: &str, armed: Option<&str>| {
        let mut command = serve_on(&settings, &folder.path().join(name));
        Process::start(command.envs(armed.map(|armed| ("FAILPOINTS", armed))))
    };
    let steady = start("steady", None);
    let mut names = Vec::new();
    for (number, point) in failpoints::JOURNAL.iter().enumerate() {
        for word in ["kill", "io"] {
            let armed = format!("{point}=1*off->1*return({word})");
            let mut armed_one = start("armed", Some(&armed));
            let mut died = 0;
            for filing in 0..FILINGS {
                let id = format!("steady-{number}-{word}-{filing}");
                patiently("a filing", steady.filing().file_reports(request(&id))).await.expect("it is filed");
                names.push(format!("visits/{id}"));
                let id = format!("armed-{number}-{word}-{filing}");
                loop {
                    let mut client = armed_one.filing();
                    match patiently("an answer", client.file_reports(request(&id))).await {
                        Ok(_) => break,
                        // The program died; another is started.
                        Err(status) if status.get_details_error_info().is_none() => {
                            drop(armed_one);
                            armed_one = start("armed", None);
                            died += 1;
                        }
                        // What is in doubt, or did not happen, is asked for again.
                        Err(_) => {}
                    }
                }
                names.push(format!("visits/{id}"));
            }
            assert_eq!(died, u32::from(word == "kill"), "{armed}");
        }
    }
    names.sort();
    let back = start("armed", None);
    let mut told = Vec::new();
    for replica in [&steady, &back] {
        let watching = Watching::open(replica.feed(), until_caught_up(from_oldest())).await.expect("it is accepted");
        let (frames, error) = watching.until_the_end().await;
        assert!(error.is_none(), "{error:?}");
        told.push(events(&frames));
    }
    assert_eq!(told[0], told[1], "both tell the same");
    assert_eq!(standing(&told[0]), names, "each stands once");
}
