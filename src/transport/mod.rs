//! gRPC: one file per service, and the only places that know its codes and its wire.

mod audit;
mod backup;
mod calls;
pub mod codec;
mod cork;
mod explain;
mod feed;
mod filing;
mod import;
pub mod listener;
mod log;
mod page;
mod points;
mod position;
mod readiness;
mod redact;
mod registry;
mod relationship;
mod request;
mod search;
mod services;
pub mod status;
mod tls;

use self::readiness::Looks;
pub use self::{
    calls::Calls,
    page::PageToken,
    readiness::{Health, watch_over_lag},
    request::timeout,
    services::Services,
    tls::{Material, Tls, not_good, validities},
};
use std::{sync::Arc, time::Duration};

use prost::Message as _;
use tokio::sync::Semaphore;
use tonic::service::RoutesBuilder;

use crate::{
    clock::{self, Clock},
    domain::{date::Day, error::Error},
    feed::Hub,
    journal::Journal,
    limits::{MAX_CALLS_IN_FLIGHT, MAX_IMPORTS, MAX_OVERDUE_COUNTED, MAX_PUBLIC_STREAMS},
    metrics::Metrics,
    pb::{
        self,
        v1::{filing_service_server::FilingServiceServer, log_service_server::LogServiceServer},
    },
    store::{Store, read},
    tasks::Tasks,
    writer::Writer,
};

/// The services that `build.rs` makes once more: some of their methods answer with bytes.
#[allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)]
mod served {
    include!(concat!(env!("OUT_DIR"), "/attache.v1.FeedService.rs"));
    include!(concat!(env!("OUT_DIR"), "/attache.v1.RegistryService.rs"));
}

use self::served::{feed_service_server::FeedServiceServer, registry_service_server::RegistryServiceServer};

/// The parts that the services work with.
pub struct App {
    /// Lookups.
    pub store: Store,
    /// Filings.
    pub writer: Writer,
    /// The feed.
    pub hub: Arc<Hub>,
    /// Asked for its head.
    pub journal: Arc<dyn Journal>,
    /// The tasks of streams.
    pub tasks: Tasks,
    /// What is "the future".
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The places of calls that are under way.
    pub calls: Calls,
    /// How often a snapshot is made beside the journal; `None` is never.
    snapshots: Option<Duration>,
    /// Imports at the same time.
    imports: calls::Places,
    /// One backup at a time.
    backups: Arc<Semaphore>,
    /// Lookups that read the store.
    points: points::Points,
    /// What the journal says, now and then, of its end.
    looks: Looks,
    /// The token that lookups tell.
    told: position::Told,
}

impl App {
    /// Of its parts.
    #[must_use]
    pub fn new(
        store: Store,
        writer: Writer,
        hub: Arc<Hub>,
        journal: Arc<dyn Journal>,
        tasks: Tasks,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            writer,
            hub,
            journal,
            tasks,
            clock,
            metrics,
            calls: Calls::new(MAX_CALLS_IN_FLIGHT, MAX_PUBLIC_STREAMS),
            snapshots: None,
            imports: calls::Places::new(MAX_IMPORTS),
            backups: Arc::new(Semaphore::new(1)),
            points: points::Points::default(),
            looks: Looks::default(),
            told: position::Told::default(),
        }
    }

    /// The same, where snapshots are made.
    #[must_use]
    pub fn with_snapshots(self, every: Option<Duration>) -> Self {
        Self { snapshots: every, ..self }
    }

    /// The same, with so many calls under way, and so many streams of health and reflection, at the same time.
    #[must_use]
    pub fn with_calls(self, most: usize, public: usize) -> Self {
        Self { calls: Calls::new(most, public), ..self }
    }

    /// The same, with so many imports at the same time.
    #[must_use]
    pub fn with_imports(self, most: usize) -> Self {
        Self { imports: calls::Places::new(most), ..self }
    }

    /// By how many batches the journal is ahead of this store, as it last said; `None` if it does not say.
    #[must_use]
    pub fn journal_lag(&self) -> Option<u64> {
        self.looks.last().map(|end| end.saturating_sub(self.store.head().position))
    }

    /// How many records the clock should have looked at and has not, and the first day on which it must look at one.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn deadlines(&self) -> Result<(u64, Option<Day>), Error> {
        let head = self.store.head();
        let today = clock::day(self.clock.now_us());
        // What stands by the registry's own day was looked at when that moved: a clock that stands still is late by
        // today's. While a history is replayed, which has days of its own, the clock sleeps.
        let day = if head.replaying { head.today() } else { head.today().max(today) };
        self.store.read(|connection| read::overdue(connection, day, MAX_OVERDUE_COUNTED))
    }
}

/// Every call of the contract, as `Service/Method`.
pub fn calls() -> impl Iterator<Item = String> {
    let services = pb::POOL.services().filter(|s| s.package_name() == "attache.v1");
    services.flat_map(|s| s.methods().map(|m| format!("{}/{}", s.name(), m.name())).collect::<Vec<_>>())
}

/// The names of the services, as health knows them.
pub const SERVICES: [&str; 4] =
    ["attache.v1.RegistryService", "attache.v1.FeedService", "attache.v1.FilingService", "attache.v1.LogService"];

/// The services, with health, and with reflection if it is wanted.
///
/// # Errors
///
/// If the descriptors cannot be registered.
pub async fn services(app: &Arc<App>, reflects: bool) -> Result<(Services, Health), tonic_reflection::server::Error> {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health::new(reporter);
    // A replica says so once it knows how far it is behind.
    health.set_serving(app.journal.durable().is_none()).await;
    // Both versions list both, so that a client sees the same services whichever it asks.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .include_reflection_service(false)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_file_descriptor_set(error_details())
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let lookups = RegistryServiceServer::new(registry::Registry(Arc::clone(app))).max_decoding_message_size(usize::MAX);
    let mut others = RoutesBuilder::default();
    others
        .add_service(FeedServiceServer::new(feed::Feed(Arc::clone(app))).max_decoding_message_size(usize::MAX))
        .add_service(FilingServiceServer::new(filing::Filing(Arc::clone(app))).max_decoding_message_size(usize::MAX))
        .add_service(LogServiceServer::new(log::Log(Arc::clone(app))).max_decoding_message_size(usize::MAX))
        .add_service(health_service);
    if reflects {
        others.add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
    }
    Ok((Services::new(lookups, others.routes().prepare()), health))
}

/// The descriptors of error details under the paths by which the rest of the world imports them.
fn error_details() -> prost_types::FileDescriptorSet {
    let mut set = prost_types::FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .expect("the descriptors of tonic-types can be read");
    for file in &mut set.file {
        let own = file.package() == "google.rpc" && !file.name().contains('/');
        file.name = own.then(|| format!("google/rpc/{}", file.name())).or(file.name.take());
    }
    set
}
