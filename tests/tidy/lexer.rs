//! Rust text as a flat list of tokens with their lines: what the rules look at, so that a word in
//! a comment or a string is never taken for code.

use std::{collections::BTreeSet, ops::RangeInclusive, str::FromStr as _};

use anyhow::anyhow;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What sort of token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Word,
    Sign,
    Literal,
    Open,
    Close,
}

/// One token; a pair of brackets is two.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) sort: Sort,
    pub(crate) text: String,
    /// Its first line, from 1.
    pub(crate) line: usize,
    /// Its last line: beyond the first for a string of many lines.
    pub(crate) last: usize,
    /// For a bracket, the index of its partner; for others, their own.
    mate: usize,
}

/// A function with a body.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// Lines of the body that hold code, as clippy counts them.
    pub(crate) code_lines: usize,
    /// The words of the attributes above it.
    pub(crate) attributes: BTreeSet<String>,
    /// Its tokens, from `fn` to the closing brace.
    pub(crate) tokens: RangeInclusive<usize>,
}

/// The tokens of one file.
#[derive(Debug)]
pub(crate) struct Source {
    tokens: Vec<Token>,
    test_items: Vec<RangeInclusive<usize>>,
}

impl Source {
    pub(crate) fn lex(text: &str) -> anyhow::Result<Self> {
        let stream = TokenStream::from_str(text).map_err(|error| {
            let line = error.span().start().line;
            anyhow!("line {line}: {error}")
        })?;
        let mut source = Self { tokens: Vec::new(), test_items: Vec::new() };
        source.flatten(stream);
        source.test_items = source.gates().filter_map(|gate| source.item_after(gate)).collect();
        Ok(source)
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Whether the tokens from `index` on read as `pattern`, whose tokens stand apart by spaces.
    pub(crate) fn reads(&self, index: usize, pattern: &str) -> bool {
        let mut rest = self.tokens.iter().skip(index).map(|token| token.text.as_str());
        pattern.split(' ').all(|wanted| rest.next() == Some(wanted))
    }

    /// Every index from which the tokens read as `pattern`.
    pub(crate) fn find<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = usize> + 'a {
        (0..self.tokens.len()).filter(move |&index| self.reads(index, pattern))
    }

    /// The line of a token, 0 past the end.
    pub(crate) fn line(&self, index: usize) -> usize {
        self.tokens.get(index).map_or(0, |token| token.line)
    }

    /// The tokens inside the bracket that opens at `open`.
    pub(crate) fn inside(&self, open: usize) -> &[Token] {
        let mate = self.tokens.get(open).map_or(open, |token| token.mate);
        self.tokens.get(open + 1..mate).unwrap_or_default()
    }

    /// The items that only tests see: `#[cfg(test)]` and what stands under it, and `#[test]`s.
    pub(crate) fn test_items(&self) -> &[RangeInclusive<usize>] {
        &self.test_items
    }

    /// Whether the file is for tests alone, by an inner `cfg(test)`.
    pub(crate) fn opens_with_test_gate(&self) -> bool {
        self.find("# ! [ cfg ( test ) ]").next().is_some()
    }

    /// The names of the modules declared here for tests alone that live in files of their own.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let declared = self.find("mod").filter_map(|index| {
            let name = self.tokens.get(index + 1)?;
            let apart = self.tokens.get(index + 2)?.text == ";";
            let for_tests = self.test_items.iter().any(|item| item.contains(&index));
            (apart && for_tests).then(|| name.text.clone())
        });
        declared.collect()
    }

    /// The lines taken by modules that stand in this file for tests alone.
    pub(crate) fn test_module_lines(&self) -> usize {
        let modules = self.test_items.iter().filter(|item| {
            let own = self.tokens.get(*item.start()..=*item.end()).unwrap_or_default();
            own.iter()
                .find(|token| matches!(token.text.as_str(), "mod" | "fn" | "use" | "impl"))
                .is_some_and(|token| token.text == "mod")
        });
        modules.map(|item| self.line(*item.end()) + 1 - self.line(*item.start())).sum()
    }

    /// Every function with a body, nested ones too.
    pub(crate) fn functions(&self) -> Vec<Function> {
        self.find("fn").filter_map(|index| self.function(index)).collect()
    }

    fn function(&self, index: usize) -> Option<Function> {
        let name = self.tokens.get(index + 1).filter(|token| token.sort == Sort::Word)?;
        let open = self.body_after(index)?;
        let code: BTreeSet<usize> =
            self.inside(open).iter().flat_map(|token| token.line..=token.last).collect();
        Some(Function {
            name: name.text.clone(),
            line: name.line,
            code_lines: code.len(),
            attributes: self.attribute_words_before(index),
            tokens: index..=self.tokens.get(open)?.mate,
        })
    }

    /// The brace that opens the body of what starts at `index`, or none if a `;` comes first.
    fn body_after(&self, index: usize) -> Option<usize> {
        let end = self.item_end(index)?;
        let token = self.tokens.get(end)?;
        (token.text == "}").then_some(token.mate)
    }

    /// The index of the `;` or of the closing brace that ends what starts at `index`.
    fn item_end(&self, index: usize) -> Option<usize> {
        let mut at = index;
        loop {
            let token = self.tokens.get(at)?;
            match (token.sort, token.text.as_str()) {
                (Sort::Sign, ";") => return Some(at),
                (Sort::Open, "{") => return Some(token.mate),
                (Sort::Open, _) => at = token.mate + 1,
                (Sort::Close, _) => return None,
                (Sort::Word | Sort::Sign | Sort::Literal, _) => at += 1,
            }
        }
    }

    fn attribute_words_before(&self, index: usize) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        let mut at = index;
        while let Some(token) = at.checked_sub(1).and_then(|before| self.tokens.get(before)) {
            at -= 1;
            match (token.sort, token.text.as_str()) {
                (Sort::Close, "]") => {
                    words.extend(self.inside(token.mate).iter().map(|inner| inner.text.clone()));
                    at = token.mate;
                }
                (Sort::Close, ")") => at = token.mate,
                (Sort::Close | Sort::Open, _) | (Sort::Sign, ";" | ",") => break,
                (Sort::Word | Sort::Sign | Sort::Literal, _) => {}
            }
        }
        words
    }

    /// Where an attribute that leaves its item to tests begins.
    fn gates(&self) -> impl Iterator<Item = usize> + '_ {
        const GATES: [&str; 4] =
            ["# [ cfg ( test )", "# [ cfg ( all ( test", "# [ test ]", "# [ tokio : : test"];
        (0..self.tokens.len()).filter(|&at| GATES.iter().any(|gate| self.reads(at, gate)))
    }

    /// The item that the attribute at `gate` stands on, further attributes passed over.
    fn item_after(&self, gate: usize) -> Option<RangeInclusive<usize>> {
        let mut at = gate;
        while self.reads(at, "# [") {
            at = self.tokens.get(at + 1)?.mate + 1;
        }
        Some(gate..=self.item_end(at)?)
    }

    fn flatten(&mut self, stream: TokenStream) {
        for tree in stream {
            let span = tree.span();
            let (line, last) = (span.start().line, span.end().line);
            match tree {
                TokenTree::Group(group) => self.flatten_group(&group),
                TokenTree::Ident(word) => self.push(Sort::Word, word.to_string(), line, last),
                TokenTree::Punct(sign) => {
                    self.push(Sort::Sign, sign.as_char().to_string(), line, last);
                }
                TokenTree::Literal(text) => self.push(Sort::Literal, text.to_string(), line, last),
            }
        }
    }

    fn flatten_group(&mut self, group: &Group) {
        let (opening, closing) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => return self.flatten(group.stream()),
        };
        let (open, first) = (self.tokens.len(), group.span_open().start().line);
        self.push(Sort::Open, opening.to_owned(), first, first);
        self.flatten(group.stream());
        let (close, last) = (self.tokens.len(), group.span_close().end().line);
        self.push(Sort::Close, closing.to_owned(), last, last);
        for (bracket, mate) in [(open, close), (close, open)] {
            if let Some(token) = self.tokens.get_mut(bracket) {
                token.mate = mate;
            }
        }
    }

    fn push(&mut self, sort: Sort, text: String, line: usize, last: usize) {
        let mate = self.tokens.len();
        self.tokens.push(Token { sort, text, line, last, mate });
    }
}

/// The value of a plain string literal, if that is what `token` is.
pub(crate) fn string_value(token: &Token) -> Option<&str> {
    if token.sort != Sort::Literal {
        return None;
    }
    let text = token.text.trim_start_matches('r').trim_matches('#');
    text.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn words_in_comments_and_strings_are_no_code() -> anyhow::Result<()> {
        let source = Source::lex("// unsafe\nconst A: &str = \"unsafe\"; /* unsafe */")?;
        assert_eq!(source.find("unsafe").count(), 0);
        Ok(())
    }

    #[test]
    fn function_counts_its_lines_of_code_only() -> anyhow::Result<()> {
        let text = "trait T { fn none(&self); }\n#[inline]\npub(crate) fn f(a: [u8; 2]) {\n    \
                    // why\n\n    let _ = a;\n    let s = \"x\n    y\";\n}\n";
        let source = Source::lex(text)?;
        let functions = source.functions();
        let [only] = functions.as_slice() else { anyhow::bail!("{functions:?}") };
        assert_eq!((only.name.as_str(), only.line, only.code_lines), ("f", 3, 3));
        assert!(only.attributes.contains("inline"));
        Ok(())
    }

    #[test]
    fn test_items_reach_to_their_end() -> anyhow::Result<()> {
        let text = "fn a() {}\n#[cfg(test)]\n#[path = \"x\"]\nmod t {\n fn b() {}\n}\nfn c() {}\n";
        let source = Source::lex(text)?;
        let tested = |name| {
            let index = source.find(name).next().unwrap_or_default();
            source.test_items().iter().any(|item| item.contains(&index))
        };
        assert!(tested("b"));
        assert!(!tested("a") && !tested("c"));
        assert_eq!(source.test_module_lines(), 5);
        Ok(())
    }
}
