//! How many calls are under way in the whole server: beyond a bound one more is told to come again before any of it is
//! read, so that those under way get done. And how many streams stay that nobody needs a credential for.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
};

use ahash::AHashSet;
use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, body::Body};

use crate::{
    access,
    domain::error::{Error, Reason, Result},
    pb,
};

/// The calls of the contract with one answer, as `package.Service/Method`. Its streams, which may stay for as long as they
/// like, have bounds of their own.
static ANSWERED: LazyLock<AHashSet<String>> = LazyLock::new(|| {
    let services = pb::POOL.services().filter(|s| s.package_name() == "attache.v1");
    let methods = services.flat_map(|s| s.methods().collect::<Vec<_>>()).filter(|m| !m.is_server_streaming());
    methods.map(|m| format!("{}/{}", m.parent_service().full_name(), m.name())).collect()
});

/// With what the calls of reflection begin.
const REFLECTION: &str = "grpc.reflection.";

/// Whether a call's client sends one message after another, whenever it likes; every other one has one message.
pub(super) fn sends_many(call: &str) -> bool {
    call == "attache.v1.FilingService/ImportReports" || call.starts_with(REFLECTION)
}

/// What calls share a number of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Those with one answer, each until that was taken.
    Answered,
    /// The streams that are open to everybody, each for as long as it stays.
    Public,
}

impl Kind {
    /// Of a call, named `package.Service/Method`; `None` if it takes no place: a check of health is never refused for want
    /// of room.
    fn of(call: &str) -> Option<Self> {
        if call == "grpc.health.v1.Health/Watch" || call.starts_with(REFLECTION) {
            return Some(Self::Public);
        }
        ANSWERED.contains(call).then_some(Self::Answered)
    }
}

/// So many places.
#[derive(Debug, Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    most: usize,
}

impl Places {
    /// One at least.
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(most)), most }
    }

    /// One of them, or how many there are if all are taken.
    pub fn take(&self) -> std::result::Result<OwnedSemaphorePermit, usize> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| self.most)
    }
}

/// The places of calls that are under way.
#[derive(Debug, Clone)]
pub struct Calls {
    answered: Places,
    public: Places,
}

/// What a call has taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    kind: Kind,
    _of_all: OwnedSemaphorePermit,
    /// Of those of its connection, if these are counted.
    _of_connection: Option<OwnedSemaphorePermit>,
}

impl Taken {
    /// Whether it is one of the calls that are counted for each principal.
    pub fn is_answered(&self) -> bool {
        self.kind == Kind::Answered
    }
}

/// The place of one call among all, and among those of its principal if these are counted, until it is dropped.
pub(super) type Place = (Taken, Option<access::Place>);

impl Calls {
    /// So many calls, and so many streams of health and reflection; one of each at least.
    #[must_use]
    pub fn new(most: usize, public: usize) -> Self {
        Self { answered: Places::new(most), public: Places::new(public) }
    }

    /// How many calls there may be at the same time.
    #[must_use]
    pub fn most(&self) -> usize {
        self.answered.most
    }

    /// How many streams of health and reflection there may be at the same time.
    #[must_use]
    pub fn most_public(&self) -> usize {
        self.public.most
    }

    /// A place for a call, named `package.Service/Method`, whose connection has these for its streams that are open to
    /// everybody; `None` if it takes none.
    ///
    /// # Errors
    ///
    /// `OVERLOADED` or, of a stream, `QUOTA_EXCEEDED` if all are taken.
    pub(super) fn place(&self, call: &str, connection: &Places) -> Result<Option<Taken>> {
        let Some(kind) = Kind::of(call) else { return Ok(None) };
        let (of_all, of_connection) = match kind {
            Kind::Answered => (self.answered.take().map_err(|most| overloaded(most, "calls are under way"))?, None),
            Kind::Public => {
                let here = connection.take().map_err(|most| exceeded(most, "on this connection"))?;
                (self.public.take().map_err(|most| exceeded(most, "at this server"))?, Some(here))
            }
        };
        Ok(Some(Taken { kind, _of_all: of_all, _of_connection: of_connection }))
    }
}

/// Why one more is refused, for now.
pub(super) fn overloaded(most: usize, what: &str) -> Error {
    Error::new(Reason::Overloaded, format!("{most} {what} already; nothing happened")).with("limit", most)
}

fn exceeded(most: usize, of: &str) -> Error {
    let why = format!("{most} streams of health and reflection are open {of} already");
    Error::new(Reason::QuotaExceeded, why).with("limit", most)
}

/// The answer to a call, which keeps its place until the answer's end was taken.
pub(super) fn held(answer: Response<Body>, place: Option<Place>) -> Response<Body> {
    match place {
        Some(place) if !answer.body().is_end_stream() => {
            answer.map(|inner| Body::new(Held { inner, place: Some(place) }))
        }
        _ => answer,
    }
}

/// The body of an answer that has a place.
struct Held {
    inner: Body,
    place: Option<Place>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        // Trailers are the end. Before they leave: who has seen them may ask for the next thing, and finds room.
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            self.place = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_and_filings_are_counted_and_streams_and_checks_of_health_are_not() {
        let (calls, connection) = (Calls::new(1, 1), Places::new(1));
        let place = |call: &str| calls.place(call, &connection);
        let _taken = place("attache.v1.RegistryService/GetVisit").unwrap().unwrap();
        for call in ["RegistryService/ListVisits", "FilingService/FileReports", "FeedService/ListEvents"] {
            assert_eq!(place(&format!("attache.v1.{call}")).unwrap_err().reason, Reason::Overloaded, "{call}");
        }
        for call in [
            "attache.v1.FeedService/WatchEvents",
            "attache.v1.FilingService/ImportReports",
            "attache.v1.LogService/Backup",
            "grpc.health.v1.Health/Check",
        ] {
            assert!(place(call).unwrap().is_none(), "{call}");
        }
    }

    #[test]
    fn streams_that_are_open_to_everybody_are_counted_for_the_server_and_for_each_connection() {
        let (calls, [one, two, three]) = (Calls::new(1, 2), [1, 2, 2].map(Places::new));
        let watch = "grpc.health.v1.Health/Watch";
        let taken = [calls.place(watch, &one).unwrap().unwrap(), calls.place(watch, &two).unwrap().unwrap()];
        for version in ["v1", "v1alpha"] {
            let reflection = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
            for (connection, whose) in
                [(&one, "on this connection"), (&two, "at this server"), (&three, "at this server")]
            {
                let error = calls.place(&reflection, connection).unwrap_err();
                assert_eq!(error.reason, Reason::QuotaExceeded);
                assert!(error.message.contains(whose), "{}", error.message);
            }
        }
        drop(taken);
        assert!(calls.place(watch, &one).unwrap().is_some() && calls.place(watch, &three).unwrap().is_some());
    }

    #[test]
    fn whose_client_sends_many_messages_is_what_the_contract_says() {
        for service in pb::POOL.services().filter(|s| s.package_name() == "attache.v1") {
            for method in service.methods() {
                let call = format!("{}/{}", service.full_name(), method.name());
                assert_eq!(sends_many(&call), method.is_client_streaming(), "{call}");
            }
        }
    }
}
