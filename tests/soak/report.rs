//! Results: printed, and written where the environment says.

use std::fmt::Display;
use std::fmt::Write as _;

/// One section of the results.
pub(crate) struct Report {
    title: &'static str,
    text: String,
}

impl Report {
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, text: format!("## {title}\n\n| what | result |\n| --- | --- |\n") }
    }

    pub(crate) fn line(&mut self, what: &str, result: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "| {what} | {result} |");
    }

    /// Prints it, and puts it in its place in the file of `SANDTREE_SOAK_REPORT`.
    pub(crate) fn write(&self) {
        println!("{}", self.text);
        let Some(path) = std::env::var_os("SANDTREE_SOAK_REPORT") else { return };
        let before = std::fs::read_to_string(&path).unwrap_or_else(|_| "# Soak\n\n".to_owned());
        let mut sections: Vec<&str> = before.split("\n## ").collect();
        let head = sections.remove(0).trim_end();
        let mut text = format!("{head}\n\n");
        for section in sections.into_iter().filter(|it| !it.starts_with(self.title)) {
            let _ = write!(text, "## {}\n\n", section.trim_end());
        }
        text.push_str(&self.text);
        std::fs::write(&path, text).expect("a file for the results");
    }
}
