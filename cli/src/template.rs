//! Templates of `--format`, as people know them from Docker: Go's language, over JSON.
//!
//! Done: fields, `index`, `range`, `if`, `with`, `else`, variables, pipes, parentheses, comparison,
//! and the functions of [`functions`]. What is not is an error with its words, never ignored.

mod functions;
mod parse;

use std::collections::BTreeMap;

use serde_json::Value;

use parse::{Branch, Command, Node, Pipe, Term};

/// A template that has been read.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// What a template knows while it is filled.
struct Scope<'a> {
    root: &'a Value,
    variables: Vec<(String, Value)>,
    /// What a field is called, where that is asked for and not its value.
    headings: Option<&'a dyn Fn(&str) -> String>,
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        Ok(Template { nodes: parse::parse(text)? })
    }

    /// Reads a template of a listing, where `\t` and `\n` between actions are a tab and a newline.
    pub(crate) fn parse_row(text: &str) -> Result<Template, String> {
        Template::parse(&parse::unescaped(text)?)
    }

    /// Fills it with a value.
    pub(crate) fn fill(&self, value: &Value) -> Result<String, String> {
        self.filled(Scope { root: value, variables: Vec::new(), headings: None })
    }

    /// Fills it with what its fields are called.
    pub(crate) fn headings(&self, heading: &dyn Fn(&str) -> String) -> Result<String, String> {
        let root = &Value::Null;
        self.filled(Scope { root, variables: Vec::new(), headings: Some(heading) })
    }

    fn filled(&self, mut scope: Scope<'_>) -> Result<String, String> {
        let mut out = String::new();
        scope.nodes(&self.nodes, scope.root, &mut out)?;
        Ok(out)
    }
}

impl Scope<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value, out: &mut String) -> Result<(), String> {
        let outer = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Pipe(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        out.push_str(&functions::plain(&value));
                    }
                }
                Node::If(branch) => self.branch(branch, dot, false, out)?,
                Node::With(branch) => self.branch(branch, dot, true, out)?,
                Node::Range(branch) => self.range(branch, dot, out)?,
            }
        }
        self.variables.truncate(outer);
        Ok(())
    }

    /// `if`, or `with`, where the dot is the value. Variables of its pipe end with it.
    fn branch(
        &mut self,
        branch: &Branch,
        dot: &Value,
        with: bool,
        out: &mut String,
    ) -> Result<(), String> {
        let outer = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        match functions::truth(&value) {
            true => self.nodes(&branch.then, if with { &value } else { dot }, out)?,
            false => self.nodes(&branch.other, dot, out)?,
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn range(&mut self, branch: &Branch, dot: &Value, out: &mut String) -> Result<(), String> {
        let mut pipe = branch.pipe.clone();
        let names = std::mem::take(&mut pipe.variables);
        let items: Vec<(Value, Value)> = match self.pipe(&pipe, dot)? {
            Value::Null => Vec::new(),
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(i, item)| (i.into(), item)).collect()
            }
            Value::Object(map) => {
                let sorted: BTreeMap<String, Value> = map.into_iter().collect();
                sorted.into_iter().map(|(key, item)| (key.into(), item)).collect()
            }
            other => return Err(format!("range can't iterate over {}", functions::plain(&other))),
        };
        if items.is_empty() {
            return self.nodes(&branch.other, dot, out);
        }
        for (key, item) in items {
            let outer = self.variables.len();
            match names.as_slice() {
                [] => {}
                [one] => self.variables.push((one.clone(), item.clone())),
                [first, second, ..] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), item.clone()));
                }
            }
            self.nodes(&branch.then, &item, out)?;
            self.variables.truncate(outer);
        }
        Ok(())
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, String> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        let value = last.unwrap_or(Value::Null);
        for name in &pipe.variables {
            self.variables.push((name.clone(), value.clone()));
        }
        Ok(value)
    }

    /// A function takes what came through the pipe as its last argument.
    fn command(
        &mut self,
        command: &Command,
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, String> {
        let Some((first, rest)) = command.split_first() else {
            return Err("missing value for command".to_owned());
        };
        let Term::Function(name) = first else {
            return match rest.is_empty() && piped.is_none() {
                true => self.term(first, dot),
                false => Err("can't give argument to non-function".to_owned()),
            };
        };
        if let "and" | "or" = name.as_str() {
            return self.decided(name == "or", rest, dot, piped);
        }
        let mut arguments = Vec::new();
        for term in rest {
            arguments.push(self.term(term, dot)?);
        }
        arguments.extend(piped);
        match (self.headings, arguments.first()) {
            (Some(_), Some(heading)) if functions::is_of_values(name) => Ok(heading.clone()),
            _ => functions::call(name, &arguments),
        }
    }

    /// `and`, `or`: the first value that decides, else the last; what stands behind the first is
    /// not looked at.
    fn decided(
        &mut self,
        by: bool,
        terms: &[Term],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, String> {
        let mut last = Err("`and` and `or` want a value".to_owned());
        for term in terms {
            let value = self.term(term, dot)?;
            if functions::truth(&value) == by {
                return Ok(value);
            }
            last = Ok(value);
        }
        piped.map_or(last, Ok)
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Result<Value, String> {
        match term {
            Term::Field(path) => self.field(dot, path),
            Term::Variable(name, path) => {
                let mut known = self.variables.iter().rev();
                let value = match known.find(|(known, _)| known == name) {
                    Some((_, value)) => value,
                    None if name.is_empty() => self.root,
                    None => return Err(format!("undefined variable \"${name}\"")),
                };
                self.field(value, path)
            }
            Term::Literal(value) => Ok(value.clone()),
            Term::Group(pipe, path) => {
                let value = self.pipe(pipe, dot)?;
                self.field(&value, path)
            }
            Term::Function(name) => functions::call(name, &[]),
        }
    }

    /// What is not in a map is nothing, as a label that nobody gave; but what it is all about is
    /// known, so that what is not there has been mistyped.
    fn field(&self, value: &Value, path: &[String]) -> Result<Value, String> {
        if let (Some(heading), Some(field)) = (self.headings, path.last()) {
            return Ok(heading(field).into());
        }
        let mut value = value;
        for key in path {
            value = match value {
                Value::Object(map) => match map.get(key) {
                    Some(value) => value,
                    None if std::ptr::eq(value, self.root) => {
                        return Err(format!("there is no `{key}` here"));
                    }
                    None => &Value::Null,
                },
                Value::Null => &Value::Null,
                other => {
                    return Err(format!("there is no `{key}` in `{}`", functions::plain(other)));
                }
            };
        }
        Ok(value.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(text: &str) -> String {
        let value = json!({
            "Id": "sha256:00", "Tags": ["a:1", "b:2"], "Size": 12, "Null": null, "Empty": [],
            "Config": { "Env": ["A=b"], "Labels": { "x.y": "z", "b": "c" } },
        });
        Template::parse(text).and_then(|template| template.fill(&value)).unwrap_or_else(|e| e)
    }

    #[test]
    fn fields_pipes_and_functions_are_as_in_go() {
        for (text, expected) in [
            ("plain", "plain"),
            ("{{.Id}} {{ .Size }}", "sha256:00 12"),
            ("{{.Tags}} {{.Config.Labels}}", "[a:1 b:2] map[b:c x.y:z]"),
            ("{{json .Tags}}", r#"["a:1","b:2"]"#),
            ("{{.Tags | json}}", r#"["a:1","b:2"]"#),
            ("{{index .Tags 1}}{{index .Config.Labels \"x.y\"}}", "b:2z"),
            ("{{len .Tags}}{{len .Null}}", "20"),
            ("{{join .Tags \", \"}}", "a:1, b:2"),
            ("{{index (split .Id \":\") 1}}", "00"),
            ("{{upper \"a\"}}{{`raw` | upper}}", "ARAW"),
            ("{{slice .Id 0 3}}", "sha"),
            ("{{printf \"%s-%d %v %q\" .Id .Size .Tags \"x\"}}", "sha256:00-12 [a:1 b:2] \"x\""),
            ("{{println .Size}}", "12\n"),
            ("{{print 1 2}}{{print 1 \"a\" \"b\" 2}}", "1 21ab2"),
            ("a {{- 1 -}} b", "a1b"),
            ("{{/* said */}}x", "x"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn branches_and_loops_are_as_in_go() {
        for (text, expected) in [
            ("{{range .Tags}}{{.}};{{end}}", "a:1;b:2;"),
            ("{{range $i, $t := .Tags}}{{$i}}{{$t}} {{end}}", "0a:1 1b:2 "),
            ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "b=c x.y=z "),
            ("{{range .Empty}}x{{else}}none{{end}}", "none"),
            ("{{if .Null}}a{{else if .Size}}b{{else}}c{{end}}", "b"),
            ("{{if and .Id (not .Null)}}y{{end}}", "y"),
            ("{{if eq .Size 12}}y{{end}}{{if ne .Id \"x\"}}z{{end}}", "yz"),
            ("{{with .Config}}{{.Env}}{{$.Id}}{{end}}", "[A=b]sha256:00"),
            ("{{$x := .Size}}{{$x}}", "12"),
            ("{{$x := 1}}{{with $x := .Id}}{{$x}}{{end}}{{$x}}", "sha256:001"),
            ("{{if .Config.Healthcheck}}a{{else}}b{{end}}", "b"),
            ("{{with .Config.ExposedPorts}}a{{end}}{{.Config.Labels.nobody}}", "<no value>"),
            ("{{if .Null.Deeper}}a{{end}}{{json .Config.Health.Test}}", "null"),
            ("{{if and .Null .Nope}}a{{end}}{{if or .Id .Nope}}b{{end}}", "b"),
            ("{{and 1 2}}{{or 0 3}}{{.Size | and 1}}", "2312"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, told) in [
            ("{{.Nope}}", "`Nope`"),
            ("{{.Id.Nope}}", "`Nope`"),
            ("{{", "not closed"),
            ("{{range .Tags}}", "end"),
            ("{{end}}", "end"),
            ("{{nope .Id}}", "`nope`"),
            ("{{index .Tags 9}}", "out of range"),
            ("{{$y}}", "undefined"),
            ("{{if $y := .Id}}{{end}}{{$y}}", "undefined"),
            ("{{with .Config}}{{$.Nope}}{{end}}", "`Nope`"),
            ("{{and}}", "want a value"),
            ("{{\"a}}", "string"),
            ("{{template \"x\"}}", "`template`"),
        ] {
            assert!(filled(text).contains(told), "{text}: {}", filled(text));
        }
    }
}
