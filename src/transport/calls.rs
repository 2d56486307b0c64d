//! How many calls are under way in the whole server: beyond a bound one more is told to come again before any of it is
//! read, so that those under way get done.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
};

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

/// The calls that take a place, as `package.Service/Method`: those of the contract with one answer. Health and reflection
/// are never refused for want of room, and streams, which may stay for as long as they like, have bounds of their own.
static COUNTED: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let services = pb::POOL.services().filter(|s| s.package_name() == "attache.v1");
    let methods = services.flat_map(|s| s.methods().collect::<Vec<_>>()).filter(|m| !m.is_server_streaming());
    methods.map(|m| format!("{}/{}", m.parent_service().full_name(), m.name())).collect()
});

/// Whether a call's client sends one message after another, whenever it likes; every other one has one message.
pub(super) fn sends_many(call: &str) -> bool {
    call == "attache.v1.FilingService/ImportReports" || call.starts_with("grpc.reflection.")
}

/// The places of calls that are under way.
#[derive(Debug, Clone)]
pub struct Calls {
    places: Arc<Semaphore>,
    most: usize,
}

/// The place of one call among all, and among those of its principal if these are counted, until it is dropped.
pub(super) type Place = (OwnedSemaphorePermit, Option<access::Place>);

impl Calls {
    /// So many of them, one at least.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(most)), most }
    }

    /// How many there may be at the same time.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// A place for a call, named `package.Service/Method`; `None` if it takes none.
    ///
    /// # Errors
    ///
    /// `OVERLOADED` if all are taken.
    pub(super) fn place(&self, call: &str) -> Result<Option<OwnedSemaphorePermit>> {
        if !COUNTED.contains(call) {
            return Ok(None);
        }
        let full = |_| {
            let why = format!("{} calls are under way already; nothing happened", self.most);
            Error::new(Reason::Overloaded, why).with("limit", self.most)
        };
        Arc::clone(&self.places).try_acquire_owned().map(Some).map_err(full)
    }
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
    fn lookups_and_filings_are_counted_and_streams_and_health_are_not() {
        let calls = Calls::new(1);
        let place = |call: &str| calls.place(call).map(|place| place.is_some());
        let _taken = calls.place("attache.v1.RegistryService/GetVisit").unwrap().unwrap();
        for call in ["RegistryService/ListVisits", "FilingService/FileReports", "FeedService/ListEvents"] {
            assert_eq!(place(&format!("attache.v1.{call}")).unwrap_err().reason, Reason::Overloaded, "{call}");
        }
        for call in [
            "attache.v1.FeedService/WatchEvents",
            "attache.v1.FilingService/ImportReports",
            "attache.v1.LogService/Backup",
            "grpc.health.v1.Health/Check",
        ] {
            assert!(!place(call).unwrap(), "{call}");
        }
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
