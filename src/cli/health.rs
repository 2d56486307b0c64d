//! `attache health`: whether the server and each service serve.

use clap::Args;
use serde_json::json;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    client::{ClientArgs, Wire},
    error::CliError,
    output::{self, Out},
};

/// The server as a whole, then each service.
const SERVICES: [&str; 5] =
    ["", "attache.v1.RegistryService", "attache.v1.FeedService", "attache.v1.FilingService", "attache.v1.LogService"];

/// Arguments of `attache health`.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the state of each service.
///
/// # Errors
///
/// [`CliError::Unhealthy`] unless all serve.
pub async fn run(args: &HealthArgs) -> Result<(), CliError> {
    let mut client = args.client.connect().await?.health();
    let mut states = Vec::new();
    for service in SERVICES {
        states.push((title(service), check(&mut client, service).await?));
    }
    let mut out = Out::new(args.client.output.output);
    print(&mut out, &states)?;
    out.flush()?;
    let not: Vec<_> =
        states.iter().filter(|(_, state)| *state != ServingStatus::Serving).map(|(name, _)| *name).collect();
    if not.is_empty() { Ok(()) } else { Err(CliError::Unhealthy(not.join(", "))) }
}

async fn check(client: &mut HealthClient<Wire>, service: &str) -> Result<ServingStatus, CliError> {
    let request = HealthCheckRequest { service: service.to_owned() };
    match client.check(request).await {
        Ok(answer) => Ok(answer.into_inner().status()),
        Err(status) if status.code() == Code::NotFound => Ok(ServingStatus::ServiceUnknown),
        Err(status) => Err(status.into()),
    }
}

fn print(out: &mut Out, states: &[(&str, ServingStatus)]) -> Result<(), CliError> {
    if !out.is_table() {
        for (service, state) in states {
            out.item(&json!({ "service": service, "status": state.as_str_name() }))?;
        }
        return out.end_items();
    }
    let mut table = output::table(["SERVICE", "STATUS"]);
    for (service, state) in states {
        table.add_row([service, state.as_str_name()]);
    }
    out.line(output::trimmed(&table))
}

fn title(service: &'static str) -> &'static str {
    if service.is_empty() { "(server)" } else { service }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;

    #[test]
    fn every_service_of_the_contract_is_asked_about() {
        for service in pb::POOL.services().filter(|service| service.package_name() == "attache.v1") {
            assert!(SERVICES.contains(&service.full_name()), "{}", service.full_name());
        }
    }
}
