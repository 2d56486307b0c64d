//! The connection to a server.

use std::time::Duration;

use clap::Args;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::health_client::HealthClient;

use super::{
    error::{CliError, chain},
    output::{Format, OutputArgs},
};
use crate::pb::v1::{
    feed_service_client::FeedServiceClient, filing_service_client::FilingServiceClient,
    log_service_client::LogServiceClient, registry_service_client::RegistryServiceClient,
};

/// Where a server listens unless told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";

const DEFAULT_PORT: u16 = 50051;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// More than a server of this contract sends in one message.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The client of lookups.
pub type Registry = RegistryServiceClient<Channel>;
/// The client of the feed.
pub type Feed = FeedServiceClient<Channel>;
/// The client of filings.
pub type Filing = FilingServiceClient<Channel>;
/// The client of operations.
pub type Log = LogServiceClient<Channel>;

/// The flag that says where the server is.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The server to ask: a URL, or a host with or without port
    #[arg(long, env = "ATTACHE_SERVER", default_value = DEFAULT_SERVER, value_name = "URL", help_heading = "Output")]
    pub server: String,
}

/// The flags of every command that asks a server and prints its answer.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// Where the server is.
    #[command(flatten)]
    pub server: ServerArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl ServerArgs {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] if the URL makes no sense, [`CliError::Unreachable`] if nobody answers.
    pub async fn connect(&self) -> Result<Connection, CliError> {
        let url = url(&self.server)?;
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|e| CliError::Usage(format!("--server {}: {}", self.server, chain(&e))))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        match endpoint.connect().await {
            Ok(channel) => Ok(Connection { channel }),
            Err(error) => Err(CliError::Unreachable { server: url, cause: chain(&error) }),
        }
    }
}

impl ClientArgs {
    /// Connects; see [`ServerArgs::connect`].
    ///
    /// # Errors
    ///
    /// As there, and [`CliError::Usage`] for a format that not every command has.
    pub async fn connect(&self) -> Result<Connection, CliError> {
        self.connect_with(&[]).await
    }

    /// Connects, if the answer can be printed as asked: besides what every command has in one of these formats.
    ///
    /// # Errors
    ///
    /// As of [`Self::connect`].
    pub async fn connect_with(&self, formats: &[Format]) -> Result<Connection, CliError> {
        let format = self.output.output;
        // Before anything is sent: what was filed cannot be called back because it cannot be shown.
        if matches!(format, Format::Csv | Format::Cloudevents) && !formats.contains(&format) {
            return Err(CliError::Usage(format!(
                "-o {}: this command does not have it; csv is for lists, cloudevents for `watch`, and `attache export` \
                 has both as --format",
                format.word()
            )));
        }
        self.server.connect().await
    }
}

/// A connection, from which a client of each service is taken.
#[derive(Debug, Clone)]
pub struct Connection {
    channel: Channel,
}

impl Connection {
    /// The channel itself, for calls that read their answers in a way of their own.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Lookups.
    #[must_use]
    pub fn registry(&self) -> Registry {
        RegistryServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Events.
    #[must_use]
    pub fn feed(&self) -> Feed {
        FeedServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Filings.
    #[must_use]
    pub fn filing(&self) -> Filing {
        FilingServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Operations.
    #[must_use]
    pub fn log(&self) -> Log {
        LogServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The standard health service.
    #[must_use]
    pub fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel.clone())
    }
}

/// A bare `host` or `host:port` is taken as plain HTTP/2, at the port where servers listen unless told otherwise.
fn url(server: &str) -> Result<String, CliError> {
    match server.split_once("://") {
        None if has_port(server) => Ok(format!("http://{server}")),
        None => Ok(format!("http://{server}:{DEFAULT_PORT}")),
        Some(("http", _)) => Ok(server.to_owned()),
        Some((scheme, _)) => {
            Err(CliError::Usage(format!("--server {server}: {scheme} is not supported, only plain http is")))
        }
    }
}

/// The colons of an IPv6 address stand in brackets.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_host_gets_scheme_and_port() {
        assert!(DEFAULT_SERVER.ends_with(&format!(":{DEFAULT_PORT}")));
        assert_eq!(url("desk").unwrap(), "http://desk:50051");
        assert_eq!(url("127.0.0.1").unwrap(), "http://127.0.0.1:50051");
        assert_eq!(url("[::1]").unwrap(), "http://[::1]:50051");
        assert_eq!(url("[::1]:7").unwrap(), "http://[::1]:7");
        assert_eq!(url("http://desk").unwrap(), "http://desk", "a URL is taken at its word");
    }

    #[test]
    fn a_bare_address_is_taken_as_plain_http() {
        assert_eq!(url("localhost:50051").unwrap(), "http://localhost:50051");
        assert_eq!(url("http://localhost:50051").unwrap(), "http://localhost:50051");
        assert!(matches!(url("https://localhost"), Err(CliError::Usage(_))));
    }
}
