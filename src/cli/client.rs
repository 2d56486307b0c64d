//! The connection to a server.

use std::{fs, path::PathBuf, time::Duration};

use clap::Args;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_health::pb::health_client::HealthClient;

use super::{
    error::CliError,
    output::{Format, OutputArgs},
};
use crate::{
    domain::error::chain,
    pb::v1::{
        feed_service_client::FeedServiceClient, filing_service_client::FilingServiceClient,
        log_service_client::LogServiceClient, registry_service_client::RegistryServiceClient,
    },
    trace::{Parent, TRACEPARENT},
};

/// Where a server listens unless told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";

const DEFAULT_PORT: u16 = 50051;

/// How long it may take until there is a connection, with the handshake of TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// More than a server of this contract sends in one message.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// What requests go through: a channel, and what goes along with each.
pub type Wire = InterceptedService<Channel, Along>;
/// The client of lookups.
pub type Registry = RegistryServiceClient<Wire>;
/// The client of the feed.
pub type Feed = FeedServiceClient<Wire>;
/// The client of filings.
pub type Filing = FilingServiceClient<Wire>;
/// The client of operations.
pub type Log = LogServiceClient<Wire>;

/// The flags that say where the server is, and who asks.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The server to ask: a URL, or a host with or without port
    #[arg(long, env = "ATTACHE_SERVER", default_value = DEFAULT_SERVER, value_name = "URL", help_heading = "Output")]
    pub server: String,
    /// Who asks.
    #[command(flatten)]
    pub credential: CredentialArgs,
}

/// The flags that say who asks, and whom they believe.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Security")]
pub struct CredentialArgs {
    /// File with a bearer token to show; ATTACHE_TOKEN may have the token itself
    #[arg(long, env = "ATTACHE_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Show the token to another machine without TLS too, where something else secures the way
    #[arg(long)]
    pub token_in_the_clear: bool,
    /// Authorities to believe the server's certificate by (PEM) [default: the system's]
    #[arg(long, env = "ATTACHE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Certificate to prove oneself with, and those that lead to a root (PEM)
    #[arg(long, env = "ATTACHE_CERTIFICATE", value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, env = "ATTACHE_KEY", value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
}

/// The environment's token, which no flag has: what stands on a command line is seen by everybody on the machine.
const TOKEN: &str = "ATTACHE_TOKEN";

impl CredentialArgs {
    /// The token to show, if there is one.
    fn token(&self) -> Result<Option<String>, CliError> {
        let token = match &self.token_file {
            Some(file) => Some(String::from_utf8(read(file)?).map_err(|_| usage(file, "is no text"))?),
            None => std::env::var(TOKEN).ok().filter(|token| !token.is_empty()),
        };
        Ok(token.map(|token| token.trim().to_owned()))
    }

    fn tls(&self) -> Result<ClientTlsConfig, CliError> {
        let mut config = match &self.ca {
            Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(file)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(config)
    }
}

fn read(file: &PathBuf) -> Result<Vec<u8>, CliError> {
    fs::read(file).map_err(|e| usage(file, &e.to_string()))
}

fn usage(file: &std::path::Path, why: &str) -> CliError {
    CliError::Usage(format!("{}: {why}", file.display()))
}

/// The span of whoever runs us, by the convention for processes.
const TRACE: &str = "TRACEPARENT";

/// Goes along with every request: a token, and the trace that the command is part of.
#[derive(Debug, Clone)]
pub struct Along {
    authorization: Option<MetadataValue<Ascii>>,
    traceparent: Option<MetadataValue<Ascii>>,
}

impl Along {
    fn of(token: Option<String>) -> Result<Self, CliError> {
        let header = |token: String| {
            let value = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
            let mut value = value.map_err(|_| CliError::Usage("the token cannot stand in a header".to_owned()))?;
            value.set_sensitive(true);
            Ok::<_, CliError>(value)
        };
        Ok(Self { authorization: token.map(header).transpose()?, traceparent: traceparent() })
    }
}

/// One that is none is left out: what the command does is worth more than its trace.
fn traceparent() -> Option<MetadataValue<Ascii>> {
    let text = std::env::var(TRACE).ok()?;
    Parent::parse(&text).and_then(|_| text.parse().ok())
}

impl Interceptor for Along {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.authorization {
            request.metadata_mut().insert("authorization", header.clone());
        }
        if let Some(header) = &self.traceparent {
            request.metadata_mut().insert(TRACEPARENT, header.clone());
        }
        Ok(request)
    }
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
        self.connect_within(CONNECT_TIMEOUT).await
    }

    async fn connect_within(&self, patience: Duration) -> Result<Connection, CliError> {
        let url = url(&self.server)?;
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|e| CliError::Usage(format!("--server {}: {}", self.server, chain(&e))))?;
        let token = self.credential.token()?;
        if token.is_some() && !self.credential.token_in_the_clear && !may_be_told(&url) {
            return Err(CliError::Usage(format!(
                "--server {url}: the token would cross the network without TLS; use https, or say --token-in-the-clear"
            )));
        }
        let along = Along::of(token)?;
        let endpoint = endpoint
            .connect_timeout(patience)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let endpoint = match url.starts_with("https:") {
            false => endpoint,
            true => endpoint
                .tls_config(self.credential.tls()?)
                .map_err(|e| CliError::Usage(format!("--ca, --certificate or --key: {}", chain(&e))))?,
        };
        match endpoint.connect_with_connector(tcp(patience)).await {
            Ok(channel) => Ok(Connection { wire: InterceptedService::new(channel, along) }),
            Err(error) => Err(CliError::Unreachable { server: url, cause: no_connection(&error, patience) }),
        }
    }
}

/// Connects as an endpoint does by itself. Of one that it is given it bounds TLS too, and so of each connection that comes
/// in the place of one that broke; of its own the TCP alone, and whoever accepts and is silent is waited for.
fn tcp(patience: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Divided among the addresses of a name.
    tcp.set_connect_timeout(Some(patience));
    tcp
}

/// Why there is no connection.
fn no_connection(error: &tonic::transport::Error, patience: Duration) -> String {
    // (What the runtime says of a deadline does not say which.)
    chain(error).replace("deadline has elapsed", &format!("no answer within {patience:?}"))
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
    wire: Wire,
}

impl Connection {
    /// What requests go through, for calls that read their answers in a way of their own.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.wire.clone()
    }

    /// Lookups.
    #[must_use]
    pub fn registry(&self) -> Registry {
        RegistryServiceClient::new(self.wire.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Events.
    #[must_use]
    pub fn feed(&self) -> Feed {
        FeedServiceClient::new(self.wire.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Filings.
    #[must_use]
    pub fn filing(&self) -> Filing {
        FilingServiceClient::new(self.wire.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Operations.
    #[must_use]
    pub fn log(&self) -> Log {
        LogServiceClient::new(self.wire.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The standard health service.
    #[must_use]
    pub fn health(&self) -> HealthClient<Wire> {
        HealthClient::new(self.wire.clone())
    }
}

/// A bare `host` or `host:port` is taken as plain HTTP/2, at the port where servers listen unless told otherwise.
pub(super) fn url(server: &str) -> Result<String, CliError> {
    let wrong = |why: &str| Err(CliError::Usage(format!("--server {}: {why}", crate::url::shown(server))));
    match server.split_once("://") {
        // What stands before the @ may be taken for the host, and nobody here asks for a user.
        _ if server.contains('@') => wrong("it names a user; who asks is said by --token-file or --certificate"),
        None if has_port(server) => Ok(format!("http://{server}")),
        None => Ok(format!("http://{server}:{DEFAULT_PORT}")),
        Some(("http" | "https", _)) => Ok(server.to_owned()),
        Some((scheme, _)) => wrong(&format!("{scheme} is neither http nor https")),
    }
}

/// Whether nobody on the way hears what is said to a server: the host is the one that is connected to.
fn may_be_told(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let names_a_user = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    !names_a_user && (is_here || uri.scheme_str() == Some("https"))
}

/// The colons of an IPv6 address stand in brackets.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

#[cfg(test)]
mod tests {
    use std::{
        net::{SocketAddr, TcpListener},
        path::Path,
    };

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Somebody who believes one authority, and asks a server at this address by TLS.
    fn by_tls(address: SocketAddr, folder: &Path) -> ServerArgs {
        let key = KeyPair::generate().unwrap();
        let authority = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let ca = folder.join("ca.crt");
        fs::write(&ca, authority.pem()).unwrap();
        let credential = CredentialArgs { ca: Some(ca), ..CredentialArgs::default() };
        ServerArgs { server: format!("https://{address}"), credential }
    }

    #[tokio::test]
    async fn whoever_accepts_a_connection_and_is_silent_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        // The system accepts for it.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = by_tls(silent.local_addr().unwrap(), folder.path());
        let connecting = server.connect_within(Duration::from_millis(100));
        let ended = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.expect("it is not waited for");
        let Err(CliError::Unreachable { cause, .. }) = ended else { panic!("nobody answers: {ended:?}") };
        assert!(cause.contains("no answer within 100ms"), "{cause}");
    }

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
        assert_eq!(url("https://localhost").unwrap(), "https://localhost");
        assert!(matches!(url("ftp://localhost"), Err(CliError::Usage(_))));
    }

    #[test]
    fn an_address_with_a_user_is_refused_and_not_repeated() {
        for server in ["http://localhost:hush@evil.example", "https://me:hush@desk", "localhost:hush@evil.example:7"] {
            let Err(CliError::Usage(why)) = url(server) else { panic!("{server} is taken") };
            assert!(why.contains("names a user") && !why.contains("hush"), "{why}");
        }
    }

    #[test]
    fn a_token_is_not_told_to_other_machines_without_tls() {
        for url in ["http://127.0.0.1:1", "http://[::1]:7", "http://localhost", "https://desk:1"] {
            assert!(may_be_told(url), "{url}");
        }
        for url in ["http://desk:50051", "http://10.0.0.1", "http://localhost.example:1", "http://[2001:db8::1]:7"] {
            assert!(!may_be_told(url), "{url}");
        }
        // These are no addresses of this machine, however they begin.
        for url in ["http://localhost:x@evil.example", "http://127.0.0.1:1@evil.example", "http://localhost@evil:1"] {
            assert!(!may_be_told(url), "{url}");
        }
    }
}
