//! A disk that can be watched and made to fail (`power.c`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A folder on the disk that is watched, what that disk would hold without power, and the shim between them.
pub struct Disk {
    root: tempfile::TempDir,
}

impl Disk {
    /// A fresh one.
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recovery/power.c");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-pthread", "-O1", "-Wall", "-o"])
            .arg(root.path().join("power.so"))
            .arg(source);
        assert!(compiler.status().expect("a C compiler").success());
        fs::create_dir(root.path().join("disk")).unwrap();
        Self { root }
    }

    /// What programs see.
    pub fn folder(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap().join("disk")
    }

    /// Has a command work on this disk.
    pub fn under<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("LD_PRELOAD", self.root.path().join("power.so"))
            .env("POWER_SRC", self.folder())
            .env("POWER_DST", self.root.path().join("synced"))
            .env("POWER_FAULT", self.root.path().join("fault"))
    }

    /// Has it fail in this way (`power.c`) from now on.
    pub fn misbehave(&self, how: &str) {
        // Whole at once: the shim may look at any moment.
        fs::write(self.root.path().join("fault.new"), how).unwrap();
        fs::rename(self.root.path().join("fault.new"), self.root.path().join("fault")).unwrap();
    }

    /// Has it work again.
    pub fn recover(&self) {
        fs::remove_file(self.root.path().join("fault")).unwrap();
    }

    /// What a store holds after loss of power: a copy, so that it can be opened again and again.
    pub fn after_power_loss(&self, store: &Path) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        let below = store.strip_prefix(self.folder()).unwrap();
        for file in fs::read_dir(self.root.path().join("synced").join(below)).into_iter().flatten() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        copy
    }
}
