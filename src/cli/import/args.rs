//! What `attache import` is told, and the files it names.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser as _},
};

use crate::{
    cli::{client::ClientArgs, error::CliError, input},
    import::{File, Kind, States},
};

/// Bytes of all files together: they are read as a whole, so that a broken one is known before anything is sent.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Files of one folder.
const MAX_FILES: usize = 10_000;

/// Arguments of `attache import`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Rows that are wrong are left out and told; the exit code is 1 then. Importing again changes nothing."
)]
pub struct ImportArgs {
    /// The format
    #[arg(long = "from", value_name = "KIND", value_parser = kinds())]
    pub kind: Kind,
    /// A file, a folder, or - for standard input
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Say what would happen, and file nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Spellings of states in addition: lines of spelling, tab, code
    #[arg(long = "states", value_name = "FILE")]
    states: Option<PathBuf>,
    /// Write every row that was refused, with the reason, into this file: place, tab, reason
    #[arg(long, value_name = "FILE")]
    pub refused: Option<PathBuf>,
    /// Go on with a replay that was interrupted: leave out what is older than the newest entry of the log
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

fn kinds() -> impl clap::builder::TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::word)).try_map(|word| word.parse::<Kind>())
}

impl ImportArgs {
    /// The table of states, extended as the flag says.
    pub fn states(&self) -> Result<States, CliError> {
        let built_in = States::built_in();
        let Some(path) = &self.states else { return Ok(built_in) };
        let text = input::read(path)?;
        built_in.with(&path.display().to_string(), &text).map_err(|e| CliError::Usage(e.to_string()))
    }

    /// The files, by name, and those of the folder that are not read.
    pub fn files(&self) -> Result<(Vec<File>, Vec<String>), CliError> {
        if self.path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| wrong(&self.path, &e))?;
            check_size(bytes.len() as u64)?;
            return Ok((vec![File { name: "-".to_owned(), bytes }], Vec::new()));
        }
        if !self.path.is_dir() {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok((vec![read(&self.path, name)?], Vec::new()));
        }
        self.folder()
    }

    fn folder(&self) -> Result<(Vec<File>, Vec<String>), CliError> {
        let mut paths = Vec::new();
        walk(&self.path, &mut paths)?;
        paths.sort();
        let (mut files, mut unread, mut size) = (Vec::new(), Vec::new(), 0);
        for path in paths {
            let name = path.strip_prefix(&self.path).unwrap_or(&path).display().to_string();
            let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
            if self.kind.extensions().contains(&ending.as_str()) {
                let file = read(&path, name)?;
                size += file.bytes.len() as u64;
                check_size(size)?;
                files.push(file);
            } else {
                unread.push(name);
            }
        }
        if files.is_empty() {
            let endings = self.kind.extensions().join(" or .");
            let words = format!("{}: there is no file with the ending .{endings} in it", self.path.display());
            return Err(CliError::Usage(words));
        }
        Ok((files, unread))
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), CliError> {
    for entry in fs::read_dir(folder).map_err(|e| wrong(folder, &e))? {
        let entry = entry.map_err(|e| wrong(folder, &e))?;
        // A link to a folder is not followed: it might lead back.
        if entry.file_type().map_err(|e| wrong(folder, &e))?.is_dir() {
            walk(&entry.path(), found)?;
        } else {
            found.push(entry.path());
        }
        if found.len() > MAX_FILES {
            return Err(CliError::Usage(format!("{}: more than {MAX_FILES} files", folder.display())));
        }
    }
    Ok(())
}

fn read(path: &Path, name: String) -> Result<File, CliError> {
    check_size(fs::metadata(path).map_err(|e| wrong(path, &e))?.len())?;
    Ok(File { name, bytes: fs::read(path).map_err(|e| wrong(path, &e))? })
}

fn check_size(bytes: u64) -> Result<(), CliError> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(CliError::Usage(format!("more than {} MiB at once: import it in parts", MAX_BYTES / 1024 / 1024)))
}

fn wrong(path: &Path, error: &std::io::Error) -> CliError {
    CliError::Usage(format!("{}: {error}", path.display()))
}
