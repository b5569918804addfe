//! The tree of `$filter`, before any name in it is looked up.

use super::Dialect;
use super::lexer::{Token, tokens};
use crate::data::value::Val;
use crate::zone::TimeZone;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

impl Op {
    /// As the parser of OData calls it.
    pub fn kind(self) -> &'static str {
        match self {
            Op::Eq => "Equal",
            Op::Ne => "NotEqual",
            Op::Gt => "GreaterThan",
            Op::Ge => "GreaterThanOrEqual",
            Op::Lt => "LessThan",
            Op::Le => "LessThanOrEqual",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Func {
    Contains,
    StartsWith,
    EndsWith,
    ToLower,
    ToUpper,
}

#[derive(Clone, Debug)]
pub enum Ast {
    Literal(Val),
    Field(String),
    /// `cf.String(f='View.Field')`.
    Custom(String),
    Compare(Op, Box<Ast>, Box<Ast>),
    /// Flat, so that a list of thousands does not nest as deep.
    And(Vec<Ast>),
    Or(Vec<Ast>),
    Not(Box<Ast>),
    Call(Func, Vec<Ast>),
    In(Box<Ast>, Vec<Ast>),
    /// `Details/any(d: …)`; without a condition only `any()`.
    Lambda {
        path: String,
        all: bool,
        variable: String,
        body: Option<Box<Ast>>,
    },
}

impl Ast {
    /// The same tree with other nodes for those of `in`.
    pub fn without_in(self, other: &impl Fn(Ast, Vec<Ast>) -> Ast) -> Ast {
        let all = |nodes: Vec<Ast>| nodes.into_iter().map(|node| node.without_in(other)).collect();
        match self {
            Ast::In(a, list) => other(*a, list),
            Ast::And(nodes) => Ast::And(all(nodes)),
            Ast::Or(nodes) => Ast::Or(all(nodes)),
            Ast::Not(node) => Ast::Not(Box::new(node.without_in(other))),
            node => node,
        }
    }

    /// Calls `see` on this node and every one below it.
    pub fn walk(&self, see: &mut dyn FnMut(&Ast)) {
        see(self);
        match self {
            Ast::Literal(_) | Ast::Field(_) | Ast::Custom(_) => {}
            Ast::Compare(_, a, b) => {
                a.walk(see);
                b.walk(see);
            }
            Ast::Not(a) => a.walk(see),
            Ast::Call(_, args) | Ast::And(args) | Ast::Or(args) => args.iter().for_each(|a| a.walk(see)),
            Ast::In(a, list) => {
                a.walk(see);
                list.iter().for_each(|a| a.walk(see));
            }
            Ast::Lambda { body, .. } => {
                if let Some(body) = body {
                    body.walk(see);
                }
            }
        }
    }
}

pub fn parse(text: &str, dialect: Dialect, zone: Option<&TimeZone>) -> Result<Ast, String> {
    let mut parser = Parser { tokens: tokens(text, dialect, zone)?, at: 0, dialect, depth: 0 };
    let ast = parser.or()?;
    match parser.tokens.get(parser.at) {
        None => Ok(ast),
        Some(token) => Err(format!("Syntax error: unexpected {token:?} in '{text}'.")),
    }
}

/// In the words of the server (docs/acumatica.md §3.2, HB 25R2).
fn unknown_function(name: &str) -> String {
    format!(
        "An unknown function with name '{name}' was found. This may also be a function import or a key lookup on a \
         navigation property, which is not allowed."
    )
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    dialect: Dialect,
    depth: u32,
}

impl Parser {
    fn next(&mut self) -> Result<Token, String> {
        let token =
            self.tokens.get(self.at).cloned().ok_or("Syntax error: the expression ends too early.")?;
        self.at += 1;
        Ok(token)
    }

    fn take(&mut self, wanted: fn(&Token) -> bool) -> bool {
        let found = self.tokens.get(self.at).is_some_and(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: fn(&Token) -> bool, what: &str) -> Result<(), String> {
        if self.take(wanted) { Ok(()) } else { Err(format!("Syntax error: {what} expected.")) }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w == word);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Ast, String> {
        self.depth += 1;
        if self.depth > 200 {
            return Err("The node count limit has been exceeded.".into());
        }
        let mut terms = vec![self.and()?];
        while self.take_word("or") {
            terms.push(self.and()?);
        }
        self.depth -= 1;
        Ok(if terms.len() == 1 { terms.remove(0) } else { Ast::Or(terms) })
    }

    fn and(&mut self) -> Result<Ast, String> {
        let mut terms = vec![self.comparison()?];
        while self.take_word("and") {
            terms.push(self.comparison()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Ast::And(terms) })
    }

    fn comparison(&mut self) -> Result<Ast, String> {
        if self.take_word("not") {
            return Ok(Ast::Not(Box::new(self.primary()?)));
        }
        let left = self.primary()?;
        let ops =
            [("eq", Op::Eq), ("ne", Op::Ne), ("gt", Op::Gt), ("ge", Op::Ge), ("lt", Op::Lt), ("le", Op::Le)];
        for (word, op) in ops {
            if self.take_word(word) {
                return Ok(Ast::Compare(op, Box::new(left), Box::new(self.primary()?)));
            }
        }
        if self.dialect.has_in() && self.take_word("in") {
            self.expect(|t| matches!(t, Token::Open), "(")?;
            let list = self.list()?;
            return Ok(Ast::In(Box::new(left), list));
        }
        Ok(left)
    }

    /// Expressions up to the closing parenthesis.
    fn list(&mut self) -> Result<Vec<Ast>, String> {
        let mut list = vec![self.or()?];
        while self.take(|t| matches!(t, Token::Comma)) {
            list.push(self.or()?);
        }
        self.expect(|t| matches!(t, Token::Close), ")")?;
        Ok(list)
    }

    fn primary(&mut self) -> Result<Ast, String> {
        match self.next()? {
            Token::Open => {
                let inner = self.or()?;
                self.expect(|t| matches!(t, Token::Close), ")")?;
                Ok(inner)
            }
            Token::Literal(value) => Ok(Ast::Literal(value)),
            Token::Word(word) if self.take(|t| matches!(t, Token::Open)) => self.call(&word),
            Token::Word(word) => Ok(Ast::Field(word)),
            token => Err(format!("Syntax error: unexpected {token:?}.")),
        }
    }

    fn call(&mut self, word: &str) -> Result<Ast, String> {
        if word.starts_with("cf.") {
            return self.custom();
        }
        if let Some((path, quantifier @ ("any" | "all"))) = word.rsplit_once('/') {
            if self.dialect != Dialect::Dac {
                return Err(unknown_function(word));
            }
            return self.lambda(path, quantifier == "all");
        }
        let (func, arity) = match word {
            "contains" | "substringof" => (Func::Contains, 2),
            "startswith" => (Func::StartsWith, 2),
            "endswith" => (Func::EndsWith, 2),
            "tolower" => (Func::ToLower, 1),
            "toupper" => (Func::ToUpper, 1),
            _ => return Err(unknown_function(word)),
        };
        if !self.dialect.has_function(word) {
            return Err(unknown_function(word));
        }
        let mut args = self.list()?;
        if args.len() != arity {
            return Err(format!("No function signature for the function with name '{word}' matches."));
        }
        // substringof('x', F) has the needle first.
        if word == "substringof" {
            args.reverse();
        }
        Ok(Ast::Call(func, args))
    }

    fn custom(&mut self) -> Result<Ast, String> {
        let named = self.take_word("f") && self.take(|t| matches!(t, Token::Equals));
        match self.next()? {
            Token::Literal(Val::Text(path)) if named && !path.is_empty() => {
                self.expect(|t| matches!(t, Token::Close), ")")?;
                Ok(Ast::Custom(path.into_owned()))
            }
            _ => Err("Syntax error: cf.Type(f='View.Field') expected.".into()),
        }
    }

    fn lambda(&mut self, path: &str, all: bool) -> Result<Ast, String> {
        let (mut variable, mut body) = (String::new(), None);
        if all || !self.take(|t| matches!(t, Token::Close)) {
            let Token::Word(name) = self.next()? else {
                return Err("Syntax error: range variable expected.".into());
            };
            variable = name;
            self.expect(|t| matches!(t, Token::Colon), ":")?;
            body = Some(Box::new(self.or()?));
            self.expect(|t| matches!(t, Token::Close), ")")?;
        }
        Ok(Ast::Lambda { path: path.to_string(), all, variable, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_belong_to_their_dialect() {
        let ok = |text: &str, dialect| parse(text, dialect, None).is_ok();
        for (text, contract4, v3, v4) in [
            ("substringof('x',F)", true, true, false),
            ("contains(F,'x')", false, false, true),
            ("tolower(F) eq 'x'", false, true, true),
            ("startswith(F,'x') or endswith(F,'y') and not (A gt 1)", true, true, true),
            ("F in ('a','b')", false, false, true),
            ("length(F) gt 3", false, false, false),
            ("F eq", false, false, false),
        ] {
            let found = (ok(text, Dialect::Contract4), ok(text, Dialect::GiV3), ok(text, Dialect::GiV4));
            assert_eq!(found, (contract4, v3, v4), "{text}");
        }
        assert!(ok("F in ('a','b') and D/any(d: d/Qty gt 5)", Dialect::Dac));
        assert!(ok("cf.String(f='Document.UsrX') eq 'a'", Dialect::Contract4));
    }
}
