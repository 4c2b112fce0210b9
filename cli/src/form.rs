//! How a listing is printed, as `--format` says it.
//!
//! The words are Docker's: `table`, `json`, a template that is filled with each row, and `table`
//! before a template, whose tabs part the columns. In a template `\t` and `\n` may be written
//! so, for a shell passes them on between single quotes.

use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use crate::template::Template;
use crate::ui::Table;

/// Headings that are not the name of their field in capitals, word by word.
const HEADINGS: [(&str, &str); 7] = [
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
    ("RunningFor", "CREATED"),
];

/// What a listing has rows of.
pub(crate) trait Listed: Serialize {
    /// What stands above the column of ids.
    const ID: &'static str = "ID";
}

/// What `--format` asks for.
#[derive(Debug, Clone, Default)]
pub(crate) enum Form {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// A line for each row.
    Lines(Arc<Template>),
    /// A table with these cells.
    Columns(Arc<Template>),
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Form, String> {
        match text {
            "table" | "pretty" => return Ok(Form::Table),
            "json" | "{{json .}}" => return Ok(Form::Json),
            other if !other.contains("{{") => {
                return Err("write `table`, `json`, or a template as `{{.Name}}`".to_owned());
            }
            _ => {}
        }
        let cells = text.strip_prefix("table");
        let template = Template::parse_row(cells.unwrap_or(text).trim_matches(' '))?;
        match cells {
            Some(_) => Ok(Form::Columns(Arc::new(template))),
            None => Ok(Form::Lines(Arc::new(template))),
        }
    }
}

/// A template filled with each row, a text for each.
pub(crate) fn filled<T: Serialize>(template: &Template, rows: &[T]) -> Result<Vec<String>, String> {
    let value = |row| serde_json::to_value(row).map_err(|error| error.to_string());
    rows.iter().map(|row| template.fill(&value(row)?)).collect()
}

/// A template filled with each row, a line of a table for each.
pub(crate) fn columns<T: Listed>(template: &Template, rows: &[T]) -> Result<Table, String> {
    let heading = |field: &str| if field == "ID" { T::ID.to_owned() } else { heading(field) };
    let mut lines = vec![template.headings(&heading)?];
    lines.extend(filled(template, rows)?);
    let cells = |line: &String| line.split('\t').map(str::to_owned).collect();
    Ok(Table::of(lines.iter().map(cells).collect()))
}

/// `CreatedAt` as `CREATED AT`.
fn heading(field: &str) -> String {
    if let Some((_, heading)) = HEADINGS.iter().find(|(name, _)| *name == field) {
        return (*heading).to_owned();
    }
    let mut heading = String::new();
    let mut small = false;
    for letter in field.chars() {
        if small && letter.is_uppercase() {
            heading.push(' ');
        }
        small = letter.is_lowercase();
        heading.extend(letter.to_uppercase());
    }
    heading
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Row {
        name: &'static str,
        #[serde(rename = "CPUPerc")]
        cpu: &'static str,
        #[serde(rename = "ID")]
        id: &'static str,
        exit_code: i32,
    }

    impl Listed for Row {
        const ID: &'static str = "CONTAINER ID";
    }

    const ROWS: [Row; 2] = [
        Row { name: "shop-web-1", cpu: "58.20%", id: "01", exit_code: 0 },
        Row { name: "db", cpu: "0.00%", id: "02", exit_code: 3 },
    ];

    fn printed(format: &str) -> String {
        match format.parse() {
            Ok(Form::Lines(template)) => filled(&template, &ROWS).map(|lines| lines.join("\n")),
            Ok(Form::Columns(template)) => {
                columns(&template, &ROWS).map(|table| table.lines().join("\n"))
            }
            Ok(other) => Ok(format!("{other:?}")),
            Err(why) => Err(why),
        }
        .unwrap_or_else(|why| why)
    }

    #[test]
    fn a_template_behind_table_has_headings_and_columns() {
        let format = r"table {{.Name}}\t{{upper .CPUPerc}}\t{{.ID}}\t{{json .ExitCode}}";
        insta::assert_snapshot!(printed(format), @r"
        NAME         CPU %    CONTAINER ID   EXIT CODE
        shop-web-1   58.20%   01             0
        db           0.00%    02             3
        ");
        insta::assert_snapshot!(printed("table{{.Name}} {{.ID}}"), @r"
        NAME CONTAINER ID
        shop-web-1 01
        db 02
        ");
    }

    #[test]
    fn tabs_and_newlines_may_be_written_with_a_backslash() {
        assert_eq!(printed(r"{{.Name}}\t{{.ID}}"), "shop-web-1\t01\ndb\t02");
        assert_eq!(printed(r#"{{.ID}}\n{{printf "%s\t" .ID}}"#), "01\n01\t\n02\n02\t");
    }

    #[test]
    fn what_is_no_format_is_told() {
        for (format, told) in [
            ("raw", "write `table`"),
            ("tabel", "write `table`"),
            ("{{.Name", "not closed"),
            ("table {{.Nope}}", "`Nope`"),
        ] {
            assert!(printed(format).contains(told), "{format}: {}", printed(format));
        }
        assert_eq!([printed("pretty"), printed("{{json .}}")], ["Table", "Json"]);
    }
}
