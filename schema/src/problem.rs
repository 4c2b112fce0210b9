//! What is wrong with a text, with its place, in the user's words, with the next move.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use miette::{Diagnostic, LabeledSpan, Severity, SourceCode};

use crate::budget::MOST_PROBLEMS;
pub use crate::code::Code;
use crate::excerpt::Excerpt;
pub use crate::mark::Mark;
use crate::stack::Place;
use crate::text::{Files, Span};

/// Whether a code says that one value cannot be used, so that whatever else is said about the
/// value follows from it.
fn is_about_a_value(code: Code) -> bool {
    matches!(
        code,
        Code::Syntax
            | Code::WrongType
            | Code::BadValue
            | Code::Missing
            | Code::Interpolation
            | Code::RequiredVariable
    )
}

/// A problem while the texts are still numbers; [`Finding::show`] makes it a [`Problem`].
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    code: Code,
    severity: Severity,
    message: String,
    labels: Vec<(Span, String)>,
    help: Option<String>,
}

impl Finding {
    /// A problem without a place.
    pub fn bare(code: Code, message: impl Into<String>) -> Finding {
        let severity = code.severity();
        Finding { code, severity, message: message.into(), labels: Vec::new(), help: None }
    }

    /// A problem at a place.
    pub fn at(code: Code, span: Span, label: impl Into<String>, message: String) -> Finding {
        Finding::bare(code, message).also(span, label)
    }

    /// One more place.
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Finding {
        self.labels.push((span, label.into()));
        self
    }

    /// The next move.
    pub fn help(mut self, help: impl Into<String>) -> Finding {
        self.help = Some(help.into());
        self
    }

    /// The next move, if there is one.
    pub fn maybe_help(mut self, help: Option<String>) -> Finding {
        self.help = help.or(self.help);
        self
    }

    /// Makes it a warning.
    pub fn warning(mut self) -> Finding {
        self.severity = Severity::Warning;
        self
    }

    /// Whether it stops the load.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Whether it is about a key of this file that stands at this byte or after it.
    pub fn is_key_from(&self, file: u32, start: u32) -> bool {
        let first = self.labels.first().map(|(span, _)| *span);
        self.code == Code::KeyNotText
            && first.is_some_and(|span| span.file == file && span.start >= start)
    }

    /// Whether it may be the cause of an error elsewhere.
    fn explains(&self) -> bool {
        matches!(self.code, Code::UnsetVariable | Code::Rewritten)
    }

    /// Whether it says no more than `other`, which is about the same place.
    fn follows_from(&self, other: &Finding) -> bool {
        let has_place = !self.labels.is_empty();
        let same = without_subject(&self.message) == without_subject(&other.message);
        let second = matches!(self.code, Code::WrongType | Code::Missing);
        let second = second && is_about_a_value(other.code);
        self.message == other.message || has_place && (same || second)
    }

    /// Where it is, if it has this code.
    pub fn place_of(&self, code: Code) -> Option<Span> {
        let first = self.labels.first().map(|(span, _)| *span);
        first.filter(|_| self.code == code)
    }

    /// First place, for ordering.
    fn order(&self) -> (bool, Span) {
        let first = self.labels.first().map(|(span, _)| *span);
        (first.is_some(), first.unwrap_or_default())
    }

    /// The problem with its texts.
    fn show(self, files: &Files) -> Problem {
        let main = self.labels.first().map(|(span, _)| span.file);
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            self.labels.iter().cloned().partition(|(span, _)| Some(span.file) == main);
        let related = elsewhere
            .into_iter()
            .map(|(span, label)| Problem {
                code: None,
                severity: Severity::Advice,
                message: label.clone(),
                place: files.place(span),
                source: named(files, span.file),
                labels: vec![labeled(span, label)],
                help: None,
                related: Vec::new(),
            })
            .collect();
        Problem {
            code: Some(self.code),
            severity: self.severity,
            message: self.message,
            place: self.labels.first().and_then(|(span, _)| files.place(*span)),
            source: main.and_then(|file| named(files, file)),
            labels: here.into_iter().map(|(span, label)| labeled(span, label)).collect(),
            help: self.help,
            related,
        }
    }
}

/// A message without the service or path it starts with: two services that extend one have the
/// same fault at the same place.
fn without_subject(message: &str) -> &str {
    let rest = message.strip_prefix('`').and_then(|rest| rest.split_once('`'));
    rest.map_or(message, |(_, rest)| rest)
}

fn named(files: &Files, file: u32) -> Option<Excerpt> {
    let file = files.get(file)?;
    Some(Excerpt::new(file.name.display().to_string(), file.text.clone()))
}

fn labeled(span: Span, label: String) -> LabeledSpan {
    let length = span.end.saturating_sub(span.start) as usize;
    LabeledSpan::new(Some(label), span.start as usize, length)
}

/// Drops from `found[from..]` what only follows from a value that was found wrong before.
pub(crate) fn drop_echoes(found: &mut Vec<Finding>, from: usize) {
    let wrong: BTreeSet<Span> = found[..from]
        .iter()
        .filter(|finding| finding.is_error() && is_about_a_value(finding.code))
        .filter_map(|finding| finding.labels.first())
        .map(|(span, _)| *span)
        .collect();
    let echoes = |finding: &Finding| {
        let Some((span, _)) = finding.labels.first() else {
            return false;
        };
        let inside = wrong.range(*span..).next().is_some_and(|other| {
            other.file == span.file && other.end <= span.end && other.start < span.end
        });
        let around = wrong
            .range(..=*span)
            .next_back()
            .is_some_and(|other| other.file == span.file && other.end >= span.end);
        inside || around
    };
    let later = found.split_off(from);
    found.extend(later.into_iter().filter(|finding| !echoes(finding)));
}

/// All findings in the order of the text, each once: the warnings if nothing stops the load, else
/// the errors with the warnings that may explain them.
pub(crate) fn conclude(mut found: Vec<Finding>, files: &Files) -> Result<Vec<Problem>, Problems> {
    if !found.iter().any(Finding::is_error) {
        return Ok(all(found, files));
    }
    found.retain(|finding| finding.is_error() || finding.explains());
    Err(Problems(all(found, files)))
}

/// All findings in the order of the text, each once.
pub(crate) fn all(mut found: Vec<Finding>, files: &Files) -> Vec<Problem> {
    found.sort_by_key(Finding::order);
    found.dedup_by(|later, first| {
        let same_place = later.order() == first.order();
        if same_place && (first.code, later.code) == (Code::KeyNotText, Code::UnknownKey) {
            std::mem::swap(first, later);
            return true;
        }
        same_place && later.follows_from(first)
    });
    gather_unset(&mut found);
    let left_out = found.len().saturating_sub(MOST_PROBLEMS);
    if left_out > 0 {
        // In the order of the text, but errors before warnings.
        found.sort_by_key(|finding| !finding.is_error());
        let severity = found[MOST_PROBLEMS].severity;
        found.truncate(MOST_PROBLEMS);
        found.sort_by_key(Finding::order);
        let message = format!("{left_out} more problems are not shown");
        let rest = Finding::bare(Code::TooLarge, message).help("mend these first, then look again");
        found.push(Finding { severity, ..rest });
    }
    found.into_iter().map(|finding| finding.show(files)).collect()
}

/// Uses of an unset variable that are told one by one.
const FEW: usize = 5;

/// Makes one warning of a variable that is not set and used in many places.
fn gather_unset(found: &mut Vec<Finding>) {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for finding in found.iter().filter(|finding| finding.code == Code::UnsetVariable) {
        *uses.entry(finding.message.clone()).or_default() += 1;
    }
    uses.retain(|_, count| *count > FEW);
    if uses.is_empty() {
        return;
    }
    let mut kept: Vec<Finding> = Vec::with_capacity(found.len());
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for mut finding in found.drain(..) {
        let Some(count) = uses.get(&finding.message) else {
            kept.push(finding);
            continue;
        };
        if let Some(at) = first.get(&finding.message) {
            let labels = &mut kept[*at].labels;
            if labels.len() < FEW {
                labels.extend(finding.labels);
            }
            continue;
        }
        first.insert(finding.message.clone(), kept.len());
        finding.message = format!("{}, in {count} places", finding.message);
        kept.push(finding);
    }
    *found = kept;
}

/// One thing that is wrong, or that the user should know.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Option<Code>,
    severity: Severity,
    message: String,
    place: Option<Place>,
    source: Option<Excerpt>,
    labels: Vec<LabeledSpan>,
    help: Option<String>,
    related: Vec<Problem>,
}

impl Problem {
    /// Its code; a second place of another problem has none.
    pub fn problem_code(&self) -> Option<Code> {
        self.code
    }

    /// Where it is.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The next move.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Whether it stops the load.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Every piece of text it points at, in the order it names them.
    pub fn marks(&self) -> Vec<Mark> {
        let own = self.labels.iter().filter_map(|label| {
            let source = self.source.as_ref()?;
            Some(Mark::of(source.name(), source.text(), label))
        });
        own.chain(self.related.iter().flat_map(Problem::marks)).collect()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.map(|code| Box::new(code.as_str()) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let fitting = |label| match &self.source {
            Some(source) => source.fitting(label),
            None => label.clone(),
        };
        Some(Box::new(self.labels.iter().map(fitting)))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(self.related.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

/// Everything that is wrong, in the order of the text. Never empty.
#[derive(Debug, Clone)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            match &problem.place {
                Some(place) => write!(f, "{place}: {problem}")?,
                None => write!(f, "{problem}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Diagnostic for Problems {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.0.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}
