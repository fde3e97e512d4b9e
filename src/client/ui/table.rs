//! Tables: no borders, capitals in the header, two spaces after every column, one line for each row.

use unicode_width::UnicodeWidthStr;

use super::style::{Tone, paint};

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    /// What it says.
    text: String,
    /// How it looks.
    tone: Option<Tone>,
}

impl Cell {
    /// Makes a cell in a look.
    pub(crate) fn toned(text: impl Into<String>, tone: impl Into<Option<Tone>>) -> Self {
        Self {
            text: text.into(),
            tone: tone.into(),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, None)
    }
}

/// A table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The header.
    header: Vec<String>,
    /// The rows, each as long as the header.
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Makes a table with these columns.
    pub(crate) fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            header: columns.into_iter().map(str::to_owned).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Cells that are missing stay empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Renders header and rows, each ending in a line feed.
    pub(crate) fn render(&self, colors: bool) -> String {
        let mut widths: Vec<usize> = self.header.iter().map(|h| h.width()).collect();
        let rows: Vec<Vec<Cell>> = self.rows.iter().map(|row| clean(row)).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        let header: Vec<Cell> = self.header.iter().map(|h| h.as_str().into()).collect();
        let mut out = String::new();
        for row in std::iter::once(&header).chain(&rows) {
            for (cell, width) in row.iter().zip(&widths) {
                match cell.tone {
                    Some(tone) => out.push_str(&paint(&cell.text, tone, colors)),
                    None => out.push_str(&cell.text),
                }
                out.push_str(&" ".repeat(width - cell.text.width() + 2));
            }
            out.push('\n');
        }
        out
    }
}

/// A cell is one line and cannot move the cursor, whatever text came from outside.
fn clean(row: &[Cell]) -> Vec<Cell> {
    let one_line = |cell: &Cell| Cell {
        text: cell
            .text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect(),
        tone: cell.tone,
    };
    row.iter().map(one_line).collect()
}

/// Cuts a text in the middle to at most `most` characters.
pub(crate) fn cut_middle(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most || most < 5 {
        return text.to_owned();
    }
    let keep = most - 3;
    let head = keep.div_ceil(2);
    let tail = keep - head;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start}...{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_two() {
        let mut table = Table::new(["NAME", "STATUS"]);
        table.row(["demo".into(), Cell::toned("UP", Tone::Green)]);
        table.row(["größer-名".into(), "a\nb".into()]);
        insta::assert_snapshot!(table.render(false).replace(' ', "."), @r"
        NAME.......STATUS..
        demo.......UP......
        größer-名..a.b.....
        ");
        assert!(table.render(true).contains("\u{1b}[32mUP\u{1b}[0m      \n"));
    }

    #[test]
    fn long_texts_are_cut_in_the_middle() {
        assert_eq!(cut_middle("short", 25), "short");
        let cut = cut_middle("Kubernetes (a-very-long-context-name)", 25);
        assert_eq!(cut, "Kubernetes ...ntext-name)");
        assert_eq!(cut.chars().count(), 25);
    }
}
