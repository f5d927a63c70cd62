//! A screen in a file.
//!
//! ```text
//! magic 8 | epoch 8 | offset 8 | cols 2 | rows 2 | torn 1 | 0 3 | crc 4 | painting
//! ```
//!
//! Little endian; the checksum covers all but itself.

use std::io;
use std::path::Path;

use sandtree_wire::Size;

use super::Snapshot;
use crate::view::Cursor;

const MAGIC: &[u8; 8] = b"STSCR\0\0\x01";
const FIELDS_BYTES: usize = 32;
const HEADER_BYTES: usize = FIELDS_BYTES + 4;
/// Far above what the largest screen is painted with.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Replaces the file. Whoever reads it gets the old or the new one, whole.
pub(super) fn save(path: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, to_bytes(snapshot))?;
    std::fs::rename(&new, path)
}

/// Reads the file; `None` when it is missing or not whole.
pub(super) fn load(path: &Path) -> io::Result<Option<Snapshot>> {
    let content = match std::fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => return Ok(None),
        Ok(_) => std::fs::read(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(from_bytes(&content))
}

fn to_bytes(snapshot: &Snapshot) -> Vec<u8> {
    let mut fields = [0; FIELDS_BYTES];
    fields[..8].copy_from_slice(MAGIC);
    fields[8..16].copy_from_slice(&snapshot.at.epoch.to_le_bytes());
    fields[16..24].copy_from_slice(&snapshot.at.offset.to_le_bytes());
    fields[24..26].copy_from_slice(&snapshot.size.cols.to_le_bytes());
    fields[26..28].copy_from_slice(&snapshot.size.rows.to_le_bytes());
    fields[28] = snapshot.torn.into();
    let crc = checksum(&fields, &snapshot.bytes).to_le_bytes();
    [&fields[..], &crc[..], &snapshot.bytes[..]].concat()
}

fn from_bytes(content: &[u8]) -> Option<Snapshot> {
    let (fields, rest) = content.split_first_chunk::<FIELDS_BYTES>()?;
    let (crc, bytes) = rest.split_first_chunk::<{ HEADER_BYTES - FIELDS_BYTES }>()?;
    if !fields.starts_with(MAGIC) || checksum(fields, bytes) != u32::from_le_bytes(*crc) {
        return None;
    }
    let u64_at = |at: usize| Some(u64::from_le_bytes(fields[at..at + 8].try_into().ok()?));
    let u16_at = |at: usize| Some(u16::from_le_bytes(fields[at..at + 2].try_into().ok()?));
    Some(Snapshot {
        at: Cursor { epoch: u64_at(8)?, offset: u64_at(16)? },
        bytes: bytes.to_vec(),
        size: Size { cols: u16_at(24)?, rows: u16_at(26)? },
        torn: fields[28] != 0,
    })
}

fn checksum(fields: &[u8], bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fields);
    hasher.update(bytes);
    hasher.finalize()
}
