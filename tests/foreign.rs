//! Clients of other languages, on the server as it is shipped: nothing of theirs is generated from this crate.
//!
//! The interpreters and packages are those that `python3 tests/run.py` installs; it names their place in
//! `ATTACHE_TOOLS`.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use tempfile::TempDir;

const ANNOUNCEMENT: &str = "listening on http://";

/// A server with the sample; it ends with this value.
struct Server {
    child: Child,
    address: String,
    home: TempDir,
    /// Held open, so that the server can go on printing.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut child = attache()
            .args(["serve", "--sample", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(home.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the server prints where it listens");
        let Some(address) = line.trim_end().strip_prefix(ANNOUNCEMENT) else {
            let status = end(&mut child);
            panic!("the server's first line is {line:?}, and it ended with {status}");
        };
        Self { address: address.to_owned(), child, home, _output: output }
    }

    /// The descriptor set that the program prints.
    fn descriptors(&self) -> PathBuf {
        let file = self.home.path().join("attache.binpb");
        let status = attache().args(["descriptors", "--out"]).arg(&file).status().expect("the program starts");
        assert!(status.success(), "attache descriptors ended with {status}");
        file
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) -> std::process::ExitStatus {
    // It may have ended by itself; then there is nothing to kill.
    let _ = child.kill();
    child.wait().expect("a child can be waited for")
}

fn attache() -> Command {
    Command::new(env!("CARGO_BIN_EXE_attache"))
}

/// One of the programs that the test command installs.
fn tool(name: &str) -> PathBuf {
    let tools = env::var_os("ATTACHE_TOOLS").expect("run python3 tests/run.py");
    let program = Path::new(&tools).join("bin").join(name);
    assert!(program.exists(), "{} is missing: run python3 tests/run.py", program.display());
    program
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

/// Runs a client to its end; what it printed is shown if a promise is broken.
fn finds_every_promise_kept(client: &mut Command) {
    let done = client.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).output().expect("the client starts");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}\n{out}{err}", done.status);
    assert!(out.lines().any(|line| line.starts_with("kept ")), "the client checked nothing:\n{out}{err}");
    println!("{out}");
}

#[test]
fn python_client_finds_every_promise_kept() {
    let (python, server) = (tool("python"), Server::start());
    finds_every_promise_kept(
        Command::new(python).arg(script("python_client.py")).arg(&server.address).arg(server.descriptors()),
    );
}

#[test]
fn python_client_needs_nothing_but_reflection() {
    let (python, server) = (tool("python"), Server::start());
    finds_every_promise_kept(Command::new(python).arg(script("python_client.py")).arg(&server.address));
}

#[test]
fn buf_curl_finds_every_promise_kept() {
    let (python, buf, server) = (tool("python"), tool("buf"), Server::start());
    finds_every_promise_kept(
        Command::new(python).arg(script("buf_curl.py")).arg(&server.address).arg(buf).env("HOME", server.home.path()),
    );
}

#[test]
fn node_client_finds_every_promise_kept() {
    let (node, server) = (tool("node"), Server::start());
    finds_every_promise_kept(
        Command::new(node).arg(script("node/client.js")).arg(&server.address).arg(server.descriptors()),
    );
}

/// The example of the README.
#[test]
fn python_example_streams_from_the_oldest_event_and_saves_its_token() {
    let (python, server) = (tool("python"), Server::start());
    let saved = server.home.path().join("token");
    let mut example = Command::new(python);
    example.arg(script("examples/stream.py")).arg(&server.address).arg(&saved).stdin(Stdio::null());
    let first = first_line(example.stdout(Stdio::piped()));
    // The frame before the first events has a token too, and it is saved before they are printed.
    assert!(saved.exists(), "no token was saved");
    assert!(first.starts_with("1-0 ") || first.starts_with("2-0 "), "the oldest event is not first: {first}");
}

#[test]
fn python_example_starts_again_with_a_snapshot_when_the_log_is_another() {
    let (python, server, before) = (tool("python"), Server::start(), Server::start());
    let info = attache().args(["log", "-o", "json", "--server", &before.address]).output().expect("the program starts");
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).expect("the other log's position");
    let saved = server.home.path().join("token");
    std::fs::write(&saved, info["token"].as_str().expect("a token")).expect("the token is saved");
    let mut example = Command::new(python);
    example.arg(script("examples/stream.py")).arg(&server.address).arg(&saved).stdin(Stdio::null());
    let first = first_line(example.stdout(Stdio::piped()));
    // Of a snapshot the id is revision and name.
    assert!(first.split(' ').next().is_some_and(|id| id.contains("-agreements/")), "no snapshot: {first}");
}

/// What a program prints first; it is ended after that.
fn first_line(command: &mut Command) -> String {
    let mut child = command.spawn().expect("the client starts");
    let mut line = String::new();
    let output = child.stdout.take().expect("its output is a pipe");
    BufReader::new(output).read_line(&mut line).expect("the client prints");
    end(&mut child);
    line
}
