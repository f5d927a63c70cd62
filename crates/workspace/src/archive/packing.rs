//! What an archive is compressed with, told from its first bytes.

use std::io::{self, BufReader, Cursor, Read};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use super::ArchiveFormat;
use super::gauge::{Gauge, Packed};

/// Most memory of a decompressor, in bytes: what the strongest settings of `xz` need, and a
/// window of `zstd --long`.
const MEMORY_MAX: u64 = 128 * 1024 * 1024;
/// The same as a power of two.
const WINDOW_LOG_MAX: u32 = 27;

/// The longest of the first bytes.
const MAGIC_BYTES: usize = 6;

#[derive(Clone, Copy)]
enum Packing {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Packing {
    fn of(begin: &[u8]) -> Self {
        const MAGICS: [(&[u8], Packing); 4] = [
            (b"\x1f\x8b", Packing::Gzip),
            (b"BZh", Packing::Bzip2),
            (b"\xfd7zXZ\0", Packing::Xz),
            (b"\x28\xb5\x2f\xfd", Packing::Zstd),
        ];
        let found = MAGICS.into_iter().find(|(magic, _)| begin.starts_with(magic));
        found.map_or(Packing::None, |(_, packing)| packing)
    }
}

/// The plain tar in what the client sends. Parallel compressors write many streams one after the
/// other, so all of them are read.
pub(super) fn unpacked<'a>(
    from: impl Read + 'a,
    format: Option<ArchiveFormat>,
    gauge: &'a Gauge,
) -> io::Result<Box<dyn Read + 'a>> {
    let mut from = Packed { reader: from, gauge };
    let mut begin = Vec::with_capacity(MAGIC_BYTES);
    from.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut begin)?;
    let packing = match format {
        None => Packing::of(&begin),
        Some(ArchiveFormat::Tar) => Packing::None,
        Some(ArchiveFormat::TarGz) => Packing::Gzip,
    };
    let from = Cursor::new(begin).chain(from);
    Ok(match packing {
        Packing::None => Box::new(from),
        Packing::Gzip => Box::new(MultiGzDecoder::new(from)),
        Packing::Bzip2 => Box::new(MultiBzDecoder::new(from)),
        Packing::Xz => {
            let stream = Stream::new_stream_decoder(MEMORY_MAX, CONCATENATED)?;
            Box::new(XzDecoder::new_stream(from, stream))
        }
        Packing::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(BufReader::new(from))?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}
