//! A drawing of boxes and arrows, in the languages of Graphviz and Mermaid.
//!
//! Labels are what others wrote: an image, a path, a name. In either language they are one quoted
//! string that nothing in it can end, and that holds no markup and no control character.

use std::fmt::Write;

/// A language that draws graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// [Graphviz](https://graphviz.org/doc/info/lang.html).
    Dot,
    /// [Mermaid](https://mermaid.js.org/syntax/flowchart.html).
    Mermaid,
}

/// Boxes and the arrows between them.
#[derive(Debug)]
pub(super) struct Drawing {
    /// What an arrow means, for who reads the text.
    remark: &'static str,
    nodes: Vec<(String, Shape)>,
    edges: Vec<Edge>,
}

/// What a box stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A step or a service.
    Box,
    /// A network.
    Round,
    /// A volume.
    Store,
    /// A config or secret.
    Sheet,
}

/// How an arrow is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stroke {
    Solid,
    Dashed,
}

/// A box of a [`Drawing`], good for that one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot(usize);

#[derive(Debug)]
struct Edge {
    from: Spot,
    to: Spot,
    stroke: Stroke,
    label: String,
}

impl Drawing {
    /// An empty one.
    pub(super) fn new(remark: &'static str) -> Drawing {
        Drawing { remark, nodes: Vec::new(), edges: Vec::new() }
    }

    /// Adds a box. Boxes are called `n0`, `n1`, … in this order.
    pub(super) fn node(&mut self, label: impl Into<String>, shape: Shape) -> Spot {
        self.nodes.push((label.into(), shape));
        Spot(self.nodes.len() - 1)
    }

    /// Adds an arrow; an empty label is none.
    pub(super) fn edge(&mut self, from: Spot, to: Spot, stroke: Stroke, label: impl Into<String>) {
        self.edges.push(Edge { from, to, stroke, label: label.into() });
    }

    /// The whole text.
    pub(super) fn text(&self, language: Language) -> String {
        match language {
            Language::Dot => self.dot(),
            Language::Mermaid => self.mermaid(),
        }
    }

    fn dot(&self) -> String {
        let mut text = format!("// {}\n", self.remark);
        text.push_str("digraph {\n  rankdir=LR;\n  node [shape=box];\n");
        for (at, (label, shape)) in self.nodes.iter().enumerate() {
            let shape = match shape {
                Shape::Box => "",
                Shape::Round => ", shape=ellipse",
                Shape::Store => ", shape=cylinder",
                Shape::Sheet => ", shape=note",
            };
            let _ = writeln!(text, "  n{at} [label=\"{}\"{shape}];", quoted_dot(label));
        }
        for Edge { from, to, stroke, label } in &self.edges {
            let mut how = Vec::new();
            if *stroke == Stroke::Dashed {
                how.push("style=dashed".to_owned());
            }
            if !label.is_empty() {
                how.push(format!("label=\"{}\"", quoted_dot(label)));
            }
            let how = if how.is_empty() { String::new() } else { format!(" [{}]", how.join(", ")) };
            let _ = writeln!(text, "  n{} -> n{}{how};", from.0, to.0);
        }
        text.push_str("}\n");
        text
    }

    fn mermaid(&self) -> String {
        let mut text = format!("%% {}\n", self.remark);
        text.push_str("flowchart LR\n");
        for (at, (label, shape)) in self.nodes.iter().enumerate() {
            let (open, close) = match shape {
                Shape::Box => ("[", "]"),
                Shape::Round => ("([", "])"),
                Shape::Store => ("[(", ")]"),
                Shape::Sheet => (">", "]"),
            };
            let _ = writeln!(text, "  n{at}{open}\"{}\"{close}", quoted_mermaid(label));
        }
        for Edge { from, to, stroke, label } in &self.edges {
            let arrow = match stroke {
                Stroke::Solid => "-->",
                Stroke::Dashed => "-.->",
            };
            let label = match label.as_str() {
                "" => String::new(),
                label => format!("|\"{}\"|", quoted_mermaid(label)),
            };
            let _ = writeln!(text, "  n{} {arrow}{label} n{}", from.0, to.0);
        }
        text
    }
}

/// What stands between the quotes of a label for Graphviz, which reads escapes (`\n`, `\N`) and
/// entities of HTML in it.
fn quoted_dot(label: &str) -> String {
    let mut text = String::new();
    for c in visible(label).chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '&' => text.push_str("&amp;"),
            c => text.push(c),
        }
    }
    text
}

/// What stands between the quotes of a label for Mermaid, which has no escapes but `#CODE;`, and
/// reads HTML, Markdown, and directives (`%%{`).
fn quoted_mermaid(label: &str) -> String {
    let mut text = String::new();
    for c in visible(label).chars() {
        match c {
            '"' | '#' | '%' | '&' | '<' | '>' | '`' | '\\' | '*' | ';' => {
                let _ = write!(text, "#{};", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text
}

/// The text in one line, with characters shown that a terminal would obey.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let direction = matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c.is_control() || direction {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn drawing(label: &str) -> Drawing {
        let mut drawing = Drawing::new("a test");
        let one = drawing.node(label, Shape::Box);
        let other = drawing.node("b", Shape::Store);
        drawing.edge(one, other, Stroke::Dashed, label);
        drawing
    }

    #[test]
    fn a_label_ends_nowhere_but_at_its_end() {
        let hostile = "a\"]; n0 -> n9 [x=\"\\\n--> `b` &lt; #quot; <script>\u{1b}[2J\u{202e}";
        assert_snapshot!(drawing(hostile).text(Language::Dot), @r#"
        // a test
        digraph {
          rankdir=LR;
          node [shape=box];
          n0 [label="a\"]; n0 -> n9 [x=\"\\\\u{a}--> `b` &amp;lt; #quot; <script>\\u{1b}[2J\\u{202e}"];
          n1 [label="b", shape=cylinder];
          n0 -> n1 [style=dashed, label="a\"]; n0 -> n9 [x=\"\\\\u{a}--> `b` &amp;lt; #quot; <script>\\u{1b}[2J\\u{202e}"];
        }
        "#);
        assert_snapshot!(drawing(hostile).text(Language::Mermaid), @r#"
        %% a test
        flowchart LR
          n0["a#34;]#59; n0 -#62; n9 [x=#34;#92;#92;u{a}--#62; #96;b#96; #38;lt#59; #35;quot#59; #60;script#62;#92;u{1b}[2J#92;u{202e}"]
          n1[("b")]
          n0 -.->|"a#34;]#59; n0 -#62; n9 [x=#34;#92;#92;u{a}--#62; #96;b#96; #38;lt#59; #35;quot#59; #60;script#62;#92;u{1b}[2J#92;u{202e}"| n1
        "#);
    }

    #[test]
    fn without_a_label_there_is_an_arrow_alone() {
        assert!(drawing("").text(Language::Dot).contains("\n  n0 -> n1 [style=dashed];\n"));
        assert!(drawing("").text(Language::Mermaid).contains("\n  n0 -.-> n1\n"));
    }
}
