//! Conditional requests and ranges (RFC 9110, sections 13 and 14), as pure functions.

use std::time::{Duration, SystemTime};

use sandtree_workspace::{Entry, Etag, Precondition};
use warp::http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};

use crate::edge::context::Call;
use crate::edge::errors::Problem;

/// Most entity tags in one header.
const TAGS_MAX: usize = 64;

/// What is to be sent of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All of it.
    Whole,
    /// So many bytes from an offset on; at least one.
    Part {
        /// First byte.
        from: u64,
        /// How many.
        length: u64,
    },
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: it is not what the client expects.
    Failed,
    /// Nothing: the range is outside it.
    Unsatisfiable,
}

/// Entity tags in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    Any,
    List(Vec<Tag>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    is_weak: bool,
    text: String,
}

/// The conditions of a request that reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
    if_range: Option<String>,
    range: Option<String>,
}

impl Conditions {
    /// Reads them; dates that are none are ignored, as the RFC says.
    ///
    /// # Errors
    ///
    /// 400 for entity tags that are none.
    pub(super) fn of(call: &Call) -> Result<Self, Problem> {
        let text = |name: &HeaderName| call.header(name);
        let date =
            |value: Option<&str>| value.and_then(|text| httpdate::parse_http_date(text).ok());
        Ok(Self {
            if_match: tags(&IF_MATCH, text(&IF_MATCH)?)?,
            if_none_match: tags(&IF_NONE_MATCH, text(&IF_NONE_MATCH)?)?,
            if_modified_since: date(text(&IF_MODIFIED_SINCE)?),
            if_unmodified_since: date(text(&IF_UNMODIFIED_SINCE)?),
            if_range: text(&IF_RANGE)?.map(str::to_owned),
            range: text(&RANGE)?.map(str::to_owned),
        })
    }

    /// What they come to for this file, in the order of the RFC.
    pub(super) fn verdict(&self, entry: &Entry) -> Verdict {
        let modified = in_seconds(entry.modified);
        let expected = match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => tags.has_strong(&entry.etag),
            (None, Some(since)) => modified <= since,
            (None, None) => true,
        };
        if !expected {
            return Verdict::Failed;
        }
        let known = match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => tags.has_weak(&entry.etag),
            (None, Some(since)) => modified <= since,
            (None, None) => false,
        };
        if known {
            return Verdict::NotModified;
        }
        match &self.range {
            Some(range) if self.range_applies(entry) => part(range, entry.size),
            Some(_) | None => Verdict::Whole,
        }
    }

    fn range_applies(&self, entry: &Entry) -> bool {
        match self.if_range.as_deref().map(str::trim) {
            None => true,
            Some(text) if text.starts_with('"') => {
                text.strip_prefix('"').and_then(|text| text.strip_suffix('"'))
                    == Some(entry.etag.as_str())
            }
            // Strictly equal, and never for a weak tag, which is no date either.
            Some(text) => {
                httpdate::parse_http_date(text).is_ok_and(|date| date == in_seconds(entry.modified))
            }
        }
    }
}

impl Tags {
    fn has_strong(&self, etag: &Etag) -> bool {
        match self {
            Tags::Any => true,
            Tags::List(tags) => tags.iter().any(|tag| !tag.is_weak && tag.text == etag.as_str()),
        }
    }

    fn has_weak(&self, etag: &Etag) -> bool {
        match self {
            Tags::Any => true,
            Tags::List(tags) => tags.iter().any(|tag| tag.text == etag.as_str()),
        }
    }
}

/// The condition of a request that writes.
///
/// # Errors
///
/// 400 for conditions that a write cannot have.
pub(super) fn precondition(call: &Call) -> Result<Precondition, Problem> {
    let expected = call.header(&IF_MATCH)?;
    let unexpected = call.header(&IF_NONE_MATCH)?;
    match (expected, unexpected) {
        (None, None) => Ok(Precondition::None),
        (Some(_), Some(_)) => Err(Problem::field("If-None-Match", "cannot be beside If-Match")),
        (Some(text), None) => if_match("If-Match", text),
        (None, Some(text)) if text.trim() == "*" => Ok(Precondition::IfNoneMatchAny),
        (None, Some(_)) => {
            Err(Problem::field("If-None-Match", "must be * where files are written"))
        }
    }
}

/// A precondition from one entity tag with its quotes, or `*`.
///
/// # Errors
///
/// 400 naming the field.
pub(super) fn if_match(field: &'static str, text: &str) -> Result<Precondition, Problem> {
    let wrong = || Problem::field(field, "must be one entity tag in quotes, or *");
    match parse_tags(text).ok_or_else(wrong)? {
        Tags::Any => Ok(Precondition::IfMatchAny),
        Tags::List(tags) => match <[Tag; 1]>::try_from(tags) {
            // A weak tag never matches, as no tag of ours has a slash.
            Ok([tag]) if tag.is_weak => Ok(Precondition::IfMatch(Etag::new("W/"))),
            Ok([tag]) => Ok(Precondition::IfMatch(Etag::new(tag.text))),
            Err(_) => Err(wrong()),
        },
    }
}

fn tags(name: &HeaderName, text: Option<&str>) -> Result<Option<Tags>, Problem> {
    let wrong = || Problem::field(name.as_str(), "must be entity tags in quotes, or *");
    text.map(|text| parse_tags(text).ok_or_else(wrong)).transpose()
}

fn parse_tags(text: &str) -> Option<Tags> {
    let mut rest = text.trim();
    if rest == "*" {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    while tags.len() < TAGS_MAX {
        let (is_weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (text, after) = quoted.strip_prefix('"')?.split_once('"')?;
        tags.push(Tag { is_weak, text: text.to_owned() });
        let after = after.trim_start();
        if after.is_empty() {
            return Some(Tags::List(tags));
        }
        rest = after.strip_prefix(',')?.trim_start();
    }
    None
}

/// HTTP dates have no fractions.
fn in_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// The part that a `Range` names: one range of bytes; everything else, several ranges
/// included, is answered with the whole, which the RFC allows.
fn part(range: &str, size: u64) -> Verdict {
    let Some((unit, set)) = range.split_once('=') else { return Verdict::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Verdict::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Verdict::Whole };
    let (from, end) = match (number(first), number(last)) {
        (Number::Is(first), Number::Is(last)) if first <= last => (first, last.saturating_add(1)),
        (Number::Is(first), Number::Absent) => (first, size),
        (Number::Absent, Number::Is(0)) => return Verdict::Unsatisfiable,
        (Number::Absent, Number::Is(last)) => (size.saturating_sub(last), size),
        (Number::Is(_) | Number::Absent | Number::Wrong, _) => return Verdict::Whole,
    };
    if from >= size {
        return Verdict::Unsatisfiable;
    }
    Verdict::Part { from, length: end.min(size) - from }
}

enum Number {
    Is(u64),
    Absent,
    Wrong,
}

fn number(text: &str) -> Number {
    match text {
        "" => Number::Absent,
        // More digits than fit are a position behind every file.
        _ if text.bytes().all(|c| c.is_ascii_digit()) => {
            Number::Is(text.parse().unwrap_or(u64::MAX))
        }
        _ => Number::Wrong,
    }
}

#[cfg(test)]
mod tests;
