//! gRPC: one file per service, and the only places that know its codes and its wire.
pub mod codec;
pub mod status;
