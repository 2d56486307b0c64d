//! Filers who insist: each files one record after another, and offers the same request again until it is acknowledged.

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use attache::pb::v1::{self, EventType, filing_service_client::FilingServiceClient};
use tokio::{sync::Notify, task::JoinHandle};
use tonic::{Code, Status, transport::Channel};

use crate::common::{TestServer, visit_report, watching::patiently};

/// How long one offer may take: a leader may be gone.
const OFFER: Duration = Duration::from_secs(8);

pub struct Filers {
    stop: Arc<AtomicBool>,
    filed: Arc<AtomicUsize>,
    progress: Arc<Notify>,
    running: Vec<JoinHandle<Vec<String>>>,
}

impl Filers {
    /// So many, in turn on these replicas.
    pub fn start(servers: &[TestServer], count: usize) -> Self {
        Self::of(&servers.iter().map(TestServer::filing).collect::<Vec<_>>(), count)
    }

    /// So many, in turn by these clients.
    pub fn of(clients: &[FilingServiceClient<Channel>], count: usize) -> Self {
        Self::named("f", clients, count)
    }

    /// The same, of records whose names begin like this.
    pub fn named(prefix: &str, clients: &[FilingServiceClient<Channel>], count: usize) -> Self {
        let (stop, filed, progress) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        let file = |filer: usize| {
            let mut filing = clients[filer % clients.len()].clone();
            let (stop, filed, progress) = (Arc::clone(&stop), Arc::clone(&filed), Arc::clone(&progress));
            let prefix = prefix.to_owned();
            tokio::spawn(async move {
                let mut names = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let id = format!("{prefix}{filer}-{}", names.len());
                    until_acknowledged(&mut filing, request(&id)).await;
                    names.push(format!("visits/{id}"));
                    filed.fetch_add(1, Ordering::SeqCst);
                    progress.notify_waiters();
                }
                names
            })
        };
        let running = (0..count).map(file).collect();
        Self { stop, filed, progress, running }
    }

    /// Waits until so many more are acknowledged.
    pub async fn more(&self, count: usize) {
        let goal = self.filed.load(Ordering::SeqCst) + count;
        patiently("more filings", async {
            loop {
                let next = self.progress.notified();
                if self.filed.load(Ordering::SeqCst) >= goal {
                    break;
                }
                next.await;
            }
        })
        .await;
    }

    /// The records that were acknowledged, sorted.
    pub async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut names = Vec::new();
        for filer in self.running {
            names.extend(patiently("the last filing", filer).await.expect("it does not panic"));
        }
        names.sort();
        names
    }
}

/// A filing of one record, that may be repeated.
pub fn request(id: &str) -> v1::FileReportsRequest {
    let reports = vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")];
    v1::FileReportsRequest { reports, request_id: Some(id.to_owned()), ..Default::default() }
}

/// Files until it is acknowledged.
pub async fn insist(server: &TestServer, request: v1::FileReportsRequest) -> v1::FileReportsResponse {
    until_acknowledged(&mut server.filing(), request).await
}

async fn until_acknowledged(
    filing: &mut FilingServiceClient<Channel>,
    request: v1::FileReportsRequest,
) -> v1::FileReportsResponse {
    loop {
        let mut offer = tonic::Request::new(request.clone());
        offer.set_timeout(OFFER);
        match filing.file_reports(offer).await {
            Ok(answer) => return answer.into_inner(),
            Err(status) if may_be_offered_again(&status) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(status) => panic!("{status:?}"),
        }
    }
}

/// What the catalogue says a retry with the same request id is for, and what a client finds out by itself when its
/// connection breaks.
fn may_be_offered_again(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Aborted | Code::DeadlineExceeded | Code::Unknown => true,
        // Such as a request that was not sent yet: what a server answers has no source.
        Code::Cancelled => status.source().is_some(),
        _ => false,
    }
}

/// The records that were recorded, as events tell it, sorted: whoever is told twice is there twice.
pub fn standing(events: &[v1::Event]) -> Vec<String> {
    let recorded = events.iter().filter(|e| e.r#type() == EventType::Recorded);
    let mut names: Vec<String> = recorded.map(|e| e.subject.clone()).collect();
    names.sort();
    names
}
