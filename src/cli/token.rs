//! `attache token`: bearer tokens, made where nobody else sees them.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf};

use clap::{Args, Subcommand};

use super::{error::CliError, output};
use crate::access::{Secret, Tokens};

/// Arguments of `attache token`.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Make a token: it is printed once, alone, and kept nowhere; servers keep its digest
    New {
        /// Whose it is: revisions record it as `token:NAME`, by which the policy grants it roles
        name: String,
        /// When it ends, such as 2027-01-01T00:00:00Z [default: never]
        #[arg(long, value_name = "TIME")]
        expires: Option<jiff::Timestamp>,
        /// Add its digest to a server's file of tokens [default: print what to add]
        #[arg(long, value_name = "FILE")]
        add_to: Option<PathBuf>,
    },
}

/// Makes a token.
///
/// # Errors
///
/// [`CliError::Usage`] if the name is none, or the file cannot be added to.
pub fn run(args: &TokenArgs) -> Result<(), CliError> {
    let What::New { name, expires, add_to } = &args.what;
    let Secret { token, digest } = Secret::new();
    let expires = expires.map(|expires| format!("expires = \"{expires}\"\n")).unwrap_or_default();
    let row = format!("[[token]]\nname = \"{name}\"\ndigest = \"{digest}\"\n{expires}");
    // Whatever the server would not take is not handed out.
    Tokens::parse(&row).map_err(CliError::Usage)?;
    match add_to {
        Some(file) => {
            add(file, &row)?;
            output::note(format!("{} knows it now; servers read that file again when it changes", file.display()));
        }
        None => output::note(format!("for the server's file of tokens (access.tokens):\n\n{row}")),
    }
    output::text(format!("{token}\n").as_bytes())
}

fn add(file: &PathBuf, row: &str) -> Result<(), CliError> {
    let wrong = |why: String| CliError::Usage(format!("{}: {why}", file.display()));
    let before = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let apart = if before.is_empty() || before.ends_with("\n\n") { "" } else { "\n" };
    let apart = if before.is_empty() || before.ends_with('\n') { apart } else { "\n\n" };
    let added = format!("{apart}{row}");
    Tokens::parse(&format!("{before}{added}")).map_err(wrong)?;
    // A new one is its owner's alone: nobody else needs to know whose tokens there are.
    let open = fs::File::options().append(true).create(true).mode(0o600).open(file);
    let mut open = open.map_err(|e| wrong(e.to_string()))?;
    open.write_all(added.as_bytes()).and_then(|()| open.sync_all()).map_err(|e| wrong(e.to_string()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_of_tokens_is_made_for_its_owner_alone_and_keeps_the_mode_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens.toml");
        let row = |name: &str| format!("[[token]]\nname = \"{name}\"\ndigest = \"{}\"\n", Secret::new().digest);
        let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        add(&file, &row("one")).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        add(&file, &row("two")).unwrap();
        assert_eq!(mode(), 0o640);
    }
}
