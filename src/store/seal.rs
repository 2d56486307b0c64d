//! The end of a packed file: a frame that zstd skips, with the digest of everything before it.
//!
//! What zstd checks by itself says nothing of a byte that was changed, of a frame that is missing, or of one too many.

use std::{
    fs::File,
    io::{self, Read, Seek as _, Take, Write},
};

/// What a frame begins with that decoders skip, and how many bytes follow: both as zstd writes them.
const SKIPPED: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();
const FOLLOW: [u8; 4] = 32_u32.to_le_bytes();
/// The frame.
const SEAL_BYTES: usize = SKIPPED.len() + FOLLOW.len() + blake3::OUT_LEN;

/// A file that is sealed once it has all its bytes.
pub(super) struct Sealed {
    file: File,
    digest: blake3::Hasher,
}

impl Sealed {
    pub(super) fn begin(file: File) -> Self {
        Self { file, digest: blake3::Hasher::new() }
    }

    /// Ends the file with the seal of what was written.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.file.write_all(&seal(&self.digest))
    }
}

impl Write for Sealed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What is before the seal of a file, which was read through once and is what the seal says.
///
/// # Errors
///
/// If it cannot be read; without a code of the system's if it is not whole, or another.
pub(super) fn checked(file: File) -> io::Result<Take<File>> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let sealed = file.metadata()?.len().checked_sub(SEAL_BYTES as u64);
    let sealed = sealed.ok_or_else(|| wrong("it is too short"))?;
    let mut digest = blake3::Hasher::new();
    io::copy(&mut (&file).take(sealed), &mut digest)?;
    let mut found = [0; SEAL_BYTES];
    (&file).read_exact(&mut found)?;
    let expected = seal(&digest);
    if found[..SKIPPED.len()] != expected[..SKIPPED.len()] {
        return Err(wrong("it does not end with its digest"));
    }
    if found != expected {
        return Err(wrong("its digest is another"));
    }
    (&file).rewind()?;
    Ok(file.take(sealed))
}

fn seal(digest: &blake3::Hasher) -> [u8; SEAL_BYTES] {
    let mut seal = [0; SEAL_BYTES];
    let (head, rest) = seal.split_at_mut(SKIPPED.len() + FOLLOW.len());
    head[..SKIPPED.len()].copy_from_slice(&SKIPPED);
    head[SKIPPED.len()..].copy_from_slice(&FOLLOW);
    rest.copy_from_slice(digest.finalize().as_bytes());
    seal
}
