//! NATS core: a fan-out without a store. Its protocol is text; messages are counted and skipped, not read.

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::mpsc::sync_channel,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Outcome,
    bench::{BYTES, CHANNELS},
    places,
    process::Process,
};

/// A server that is silent for so long is broken.
const SILENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// What the client reads at once, in bytes.
const READ_BYTES: usize = 256 * 1024;
const SUBJECT: &str = "bench";
/// Nobody is cut off for being slow: all of a run fits what may be pending.
const CONFIG: &str = "max_pending: 1073741824\nwrite_deadline: \"60s\"\n";

/// A server.
pub struct Nats {
    /// Ends before its folder goes.
    _process: Process,
    address: String,
    _folder: TempDir,
}

impl Nats {
    /// Starts one on a port of its choice.
    pub async fn start(program: &Path) -> Outcome<Self> {
        let folder = places::temporary()?;
        let config = folder.path().join("nats.conf");
        fs::write(&config, CONFIG)?;
        let mut command = Command::new(program);
        command.args(["-a", "127.0.0.1", "-p", "-1", "-c"]).arg(&config).arg("--ports_file_dir").arg(folder.path());
        let process = Process::start("nats-server", &mut command)?;
        let began = Instant::now();
        let address = loop {
            match address(folder.path()) {
                Ok(address) => break address,
                Err(error) if began.elapsed() > SILENCE => {
                    return Err(process.trouble(&format!("is not ready ({error})")));
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        };
        Ok(Self { _process: process, address, _folder: folder })
    }

    /// Sends so many messages to so many subscribers on each of the connections; deliveries a second.
    pub async fn fan_out(&self, messages: usize, subscribers: usize) -> Outcome<f64> {
        let address = self.address.clone();
        tokio::task::spawn_blocking(move || fan_out(&address, messages, subscribers)).await?
    }
}

/// As the file says that it writes when it listens.
fn address(folder: &Path) -> Outcome<String> {
    let is_ports = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "ports");
    let file =
        fs::read_dir(folder)?.flatten().map(|entry| entry.path()).find(is_ports).ok_or("no file of ports yet")?;
    let ports: Value = serde_json::from_slice(&fs::read(file)?)?;
    let url = ports["nats"][0].as_str().ok_or("no port yet")?;
    Ok(url.trim_start_matches("nats://").to_owned())
}

fn fan_out(address: &str, messages: usize, subscribers: usize) -> Outcome<f64> {
    let (ready, all_ready) = sync_channel(CHANNELS);
    let mut readers = Vec::new();
    for _ in 0..CHANNELS {
        let (mut stream, ready) = (connect(address)?, ready.clone());
        readers.push(std::thread::spawn(move || -> Outcome<()> {
            let mut lines = BufReader::with_capacity(READ_BYTES, stream.try_clone()?);
            for sid in 1..=subscribers {
                write!(stream, "SUB {SUBJECT} {sid}\r\n")?;
            }
            pong(&mut stream, &mut lines)?;
            ready.send(())?;
            count(&mut stream, &mut lines, messages * subscribers)
        }));
    }
    drop(ready);
    for _ in 0..CHANNELS {
        all_ready.recv().map_err(|_| "a subscriber of NATS failed")?;
    }
    let began = Instant::now();
    publish(address, messages)?;
    for reader in readers {
        reader.join().map_err(|_| "a subscriber of NATS panicked")??;
    }
    Ok((messages * subscribers * CHANNELS) as f64 / began.elapsed().as_secs_f64())
}

fn connect(address: &str) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\"version\":\"0\"}\r\n")?;
    Ok(stream)
}

/// Waits until the server has done all that was asked before.
fn pong(stream: &mut TcpStream, lines: &mut impl BufRead) -> Outcome<()> {
    stream.write_all(b"PING\r\n")?;
    let mut line = String::new();
    while !line.starts_with("PONG") {
        line.clear();
        if lines.read_line(&mut line)? == 0 || line.starts_with("-ERR") {
            return Err(format!("NATS ended the connection: {line}").into());
        }
    }
    Ok(())
}

fn publish(address: &str, messages: usize) -> Outcome<()> {
    let mut stream = connect(address)?;
    let message = format!("PUB {SUBJECT} {BYTES}\r\n{}\r\n", "7".repeat(BYTES));
    // As many at once as a client's buffer would hold.
    let (batch, size) = (message.repeat(32), message.len());
    for sent in (0..messages).step_by(32) {
        stream.write_all(&batch.as_bytes()[..size * 32.min(messages - sent)])?;
    }
    let mut lines = BufReader::new(stream.try_clone()?);
    pong(&mut stream, &mut lines)
}

/// Reads until so many messages came.
fn count(stream: &mut TcpStream, lines: &mut BufReader<TcpStream>, mut left: usize) -> Outcome<()> {
    let mut line = Vec::new();
    while left > 0 {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 || line.starts_with(b"-ERR") {
            return Err(format!("NATS ended the connection: {}", String::from_utf8_lossy(&line)).into());
        }
        if line.starts_with(b"MSG") {
            skip(lines, BYTES + 2)?;
            left -= 1;
        } else if line.starts_with(b"PING") {
            stream.write_all(b"PONG\r\n")?;
        }
    }
    Ok(())
}

fn skip(lines: &mut BufReader<TcpStream>, mut bytes: usize) -> Outcome<()> {
    while bytes > 0 {
        let here = lines.fill_buf()?.len().min(bytes);
        if here == 0 {
            return Err("NATS ended the connection within a message".into());
        }
        lines.consume(here);
        bytes -= here;
    }
    Ok(())
}
