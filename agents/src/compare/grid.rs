//! A table that can be laid out for a terminal, as Markdown and as HTML.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::plot::escape;
use crate::run::words::plain;

/// Characters after which the first column, and headings, go on in the next line of a terminal's table.
const WIDE: usize = 30;

/// Rows of cells, the first of each in words.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Grid {
    pub(super) fn new(header: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The same with columns for rows.
    pub(super) fn transposed(&self) -> Self {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let column = |at: usize| lines().map(|line| line.get(at).cloned().unwrap_or_default()).collect();
        Self { header: column(0), rows: (1..self.header.len()).map(column).collect() }
    }

    /// For a terminal: as many tables below each other as the columns need, each with the first column. Words go on in the next line,
    /// numbers are never broken.
    pub(super) fn terminal(&self, width: usize) -> String {
        let cells = |at: usize| self.rows.iter().filter_map(move |row| row.get(at));
        // The first column and headings are words; so is a cell that is longer than any number with its spread.
        let widths: Vec<usize> = (0..self.header.len())
            .map(|at| {
                let body = cells(at).map(|cell| length(cell).min(WIDE).max(longest_word(cell))).max().unwrap_or(0);
                let heading = &self.header[at];
                let heading = length(heading).min(if at == 0 { WIDE } else { body.max(12) }).max(longest_word(heading).min(WIDE));
                body.max(heading).min(width.saturating_sub(4).max(8))
            })
            .collect();
        let mut blocks: Vec<Vec<usize>> = Vec::new();
        let mut used = usize::MAX;
        for (at, column) in widths.iter().enumerate().skip(1) {
            if used.saturating_add(column + 3) > width {
                blocks.push(vec![0]);
                used = widths[0] + 4;
            }
            used += column + 3;
            blocks.last_mut().expect("one was begun").push(at);
        }
        let block = |columns: &Vec<usize>| {
            let pick = |line: &Vec<String>| columns.iter().map(|&at| plain(&line[at]).replace('\n', " ")).collect::<Vec<_>>();
            let mut table = Table::new();
            table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
            table.set_header(pick(&self.header));
            self.rows.iter().for_each(|row| {
                table.add_row(pick(row));
            });
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::try_from(width).unwrap_or(u16::MAX));
            for (column, &at) in table.column_iter_mut().zip(columns) {
                let content = u16::try_from(widths[at] + 2).unwrap_or(u16::MAX);
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(content)));
                column.set_cell_alignment(if at == 0 { CellAlignment::Left } else { CellAlignment::Right });
            }
            table.to_string()
        };
        blocks.iter().map(block).collect::<Vec<_>>().join("\n")
    }

    /// As a table of Markdown, in which no cell is markup.
    pub(super) fn markdown(&self) -> String {
        let line = |cells: &[String]| cells.iter().map(|cell| unmarked(cell)).collect::<Vec<_>>();
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(line(&self.header));
        self.rows.iter().for_each(|row| {
            table.add_row(line(row));
        });
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table.to_string()
    }

    /// As a table of HTML.
    pub(super) fn html(&self) -> String {
        let row = |row: &[String], tag: &str| {
            let cells = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        };
        let body: String = self.rows.iter().map(|line| row(line, "td")).collect();
        format!(
            "<div class=\"wide\"><table>\n<thead>{}</thead>\n<tbody>\n{body}</tbody>\n</table></div>\n",
            row(&self.header, "th")
        )
    }
}

fn length(text: &str) -> usize {
    plain(text).chars().count()
}

fn longest_word(text: &str) -> usize {
    plain(text).split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0)
}

/// Text that Markdown takes for text.
pub(super) fn unmarked(text: &str) -> String {
    let mut shown = String::new();
    for character in plain(text).chars() {
        match character {
            '&' => shown += "&amp;",
            '<' => shown += "&lt;",
            '>' => shown += "&gt;",
            '\n' => shown.push(' '),
            '\\' | '`' | '*' | '|' | '~' | '!' => shown.extend(['\\', character]),
            // Links; a list of numbers is none.
            '[' | ']' if text.contains("](") || text.contains("]:") => shown.extend(['\\', character]),
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new(["", "a-run-with-a-name", "b", "a name in several words that goes on", "d", "e"]);
        grid.row(["return asked for 1", "0.7524 ± 0.1231 (75.2)", "1", "-3.5 ± 0.25 (100.0)", "12", "123456"].map(String::from));
        grid.row(["a property that needs a line and another one", "x", "", "y", "z", "-"].map(String::from));
        grid
    }

    #[test]
    fn numbers_are_whole_at_every_width() {
        for width in [30, 40, 60, 80, 200] {
            let text = grid().terminal(width);
            for number in ["0.7524 ± 0.1231", "-3.5 ± 0.25", "123456"] {
                assert!(text.contains(number), "{width}:\n{text}\nlacks {number}");
            }
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width.max(62), "{width}: {widest}\n{text}");
        }
        assert_eq!(grid().terminal(200).matches('╞').count(), 1);
        assert_eq!(grid().terminal(80).matches('╞').count(), 2);
    }

    #[test]
    fn rows_and_columns_change_places() {
        let turned = grid().transposed();
        assert_eq!((turned.header.len(), turned.rows.len()), (3, 5));
        assert_eq!(turned.rows[0], ["a-run-with-a-name", "0.7524 ± 0.1231 (75.2)", "x"]);
        assert_eq!(turned.transposed().rows, grid().rows);
    }

    #[test]
    fn no_markup_leaves_a_table() {
        let mut grid = Grid::new(["run", "value"]);
        grid.row(["<img src=x>\u{1b}[2J|`*[a](b)\n", "\"1\""].map(String::from));
        let markdown = grid.markdown();
        assert!(markdown.contains("&lt;img src=x&gt;\\\\u001b\\[2J\\|\\`\\*\\[a\\](b) "), "{markdown}");
        assert!(grid.html().contains("<td>&lt;img src=x&gt;\\u001b[2J|`*[a](b)"), "{}", grid.html());
        assert!(!grid.terminal(80).contains('\u{1b}'));
    }
}
