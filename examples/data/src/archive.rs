//! One file out of a `.tar.gz`, and the only file out of a `.zip`.
//!
//! Just enough of both formats for the data set's archive; what differs from it is refused.
//! Must never: be used for an archive that a stranger made.

use anyhow::{Context, Result, bail, ensure};
use flate2::read::{DeflateDecoder, GzDecoder};
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

const BLOCK: usize = 512;

/// The bytes of the first file in the archive whose path ends in `name`.
pub(crate) fn member(archive: &Path, name: &str) -> Result<Vec<u8>> {
    let file = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
    let mut tar = GzDecoder::new(BufReader::new(file));
    let mut header = [0; BLOCK];
    loop {
        tar.read_exact(&mut header).with_context(|| format!("{} is not the archive expected", archive.display()))?;
        let path = text(&header[..100]);
        ensure!(!path.is_empty(), "{} holds no {name}", archive.display());
        let size = u64::from_str_radix(&text(&header[124..136]), 8).context("a size in the archive is damaged")?;
        if path.ends_with(name) {
            let mut bytes = Vec::new();
            tar.by_ref().take(size).read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
        let padded = size.next_multiple_of(BLOCK as u64);
        std::io::copy(&mut tar.by_ref().take(padded), &mut std::io::sink())?;
    }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).trim().to_owned()
}

/// A reader of the first file in a zip archive.
pub(crate) fn unzip(zip: Vec<u8>) -> Result<impl Read + Send + use<>> {
    const LOCAL_HEADER: usize = 30;
    const DEFLATE: u16 = 8;
    let header = zip.get(..LOCAL_HEADER).context("too short for a zip archive")?;
    ensure!(header.starts_with(b"PK\x03\x04"), "not a zip archive");
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    if u16_at(8) != DEFLATE {
        bail!("the file in the zip archive is not deflated");
    }
    // A deflate stream knows its own end, so the size, which may stand behind the data, is not needed.
    let start = LOCAL_HEADER + usize::from(u16_at(26)) + usize::from(u16_at(28));
    let mut data = Cursor::new(zip);
    data.set_position(start as u64);
    Ok(DeflateDecoder::new(data))
}
