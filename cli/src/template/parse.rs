//! From the text of a template to its parts.

use serde_json::Value;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Pipe(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
}

/// `{{if pipe}}then{{else}}other{{end}}`.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) then: Vec<Node>,
    pub(super) other: Vec<Node>,
}

/// `$a, $b := command | command`.
#[derive(Debug, Clone)]
pub(super) struct Pipe {
    pub(super) variables: Vec<String>,
    pub(super) commands: Vec<Command>,
}

/// A term, or a function with its arguments.
pub(super) type Command = Vec<Term>;

/// A value in a template.
#[derive(Debug, Clone)]
pub(super) enum Term {
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Literal(Value),
    Group(Pipe, Vec<String>),
    Function(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Word(String),
    Literal(Value),
    Pipe,
    Comma,
    Declare,
    Open,
    Close(Vec<String>),
}

/// Text, or the tokens between braces.
enum Piece {
    Text(String),
    Action(Vec<Token>),
}

pub(super) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut pieces = pieces(text)?.into_iter();
    let (nodes, end) = nodes(&mut pieces)?;
    match end {
        None => Ok(nodes),
        Some(_) => Err("unexpected {{end}} or {{else}}".to_owned()),
    }
}

/// The text with `\t` and `\n` between actions as the letters they stand for.
pub(super) fn unescaped(text: &str) -> Result<String, String> {
    let letters = |text: &str| text.replace("\\t", "\t").replace("\\n", "\n");
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, behind) = action(after)?;
        out += &format!("{}{{{{{inside}}}}}", letters(before));
        rest = behind;
    }
    Ok(out + &letters(rest))
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let trimmed = after.strip_prefix("- ");
        let before = if trimmed.is_some() { before.trim_end() } else { before };
        pieces.push(Piece::Text(before.to_owned()));
        let after = trimmed.unwrap_or(after);
        let (inside, behind) = action(after)?;
        let inner = inside.strip_suffix(" -");
        rest = if inner.is_some() { behind.trim_start() } else { behind };
        let inner = inner.unwrap_or(inside).trim();
        if !(inner.starts_with("/*") && inner.ends_with("*/")) {
            pieces.push(Piece::Action(tokens(inner)?));
        }
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

/// What stands before the closing braces that are not in a string, and what behind.
fn action(text: &str) -> Result<(&str, &str), String> {
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if matches!(letter, '"' | '`') => quote = Some(letter),
            None if text[at..].starts_with("}}") => return Ok((&text[..at], &text[at + 2..])),
            None => {}
        }
    }
    Err(if quote.is_some() { "a string is not closed" } else { "an action is not closed" }.into())
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, behind) = match first {
            '|' => (Token::Pipe, &rest[1..]),
            ',' => (Token::Comma, &rest[1..]),
            '(' => (Token::Open, &rest[1..]),
            ')' => {
                let (path, behind) = path(&rest[1..]);
                (Token::Close(path), behind)
            }
            ':' if rest.starts_with(":=") => (Token::Declare, &rest[2..]),
            '"' | '`' => string(rest, first)?,
            '.' => {
                let (path, behind) = path(rest);
                (Token::Field(path), if behind.len() == rest.len() { &rest[1..] } else { behind })
            }
            '$' => {
                let (name, behind) = word(&rest[1..]);
                let (path, behind) = path(behind);
                (Token::Variable(name.to_owned(), path), behind)
            }
            '-' | '0'..='9' => number(rest)?,
            _ => named(rest)?,
        };
        tokens.push(token);
        rest = behind.trim_start();
    }
    Ok(tokens)
}

fn named(text: &str) -> Result<(Token, &str), String> {
    let (name, behind) = word(text);
    let token = match name {
        "" => return Err(format!("unexpected `{text}`")),
        "true" => Token::Literal(Value::Bool(true)),
        "false" => Token::Literal(Value::Bool(false)),
        "nil" => Token::Literal(Value::Null),
        name => Token::Word(name.to_owned()),
    };
    Ok((token, behind))
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    text.split_at(end)
}

/// `.A.B`; a dot alone is none.
fn path(text: &str) -> (Vec<String>, &str) {
    let mut path = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.strip_prefix('.').map(word) {
        if name.is_empty() {
            break;
        }
        path.push(name.to_owned());
        rest = behind;
    }
    (path, rest)
}

fn string(text: &str, quote: char) -> Result<(Token, &str), String> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, letter)| {
        let closes = *letter == quote && !escaped;
        escaped = quote == '"' && *letter == '\\' && !escaped;
        closes
    });
    let (end, _) = end.ok_or("a string is not closed")?;
    let (inside, behind) = (&text[1..end], &text[end + 1..]);
    let value = match quote {
        '"' => {
            serde_json::from_str(&text[..=end]).map_err(|_| format!("bad string \"{inside}\""))?
        }
        _ => Value::from(inside),
    };
    Ok((Token::Literal(value), behind))
}

fn number(text: &str) -> Result<(Token, &str), String> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '.');
    let (number, behind) = text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
    let value: Value =
        serde_json::from_str(number).map_err(|_| format!("bad number `{number}`"))?;
    Ok((Token::Literal(value), behind))
}

/// Nodes up to `end` or `else`, which is given too.
fn nodes(
    pieces: &mut impl Iterator<Item = Piece>,
) -> Result<(Vec<Node>, Option<Vec<Token>>), String> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        let keyword = match tokens.first() {
            Some(Token::Word(word)) => word.as_str(),
            _ => "",
        };
        match keyword {
            "end" | "else" => return Ok((nodes, Some(tokens))),
            "if" => nodes.push(Node::If(branch(&tokens[1..], pieces)?)),
            "with" => nodes.push(Node::With(branch(&tokens[1..], pieces)?)),
            "range" => nodes.push(Node::Range(branch(&tokens[1..], pieces)?)),
            _ => nodes.push(Node::Pipe(pipe(&tokens)?)),
        }
    }
    Ok((nodes, None))
}

fn branch(head: &[Token], pieces: &mut impl Iterator<Item = Piece>) -> Result<Branch, String> {
    let pipe = pipe(head)?;
    let (then, end) = nodes(pieces)?;
    let end = end.ok_or("an {{end}} is missing")?;
    let other = match end.as_slice() {
        [Token::Word(word)] if word == "end" => Vec::new(),
        [Token::Word(word)] if word == "else" => {
            let (other, end) = nodes(pieces)?;
            match end.as_deref() {
                Some([Token::Word(word)]) if word == "end" => other,
                _ => return Err("an {{end}} is missing".to_owned()),
            }
        }
        [Token::Word(word), Token::Word(again), head @ ..] if word == "else" && again == "if" => {
            // `Box<dyn>` keeps the type of the pieces from growing with each `else if`.
            let pieces: &mut dyn Iterator<Item = Piece> = pieces;
            vec![Node::If(branch(head, &mut { pieces })?)]
        }
        _ => return Err("an {{end}} is missing".to_owned()),
    };
    Ok(Branch { pipe, then, other })
}

fn pipe(tokens: &[Token]) -> Result<Pipe, String> {
    let mut variables = Vec::new();
    let mut rest = tokens;
    if let Some(at) = tokens.iter().position(|token| *token == Token::Declare) {
        for token in tokens[..at].iter().filter(|token| **token != Token::Comma) {
            match token {
                Token::Variable(name, path) if path.is_empty() => variables.push(name.clone()),
                _ => return Err("only variables can be declared".to_owned()),
            }
        }
        rest = &tokens[at + 1..];
    }
    let mut tokens = rest.iter();
    let (commands, closed) = commands(&mut tokens)?;
    match closed {
        None => Ok(Pipe { variables, commands }),
        Some(_) => Err("unexpected right paren".to_owned()),
    }
}

/// Commands up to a closing parenthesis, whose path is given too.
fn commands<'a>(
    tokens: &mut impl Iterator<Item = &'a Token>,
) -> Result<(Vec<Command>, Option<Vec<String>>), String> {
    let mut commands = vec![Command::new()];
    let mut closed = None;
    while let Some(token) = tokens.next() {
        let term = match token {
            Token::Pipe => {
                commands.push(Command::new());
                continue;
            }
            Token::Close(path) => {
                closed = Some(path.clone());
                break;
            }
            Token::Open => {
                let tokens: &mut dyn Iterator<Item = &'a Token> = tokens;
                let (commands, path) = self::commands(&mut { tokens })?;
                let path = path.ok_or("unclosed left paren")?;
                Term::Group(Pipe { variables: Vec::new(), commands }, path)
            }
            Token::Field(path) => Term::Field(path.clone()),
            Token::Variable(name, path) => Term::Variable(name.clone(), path.clone()),
            Token::Word(name) => Term::Function(name.clone()),
            Token::Literal(value) => Term::Literal(value.clone()),
            Token::Comma | Token::Declare => return Err("unexpected `,` or `:=`".to_owned()),
        };
        if let Some(command) = commands.last_mut() {
            command.push(term);
        }
    }
    Ok((commands, closed))
}
