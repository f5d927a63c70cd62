//! The members of an archive one after another, within its limits; and a look at all of them
//! before any is taken.

use std::io::{self, Read};

use tar::{Archive, Entry};

use super::gauge::{Gauge, Unpacked};
use super::packing::unpacked;
use super::{ArchiveError, ExtractOptions, Manner, cut};
use crate::copy::Limits;
use crate::error::Limit;
use crate::path::{BadPath, WorkspacePath};

/// Reads an archive to its end and takes nothing: whether it can be read, keeps to its limits,
/// and has no name for which [`Workspace::archive_in`](crate::Workspace::archive_in) would end.
///
/// # Errors
///
/// All of [`ArchiveError`] that are about the archive.
pub fn check_archive(from: impl Read, options: &ExtractOptions) -> Result<(), ArchiveError> {
    let gauge = Gauge::new(options);
    let reader = unpacked(from, options.format, &gauge).map_err(|error| gauge.explain(error))?;
    let mut archive = Archive::new(Unpacked { reader, gauge: &gauge });
    members(&mut archive, options, &gauge, |_| Ok(()))?;
    finish(archive, &gauge)
}

/// Calls `each` with every member.
pub(super) fn members<R: Read>(
    archive: &mut Archive<R>,
    options: &ExtractOptions,
    gauge: &Gauge,
    mut each: impl FnMut(&mut Entry<'_, R>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut left = options.limits;
    let mut members = archive.entries().map_err(|error| gauge.explain(error))?;
    loop {
        gauge.header();
        let Some(member) = members.next() else { break };
        let mut member = member.map_err(|error| gauge.explain(error))?;
        gauge.content();
        spend(&mut left, options.limits, member.size())?;
        if options.manner == Manner::Uniform {
            check_name(&member.path_bytes())?;
        }
        each(&mut member)?;
        // Here, because what the next call has to skip would count as its header.
        io::copy(&mut member, &mut io::sink()).map_err(|error| gauge.explain(error))?;
    }
    Ok(())
}

/// What follows the end mark counts for nothing, but only after it a decompressor tells whether
/// all was right.
pub(super) fn finish(archive: Archive<impl Read>, gauge: &Gauge) -> Result<(), ArchiveError> {
    gauge.content();
    let rest = io::copy(&mut archive.into_inner(), &mut io::sink());
    rest.map(drop).map_err(|error| gauge.explain(error))
}

/// Counts a member, before it is known whether it is taken: holes in a sparse file cost work
/// even where it is skipped.
fn spend(left: &mut Limits, all: Limits, bytes: u64) -> Result<(), ArchiveError> {
    let Limits { bytes_max, entries_max } = all;
    let over = |what, max| ArchiveError::OverLimit { what, max };
    left.entries_max =
        left.entries_max.checked_sub(1).ok_or(over(Limit::Entries, entries_max as u64))?;
    left.bytes_max = left.bytes_max.checked_sub(bytes).ok_or(over(Limit::Bytes, bytes_max))?;
    Ok(())
}

fn check_name(name: &[u8]) -> Result<(), ArchiveError> {
    let why = match WorkspacePath::parse_member(name) {
        Err(why @ (BadPath::Absolute | BadPath::DotDot)) => why,
        // Any other is skipped, and nothing is where it would have been.
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(ArchiveError::BadMember { name: cut(name), why })
}
