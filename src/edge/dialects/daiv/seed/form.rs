//! The form of two archives: each part goes to a file without a name on the server's disk.

use std::time::Duration;

use multer::{Constraints, Field, Multipart, SizeLimit};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use warp::http::StatusCode;
use warp::http::header::CONTENT_TYPE;

use super::{Refused, Seed};
use crate::edge::body;
use crate::edge::context::Call;
use crate::edge::dialects::daiv::validate::Wrong;
use crate::edge::errors::{Problem, kinds};
use crate::edge::files::off_thread;

/// The parts that are read, and the folder that each is for.
const PARTS: [(&str, &str); 2] = [("repo_archive", "repo"), ("skills_archive", "skills")];
/// Most parts of a form.
const PARTS_MAX: usize = 100;
/// Longest time between two pieces of a part.
const STALL_MAX: Duration = Duration::from_secs(60);

/// Receives the archives of a form; none of a request that is no form.
pub(super) async fn receive(call: &mut Call) -> Result<Vec<Seed>, Refused> {
    let limit = call.context.settings.archive_bytes_max;
    body::check_length(&call.headers, limit)?;
    let media = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Some(boundary) = media.and_then(|media| multer::parse_boundary(media).ok()) else {
        return Ok(Vec::new());
    };
    let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(limit));
    let body = call.take_body().limited(limit);
    let mut form = Multipart::with_constraints(body, boundary, constraints);
    let mut seeds: Vec<Seed> = Vec::new();
    for _ in 0..PARTS_MAX {
        let Some(mut part) = in_time(form.next_field()).await? else { return Ok(seeds) };
        let name = part.name().unwrap_or_default();
        let known = PARTS.iter().find(|(known, _)| *known == name);
        let Some((field, folder)) = known.copied() else { continue };
        if part.file_name().is_none() {
            return Err(Refused::Invalid(vec![no_file(field)]));
        }
        let dir = call.context.tree.settings().data_dir.clone();
        let file = off_thread(move || tempfile::tempfile_in(dir)).await?.map_err(on_disk)?;
        let file = save(&mut part, file, field).await?;
        // Of two parts of a name the last one counts.
        seeds.retain(|seed| seed.field != field);
        seeds.push(Seed { field, folder, file });
    }
    let words = format!("a form has at most {PARTS_MAX} parts");
    Err(Refused::said(StatusCode::UNPROCESSABLE_ENTITY, words))
}

/// Writes a part to its file, and answers the file at its beginning.
async fn save(
    part: &mut Field<'_>,
    file: std::fs::File,
    field: &'static str,
) -> Result<std::fs::File, Refused> {
    let mut file = tokio::fs::File::from_std(file);
    let mut bytes = 0;
    while let Some(piece) = in_time(part.chunk()).await? {
        bytes += piece.len();
        file.write_all(&piece).await.map_err(on_disk)?;
    }
    if bytes == 0 {
        let words = format!("{field} is invalid: empty file");
        return Err(Refused::said(StatusCode::UNPROCESSABLE_ENTITY, words));
    }
    file.flush().await.map_err(on_disk)?;
    let mut file = file.into_std().await;
    off_thread(move || std::io::Seek::rewind(&mut file).map(|()| file)).await?.map_err(on_disk)
}

async fn in_time<T>(next: impl Future<Output = multer::Result<T>>) -> Result<T, Refused> {
    match timeout(STALL_MAX, next).await {
        Ok(Ok(next)) => Ok(next),
        Ok(Err(multer::Error::StreamSizeExceeded { limit })) => {
            Err(Problem::too_large("the body", limit).into())
        }
        Ok(Err(error)) => {
            let words = format!("There was an error parsing the body: {error}");
            Err(Refused::said(StatusCode::BAD_REQUEST, words))
        }
        Err(_) => {
            let words = format!("nothing of the body has come for {}s", STALL_MAX.as_secs());
            Err(Problem::new(kinds::BAD_REQUEST, words).into())
        }
    }
}

fn no_file(field: &str) -> Wrong {
    Wrong::of_value(field, json!("(text)"), "Expected UploadFile, received: <class 'str'>")
}

fn on_disk(error: std::io::Error) -> Refused {
    Refused::Problem(crate::edge::files::problem(&error.into()))
}
