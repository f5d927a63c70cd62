//! The description of the API: `openapi.json` beside this file, written by hand. Tests
//! hold it to the table of routes, to the kinds of problems and to what is answered.

use warp::http::StatusCode;

use super::context::Call;
use super::reply::{self, Answered};

/// The document.
pub const TEXT: &str = include_str!("openapi.json");

/// Sends the document.
///
/// # Errors
///
/// None.
pub async fn document(_call: Call) -> Answered {
    Ok(reply::typed(reply::bytes(StatusCode::OK, TEXT), "application/json"))
}

#[cfg(test)]
mod tests;
