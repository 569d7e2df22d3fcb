//! The direction of the modules: which room of `src/` may know which other.
//!
//! A room is a top-level module with everything below it. Its paths are resolved through the
//! re-exports of `lib.rs`; comments, texts and test code do not count.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

/// Rooms of the request lifecycle. Each may know those that follow, and none before it.
const ORDER: [&str; 5] = ["layer", "service", "transaction", "turn", "record"];

/// Rooms that one may not know. A platform sees the parsed body and the head of a request.
const FORBIDDEN: [(&str, &[&str]); 3] = [
    ("platform", &["database", "config", "body", "layer", "service", "transaction", "turn"]),
    ("database", &["platform", "config", "body", "layer", "service", "transaction", "turn"]),
    ("verify", &["database", "config", "layer", "options", "service", "transaction", "turn"]),
];

#[test]
fn rooms_form_no_circle() {
    assert_eq!(circles(&the_crate().edges()), [""; 0]);
}

#[test]
fn dependencies_point_one_way() {
    assert_eq!(wrong_ways(&the_crate().edges()), [""; 0]);
}

/// A platform sees the parsed body and the request's head: never a body's stream or a response.
#[test]
fn platforms_see_the_body_and_the_head_of_a_request() {
    const UNSEEN: [&str; 6] =
        ["http_body", "http_body_util", "tokio", "tower_service", "Response", "Request"];
    let mut found = Vec::new();
    for (name, text) in sources() {
        let is_platform = name.starts_with("platform/") && !name.contains("tests");
        for token in if is_platform { tokens(&text) } else { Vec::new() } {
            if matches!(&token, Token::Word(word) if UNSEEN.contains(&word.as_str())) {
                found.push(format!("{token:?} in {name}"));
            }
        }
    }
    assert_eq!(found, [""; 0]);
}

#[test]
fn paths_name_the_defining_module() {
    assert_eq!(the_crate().detours(), [""; 0]);
}

#[test]
fn violations_are_found() {
    let lib = "mod layer; mod turn; pub mod database; pub mod platform;
        pub use self::turn::{User, typed::Schema}; pub use self::database::Database;";
    let krate = Crate::new([
        ("lib.rs", lib),
        ("layer/mod.rs", "use super::turn::User; fn f() { crate::platform::all() }"),
        ("turn/mod.rs", "use crate::{layer::{Layer, self as other}, Schema as Form};"),
        ("turn/seal.rs", "pub(crate) struct Seal<'a>(&'a str); use super::super::User;"),
        ("database/mod.rs", "// crate::layer\nconst QUOTE: char = '\"'; use crate::platform::*;"),
        ("database/file.rs", "#[cfg(test)] mod tests { use crate::turn::User; } use super::x;"),
        ("database/tests.rs", "use crate::layer::Layer;"),
        ("platform/mod.rs", r##"const TEXT: &str = r#""crate::turn"#; const N: &str = "\"";"##),
    ]);
    let edges = krate.edges();
    let circles = circles(&edges);
    assert_eq!(circles, ["layer -> turn in layer/mod.rs", "turn -> layer in turn/mod.rs"]);
    let found = ["database -> platform in database/mod.rs", "turn -> layer in turn/mod.rs"];
    assert_eq!(wrong_ways(&edges), found);
    let found = [
        "turn/mod.rs: crate::Schema is crate::turn::typed::Schema",
        "turn/seal.rs: crate::User is crate::turn::User",
    ];
    assert_eq!(krate.detours(), found);
}

/// Rooms that one knows, each with a file that names it.
type Edges = BTreeMap<String, BTreeMap<String, String>>;

/// Lists the edges among rooms that are left when those are taken away, again and again, that know
/// no other that is left, or that no other knows.
fn circles(edges: &Edges) -> Vec<String> {
    let mut left: BTreeSet<(&str, &str, &str)> = BTreeSet::new();
    for (from, known) in edges {
        left.extend(known.iter().map(|(to, file)| (from.as_str(), to.as_str(), file.as_str())));
    }
    loop {
        let froms: BTreeSet<_> = left.iter().map(|edge| edge.0).collect();
        let tos: BTreeSet<_> = left.iter().map(|edge| edge.1).collect();
        let before = left.len();
        left.retain(|(from, to, _)| froms.contains(to) && tos.contains(from));
        if left.len() == before {
            break left.into_iter().map(|(from, to, file)| shown(from, to, file)).collect();
        }
    }
}

fn wrong_ways(edges: &Edges) -> Vec<String> {
    let place = |room: &str| ORDER.iter().position(|other| *other == room);
    let mut found = Vec::new();
    for (from, known) in edges {
        let (_, forbidden) = FORBIDDEN.iter().find(|(room, _)| room == from).unwrap_or(&("", &[]));
        for (to, file) in known {
            let is_upwards =
                matches!((place(from), place(to)), (Some(from), Some(to)) if from > to);
            if is_upwards || forbidden.contains(&to.as_str()) {
                found.push(shown(from, to, file));
            }
        }
    }
    found
}

fn shown(from: &str, to: &str, file: &str) -> String {
    format!("{from} -> {to} in {file}")
}

/// Returns the names and texts of the files in `src/`.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut sources, mut directories) = (Vec::new(), vec![root.clone()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                sources.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources.sort();
    sources
}

fn the_crate() -> Crate {
    let sources = sources();
    let krate = Crate::new(sources.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    assert!(krate.files.len() > 100 && krate.reexports.len() > 20, "the crate is read in full");
    krate
}

struct Crate {
    /// By name: paths into the crate from its root, without `crate`.
    files: BTreeMap<String, Vec<Vec<String>>>,
    /// What `lib.rs` re-exports: the path by the name.
    reexports: BTreeMap<String, Vec<String>>,
}

impl Crate {
    fn new<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut files = BTreeMap::new();
        for (name, text) in sources {
            let module: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
            if !module.contains(&"tests") {
                let module = module.into_iter().filter(|part| !matches!(*part, "mod" | "lib"));
                let module: Vec<String> = module.map(str::to_owned).collect();
                files.insert(name.to_owned(), paths(&tokens(text), &module));
            }
        }
        let lib = files.remove("lib.rs").unwrap();
        let reexports = lib.into_iter().map(|path| (path.last().unwrap().clone(), path)).collect();
        Self { files, reexports }
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (file, paths) in &self.files {
            let from = file.split('/').next().unwrap().trim_end_matches(".rs");
            for path in paths {
                let to = self.reexports.get(&path[0]).map_or(&path[0], |path| &path[0]);
                if to != from {
                    let known = edges.entry(from.to_owned()).or_default();
                    known.entry(to.clone()).or_insert_with(|| file.clone());
                }
            }
        }
        edges
    }

    /// Lists the paths that go through a re-export of `lib.rs`.
    fn detours(&self) -> Vec<String> {
        let paths =
            self.files.iter().flat_map(|(file, paths)| paths.iter().map(move |it| (file, it)));
        let detours = paths.filter_map(|(file, path)| {
            let name = &path[0];
            let defining = self.reexports.get(name)?.join("::");
            Some(format!("{file}: crate::{name} is crate::{defining}"))
        });
        detours.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Separator,
    Other(char),
}

/// Splits code into words and signs, without comments, texts and the items that are `cfg(test)`.
fn tokens(text: &str) -> Vec<Token> {
    let (mut tokens, mut rest) = (Vec::new(), text.chars().peekable());
    while let Some(sign) = rest.next() {
        match sign {
            '/' if rest.peek() == Some(&'/') => while rest.next().is_some_and(|it| it != '\n') {},
            '/' if rest.peek() == Some(&'*') => skip_past(&mut rest, "*/"),
            '"' => skip_text(&mut rest),
            '\'' => skip_quoted_sign(&mut rest),
            ':' if rest.next_if_eq(&':').is_some() => tokens.push(Token::Separator),
            _ if sign.is_alphabetic() || sign == '_' => {
                let mut word = String::from(sign);
                while let Some(next) = rest.next_if(|it| it.is_alphanumeric() || *it == '_') {
                    word.push(next);
                }
                match (word.as_str(), rest.peek()) {
                    ("r" | "br", Some('"' | '#')) => skip_raw_text(&mut rest),
                    _ => tokens.push(Token::Word(word)),
                }
            }
            _ if sign.is_whitespace() => {}
            _ => tokens.push(Token::Other(sign)),
        }
        if tokens.ends_with(&cfg_test()) {
            tokens.truncate(tokens.len() - cfg_test().len());
            skip_item(&mut rest);
        }
    }
    tokens
}

/// `#[cfg(test)]`
fn cfg_test() -> [Token; 7] {
    let word = |word: &str| Token::Word(word.to_owned());
    let [hash, open, left, right, close] = ['#', '[', '(', ')', ']'].map(Token::Other);
    [hash, open, word("cfg"), left, word("test"), right, close]
}

fn skip_past(rest: &mut Peekable<Chars<'_>>, end: &str) {
    let mut read = String::new();
    while !read.ends_with(end) {
        let Some(next) = rest.next() else { return };
        read.push(next);
    }
}

fn skip_text(rest: &mut Peekable<Chars<'_>>) {
    while let Some(next) = rest.next() {
        match next {
            '"' => return,
            '\\' => drop(rest.next()),
            _ => {}
        }
    }
}

fn skip_raw_text(rest: &mut Peekable<Chars<'_>>) {
    let mut end = String::from("\"");
    while rest.next_if_eq(&'#').is_some() {
        end.push('#');
    }
    // `r#word` has no quotation mark.
    if rest.next_if_eq(&'"').is_some() {
        skip_past(rest, &end);
    }
}

/// Skips the rest of `'x'` or `'\n'`, and nothing of a lifetime.
fn skip_quoted_sign(rest: &mut Peekable<Chars<'_>>) {
    let mut ahead = rest.clone();
    if ahead.next() == Some('\\') || ahead.next() == Some('\'') {
        if rest.next() == Some('\\') {
            rest.next();
        }
        skip_past(rest, "'");
    }
}

/// Skips to the end of an item: a semicolon, or the brace that closes its block.
fn skip_item(rest: &mut Peekable<Chars<'_>>) {
    let mut depth = 0;
    while let Some(next) = rest.next() {
        match next {
            ';' if depth == 0 => return,
            '{' => depth += 1,
            '}' if depth == 1 => return,
            '}' => depth -= 1,
            '"' => skip_text(rest),
            '\'' => skip_quoted_sign(rest),
            '/' if rest.peek() == Some(&'/') => while rest.next().is_some_and(|it| it != '\n') {},
            'r' if matches!(rest.peek(), Some('"' | '#')) => skip_raw_text(rest),
            _ => {}
        }
    }
}

/// Lists the paths that begin with `crate`, `self` or `super`, resolved in `module`.
fn paths(tokens: &[Token], module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let is_first = index == 0 || tokens[index - 1] != Token::Separator;
        if !is_first || tokens.get(index + 1) != Some(&Token::Separator) {
            continue;
        }
        let start = match word.as_str() {
            "crate" => &[],
            "self" => module,
            "super" => &module[..module.len().saturating_sub(1)],
            _ => continue,
        };
        branches(&tokens[index + 2..], start.to_vec(), &mut found);
    }
    found.retain(|path| !path.is_empty());
    found
}

/// Follows a path behind its `::`, into each branch of a group. Returns what stands behind it.
fn branches<'a>(
    mut rest: &'a [Token],
    mut path: Vec<String>,
    found: &mut Vec<Vec<String>>,
) -> &'a [Token] {
    loop {
        match rest {
            [Token::Other('{'), inner @ ..] => {
                rest = inner;
                loop {
                    rest = branches(rest, path.clone(), found);
                    // Behind `as name` comes the next branch, or the end of the group.
                    let end = rest.iter().position(|it| matches!(it, Token::Other(',' | '}')));
                    let Some(end) = end else { return &[] };
                    let is_last = rest[end] == Token::Other('}');
                    rest = &rest[end + 1..];
                    if is_last {
                        return rest;
                    }
                    if let [Token::Other('}'), behind @ ..] = rest {
                        return behind;
                    }
                }
            }
            [Token::Word(word), behind @ ..] => {
                match word.as_str() {
                    "self" => {}
                    "super" => drop(path.pop()),
                    _ => path.push(word.clone()),
                }
                rest = behind;
            }
            // A glob, or the arguments of a generic function.
            _ => {
                found.push(path);
                return rest;
            }
        }
        match rest {
            [Token::Separator, behind @ ..] => rest = behind,
            _ => {
                found.push(path);
                return rest;
            }
        }
    }
}
