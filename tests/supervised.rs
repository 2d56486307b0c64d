//! Under a supervisor: the server says when it answers and when it drains, takes the socket that it is handed, and reads its
//! files again at SIGHUP; while it starts it hears signals too. What another start does not make right ends with an exit code of its own. Where descriptors are few,
//! it waits for some.

#[path = "common/authority.rs"]
mod authority;

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::AsRawFd as _, unix::net::UnixDatagram},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use authority::Authority;
use rcgen::{CertificateParams, date_time_ymd};

const ATTACHE: &str = env!("CARGO_BIN_EXE_attache");
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server, killed at the end if nothing else ended it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn first_line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

fn serve(more: &[&str]) -> Command {
    let mut command = Command::new(ATTACHE);
    command.args(["serve", "--in-memory", "--admin", "none"]).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// What the supervisor hears next.
fn heard(socket: &UnixDatagram) -> String {
    let mut said = [0; 256];
    let bytes = socket.recv(&mut said).expect("the server says something in time");
    String::from_utf8_lossy(&said[..bytes]).trim().to_owned()
}

fn supervisor(folder: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn a_supervisor_hears_when_it_answers_and_when_it_drains() {
    let folder = tempfile::tempdir().unwrap();
    let socket = supervisor(folder.path());
    let mut command = serve(&["--listen", "127.0.0.1:0"]);
    let mut server = Server(command.env("NOTIFY_SOCKET", folder.path().join("notify")).spawn().unwrap());
    assert_eq!(heard(&socket), "READY=1");
    let address = server.first_line();
    let asked =
        Command::new(ATTACHE).args(["log", "--server", address.strip_prefix("listening on ").unwrap()]).output();
    assert!(asked.unwrap().status.success(), "who is ready answers");
    server.signal("-TERM");
    assert_eq!(heard(&socket), "STOPPING=1");
    assert!(server.0.wait().unwrap().success());
}

/// Runs a server as whoever hands over a socket does: it is descriptor 3.
fn activated(listener: &TcpListener, more: &[&str]) -> Server {
    activated_by(listener, "exec 3<&$0; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"", more)
}

/// The same, as a script of the shell does it.
fn activated_by(listener: &TcpListener, shell: &str, more: &[&str]) -> Server {
    let from = listener.as_raw_fd();
    let line = serve(more);
    let mut command = Command::new("sh");
    // `dup` of the test's own descriptor, which the shell inherits under its number.
    command.arg("-c").arg(shell).arg(from.to_string()).arg(line.get_program()).args(line.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    rustix::io::fcntl_setfd(listener, rustix::io::FdFlags::empty()).unwrap();
    Server(command.spawn().unwrap())
}

#[test]
fn a_socket_that_is_handed_over_is_listened_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = activated(&listener, &["--listen", "127.0.0.1:1"]);
    assert_eq!(server.first_line(), format!("listening on http://{address}"));
}

#[test]
fn a_second_socket_that_is_handed_over_is_refused_and_not_left_without_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // (The same once more: how many there are is what counts.)
    let shell = "exec 3<&$0 4<&$0; export LISTEN_FDS=2 LISTEN_PID=$$; exec \"$@\"";
    let mut server = activated_by(&listener, shell, &[]);
    let mut said = String::new();
    server.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(server.0.wait().unwrap().code(), Some(64), "{said}");
    assert!(said.contains("one socket is served; 2 were handed over"), "{said}");
}

#[test]
fn a_socket_that_others_reach_is_refused_as_an_address_is() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let mut server = activated(&listener, &[]);
    assert_eq!(server.0.wait().unwrap().code(), Some(64), "it has neither TLS nor access");
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let mut server = activated(&listener, &["--insecure-listen"]);
    assert!(server.first_line().starts_with("listening on http://0.0.0.0:"), "unless that is said");
}

#[test]
fn sighup_has_the_files_read_again_and_the_log_says_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = supervisor(folder.path());
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), folder.path().join(name)).unwrap();
    };
    write("attache.toml", "[access]\n[[access.allow]]\nwho = \"anonymous\"\nroles = [\"reader\"]\n");
    let config = folder.path().join("attache.toml");
    let mut command = serve(&["--listen", "127.0.0.1:0", "--log", "info", "--config", config.to_str().unwrap()]);
    let command = command.env("NOTIFY_SOCKET", folder.path().join("notify")).stderr(Stdio::piped());
    let mut server = Server(command.spawn().unwrap());
    assert_eq!(heard(&socket), "READY=1");
    let address = server.first_line();
    let asks = || {
        let server = address.strip_prefix("listening on ").unwrap();
        Command::new(ATTACHE).args(["log", "--server", server]).output().unwrap().status.success()
    };
    assert!(asks());
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = |text: &str| log.find(|line| line.contains(text)).expect("it says so before it ends");
    write("attache.toml", "[access]\n[[access.allow]]\nwho = \"everybody\"\nroles = [\"reader\"]\n");
    server.signal("-HUP");
    let line = said("are read again");
    assert!(line.contains(config.to_str().unwrap()), "which changed: {line}");
    let line = said("the rules of access could not be replaced, and what was in force before stays");
    assert!(line.contains("access.allow[0] (\"everybody\")"), "and why: {line}");
    assert!(asks());
    write("attache.toml", "[access]\n");
    server.signal("-HUP");
    said("the rules of access were read");
    assert!(!asks(), "nobody is granted anything");
}

#[test]
fn a_file_that_is_named_and_cannot_be_read_ends_it_as_a_wrong_flag_does() {
    let folder = tempfile::tempdir().unwrap();
    // (Whoever runs this may be root, to whom no mode denies anything.)
    let absent = folder.path().join("absent");
    let absent = absent.to_str().unwrap();
    let config = folder.path().join("attache.toml");
    fs::write(&config, "[access]\ntokens = \"absent\"\n").unwrap();
    let ends = |flags: &[&str]| serve(&["--listen", "127.0.0.1:0"]).args(flags).output().unwrap().status.code();
    assert_eq!(ends(&["--tls-certificate", absent, "--tls-key", absent]), Some(64));
    assert_eq!(ends(&["--config", config.to_str().unwrap()]), Some(64));
}

/// Puts a certificate of an authority that ends with a year into a folder, and its key.
fn certify(folder: &Path, authority: &Authority, year: i32) {
    let ends = |params: &mut CertificateParams| params.not_after = date_time_ymd(year + 1, 1, 1);
    let (certificate, key) = authority.certify_with(&["localhost"], ends);
    fs::write(folder.join("server.crt"), certificate).unwrap();
    fs::write(folder.join("server.key"), key).unwrap();
}

/// Runs a server with the certificate of a folder, which has its authority too; answers it once it answers, with its
/// address.
fn secured(folder: &Path, authority: &Authority) -> (Server, String) {
    fs::write(folder.join("ca.crt"), &authority.pem).unwrap();
    let mut server = begun(folder);
    let address = answers(folder, &mut server);
    (server, address)
}

/// Starts a server with the certificate of a folder.
fn begun(folder: &Path) -> Server {
    let mut command = serve(&["--listen", "127.0.0.1:0", "--log", "info"]);
    command.arg("--tls-certificate").arg(folder.join("server.crt")).arg("--tls-key").arg(folder.join("server.key"));
    Server(command.stderr(Stdio::piped()).spawn().unwrap())
}

/// Waits until a server answers those who believe the authority of a folder; its address.
fn answers(folder: &Path, server: &mut Server) -> String {
    let address = server.first_line().replace("listening on https://127.0.0.1", "https://localhost");
    let asked = ask(folder, &address);
    assert!(asked.status.success(), "at {address:?}: {asked:?}");
    address
}

/// Starts a server that waits for its key, in the middle of its start: until what this answers is closed, with the key
/// written into it. Whoever reads the key's file later finds the key.
fn held(folder: &Path, authority: &Authority) -> (Server, File) {
    certify(folder, authority, 2090);
    fs::write(folder.join("ca.crt"), &authority.pem).unwrap();
    let (key, aside) = (folder.join("server.key"), folder.join("aside.key"));
    fs::rename(&key, &aside).unwrap();
    assert!(Command::new("mkfifo").arg(&key).status().unwrap().success());
    let server = begun(folder);
    let (told, opened) = mpsc::channel();
    let pipe = key.clone();
    // Such a file is open to whoever writes once somebody reads.
    thread::spawn(move || told.send(OpenOptions::new().write(true).open(pipe)));
    let pipe = opened.recv_timeout(PATIENCE).expect("it reads its key").unwrap();
    fs::rename(aside, key).unwrap();
    (server, pipe)
}

#[test]
fn sighup_during_the_start_ends_nothing_and_has_the_files_read_again_once_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, mut pipe) = held(folder.path(), &Authority::new());
    server.signal("-HUP");
    pipe.write_all(&fs::read(folder.path().join("server.key")).unwrap()).unwrap();
    drop(pipe);
    answers(folder.path(), &mut server);
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = log.find(|line| line.contains("the certificate was read")).expect("it says so before it ends");
    assert!(line.contains("is_another=false"), "nothing changed but that it was asked for: {line}");
}

#[test]
fn sigterm_during_the_start_ends_it_in_good_order() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, pipe) = held(folder.path(), &Authority::new());
    server.signal("-TERM");
    let status = server.0.wait().unwrap();
    assert!(status.success(), "it was not done with its start: {status}");
    drop(pipe);
}

/// Asks a server as one who believes the authority of a folder alone.
fn ask(folder: &Path, address: &str) -> Output {
    Command::new(ATTACHE).args(["log", "--server", address, "--ca"]).arg(folder.join("ca.crt")).output().unwrap()
}

#[test]
fn the_log_says_when_a_certificate_ends_that_was_read_and_whether_it_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    certify(folder.path(), &authority, 2090);
    let (mut server, _) = secured(folder.path(), &authority);
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = || log.find(|line| line.contains("the certificate was read")).expect("it says so before it ends");
    server.signal("-HUP");
    let line = said();
    assert!(line.contains("ends=2091-01-01T00:00:00Z") && line.contains("is_another=false"), "{line}");
    certify(folder.path(), &authority, 2092);
    server.signal("-HUP");
    let line = said();
    assert!(line.contains("ends=2093-01-01T00:00:00Z") && line.contains("is_another=true"), "{line}");
}

#[test]
fn the_log_says_why_a_pair_that_does_not_belong_together_was_refused_and_the_former_stays() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    certify(folder.path(), &authority, 2090);
    let (mut server, address) = secured(folder.path(), &authority);
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = |text: &str| log.find(|line| line.contains(text)).expect("it says so before it ends");
    let (_, key) = authority.certify(&["localhost"], "another");
    fs::write(folder.path().join("server.key"), key).unwrap();
    server.signal("-HUP");
    let line = said("are read again");
    assert!(line.contains("server.key") && !line.contains("server.crt"), "which changed: {line}");
    let line = said("the certificate could not be replaced, and what was in force before stays");
    assert!(line.contains("certificate and key: "), "and why: {line}");
    let asked = ask(folder.path(), &address);
    assert!(asked.status.success(), "the former pair is good: {asked:?}");
}

// ---- without descriptors ----

/// Descriptors that the server may have: it begins with half as many, or fewer.
const DESCRIPTORS: u32 = 128;
/// More connections than it may have descriptors, and no more beyond them than wait in the system's queue.
const CONNECTIONS: usize = 180;
/// How every client of HTTP/2 begins (RFC 9113, 3.4), with no settings: a connection that says so stays.
const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// What the log says of a connection that could not be accepted.
const NOT_ACCEPTED: &str = "a connection could not be accepted";

/// Runs a server that may have few descriptors.
fn narrow() -> Server {
    let line = serve(&["--listen", "127.0.0.1:0", "--log", "warn"]);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n {DESCRIPTORS}; exec \"$@\"")).arg("sh");
    command.arg(line.get_program()).args(line.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Server(command.spawn().unwrap())
}

/// When each line of the server's log that has a text came. It is read on, whoever listens, so that the server never waits
/// for that.
fn times_of(server: &mut Server, text: &'static str) -> mpsc::Receiver<Instant> {
    let (told, times) = mpsc::channel();
    let log = BufReader::new(server.0.stderr.take().unwrap());
    thread::spawn(move || {
        for _ in log.lines().map_while(Result::ok).filter(|line| line.contains(text)) {
            let _ = told.send(Instant::now());
        }
    });
    times
}

/// What a process has taken of a processor.
fn processor_time(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // (The name, which is in brackets, may have anything in it. Linux tells these in hundredths of a second.)
    let (_, behind) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn a_server_without_descriptors_pauses_longer_and_longer_and_accepts_again_when_there_are_some() {
    let mut server = narrow();
    let refused = times_of(&mut server, NOT_ACCEPTED);
    let line = server.first_line();
    let address = line.strip_prefix("listening on ").expect("it begins with as many");
    let to: SocketAddr = address.strip_prefix("http://").unwrap().parse().unwrap();
    let connect = || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).expect("the system takes it");
        stream.write_all(BEGIN).unwrap();
        stream
    };
    let held: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect()).collect();

    let next = || refused.recv_timeout(PATIENCE).expect("it tries again");
    let (mut before, mut tries) = (next(), 1);
    loop {
        let now = next();
        tries += 1;
        if now - before > Duration::from_millis(500) {
            break;
        }
        assert!(tries < 200, "it tries again and again");
        before = now;
    }
    let (began, spent) = (Instant::now(), processor_time(server.0.id()));
    while began.elapsed() < Duration::from_secs(1) {
        next();
    }
    let (passed, spent) = (began.elapsed(), processor_time(server.0.id()) - spent);
    assert!(spent < passed / 4, "it takes {spent:?} of {passed:?} to do nothing");

    drop(held);
    let asked = || Command::new(ATTACHE).args(["log", "--server", address]).output().unwrap().status.success();
    let freed = Instant::now();
    while !asked() {
        assert!(freed.elapsed() < PATIENCE, "it accepts nobody any more");
    }
    server.signal("-TERM");
    assert!(server.0.wait().unwrap().success());
}
