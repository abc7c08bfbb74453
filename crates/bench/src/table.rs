//! Figures in columns, for a terminal or for Markdown.

use std::fmt::Write as _;

/// Rows under a heading; the first column is words, the others are figures.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Table {
        Table { rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text, aligned either way; as Markdown when `markdown`.
    pub(crate) fn print(&self, markdown: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let (open, between, close) = if markdown { ("| ", " | ", " |") } else { ("", "  ", "") };
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, &width))| {
                    if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                })
                .collect();
            let _ = writeln!(text, "{open}{}{close}", cells.join(between).trim_end());
            if number == 0 && markdown {
                let rule = |(column, &width): (usize, &usize)| match column {
                    0 => "-".repeat(width),
                    _ => format!("{}:", "-".repeat(width.saturating_sub(1))),
                };
                let rules: Vec<String> = widths.iter().enumerate().map(rule).collect();
                let _ = writeln!(text, "{open}{}{close}", rules.join(between));
            }
        }
        text
    }
}

/// `value` beside `base`, or a dash where `base` was not measured.
pub(crate) fn ratio(value: f64, base: Option<f64>) -> String {
    match base {
        Some(base) if base > 0.0 => format!("{:.2}", value / base),
        _ => "–".to_owned(),
    }
}

/// A whole number with a comma between thousands.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Table, ratio, thousands};

    #[test]
    fn a_table_prints_either_way() {
        let mut table = Table::new(&["", "q/s"]);
        table.row(vec!["raw".into(), thousands(54_900.4)]);
        assert_eq!(table.print(false), "        q/s\nraw  54,900\n");
        assert_eq!(table.print(true), "|     |    q/s |\n| --- | -----: |\n| raw | 54,900 |\n");
    }

    #[test]
    fn figures_are_written_for_reading() {
        assert_eq!(thousands(1_234_567.0), "1,234,567");
        assert_eq!(thousands(-123.0), "-123");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(ratio(1.0, Some(3.0)), "0.33");
        assert_eq!(ratio(1.0, None), "–");
    }
}
