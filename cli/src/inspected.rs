//! How `inspect` prints: all as one list, or each as `--format` says it.

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::session::Session;
use crate::template::Template;
use crate::ui::safe;

/// How what is inspected is printed.
#[derive(Debug, Args)]
pub(crate) struct Format {
    /// `json` for one line each, or a template in Go's words: `{{.Name}} {{json .Labels}}`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// A format that can be used.
pub(crate) enum Printer {
    List,
    Lines,
    Filled(Template),
}

impl Format {
    /// The printer it asks for.
    ///
    /// # Errors
    /// The template cannot be read.
    pub(crate) fn printer(&self) -> Result<Printer, Failure> {
        Ok(match self.format.as_deref() {
            None => Printer::List,
            Some("json") => Printer::Lines,
            Some(text) => Printer::Filled(Template::parse(text).map_err(|e| bad_template(&e))?),
        })
    }
}

impl Printer {
    /// Prints things; `fields` is what a template is filled with for one of them.
    ///
    /// # Errors
    /// The template does not fit, or standard output cannot be written.
    pub(crate) fn print<T: Serialize>(
        &self,
        session: &Session,
        things: &[T],
        fields: impl Fn(&T) -> Result<Value, Failure>,
    ) -> Result<(), Failure> {
        match self {
            Printer::List => session.ui.json(&things)?,
            Printer::Lines => session.ui.json_lines(things)?,
            Printer::Filled(template) => {
                for thing in things {
                    let filled = template.fill(&fields(thing)?).map_err(|e| bad_template(&e))?;
                    session.ui.data(&safe(&filled))?;
                }
            }
        }
        Ok(())
    }
}

/// A thing as it is printed, for a template.
///
/// # Errors
/// It has no JSON form.
pub(crate) fn value(thing: &impl Serialize) -> Result<Value, Failure> {
    Ok(serde_json::to_value(thing).map_err(std::io::Error::from)?)
}

fn bad_template(why: &str) -> Failure {
    Failure::usage(format!("the template cannot be used: {why}"))
        .with_help("the same without `--format` prints all there is")
}
