//! The services, and the way of a request to the one that it names.

use std::{convert::Infallible, future::Future};

use futures_util::future::Either;
use http::{Request, Response};
use tonic::{body::Body, server::NamedService as _, service::Routes};
use tower::Service as _;

use super::{registry::Registry, served::registry_service_server::RegistryServiceServer};

/// What answers the calls of the server. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    lookups: RegistryServiceServer<Registry>,
    others: Routes,
}

impl Services {
    pub(super) fn new(lookups: RegistryServiceServer<Registry>, others: Routes) -> Self {
        Self { lookups, others }
    }

    /// Answers a request. Those of the registry, of which there are most, go to their service at once: the router of the
    /// others takes their path apart and boxes their answer, a twentieth of what a lookup takes of the server.
    pub(super) fn call(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<> {
        let service = request.uri().path().split('/').nth(1);
        match service == Some(RegistryServiceServer::<Registry>::NAME) {
            true => Either::Left(self.lookups.call(request)),
            false => Either::Right(self.others.call(request)),
        }
    }
}
