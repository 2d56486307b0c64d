//! TLS: whom a server proves to be, whom it believes, and how its certificate is replaced.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use attache::{limits::HANDSHAKE_TIMEOUT, pb::v1, serve::Parts};
use rcgen::{DnType, SanType, date_time_ymd};
use rustls::{
    ClientConfig, DEFAULT_VERSIONS, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::{authority::Authority, *};

/// Connections that were turned away before anything was asked on them.
const TURNED_AWAY: &str = "attache_handshakes_refused_total";

/// A folder with a server's certificate, and the configuration that names it.
fn files(authority: &Authority, more: &str) -> Files {
    let files = Files::new(&format!("{more}\n[tls]\ncertificate = \"server.crt\"\nkey = \"server.key\"\n"));
    put(&files, authority);
    files
}

/// The same, where clients' certificates of another authority are a credential.
fn files_for(clients: &Authority, authority: &Authority, policy: &str) -> Files {
    let files = files(authority, policy);
    let text = std::fs::read_to_string(files.path("attache.toml")).unwrap();
    files.write("attache.toml", format!("{text}client_ca = \"clients.crt\"\n"));
    files.write("clients.crt", &clients.pem);
    files
}

fn put(files: &Files, authority: &Authority) {
    let (certificate, key) = authority.certify(&["localhost"], "server");
    files.write("server.crt", certificate);
    files.write("server.key", key);
}

/// A new connection that believes an authority, with a certificate of its own perhaps.
async fn connect(
    server: &TestServer,
    authority: &Authority,
    own: Option<&(String, String)>,
) -> Result<Channel, tonic::transport::Error> {
    let address = server.address.replace("http://127.0.0.1", "https://localhost");
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem));
    if let Some((certificate, key)) = own {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    Endpoint::from_shared(address).unwrap().tls_config(tls).unwrap().connect().await
}

/// Whether a call comes through.
async fn asks(channel: &Channel) -> Result<(), Status> {
    let mut log = v1::log_service_client::LogServiceClient::new(channel.clone());
    log.get_log_info(v1::GetLogInfoRequest {}).await.map(drop)
}

#[tokio::test]
async fn a_server_with_a_certificate_speaks_to_those_who_believe_it() {
    let authority = Authority::new();
    let files = files(&authority, "");
    let (server, _) = files.serve().await;
    let channel = connect(&server, &authority, None).await.unwrap();
    asks(&channel).await.unwrap();
    let mut filing = FilingServiceClient::new(channel);
    let reports = vec![visit_report("v", "s", "KZ", "AZ", "2023-05-01")];
    filing.file_reports(v1::FileReportsRequest { reports, ..Default::default() }).await.unwrap();
    assert!(connect(&server, &Authority::new(), None).await.is_err(), "another authority");
    let plain = Caller::with(&server, None).info().await;
    assert!(plain.is_err(), "plaintext is not understood");
    // Whoever connects and says nothing holds up nobody.
    let silent = TcpStream::connect(server.address.trim_start_matches("http://")).await.unwrap();
    server.stop().await;
    drop(silent);
}

/// Files a report, and answers as whom.
async fn files_as(channel: &Channel) -> String {
    let reports = vec![visit_report("v", "s", "KZ", "AZ", "2023-05-01")];
    let mut filing = FilingServiceClient::new(channel.clone());
    filing.file_reports(v1::FileReportsRequest { reports, ..Default::default() }).await.unwrap();
    let mut registry = v1::registry_service_client::RegistryServiceClient::new(channel.clone());
    let asked = v1::ListRevisionsRequest { name: "visits/v".into(), ..Default::default() };
    let revisions = registry.list_revisions(asked).await.unwrap().into_inner().revisions;
    revisions[0].principal.clone()
}

/// What the command line says of a server to which it has no way.
async fn says(server: String, more: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_attache"));
    command.args(["log", "--server", &server]).args(more).env_remove("ATTACHE_CA");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn whoever_comes_without_tls_or_without_the_authority_is_told_what_to_say() {
    let authority = Authority::new();
    let files = files(&authority, "");
    // (Of another name: one of the same is tried, and its signature is wrong.)
    files.write("other.crt", authority.certify(&["other"], "other").0);
    let (server, _) = files.serve().await;
    // (Now and then the connection is reset before the server's alert is read, and nothing hints at TLS.)
    let mut plain = String::new();
    for _ in 0..10 {
        plain = says(server.address.clone(), &[]).await;
        if plain.contains("https://") {
            break;
        }
    }
    assert!(plain.contains("https://"), "{plain}");
    let other = files.path("other.crt");
    let secure = server.address.replace("http://127.0.0.1", "https://localhost");
    let stranger = says(secure, &["--ca", other.to_str().unwrap()]).await;
    assert!(stranger.contains("UnknownIssuer") && stranger.contains("with --ca"), "{stranger}");
    server.stop().await;
}

#[tokio::test]
async fn a_clients_certificate_is_a_credential() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let policy = "[[access.allow]]\nwho = \"cert:desk.example\"\nroles = [\"reader\", \"filer\"]\n";
    let files = files_for(&clients, &authority, policy);
    let (server, _) = files.serve().await;

    let desk = connect(&server, &authority, Some(&clients.certify(&["desk.example"], "other"))).await.unwrap();
    asks(&desk).await.unwrap();
    assert_eq!(files_as(&desk).await, "cert:desk.example");

    let stranger = connect(&server, &authority, Some(&clients.certify(&[], "stranger"))).await.unwrap();
    assert_eq!(refused(asks(&stranger).await), not_granted(), "known by its common name, and granted nothing");
    let nobody = connect(&server, &authority, None).await.unwrap();
    assert_eq!(refused(asks(&nobody).await), missing());
    let forged = connect(&server, &authority, Some(&Authority::new().certify(&["desk.example"], "desk"))).await;
    let got_in = match forged {
        Ok(channel) => asks(&channel).await.is_ok(),
        Err(_) => false,
    };
    assert!(!got_in, "another authority's certificate proves nothing here");
    server.stop().await;
}

/// A client's certificate of these names, whose common name is `desk.example` whatever they are.
fn certified(clients: &Authority, dns: &[&str], uris: &[&str]) -> (String, String) {
    clients.certify_with(dns, |params| {
        params.distinguished_name.push(DnType::CommonName, "desk.example");
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
    })
}

#[tokio::test]
async fn a_client_is_known_by_its_certificates_first_uri_else_its_first_dns_name_and_by_no_other() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let policy = "[[access.allow]]\nwho = \"cert:spiffe://example/desk\"\nroles = [\"reader\", \"filer\"]\n\
                  [[access.allow]]\nwho = \"cert:desk.example\"\nroles = [\"reader\"]\n";
    let files = files_for(&clients, &authority, policy);
    let (server, _) = files.serve().await;
    let connected = async |dns: &[&str], uris: &[&str]| {
        connect(&server, &authority, Some(&certified(&clients, dns, uris))).await.unwrap()
    };

    let desk = connected(&["other.example"], &["spiffe://example/desk", "spiffe://example/other"]).await;
    assert_eq!(files_as(&desk).await, "cert:spiffe://example/desk");
    let other = connected(&["desk.example"], &["spiffe://example/other", "spiffe://example/desk"]).await;
    assert_eq!(refused(asks(&other).await), not_granted(), "what its second URI and its DNS name are granted");

    let desk = connected(&["desk.example", "other.example"], &[]).await;
    asks(&desk).await.expect("it has no URI");
    let other = connected(&["other.example", "desk.example"], &[]).await;
    assert_eq!(refused(asks(&other).await), not_granted(), "what its second DNS name and its common name are granted");
    let desk = connected(&[], &[]).await;
    asks(&desk).await.expect("it has neither");
    server.stop().await;
}

#[tokio::test]
async fn clients_without_a_certificate_are_turned_away_where_one_is_required() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let files = files(&authority, "");
    let text = std::fs::read_to_string(files.path("attache.toml")).unwrap();
    files.write("attache.toml", format!("{text}client_ca = \"clients.crt\"\nrequire_client_certificate = true\n"));
    files.write("clients.crt", &clients.pem);
    let (server, _) = files.serve().await;
    drop(reached(&server).await);
    let desk = connect(&server, &authority, Some(&clients.certify(&["desk.example"], "desk"))).await.unwrap();
    asks(&desk).await.unwrap();
    assert_eq!(server.number(TURNED_AWAY).await, 0.0, "whoever looks whether the port is open is not turned away");
    let got_in = match connect(&server, &authority, None).await {
        Ok(channel) => asks(&channel).await.is_ok(),
        Err(_) => false,
    };
    assert!(!got_in);
    // (Once for each time that its client tries.)
    patiently("a number that says so", async {
        while server.number(TURNED_AWAY).await == 0.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_is_replaced_without_a_dropped_watch_and_a_broken_pair_is_not() {
    let (before, after) = (Authority::new(), Authority::new());
    let files = files(&before, "");
    let (server, _) = files.serve().await;
    let old = connect(&server, &before, None).await.unwrap();
    let mut feed = FeedServiceClient::new(old.clone());
    let mut watch = feed.watch_events(lively(from_oldest())).await.unwrap().into_inner();

    // Half of the new pair: the key of one certificate, and another certificate.
    let (_, key) = after.certify(&["localhost"], "server");
    files.write("server.key", key);
    server.reload().await;
    assert!(connect(&server, &before, None).await.is_ok(), "the former pair stays");
    files.write("server.crt", "no certificate");
    server.reload().await;
    assert!(connect(&server, &before, None).await.is_ok(), "and stays");

    put(&files, &after);
    server.reload().await;
    let new = connect(&server, &after, None).await.unwrap();
    assert!(connect(&server, &before, None).await.is_err(), "new connections get the new one");
    let mut filing = FilingServiceClient::new(new);
    let reports = vec![visit_report("v", "s", "KZ", "AZ", "2023-05-01")];
    let request = v1::FileReportsRequest { reports, ..Default::default() };
    let filed = filing.file_reports(request).await.unwrap().into_inner();
    let told = next_batch(&mut watch).await;
    assert_eq!(ids(&events(&[told])), ids(&filed.events), "on the old connection");
    drop(watch);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_was_put_there_before_it_begins_is_taken_when_it_does() {
    const FAILED: &str = "attache_reload_failed{what=\"certificate\"}";
    let (before, after) = (Authority::new(), Authority::new());
    let files = files(&before, "");
    let (server, clock) = files.serve().await;
    // The day after the clock of tests begins.
    let (certificate, key) = after.certify_with(&["localhost"], |params| params.not_before = date_time_ymd(2024, 1, 3));
    files.write("server.crt", certificate);
    files.write("server.key", key);
    server.reload().await;
    assert_eq!(server.number(FAILED).await, 1.0);
    assert!(connect(&server, &before, None).await.is_ok(), "the former is believed until then");
    clock.advance(Duration::from_secs(24 * 3600));
    server.until_number(FAILED, 0.0).await;
    assert!(connect(&server, &after, None).await.is_ok(), "nobody changed a file, or asked");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_taken_away_ends_what_it_proved_and_nothing_else() {
    let [authority, gone, stays] = [(); 3].map(|()| Authority::new());
    let files = files(&authority, "[[access.allow]]\nwho = \"cert:*\"\nroles = [\"reader\"]\n");
    let text = std::fs::read_to_string(files.path("attache.toml")).unwrap();
    files.write("attache.toml", format!("{text}client_ca = \"clients.crt\"\n"));
    files.write("clients.crt", format!("{}{}", gone.pem, stays.pem));
    let (server, _) = files.serve().await;
    let (former, present) = (gone.certify(&["desk.example"], "desk"), stays.certify(&["fleet.example"], "fleet"));
    let former_channel = connect(&server, &authority, Some(&former)).await.unwrap();
    let present_channel = connect(&server, &authority, Some(&present)).await.unwrap();
    let watch = async |channel: &Channel| {
        let mut feed = FeedServiceClient::new(channel.clone());
        feed.watch_events(lively(from_oldest())).await.expect("the watch is admitted").into_inner()
    };
    let (former_watch, mut present_watch) = (watch(&former_channel).await, watch(&present_channel).await);

    files.write("clients.crt", &stays.pem);
    server.reload().await;
    let (_, error) = ends(former_watch).await;
    assert_eq!(error.map(|e| reason(&e)).as_deref(), Some("CREDENTIAL_EXPIRED"));
    assert!(asks(&former_channel).await.is_err(), "on whichever connection");
    let got_in = match connect(&server, &authority, Some(&former)).await {
        Ok(channel) => asks(&channel).await.is_ok(),
        Err(_) => false,
    };
    assert!(!got_in);
    asks(&present_channel).await.unwrap();
    patiently("the other's progress", async {
        while !is_progress(&present_watch.message().await.expect("no error").expect("it goes on")) {}
    })
    .await;
    drop(present_watch);
    server.stop().await;
}

#[tokio::test]
async fn a_server_whose_pair_is_broken_does_not_start() {
    let files = files(&Authority::new(), "");
    files.write("server.key", "no key");
    let config = config_of(&files.path("attache.toml"));
    let error = attache::serve::build(&config, Parts::default()).await.err().expect("it cannot be served");
    assert!(error.message.contains("tls: key"), "{}", error.message);
}

#[tokio::test]
async fn an_old_connection_is_told_to_go_and_its_watches_follow() {
    let config = Config { max_connection_age: Some(Duration::from_millis(300)), ..common::config() };
    let parts = Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() };
    let server = TestServer::with(config, parts).await;
    server.file(vec![visit_report("v", "s", "KZ", "AZ", "2023-05-01")]).await;
    let caller = Caller::with(&server, None);
    let (frames, error) = ends(caller.watch().await).await;
    assert!(error.is_none(), "{error:?}");
    let last = frames.last().unwrap();
    assert!(matches!(last.frame, Some(v1::watch_events_response::Frame::GoingAway(_))), "{last:?}");
    let resumed = caller.feed().watch_events(until_caught_up(common::watching::after(&last.token))).await;
    let (rest, error) = ends(resumed.expect("on another connection").into_inner()).await;
    assert!(error.is_none() && events(&rest).is_empty(), "nothing is told twice");
    server.stop().await;
}

// ---- those who do not begin ----

/// Half of what a client of TLS says first: a ClientHello that says that it is longer (RFC 8446, 4.1.2 and 5.1).
fn half_a_hello() -> Vec<u8> {
    let (record, hello, version) = ([0x16, 3, 1, 2, 0], [1, 0, 1, 0xfc], [3, 3]);
    [&record[..], &hello, &version, &[7; 32]].concat()
}

async fn reached(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.address.trim_start_matches("http://")).await.unwrap()
}

/// A connection whose client speaks these versions, believes an authority, and has said nothing after the handshake.
async fn greeted(
    server: &TestServer,
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, reached(server).await).await.expect("it is greeted")
}

/// Waits until the server hangs up, in good order or not, and demands that it has given its time.
async fn hung_up(what: &str, began: Instant, mut stream: impl AsyncRead + Unpin) {
    let read = patiently(what, stream.read(&mut [0; 64])).await;
    assert!(!matches!(read, Ok(1..)), "{what}: {read:?}");
    let within = HANDSHAKE_TIMEOUT - Duration::from_secs(1);
    assert!(began.elapsed() > within, "{what}: it is given its time: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_come_through_the_handshake_and_begin_within_ten_seconds_is_hung_up_on() {
    let authority = Authority::new();
    let files = files(&authority, "");
    let (server, _) = files.serve().await;
    let began = Instant::now();
    let (nothing, mut half) = (reached(&server).await, reached(&server).await);
    let greeted = greeted(&server, &authority, DEFAULT_VERSIONS).await;
    half.write_all(&half_a_hello()).await.unwrap();
    tokio::join!(
        hung_up("one that says nothing", began, nothing),
        hung_up("one that says half a hello", began, half),
        hung_up("one that says nothing after the handshake", began, greeted),
    );
    server.until_number(TURNED_AWAY, 3.0).await;
    let channel = connect(&server, &authority, None).await.unwrap();
    asks(&channel).await.expect("nobody else notices");
    server.stop().await;
}

// ---- versions ----

/// What every client of HTTP/2 says first (RFC 9113, 3.4), with no settings.
const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What a client says first that speaks nothing newer than TLS 1.1 (RFC 4346, 7.4.1.2).
fn hello_of_tls_1_1() -> Vec<u8> {
    let (record, hello, version) = ([0x16, 3, 1, 0, 55], [1, 0, 0, 51], [3, 2]);
    let (session, suites, compressions) = ([0], [0, 2, 0xc0, 0x13], [1, 0]);
    // (Without the signatures that it takes it would be refused for want of them.)
    let extensions = [0, 8, 0, 13, 0, 4, 0, 2, 4, 1];
    [&record[..], &hello, &version, &[7; 32], &session, &suites, &compressions, &extensions].concat()
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let authority = Authority::new();
    let files = files(&authority, "");
    let (server, _) = files.serve().await;
    for (version, spoken) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut stream = greeted(&server, &authority, &[version]).await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(spoken));
        // That the server has come through it too is seen by what it says then: its settings.
        stream.write_all(BEGIN).await.unwrap();
        stream.flush().await.unwrap();
        let mut frame = [0; 9];
        patiently("the server's settings", stream.read_exact(&mut frame)).await.unwrap();
        assert_eq!(frame[3], 4, "{spoken:?}: {frame:?}");
    }
    let (mut old, mut said) = (reached(&server).await, Vec::new());
    old.write_all(&hello_of_tls_1_1()).await.unwrap();
    patiently("the end of an old client", old.read_to_end(&mut said)).await.unwrap();
    // An alert, fatal, for its version (RFC 8446, 6).
    assert!(matches!(said[..], [0x15, .., 2, 70]), "{said:?}");
    server.stop().await;
}
