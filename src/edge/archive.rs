//! The workspace, or a directory of it, as one archive: out and in, as a stream.
//!
//! The archive is never in memory and never on disk as a whole. Packing and unpacking
//! block, so each holds a thread; there are `server.archives_max` places for them, and a
//! client that stops reading or sending is given up. Unpacking is one write of the
//! project's file-writer: other writes of the project wait until it is done.

mod pipe;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use sandtree_actors::Files;
use sandtree_model::event::FileChange;
use sandtree_workspace::{
    ArchiveError, ArchiveFormat, ArchiveSummary, Existing, ExtractOptions, Limits, Manner,
    WorkspacePath,
};
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, X_CONTENT_TYPE_OPTIONS};
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::body::{self, BodyError};
use super::context::Call;
use super::errors::{Problem, kinds};
use super::files::{self, next_piece, note, parse, write_problem};
use super::places::Place;
use super::reply::{self, Answered};
use pipe::{PieceReader, PieceWriter};

/// What one archive may hold.
const LIMITS: Limits = Limits { bytes_max: 16 * 1024 * 1024 * 1024, entries_max: 500_000 };
/// How many times larger a tar may be than its gzip.
const RATIO_MAX: u32 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Format {
    #[serde(rename = "tar")]
    Tar,
    #[serde(rename = "tar.gz")]
    TarGz,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DownloadQuery {
    /// A directory or a file; absent: the workspace.
    #[serde(default)]
    path: String,
    /// `tar.gz` (the default) or `tar`.
    format: Option<Format>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UploadQuery {
    /// Where it goes, made if it is missing; absent: the workspace.
    #[serde(default)]
    path: String,
    /// Absent: by the media type, else by the first bytes.
    format: Option<Format>,
    /// Whether files of the same name are replaced; `true`.
    overwrite: Option<bool>,
}

impl From<Format> for ArchiveFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Tar => ArchiveFormat::Tar,
            Format::TarGz => ArchiveFormat::TarGz,
        }
    }
}

/// Sends a directory, or one file, as an archive. An archive that breaks off, because
/// it is larger than it may be or the disk fails, ends the connection early.
///
/// # Errors
///
/// 404, 429 when too many archives are under way.
pub async fn download(call: Call) -> Answered {
    let query: DownloadQuery = call.query()?;
    let path = parse("path", &query.path)?;
    let format = query.format.unwrap_or(Format::TarGz);
    let key = call.project()?;
    let files = call.context.tree.files(&key).await?;
    let body = pack(files, path, format.into(), call.context.places.archives.take()?).await?;
    let (media_type, ending) = match format {
        Format::Tar => ("application/x-tar", "tar"),
        Format::TarGz => ("application/gzip", "tar.gz"),
    };
    let response = if call.method == Method::HEAD {
        reply::empty(StatusCode::OK)
    } else {
        reply::streaming(StatusCode::OK, None, body)
    };
    let mut response = reply::typed(response, media_type);
    let headers = response.headers_mut();
    let name = format!("attachment; filename=\"{}.{ending}\"", key.id);
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Unpacks an archive into a directory: 200 with what was taken and what was skipped.
/// Each file appears whole; what was unpacked before a failure stays.
///
/// # Errors
///
/// 400 for what is no archive, 413 for one that is or becomes too large, 415 for
/// another media type.
pub async fn upload(mut call: Call) -> Answered {
    let query: UploadQuery = call.query()?;
    let path = parse("path", &query.path)?;
    let by_type = media_format(&call.headers)?;
    let limit = call.context.settings.archive_bytes_max;
    body::check_length(&call.headers, limit)?;
    let overwrite = query.overwrite.unwrap_or(true);
    let options = ExtractOptions {
        format: query.format.map(Into::into).or(by_type),
        limits: LIMITS,
        ratio_max: RATIO_MAX,
        existing: if overwrite { Existing::Replace } else { Existing::Keep },
        manner: Manner::AsIs,
    };
    let place = call.context.places.archives.take()?;
    let files = call.context.tree.files(&call.project()?).await?;
    let body = call.take_body().limited(limit);
    let summary = unpack(&files, path, options, body, place).await?;
    Ok(reply::json(StatusCode::OK, &document(&summary)))
}

/// The archive as a stream. Waits for its first piece, so that what is wrong from the
/// beginning is an answer of its own.
async fn pack(
    files: Files,
    path: WorkspacePath,
    format: ArchiveFormat,
    place: Place,
) -> Result<impl Stream<Item = pipe::Piece> + Send + 'static, Problem> {
    let (mut writer, mut pieces) = PieceWriter::new();
    tokio::task::spawn_blocking(move || {
        let outcome = files.workspace().archive_out(&path, format, &mut writer, &LIMITS);
        if let Err(error) = outcome {
            writer.fail(error);
        }
        // Held until here: a download counts as activity and takes a place.
        drop((files, place));
    });
    let first = match pieces.recv().await {
        Some(Ok(first)) => Some(Ok(first)),
        Some(Err(error)) => return Err(problem(&error)),
        None => return Err(Problem::internal("an archive ended before it began")),
    };
    let rest = stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    Ok(stream::iter(first).chain(rest))
}

async fn unpack(
    files: &Files,
    path: WorkspacePath,
    options: ExtractOptions,
    body: impl Stream<Item = Result<Bytes, BodyError>>,
    place: Place,
) -> Result<ArchiveSummary, Problem> {
    let (reader, sender) = PieceReader::new();
    let unpacked = files.write(move |workspace| {
        let outcome = workspace.archive_in(reader, &path, &options);
        // Held until here: it goes on when the client has gone.
        drop(place);
        // What was unpacked before a failure stays, so it is told in any case.
        (Ok(outcome), vec![note(&path, FileChange::Written)])
    });
    let feed = async move {
        // Dropped where this ends, which is what the other side waits for.
        let sender = sender;
        let mut body = std::pin::pin!(body);
        while let Some(piece) = next_piece(&mut body).await? {
            if sender.send(Some(piece)).await.is_err() {
                // The other side has an answer already.
                return Ok(());
            }
        }
        // An archive may end before its padding is read.
        let _ = sender.send(None).await;
        Ok::<(), Problem>(())
    };
    let (unpacked, fed) = tokio::join!(unpacked, feed);
    fed?;
    unpacked.map_err(write_problem)?.map_err(|error| problem(&error))
}

fn media_format(headers: &HeaderMap) -> Result<Option<ArchiveFormat>, Problem> {
    const TYPES: [&str; 8] = [
        "application/x-tar",
        "application/gzip",
        "application/x-gzip",
        "application/x-gtar",
        "application/x-bzip2",
        "application/x-xz",
        "application/zstd",
        "application/octet-stream",
    ];
    if body::media_type(headers).is_none() {
        return Ok(None);
    }
    body::require_media(headers, &TYPES)?;
    Ok(match body::media_type(headers).as_deref() {
        Some("application/gzip" | "application/x-gzip") => Some(ArchiveFormat::TarGz),
        // Clients name compressed archives like this as well; the first bytes tell.
        Some(_) | None => None,
    })
}

/// What a client is told of an archive that was unpacked.
pub(super) fn document(summary: &ArchiveSummary) -> Value {
    let skipped: Vec<_> = summary
        .skipped
        .iter()
        .map(|skipped| json!({ "name": skipped.name, "why": skipped.why.to_string() }))
        .collect();
    json!({
        "files": summary.files,
        "directories": summary.directories,
        "links": summary.links,
        "bytes": summary.bytes,
        "skipped": skipped,
        "skipped_total": summary.skipped_total,
    })
}

/// What a client is told of an error of an archive.
pub(super) fn problem(error: &ArchiveError) -> Problem {
    let detail = error.to_string();
    match error {
        ArchiveError::Unreadable(source) => {
            Problem::new(kinds::MALFORMED_BODY, format!("{detail}: {source}"))
        }
        ArchiveError::BadMember { .. } => Problem::new(kinds::MALFORMED_BODY, detail),
        ArchiveError::Unwritable(source) => Problem::internal(&format!("{detail}: {source}")),
        ArchiveError::OverLimit { max, .. } | ArchiveError::Header { max } => {
            Problem::new(kinds::TOO_LARGE, detail).limit(*max)
        }
        ArchiveError::Ratio { max } => {
            Problem::new(kinds::TOO_LARGE, detail).limit(u64::from(*max))
        }
        ArchiveError::Workspace(error) => files::problem(error),
    }
}

#[cfg(test)]
mod tests {
    use warp::http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn the_media_type_tells_the_format_or_is_refused() {
        let with = |value| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
        assert_eq!(media_format(&HeaderMap::new()).unwrap(), None);
        assert_eq!(media_format(&with("application/x-tar")).unwrap(), None);
        assert_eq!(media_format(&with("application/gzip")).unwrap(), Some(ArchiveFormat::TarGz));
        assert!(media_format(&with("application/zip")).is_err());
    }

    #[test]
    fn every_error_of_an_archive_has_its_status() {
        let broken = || std::io::Error::other("cut short");
        for (error, status) in [
            (ArchiveError::Unreadable(broken()), 400),
            (ArchiveError::Unwritable(broken()), 500),
            (ArchiveError::Ratio { max: 3 }, 413),
            (ArchiveError::Header { max: 3 }, 413),
            (ArchiveError::Workspace(sandtree_workspace::WorkspaceError::NotFound), 404),
        ] {
            assert_eq!(problem(&error).document()["status"], status, "{error:?}");
        }
    }
}
