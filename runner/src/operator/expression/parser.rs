//! From tokens to a tree, by the precedences of expr.

use super::{
    Fault,
    lexer::{Token, TokenKind, tokens},
};

/// How deep a tree may be: what walks it calls itself for each level.
pub(super) const MAX_DEPTH: usize = 64;

/// A part of an expression, and the byte of the text that an error about it points to.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) kind: Kind,
    depth: usize,
}

/// What a part of an expression is.
#[derive(Debug)]
pub(super) enum Kind {
    Nil,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    Name(String),
    /// The element that a predicate looks at.
    Element,
    Member(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    Slice(Box<Node>, Option<Box<Node>>, Option<Box<Node>>),
    Array(Vec<Node>),
    Not(Box<Node>),
    Negative(Box<Node>),
    Positive(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    /// `a < b <= c`: each is compared with its neighbour.
    Compare(Box<Node>, Vec<(&'static str, Node)>),
    Binary(&'static str, Box<Node>, Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
    Call(String, Vec<Node>),
    /// A name for a value in what follows.
    Let(String, Box<Node>, Box<Node>),
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0, predicates: 0 };
    let node = parser.expression(0)?;
    match parser.kind() {
        TokenKind::End => Ok(node),
        _ => Err(parser.unexpected()),
    }
}

/// How tightly a sign binds what stands at its sides; the higher, the tighter.
fn precedence(sign: &str) -> Option<u16> {
    Some(match sign {
        "|" => 0,
        "or" | "||" => 10,
        "and" | "&&" => 15,
        "==" | "!=" | "<" | ">" | ">=" | "<=" | "in" | "matches" | "contains" | "startsWith" | "endsWith" => {
            20
        }
        ".." => 25,
        "+" | "-" => 30,
        "*" | "/" | "%" => 60,
        "**" | "^" => 100,
        "??" => 500,
        _ => return None,
    })
}

/// What a sign in front of something makes of it.
type Prefix = fn(Box<Node>) -> Kind;

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    /// How many predicates the next token is in.
    predicates: usize,
}

impl Parser {
    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(0, |token| token.at)
    }

    fn kind(&self) -> &TokenKind {
        self.tokens.get(self.next).map_or(&TokenKind::End, |token| &token.kind)
    }

    fn sign(&self) -> Option<&'static str> {
        match self.kind() {
            TokenKind::Sign(sign) => Some(sign),
            _ => None,
        }
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.sign() == Some(sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        match self.take(sign) {
            true => Ok(()),
            false => Err(Fault::new(self.at(), format!("expected {sign:?} before {}", self.here()))),
        }
    }

    fn name(&mut self) -> Result<String, Fault> {
        let name = match self.kind() {
            TokenKind::Name(name) => name.clone(),
            _ => return Err(Fault::new(self.at(), format!("expected a name before {}", self.here()))),
        };
        self.next += 1;
        Ok(name)
    }

    fn here(&self) -> String {
        match self.kind() {
            TokenKind::Integer(number) => number.to_string(),
            TokenKind::Float(number) => number.to_string(),
            TokenKind::Text(text) => format!("the text {text:?}"),
            TokenKind::Name(name) => format!("{name:?}"),
            TokenKind::Sign(sign) => format!("{sign:?}"),
            TokenKind::End => "the end".to_owned(),
        }
    }

    fn unexpected(&self) -> Fault {
        let problem = match self.kind() {
            TokenKind::Sign("=") => "compare with ==, not with =".to_owned(),
            TokenKind::End => "something is missing at the end".to_owned(),
            TokenKind::Sign("#") => "# is the element that a predicate, as of any(), looks at".to_owned(),
            _ => format!("{} is not expected here", self.here()),
        };
        Fault::new(self.at(), problem)
    }

    fn node(&self, at: usize, kind: Kind) -> Result<Node, Fault> {
        let deepest = |nodes: &[&Node]| nodes.iter().map(|node| node.depth).max().unwrap_or(0);
        let depth = match &kind {
            Kind::Nil
            | Kind::Bool(_)
            | Kind::Integer(_)
            | Kind::Float(_)
            | Kind::Text(_)
            | Kind::Name(_)
            | Kind::Element => 0,
            Kind::Member(a, _) | Kind::Not(a) | Kind::Negative(a) | Kind::Positive(a) => a.depth,
            Kind::Index(a, b) | Kind::Binary(_, a, b) | Kind::Let(_, a, b) => deepest(&[a, b]),
            Kind::If(a, b, c) => deepest(&[a, b, c]),
            Kind::Slice(a, from, to) => {
                let of = |node: &Option<Box<Node>>| node.as_ref().map_or(0, |node| node.depth);
                a.depth.max(of(from)).max(of(to))
            }
            Kind::Array(all) | Kind::All(all) | Kind::Any(all) | Kind::Call(_, all) => {
                all.iter().map(|node| node.depth).max().unwrap_or(0)
            }
            Kind::Compare(first, rest) => {
                rest.iter().map(|(_, node)| node.depth).max().unwrap_or(0).max(first.depth)
            }
        } + 1;
        if depth > MAX_DEPTH {
            return Err(too_deep(at));
        }
        Ok(Node { at, kind, depth })
    }

    fn expression(&mut self, least: u16) -> Result<Node, Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.at()));
        }
        let node = self.unbounded(least);
        self.depth -= 1;
        node
    }

    fn unbounded(&mut self, least: u16) -> Result<Node, Fault> {
        if least == 0 && self.take("let") {
            let (at, name) = (self.at(), self.name()?);
            self.expect("=")?;
            let value = Box::new(self.expression(0)?);
            self.expect(";")?;
            let body = Box::new(self.expression(0)?);
            return self.node(at, Kind::Let(name, value, body));
        }
        if least == 0 && self.sign() == Some("if") {
            return self.if_else();
        }
        let mut left = self.primary()?;
        while let Some((sign, negated)) = self.operator(least) {
            left = self.binary(left, sign, negated)?;
        }
        while least == 0 && self.sign() == Some("?") {
            let at = self.at();
            self.next += 1;
            let yes = Box::new(self.expression(0)?);
            self.expect(":")?;
            let no = Box::new(self.expression(0)?);
            left = self.node(at, Kind::If(Box::new(left), yes, no))?;
        }
        Ok(left)
    }

    fn if_else(&mut self) -> Result<Node, Fault> {
        let at = self.at();
        self.next += 1;
        let condition = Box::new(self.expression(0)?);
        let branch = |parser: &mut Self| {
            parser.expect("{")?;
            let node = parser.expression(0)?;
            parser.expect("}")?;
            Ok(Box::new(node))
        };
        let yes = branch(self)?;
        self.expect("else")?;
        let no = branch(self)?;
        self.node(at, Kind::If(condition, yes, no))
    }

    /// The operator that comes next, if it binds at least so tightly, and whether `not` stands before it.
    fn operator(&self, least: u16) -> Option<(&'static str, bool)> {
        let sign = self.sign()?;
        let (sign, negated) = match (sign, self.tokens.get(self.next + 1).map(|token| &token.kind)) {
            ("not", Some(TokenKind::Sign(next))) => (*next, true),
            _ => (sign, false),
        };
        let may_be_negated = matches!(sign, "in" | "matches" | "contains" | "startsWith" | "endsWith");
        (precedence(sign)? >= least && (may_be_negated || !negated)).then_some((sign, negated))
    }

    fn binary(&mut self, left: Node, sign: &'static str, negated: bool) -> Result<Node, Fault> {
        self.next += usize::from(negated);
        let at = self.at();
        self.next += 1;
        let tight = precedence(sign).unwrap_or(0);
        let kind = match sign {
            "|" => {
                let name = self.name()?;
                let mut arguments = vec![left];
                self.expect("(")?;
                self.arguments(&name, &mut arguments)?;
                return self.node(at, Kind::Call(name, arguments));
            }
            // Long chains of these are common, and no deeper than one.
            "and" | "&&" => {
                let mut all = vec![left, self.expression(tight + 1)?];
                while self.take("and") || self.take("&&") {
                    all.push(self.expression(tight + 1)?);
                }
                Kind::All(all)
            }
            "or" | "||" => {
                let mut any = vec![left, self.expression(tight + 1)?];
                while self.take("or") || self.take("||") {
                    any.push(self.expression(tight + 1)?);
                }
                Kind::Any(any)
            }
            "<" | "<=" | ">" | ">=" => {
                let mut rest = vec![(sign, self.expression(tight + 1)?)];
                while let Some(sign @ ("<" | "<=" | ">" | ">=")) = self.sign() {
                    self.next += 1;
                    rest.push((sign, self.expression(tight + 1)?));
                }
                Kind::Compare(Box::new(left), rest)
            }
            "**" | "^" => Kind::Binary(sign, Box::new(left), Box::new(self.expression(tight)?)),
            _ => Kind::Binary(sign, Box::new(left), Box::new(self.expression(tight + 1)?)),
        };
        let node = self.node(at, kind)?;
        if negated { self.node(at, Kind::Not(Box::new(node))) } else { Ok(node) }
    }

    fn primary(&mut self) -> Result<Node, Fault> {
        let at = self.at();
        let prefix: Option<(u16, Prefix)> = match self.sign() {
            Some("not" | "!") => Some((50, Kind::Not)),
            Some("-") => Some((90, Kind::Negative)),
            Some("+") => Some((90, Kind::Positive)),
            _ => None,
        };
        if let Some((tight, kind)) = prefix {
            self.next += 1;
            let of = Box::new(self.expression(tight)?);
            return self.node(at, kind(of));
        }
        let kind = match self.kind().clone() {
            TokenKind::Integer(number) => Kind::Integer(number),
            TokenKind::Float(number) => Kind::Float(number),
            TokenKind::Text(text) => Kind::Text(text),
            TokenKind::Name(name) => match name.as_str() {
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                "nil" => Kind::Nil,
                _ => Kind::Name(name),
            },
            TokenKind::Sign("#") if self.predicates > 0 => Kind::Element,
            TokenKind::Sign("(") => {
                self.next += 1;
                let inner = self.expression(0)?;
                self.expect(")")?;
                return self.postfix(inner);
            }
            TokenKind::Sign("[") => {
                self.next += 1;
                let mut elements = Vec::new();
                self.list("]", |parser| {
                    elements.push(parser.expression(0)?);
                    Ok(())
                })?;
                let array = self.node(at, Kind::Array(elements))?;
                return self.postfix(array);
            }
            TokenKind::Sign(_) | TokenKind::End => return Err(self.unexpected()),
        };
        self.next += 1;
        let node = match kind {
            Kind::Name(name) if self.take("(") => {
                let mut arguments = Vec::new();
                self.arguments(&name, &mut arguments)?;
                self.node(at, Kind::Call(name, arguments))?
            }
            kind => self.node(at, kind)?,
        };
        self.postfix(node)
    }

    /// What follows an opening bracket, up to the closing one.
    fn list(
        &mut self,
        end: &str,
        mut element: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !self.take(end) {
            element(self)?;
            if !self.take(",") {
                return self.expect(end);
            }
        }
        Ok(())
    }

    /// A function's arguments, up to the bracket that closes them. The second one of some is a predicate.
    fn arguments(&mut self, function: &str, arguments: &mut Vec<Node>) -> Result<(), Fault> {
        let takes_predicate = matches!(function, "any" | "all" | "none" | "one" | "count");
        self.list(")", |parser| {
            let predicate = takes_predicate && arguments.len() == 1;
            parser.predicates += usize::from(predicate);
            let braces = predicate && parser.take("{");
            let argument = parser.expression(0)?;
            if braces {
                parser.expect("}")?;
            }
            parser.predicates -= usize::from(predicate);
            arguments.push(argument);
            Ok(())
        })
    }

    fn postfix(&mut self, mut node: Node) -> Result<Node, Fault> {
        loop {
            let at = self.at();
            if self.take(".") || self.take("?.") {
                if self.sign() == Some("[") {
                    continue;
                }
                let name = match self.sign() {
                    Some(word) if word.starts_with(char::is_alphabetic) => {
                        self.next += 1;
                        word.to_owned()
                    }
                    _ => self.name()?,
                };
                node = self.node(node.at, Kind::Member(Box::new(node), name))?;
            } else if self.take("[") {
                let from = if self.sign() == Some(":") { None } else { Some(Box::new(self.expression(0)?)) };
                let kind = if self.take(":") {
                    let to =
                        if self.sign() == Some("]") { None } else { Some(Box::new(self.expression(0)?)) };
                    Kind::Slice(Box::new(node), from, to)
                } else {
                    match from.map(|from| *from) {
                        // `proc["comm"]` is `proc.comm`.
                        Some(Node { kind: Kind::Text(name), .. }) => Kind::Member(Box::new(node), name),
                        Some(index) => Kind::Index(Box::new(node), Box::new(index)),
                        None => return Err(self.unexpected()),
                    }
                };
                self.expect("]")?;
                node = self.node(at, kind)?;
            } else {
                return Ok(node);
            }
        }
    }
}

fn too_deep(at: usize) -> Fault {
    Fault::new(at, format!("it is nested more than {MAX_DEPTH} levels deep here"))
}
