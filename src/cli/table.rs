//! Tables of texts.

use super::paint::Paint;

/// Rows of texts under the heads of their columns.
#[derive(Debug, Default)]
pub(super) struct Table {
    heads: Vec<Head>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug)]
struct Head {
    text: &'static str,
    is_number: bool,
}

/// A text of a table, as it is measured and as it is shown.
#[derive(Debug)]
pub(super) struct Cell {
    width: usize,
    shown: String,
}

impl Cell {
    /// A text as it is.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        let shown = clean(&text.into());
        Self { width: shown.chars().count(), shown }
    }

    /// A text that `paint` shows otherwise.
    pub(super) fn painted(text: &str, paint: impl FnOnce(&str) -> String) -> Self {
        let text = clean(text);
        Self { width: text.chars().count(), shown: paint(&text) }
    }
}

/// Values come from a server, names of files from whoever made them: what would move the
/// cursor is left out.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}

impl Table {
    /// A table with these columns; a head that begins with `>` is one of numbers, which
    /// stand at the right.
    pub(super) fn new(heads: &[&'static str]) -> Self {
        let head = |text: &&'static str| match text.strip_prefix('>') {
            Some(text) => Head { text, is_number: true },
            None => Head { text, is_number: false },
        };
        Self { heads: heads.iter().map(head).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines of the table, the heads first.
    pub(super) fn lines(&self, paint: Paint) -> Vec<String> {
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.width).fold(self.heads[column].text.len(), usize::max)
            })
            .collect();
        let heads: Vec<Cell> = self
            .heads
            .iter()
            .map(|head| Cell::painted(head.text, |text| paint.head(text)))
            .collect();
        std::iter::once(&heads).chain(&self.rows).map(|row| self.line(row, &widths)).collect()
    }

    /// All of it, as text.
    pub(super) fn text(&self, paint: Paint) -> String {
        self.lines(paint).into_iter().fold(String::new(), |text, line| text + &line + "\n")
    }

    fn line(&self, row: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let room = " ".repeat(widths[column].saturating_sub(cell.width));
            let is_last = column + 1 == row.len();
            if self.heads[column].is_number {
                line.push_str(&room);
                line.push_str(&cell.shown);
            } else {
                line.push_str(&cell.shown);
                line.push_str(&room);
            }
            line.push_str(if is_last { "" } else { "  " });
        }
        // No blanks at the ends of lines.
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_at_the_right() {
        let mut table = Table::new(&["ID", ">CPU", "PHASE"]);
        table.row(vec![
            Cell::plain("a"),
            Cell::plain("100%"),
            Cell::painted("running", |text| format!("<{text}>")),
        ]);
        table.row(vec![Cell::plain("lon\x1bg"), Cell::plain("1%"), Cell::plain("-")]);
        let expected = "ID     CPU  PHASE\na     100%  <running>\nlong    1%  -\n";
        assert_eq!(table.text(Paint::NEVER), expected);
    }
}
