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
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        Ok(Template { nodes: parse::parse(text)? })
    }

    /// Fills it with a value.
    pub(crate) fn fill(&self, value: &Value) -> Result<String, String> {
        let mut scope = Scope { root: value, variables: Vec::new() };
        let mut out = String::new();
        scope.nodes(&self.nodes, value, &mut out)?;
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
                Node::If(branch) => {
                    let value = self.pipe(&branch.pipe, dot)?;
                    let nodes = if functions::truth(&value) { &branch.then } else { &branch.other };
                    self.nodes(nodes, dot, out)?;
                }
                Node::With(branch) => {
                    let value = self.pipe(&branch.pipe, dot)?;
                    match functions::truth(&value) {
                        true => self.nodes(&branch.then, &value, out)?,
                        false => self.nodes(&branch.other, dot, out)?,
                    }
                }
                Node::Range(branch) => self.range(branch, dot, out)?,
            }
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
        let mut arguments = Vec::new();
        for term in rest {
            arguments.push(self.term(term, dot)?);
        }
        arguments.extend(piped);
        functions::call(name, &arguments)
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Result<Value, String> {
        match term {
            Term::Field(path) => field(dot, path),
            Term::Variable(name, path) => {
                let mut known = self.variables.iter().rev();
                let value = match known.find(|(known, _)| known == name) {
                    Some((_, value)) => value,
                    None if name.is_empty() => self.root,
                    None => return Err(format!("undefined variable \"${name}\"")),
                };
                field(value, path)
            }
            Term::Literal(value) => Ok(value.clone()),
            Term::Group(pipe, path) => field(&self.pipe(pipe, dot)?, path),
            Term::Function(name) => functions::call(name, &[]),
        }
    }
}

fn field(value: &Value, path: &[String]) -> Result<Value, String> {
    let mut value = value;
    for key in path {
        value = match value {
            Value::Object(map) => {
                map.get(key).ok_or_else(|| format!("there is no `{key}` here"))?
            }
            Value::Null => return Err(format!("there is no `{key}` in nothing")),
            other => return Err(format!("there is no `{key}` in `{}`", functions::plain(other))),
        };
    }
    Ok(value.clone())
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
            ("{{\"a}}", "string"),
            ("{{template \"x\"}}", "`template`"),
        ] {
            assert!(filled(text).contains(told), "{text}: {}", filled(text));
        }
    }
}
