//! A page of a file.

mod page;

use std::io::Read as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandtree_workspace::{Workspace, WorkspacePath};
use serde::Serialize;
use serde_json::Value;

use super::{Code, FsError, Root, answer, path, request};
use crate::edge::context::Call;
use crate::edge::dialects::daiv::refused::Refused;
use crate::edge::dialects::daiv::validate::{Fields, SMALL_BYTES_MAX, Spot, types};
use crate::edge::files::off_thread;
use crate::edge::reply::Response;
use page::{Paged, Pager};

/// Most bytes of one page of text, and of a file that is no text.
const BYTES_MAX: usize = 512_000;
/// Lines of a page that does not say how many.
const LIMIT_DEFAULT: i64 = 2000;
/// Largest file that is read for a page of it, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Most bytes of one read.
const PIECE_BYTES: usize = 64 * 1024;

/// What an empty file shows.
const EMPTY: &str = "System reminder: File exists but has empty contents";
/// How a page ends that was cut.
const CUT: &str = "\n\n[Output was truncated due to size limits. Continue reading with a larger \
                   offset or smaller limit to inspect the rest of the file.]";

struct Wanted {
    path: String,
    offset: u64,
    limit: u64,
}

impl Wanted {
    fn read(value: &Value, spot: &mut Spot) -> Option<Self> {
        let fields = Fields::of(value, spot)?;
        let path = fields.required(spot, "path", types::text);
        let offset = fields.or(spot, "offset", 0, types::at_least(0));
        let limit = fields.or(spot, "limit", LIMIT_DEFAULT, types::at_least(1));
        Some(Self {
            path: path?,
            offset: u64::try_from(offset?).ok()?,
            limit: u64::try_from(limit?).ok()?,
        })
    }
}

/// What is shown of a file.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Shown {
    content: Option<String>,
    encoding: Option<&'static str>,
    total_lines: Option<u64>,
    end_line: Option<u64>,
    truncated: bool,
}

/// Reads lines of a text, or the whole of a file that is no text.
pub(in super::super) async fn read(mut call: Call) -> Result<Response, Refused> {
    let (session, wanted) = request(&mut call, SMALL_BYTES_MAX, Wanted::read).await?;
    let file = match path(&wanted.path, Root::Refused) {
        Ok(file) => file,
        Err(error) => return Ok(answer::<Shown>(Err(error))),
    };
    let workspace = Arc::clone(session.files().await?.workspace());
    Ok(answer(off_thread(move || show(&workspace, &file, &wanted)).await?))
}

fn show(workspace: &Workspace, file: &WorkspacePath, wanted: &Wanted) -> Result<Shown, FsError> {
    let failed = |error: std::io::Error| FsError::of(&error.into(), &wanted.path);
    let opened = workspace.open_file_as_owner(file);
    let (mut file, _) = opened.map_err(|error| FsError::of(&error, &wanted.path))?;
    let mut pager = Pager::new(wanted.offset, wanted.limit, BYTES_MAX);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = file.read(&mut piece).map_err(failed)?;
        if count == 0 {
            break;
        }
        pager.push(&piece[..count]);
        if pager.is_large_binary() {
            return Err(too_large(&wanted.path, BYTES_MAX as u64));
        }
        if pager.bytes() > FILE_BYTES_MAX {
            return Err(too_large(&wanted.path, FILE_BYTES_MAX));
        }
    }
    shown(pager.finish(), wanted)
}

fn shown(paged: Paged, wanted: &Wanted) -> Result<Shown, FsError> {
    match paged {
        Paged::Empty => Ok(Shown {
            content: Some(EMPTY.to_owned()),
            encoding: Some("utf-8"),
            ..Shown::default()
        }),
        Paged::Binary(bytes) => Ok(Shown {
            content: Some(STANDARD.encode(bytes)),
            encoding: Some("base64"),
            ..Shown::default()
        }),
        Paged::Text { total_lines, .. } if wanted.offset >= total_lines => {
            let Wanted { offset, .. } = wanted;
            let words = format!("Line offset {offset} exceeds file length ({total_lines} lines)");
            Err(FsError::new(Code::InvalidOffset, words))
        }
        Paged::Text { mut content, lines, total_lines, is_cut } => {
            if is_cut {
                content.push_str(CUT);
            }
            Ok(Shown {
                content: Some(content),
                encoding: Some("utf-8"),
                total_lines: Some(total_lines),
                end_line: Some(wanted.offset.saturating_add(lines)),
                truncated: is_cut,
            })
        }
    }
}

fn too_large(path: &str, max: u64) -> FsError {
    FsError::new(Code::TooLarge, format!("{path}: is larger than {max} bytes"))
}
