use cel::common::ast::SourceInfo;
use cel::parser::pratt_parser::{Lexer, TokenKind};
use cel::parser::{Expression as Tree, ParseErrors, PrattParser};

use crate::{CompileError, CompileFault, Expression, Span};

/// The parser recurses for each `?` without counting, so they are counted beforehand.
const MAX_CONDITIONALS: usize = 32;

/// A tree of the library, and where each of its nodes stands.
pub(crate) struct Parsed<'t> {
    pub(crate) tree: Tree,
    text: &'t str,
    places: std::sync::Arc<SourceInfo>,
}

/// Parses a text that is within the limits.
pub(crate) fn parse(text: &str) -> Result<Parsed<'_>, CompileError> {
    let whole = Span::from(0..text.len());
    let limit = |span, what, most| CompileError::new(span, CompileFault::Limit { what, most });
    if text.trim().is_empty() {
        return Err(CompileError::new(whole, CompileFault::Empty));
    }
    if text.len() > Expression::MAX_BYTES {
        return Err(limit(whole, "bytes", Expression::MAX_BYTES));
    }
    let (mut tokens, mut conditionals) = (0, 0);
    let mut lexer = Lexer::new(text);
    loop {
        let token = lexer.lex();
        match token.kind {
            TokenKind::TokEnd => break,
            TokenKind::TokWhitespace | TokenKind::TokComment => continue,
            TokenKind::TokQuestion => conditionals += 1,
            _ => {}
        }
        tokens += 1;
        let span = Span::from(token.start..token.end);
        if tokens > Expression::MAX_TOKENS {
            return Err(limit(span, "tokens", Expression::MAX_TOKENS));
        }
        if conditionals > MAX_CONDITIONALS {
            return Err(limit(span, "conditionals", MAX_CONDITIONALS));
        }
    }
    let tree = parser().parse(text).map_err(|errors| refused(text, &errors))?;
    let places = places(text).ok_or_else(|| {
        CompileError::new(whole, CompileFault::Syntax("is not an expression".to_owned()))
    })?;
    Ok(Parsed { tree, text, places })
}

fn parser() -> PrattParser {
    PrattParser::new()
        .max_recursion_depth(u16::try_from(Expression::MAX_DEPTH).unwrap_or(u16::MAX))
        .error_recovery_limit(1)
        .max_expression_node_count(8 * Expression::MAX_TOKENS)
}

/// The places of all nodes. The parser gives them away with errors only, so it is asked once more
/// for a text that ends wrongly; the nodes before that end are numbered as in the right text.
fn places(text: &str) -> Option<std::sync::Arc<SourceInfo>> {
    let mut errors = parser().parse(&format!("{text}\n}}")).err()?.errors;
    errors.drain(..).find_map(|error| error.source_info)
}

/// The first fault, in a sentence without the parser's own habits of speech.
fn refused(text: &str, errors: &ParseErrors) -> CompileError {
    let whole = Span::from(0..text.len());
    // What else is said then follows from giving up.
    if errors.errors.iter().any(|error| error.msg.contains("recursion limit")) {
        let fault = CompileFault::Limit { what: "levels", most: Expression::MAX_DEPTH };
        return CompileError::new(whole, fault);
    }
    let Some(error) = errors.errors.iter().find(|error| error.pos.0 > 0) else {
        let fault = CompileFault::Syntax("is not an expression".to_owned());
        return CompileError::new(whole, fault);
    };
    let place = offset(text, error.pos);
    let token = token_at(text, place);
    let message = error.msg.trim_start_matches("Syntax error: ");
    let message = if token.start == text.len() {
        "ends too early".to_owned()
    } else if message.starts_with("mismatched input")
        || message == "unexpected token"
        || message.contains("recognition")
    {
        format!("did not expect `{}` here", &text[token.start..token.end])
    } else {
        message.to_owned()
    };
    CompileError::new(token, CompileFault::Syntax(message))
}

/// A line and a column of the parser, both from 1 and the column in bytes, as an offset.
fn offset(text: &str, (line, column): (isize, isize)) -> usize {
    let before = usize::try_from(line - 1).unwrap_or(0);
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let place = start.saturating_add(usize::try_from(column - 1).unwrap_or(0)).min(text.len());
    (0..=place).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0)
}

/// The token that begins at or after an offset.
fn token_at(text: &str, offset: usize) -> Span {
    let mut lexer = Lexer::new(text);
    loop {
        let token = lexer.lex();
        let silent = matches!(token.kind, TokenKind::TokWhitespace | TokenKind::TokComment);
        if token.kind == TokenKind::TokEnd || (token.start >= offset && !silent) {
            // What is no token at all has no length: then it is one character.
            let one = text.get(token.start..).and_then(|rest| rest.chars().next());
            let end = token.end.max(token.start + one.map_or(0, char::len_utf8));
            return within(text, token.start, end);
        }
    }
}

/// A span that surely lies in the text and at characters' borders.
fn within(text: &str, start: usize, end: usize) -> Span {
    let floor = |place: usize| {
        (0..=place.min(text.len())).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0)
    };
    let start = floor(start);
    Span { start, end: floor(end).max(start) }
}

impl Parsed<'_> {
    /// Where the token stands that a node was numbered for: for an operator the operator, for a
    /// field the dot before it, for a call of a method its parenthesis.
    pub(crate) fn token(&self, node: u64) -> Span {
        let Some((start, end)) = self.places.offset_for(node) else {
            return within(self.text, 0, self.text.len());
        };
        let number = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
        within(self.text, number(start), number(end))
    }

    /// Where the name of a field stands, behind the first dot from a node on.
    pub(crate) fn field(&self, node: u64, name: &str) -> Span {
        let from = self.token(node);
        let rest = &self.text[from.start..];
        let found = rest.match_indices('.').find_map(|(dot, _)| {
            let blank = rest[dot + 1..].len() - rest[dot + 1..].trim_start().len();
            let start = dot + 1 + blank;
            rest[start..].starts_with(name).then_some(from.start + start)
        });
        found.map_or(from, |start| Span::from(start..start + name.len()))
    }

    /// Where the name stands that a method is called by.
    pub(crate) fn method(&self, node: u64, name: &str) -> Span {
        let parenthesis = self.token(node);
        match self.text[..parenthesis.start].rfind(name) {
            Some(found) => Span::from(found..found + name.len()),
            None => parenthesis,
        }
    }
}
