//! The grammar of the text form of label selectors: requirements separated by commas, each of them `key`, `!key`,
//! `key OP value` or `key in (values)`.

use super::{Operator, Requirement, SelectorError, Values, validate_key};
use crate::field::Path;

/// What the lexer tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Error,
    End,
    Close,
    Comma,
    Not,
    Operator(Operator),
    Identifier,
    Open,
}

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    kind: Kind,
    text: String,
}

/// Where the parser is: `in` and `notin` are operators after a key, and plain words elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    KeyAndOperator,
    Values,
}

/// The operators between a key and its values, as the messages list them.
const BINARY_OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

/// Parses the whole text.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { tokens: tokens(text), position: 0 };
    parser.parse().map_err(SelectorError)
}

fn symbol(text: &str) -> Option<Kind> {
    Some(match text {
        ")" => Kind::Close,
        "," => Kind::Comma,
        "!" => Kind::Not,
        "==" => Kind::Operator(Operator::DoubleEquals),
        "=" => Kind::Operator(Operator::Equals),
        ">" => Kind::Operator(Operator::GreaterThan),
        "<" => Kind::Operator(Operator::LessThan),
        "!=" => Kind::Operator(Operator::NotEquals),
        "(" => Kind::Open,
        _ => return None,
    })
}

fn word(text: &str) -> Kind {
    match text {
        "in" => Kind::Operator(Operator::In),
        "notin" => Kind::Operator(Operator::NotIn),
        _ => Kind::Identifier,
    }
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Cuts the text into tokens; the last one is always the end.
fn tokens(text: &str) -> Vec<Token> {
    let mut rest = text;
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start_matches(is_space);
        let Some(first) = rest.chars().next() else {
            tokens.push(Token { kind: Kind::End, text: String::new() });
            return tokens;
        };
        let (token, length) = if is_symbol(first) { symbol_token(rest) } else { word_token(rest) };
        tokens.push(token);
        rest = &rest[length..];
    }
}

fn word_token(rest: &str) -> (Token, usize) {
    let end = rest.find(|c| is_symbol(c) || is_space(c)).unwrap_or(rest.len());
    let text = &rest[..end];
    (Token { kind: word(text), text: text.to_owned() }, end)
}

/// The longest symbol the text begins with; every symbol character is itself or begins one.
fn symbol_token(rest: &str) -> (Token, usize) {
    let longest = [2, 1]
        .into_iter()
        .filter_map(|length| rest.get(..length))
        .find_map(|text| Some((symbol(text)?, text)));
    match longest {
        Some((kind, text)) => (Token { kind, text: text.to_owned() }, text.len()),
        None => (Token { kind: Kind::Error, text: rest.to_owned() }, rest.len()),
    }
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    /// The present token; past the end it is the end again.
    fn peek(&self, context: Context) -> Token {
        let mut token = self.tokens[self.position.min(self.tokens.len() - 1)].clone();
        let is_word = matches!(token.kind, Kind::Operator(Operator::In | Operator::NotIn));
        if is_word && context == Context::Values {
            token.kind = Kind::Identifier;
        }
        token
    }

    fn next(&mut self, context: Context) -> Token {
        let token = self.peek(context);
        self.position += 1;
        token
    }

    fn parse(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            let token = self.peek(Context::Values);
            match token.kind {
                Kind::End => return Ok(requirements),
                Kind::Identifier | Kind::Not => {
                    let requirement = self
                        .requirement()
                        .map_err(|error| format!("unable to parse requirement: {error}"))?;
                    requirements.push(requirement);
                }
                _ => {
                    return Err(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        token.text
                    ));
                }
            }
            if self.after_requirement()? {
                return Ok(requirements);
            }
        }
    }

    /// What may follow a requirement: the end (true), or a comma and another one.
    fn after_requirement(&mut self) -> Result<bool, String> {
        let token = self.next(Context::Values);
        match token.kind {
            Kind::End => Ok(true),
            Kind::Comma => match self.peek(Context::Values) {
                Token { kind: Kind::Identifier | Kind::Not, .. } => Ok(false),
                other => Err(format!("found '{}', expected: identifier after ','", other.text)),
            },
            _ => Err(format!("found '{}', expected: ',' or 'end of string'", token.text)),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (key, existence) = self.key()?;
        let (operator, values) = match existence {
            Some(operator) => (operator, Values::new()),
            None => self.operator_and_values()?,
        };
        Requirement::new(&key, operator, values.into_iter().collect(), &Path::nil())
            .map_err(|error| error.0)
    }

    /// The key, and the operator if it is about existence only.
    fn key(&mut self) -> Result<(String, Option<Operator>), String> {
        let mut token = self.next(Context::Values);
        let negated = token.kind == Kind::Not;
        if negated {
            token = self.next(Context::Values);
        }
        if token.kind != Kind::Identifier {
            return Err(format!("found '{}', expected: identifier", token.text));
        }
        if let Some(error) = validate_key(&token.text, &Path::nil()) {
            return Err(error.to_string());
        }
        let alone = matches!(self.peek(Context::Values).kind, Kind::End | Kind::Comma);
        let operator = match (negated, alone) {
            (true, _) => Some(Operator::DoesNotExist),
            (false, true) => Some(Operator::Exists),
            (false, false) => None,
        };
        Ok((token.text, operator))
    }

    fn operator_and_values(&mut self) -> Result<(Operator, Values), String> {
        let token = self.next(Context::KeyAndOperator);
        match token.kind {
            Kind::Operator(operator @ (Operator::In | Operator::NotIn)) => {
                Ok((operator, self.value_list()?))
            }
            Kind::Operator(operator) => Ok((operator, self.exact_value()?)),
            _ => Err(format!("found '{}', expected: {BINARY_OPERATORS}", token.text)),
        }
    }

    /// A list in parentheses; `()` holds the empty string.
    fn value_list(&mut self) -> Result<Values, String> {
        let token = self.next(Context::Values);
        if token.kind != Kind::Open {
            return Err(format!("found '{}' expected: '('", token.text));
        }
        let token = self.peek(Context::Values);
        match token.kind {
            Kind::Identifier | Kind::Comma => {
                let values = self.identifiers()?;
                self.next(Context::Values);
                Ok(values)
            }
            Kind::Close => {
                self.next(Context::Values);
                Ok(Values::from([String::new()]))
            }
            _ => Err(format!("found '{}', expected: ',', ')' or identifier", token.text)),
        }
    }

    /// Values separated by commas, up to the closing parenthesis; an empty place is the empty string.
    fn identifiers(&mut self) -> Result<Values, String> {
        let mut values = Values::new();
        loop {
            let token = self.next(Context::Values);
            let following = self.peek(Context::Values);
            match (token.kind, following.kind) {
                (Kind::Identifier, Kind::Comma) => drop(values.insert(token.text)),
                (Kind::Identifier, Kind::Close) => {
                    values.insert(token.text);
                    return Ok(values);
                }
                (Kind::Identifier, _) => {
                    return Err(format!("found '{}', expected: ',' or ')'", following.text));
                }
                (Kind::Comma, next) => {
                    if values.is_empty() || matches!(next, Kind::Close | Kind::Comma) {
                        values.insert(String::new());
                    }
                    if next == Kind::Close {
                        return Ok(values);
                    }
                }
                _ => return Err(format!("found '{}', expected: ',', or identifier", token.text)),
            }
        }
    }

    /// The one value after `=` and its like; nothing is the empty string.
    fn exact_value(&mut self) -> Result<Values, String> {
        if matches!(self.peek(Context::Values).kind, Kind::End | Kind::Comma) {
            return Ok(Values::from([String::new()]));
        }
        let token = self.next(Context::Values);
        match token.kind {
            Kind::Identifier => Ok(Values::from([token.text])),
            _ => Err(format!("found '{}', expected: identifier", token.text)),
        }
    }
}
