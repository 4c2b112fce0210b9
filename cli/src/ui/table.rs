//! Tables for people: columns as wide as their widest cell, three spaces between them.

use super::sanitize;

/// Rows below a heading.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Table {
        Table { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// A table of these rows, the headings first. Text of others is made safe here.
    pub(crate) fn of(rows: Vec<Vec<String>>) -> Table {
        let row = |cells: Vec<String>| cells.iter().map(|cell| one_line(cell)).collect();
        Table { rows: rows.into_iter().map(row).collect() }
    }

    /// Adds a row. Text of others is made safe here.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(self.rows[0].len(), N);
        self.rows.push(cells.iter().map(|cell| one_line(cell)).collect());
    }

    /// The lines, without spaces at their ends.
    pub(crate) fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        self.rows.iter().map(|row| render(row, &widths)).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |row: &Vec<String>, i: usize| row.get(i).map_or(0, |cell| cell.chars().count());
        (0..columns).map(|i| self.rows.iter().map(|row| width(row, i)).max().unwrap_or(0)).collect()
    }
}

fn one_line(cell: &str) -> String {
    sanitize::plain(cell).replace(['\n', '\t'], " ")
}

fn render(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        line.push_str(cell);
        let padding = width - cell.chars().count() + 3;
        line.extend(std::iter::repeat_n(' ', padding));
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["NAME", "STATUS", "PORTS"]);
        table.row(["shop-web-1".into(), "Up 2 minutes".into(), "80/tcp".into()]);
        table.row(["shop-db-1".into(), "Exited (1)".into(), String::new()]);
        insta::assert_snapshot!(table.lines().join("\n"), @r"
        NAME         STATUS         PORTS
        shop-web-1   Up 2 minutes   80/tcp
        shop-db-1    Exited (1)
        ");
    }

    #[test]
    fn a_cell_cannot_break_out_of_its_row() {
        let mut table = Table::new(["COMMAND"]);
        table.row(["sh -c 'a\nb'\x1b[2J".into()]);
        assert_eq!(table.lines()[1], "sh -c 'a b'\\x1b[2J");
    }
}
