//! `GET` and `HEAD` of a file.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use sandtree_actors::{Aside, Files};
use sandtree_workspace::{Entry, Workspace};
use warp::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::conditions::{Conditions, Verdict};
use super::{PIECE_BYTES, begin, blocking, is_directory, parse, precondition};
use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};
use crate::edge::reply::{self, Answered, Response};

/// What is kept as it is in the name of a download (RFC 8187, `attr-char`).
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Pieces that are read or waiting at most, for a client that does not take them.
const PIECES_AHEAD: usize = 2;

/// Reads a file, or one range of it.
///
/// # Errors
///
/// 404, 409 for a directory, 412 and 416 by the request's conditions.
pub async fn read(call: Call) -> Answered {
    let path = parse("path", &call.param("path")?)?;
    if path.is_root() {
        return Err(is_directory());
    }
    let conditions = Conditions::of(&call)?;
    let files = call.context.tree.files(&call.project()?).await?;
    let open = move |workspace: &Workspace| {
        let (file, entry) = workspace.open_file(&path)?;
        Ok((Aside::new(file), entry))
    };
    let (file, entry) = blocking(&files, open).await?;
    let verdict = conditions.verdict(&entry);
    let (status, from, length) = match verdict {
        Verdict::Failed => return Err(precondition(Some(&entry.etag))),
        Verdict::Unsatisfiable => return Ok(unsatisfiable(entry.size)),
        Verdict::NotModified => (StatusCode::NOT_MODIFIED, 0, None),
        // `Range` is for GET alone.
        Verdict::Part { from, length } if call.method == Method::GET => {
            (StatusCode::PARTIAL_CONTENT, from, Some(length))
        }
        Verdict::Whole | Verdict::Part { .. } => (StatusCode::OK, 0, Some(entry.size)),
    };
    let mut response = match length {
        Some(length) if call.method == Method::GET => {
            reply::streaming(status, Some(length), pieces(file, from, length, files))
        }
        Some(_) | None => reply::empty(status),
    };
    let headers = response.headers_mut();
    describe(headers, &entry);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {from}-{}/{}", from + length.unwrap_or(1) - 1, entry.size);
        insert(headers, CONTENT_RANGE, &range);
    }
    Ok(response)
}

/// The bytes, read a piece at a time: while the connection takes one, the next is being
/// read. A file that has become shorter breaks the connection off: its length was promised.
fn pieces(
    file: Aside<File>,
    from: u64,
    length: u64,
    files: Files,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (file, end) = (Arc::new(file), from + length);
    let begun = move |at: u64| {
        // The handle on the files is held because a download counts as activity.
        let (file, _active) = (Arc::clone(&file), &files);
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let read = begin(move || read_exact_at(&file, at, wanted));
        async { read.await.map_err(|problem| io::Error::other(problem.detail().to_owned()))? }
    };
    stream::iter((from..end).step_by(PIECE_BYTES)).map(begun).buffered(PIECES_AHEAD)
}

/// Reads a piece into memory that nobody has to clear first.
fn read_exact_at(file: &File, at: u64, count: usize) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        let next = at + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), next) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // There may be more room than was asked for.
    bytes.truncate(count);
    Ok(bytes.into())
}

/// What a client may know of the file, and what a browser may do with it: nothing.
fn describe(headers: &mut HeaderMap, entry: &Entry) {
    insert(headers, ETAG, &format!("\"{}\"", entry.etag));
    insert(headers, LAST_MODIFIED, &httpdate::fmt_http_date(entry.modified));
    let name = utf8_percent_encode(&entry.name, NAME);
    insert(headers, CONTENT_DISPOSITION, &format!("attachment; filename*=UTF-8''{name}"));
    for (name, value) in [
        (ACCEPT_RANGES, "bytes"),
        (CACHE_CONTROL, "private, no-cache"),
        (CONTENT_TYPE, "application/octet-stream"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Hexadecimal digits, dates and percent-encoded names: all of it is ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn unsatisfiable(size: u64) -> Response {
    let problem = Problem::new(kinds::RANGE, format!("the file has {size} bytes")).limit(size);
    let mut response = problem.into_response();
    insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{size}"));
    response
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_that_became_shorter_is_an_error_and_not_a_short_answer() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        assert_eq!(read_exact_at(&file, 2, 3).unwrap(), "234");
        let error = read_exact_at(&file, 8, 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_browser_neither_renders_nor_runs_a_file() {
        let mut headers = HeaderMap::new();
        let entry = Entry {
            name: "ä \"x\"\r\n.html".to_owned(),
            name_is_lossy: false,
            kind: sandtree_workspace::Kind::File,
            size: 1,
            mode: 0o644,
            modified: std::time::UNIX_EPOCH,
            etag: sandtree_workspace::Etag::new("1-2"),
            link_target: None,
        };
        describe(&mut headers, &entry);
        assert_eq!(
            headers[CONTENT_DISPOSITION],
            "attachment; filename*=UTF-8''%C3%A4%20%22x%22%0D%0A.html"
        );
        assert_eq!(headers[ETAG], "\"1-2\"");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[LAST_MODIFIED], "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn a_range_outside_the_file_is_told_its_size() {
        let response = unsatisfiable(7);
        assert_eq!(response.status(), 416);
        assert_eq!(response.headers()[CONTENT_RANGE], "bytes */7");
    }
}
