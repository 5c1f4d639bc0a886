//! From a tree to nodes that know their types and where their fields lie; and what is said about a tree that makes no
//! sense for a data source.

use super::{
    Fault,
    list::List,
    number::{Arithmetic, Float, Number},
    parser::{Kind, MAX_DEPTH, Node},
    text::Text,
    truth::Truth,
    types::{Alike, ElementType, Value, alike, compare, expected},
};
use crate::datasource::{DataSource, FieldId, Scalar};

/// Nodes that an expression may compile to. Names for values are put in where they are used, so that few words could
/// become many nodes.
const MAX_NODES: usize = 10_000;

/// Regular expressions in one expression.
pub(super) const MAX_PATTERNS: usize = 32;

/// Compiles a tree that is to be true or false.
pub(super) fn compile(ds: &DataSource, tree: &Node) -> Result<Truth, Fault> {
    let mut checker =
        Checker { ds, names: Vec::new(), element: None, nodes: MAX_NODES, patterns: MAX_PATTERNS, depth: 0 };
    match checker.value(tree)? {
        Value::Truth(truth) => Ok(truth),
        other => Err(Fault::new(0, format!("a filter must be true or false, but this is {}", other.what()))),
    }
}

/// The fields that must have one value for a tree to be true, and that value.
pub(super) fn equalities(ds: &DataSource, tree: &Node) -> Vec<(FieldId, String)> {
    match &tree.kind {
        Kind::All(all) => all.iter().flat_map(|node| equalities(ds, node)).collect(),
        Kind::Binary("==", left, right) => {
            let of = |field: &Node, value: &Node| match value.kind {
                Kind::Integer(value) => Some((ds.resolve_shown(&path(field)?).ok()?, value.to_string())),
                _ => None,
            };
            of(left, right).or_else(|| of(right, left)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

pub(super) struct Checker<'t> {
    pub(super) ds: &'t DataSource,
    /// Names that `let` has given.
    names: Vec<(&'t str, &'t Node)>,
    /// What a predicate looks at.
    pub(super) element: Option<ElementType>,
    nodes: usize,
    pub(super) patterns: usize,
    depth: usize,
}

impl<'t> Checker<'t> {
    pub(super) fn value(&mut self, node: &'t Node) -> Result<Value, Fault> {
        self.nodes = self.nodes.checked_sub(1).ok_or_else(|| Fault::new(node.at, "it is too large"))?;
        self.depth += 1;
        if self.depth > 2 * MAX_DEPTH {
            return Err(Fault::new(node.at, "names for values lead too deep here"));
        }
        let value = self.unbounded(node);
        self.depth -= 1;
        value
    }

    fn unbounded(&mut self, node: &'t Node) -> Result<Value, Fault> {
        Ok(match &node.kind {
            Kind::Nil => Value::Nil,
            Kind::Bool(value) => Value::Truth(Truth::Constant(*value)),
            Kind::Integer(value) => Value::Number(Number::Constant(*value)),
            Kind::Float(value) => Value::Float(Float::Constant(*value)),
            Kind::Text(text) => Value::Text(Text::Constant(text.as_bytes().into())),
            Kind::Name(_) | Kind::Member(..) => self.name(node)?,
            Kind::Element => match self.element {
                Some(ElementType::Truth) => Value::Truth(Truth::Element),
                Some(ElementType::Number) => Value::Number(Number::Element),
                Some(ElementType::Float) => Value::Float(Float::Element),
                Some(ElementType::Text) => Value::Text(Text::Element),
                None => return Err(Fault::new(node.at, "# is there in predicates only")),
            },
            Kind::Index(list, place) => {
                let (list, place) = (self.list(list)?, self.number(place)?);
                let of = ElementType::of(&list);
                let at = Box::new((list, place));
                match of {
                    ElementType::Number => Value::Number(Number::At(at)),
                    ElementType::Float => Value::Float(Float::At(at)),
                    ElementType::Text => Value::Text(Text::At(at)),
                    ElementType::Truth => {
                        return Err(Fault::new(node.at, "elements that are true or false have no places"));
                    }
                }
            }
            Kind::Slice(text, from, to) => {
                let text = self.text(text)?;
                let mut bound =
                    |bound: &'t Option<Box<Node>>| bound.as_deref().map(|node| self.number(node)).transpose();
                let (from, to) = (bound(from)?, bound(to)?);
                Value::Text(Text::Slice(Box::new((text, from, to))))
            }
            Kind::Array(elements) => Value::List(self.array(node, elements)?),
            Kind::Not(of) => Value::Truth(Truth::Not(Box::new(self.truth(of)?))),
            Kind::Negative(of) => match self.value(of)? {
                Value::Number(Number::Constant(value)) => {
                    Value::Number(Number::Constant(value.checked_neg().unwrap_or(value)))
                }
                Value::Float(Float::Constant(value)) => Value::Float(Float::Constant(-value)),
                Value::Number(number) => Value::Number(Number::Negative(Box::new(number))),
                Value::Float(float) => Value::Float(Float::Negative(Box::new(float))),
                other => return Err(expected(node.at, "a number behind -", &other)),
            },
            Kind::Positive(of) => match self.value(of)? {
                value @ (Value::Number(_) | Value::Float(_)) => value,
                other => return Err(expected(node.at, "a number behind +", &other)),
            },
            Kind::All(all) => Value::Truth(Truth::All(self.truths(all)?)),
            Kind::Any(any) => Value::Truth(Truth::Any(self.truths(any)?)),
            Kind::Compare(first, rest) => {
                let mut all = Vec::new();
                let mut left: &'t Node = first;
                for (sign, right) in rest {
                    let (a, b) = (self.value(left)?, self.value(right)?);
                    all.push(compare(node.at, sign, a, b)?);
                    left = right;
                }
                Value::Truth(match all.len() {
                    1 => all.remove(0),
                    _ => Truth::All(all),
                })
            }
            Kind::Binary(sign, left, right) => self.binary(node, sign, left, right)?,
            Kind::If(condition, yes, no) => {
                let condition = self.truth(condition)?;
                let (yes, no) = (self.value(yes)?, self.value(no)?);
                match alike(yes, no) {
                    Ok(Alike::Truths(a, b)) => Value::Truth(Truth::If(Box::new((condition, a, b)))),
                    Ok(Alike::Numbers(a, b)) => Value::Number(Number::If(Box::new((condition, a, b)))),
                    Ok(Alike::Floats(a, b)) => Value::Float(Float::If(Box::new((condition, a, b)))),
                    Ok(Alike::Texts(a, b)) => Value::Text(Text::If(Box::new((condition, a, b)))),
                    Err((a, b)) => {
                        let problem = format!(
                            "both ends of ?: must be of one type, but are {} and {}",
                            a.what(),
                            b.what()
                        );
                        return Err(Fault::new(node.at, problem));
                    }
                }
            }
            Kind::Call(name, arguments) => self.call(node, name, arguments)?,
            Kind::Let(name, value, body) => {
                // Checked even if it is not used.
                self.value(value)?;
                self.names.push((name, value));
                let result = self.value(body);
                self.names.pop();
                result?
            }
        })
    }

    /// A field, or a name that `let` gave.
    fn name(&mut self, node: &'t Node) -> Result<Value, Fault> {
        if let Kind::Name(name) = &node.kind
            && let Some(at) = self.names.iter().rposition(|(known, _)| known == name)
        {
            // The value's own names are those that were there before it.
            let later = self.names.split_off(at);
            let value = later.first().map(|(_, value)| self.value(value));
            self.names.extend(later);
            return value.unwrap_or(Ok(Value::Nil));
        }
        let (id, name) = self.field(node)?;
        let field = &self.ds.fields[id];
        let accessor = self.ds.accessor(id);
        let kind = field.kind;
        if kind.array && kind.size().is_none() {
            return match kind.scalar {
                Scalar::Invalid => Err(self.raw(node, &name)),
                _ => Ok(Value::List(List::Field(accessor))),
            };
        }
        Ok(match kind.scalar {
            Scalar::Bool => Value::Truth(Truth::Field(accessor)),
            Scalar::Float32 | Scalar::Float64 => Value::Float(Float::Field(accessor)),
            Scalar::String | Scalar::CString => Value::Text(Text::Field(accessor)),
            Scalar::Bytes | Scalar::Invalid => return Err(self.raw(node, &name)),
            _ => Value::Number(Number::Field(accessor)),
        })
    }

    fn raw(&self, node: &Node, name: &str) -> Fault {
        let members: Vec<&str> = match self.ds.field(name) {
            Some(id) => self.ds.children(Some(id)).map(|id| self.ds.fields[id].full_name.as_str()).collect(),
            None => Vec::new(),
        };
        let instead = match members.join(", ") {
            none if none.is_empty() => "raw bytes, which cannot be compared".to_owned(),
            some => format!("a struct: name one of {some}"),
        };
        Fault::new(node.at, format!("field {name:?} of data source {:?} holds {instead}", self.ds.name))
    }

    /// The field that a name, or names joined by dots, mean; where another one is shown in its place, that.
    fn field(&self, node: &Node) -> Result<(FieldId, String), Fault> {
        let name = path(node).ok_or_else(|| Fault::new(node.at, "only fields have parts with names"))?;
        let id = self.ds.resolve_shown(&name).map_err(|error| Fault::new(node.at, error.to_string()))?;
        Ok((id, self.ds.fields[id].full_name.clone()))
    }

    fn array(&mut self, node: &Node, elements: &'t [Node]) -> Result<List, Fault> {
        let mut list = None;
        for element in elements {
            let value = self.value(element)?;
            let what = value.what();
            match (&mut list, value) {
                (None, Value::Truth(one)) => list = Some(List::Truths(vec![one])),
                (None, Value::Number(one)) => list = Some(List::Numbers(vec![one])),
                (None, Value::Float(one)) => list = Some(List::Floats(vec![one])),
                (None, Value::Text(one)) => list = Some(List::Texts(vec![one])),
                (Some(List::Truths(all)), Value::Truth(one)) => all.push(one),
                (Some(List::Numbers(all)), Value::Number(one)) => all.push(one),
                (Some(List::Floats(all)), Value::Float(one)) => all.push(one),
                (Some(List::Floats(all)), Value::Number(one)) => all.push(Float::OfNumber(Box::new(one))),
                (Some(List::Texts(all)), Value::Text(one)) => all.push(one),
                (Some(List::Numbers(all)), Value::Float(one)) => {
                    let decimal = |number| Float::OfNumber(Box::new(number));
                    list = Some(List::Floats(all.drain(..).map(decimal).chain([one]).collect()));
                }
                _ => {
                    let problem = format!(
                        "a list holds true or false, numbers or texts, all of one type; this is {what}"
                    );
                    return Err(Fault::new(element.at, problem));
                }
            }
        }
        list.ok_or_else(|| Fault::new(node.at, "the list is empty"))
    }

    fn binary(
        &mut self,
        node: &'t Node,
        sign: &'static str,
        left: &'t Node,
        right: &'t Node,
    ) -> Result<Value, Fault> {
        let arithmetic = match sign {
            "==" | "!=" => {
                let (a, b) = (self.value(left)?, self.value(right)?);
                return Ok(Value::Truth(compare(node.at, sign, a, b)?));
            }
            "in" => return Ok(Value::Truth(self.contained(node, left, right)?)),
            "contains" => {
                return Ok(Value::Truth(Truth::Contains(Box::new((self.text(left)?, self.text(right)?)))));
            }
            "startsWith" => {
                return Ok(Value::Truth(Truth::StartsWith(Box::new((self.text(left)?, self.text(right)?)))));
            }
            "endsWith" => {
                return Ok(Value::Truth(Truth::EndsWith(Box::new((self.text(left)?, self.text(right)?)))));
            }
            "matches" => return Ok(Value::Truth(self.matches(left, right)?)),
            ".." => {
                return Ok(Value::List(List::Range(Box::new((self.number(left)?, self.number(right)?)))));
            }
            // No field is ever nil.
            "??" => {
                let (a, b) = (self.value(left)?, self.value(right)?);
                return Ok(if matches!(a, Value::Nil) { b } else { a });
            }
            "+" => Arithmetic::Add,
            "-" => Arithmetic::Subtract,
            "*" => Arithmetic::Multiply,
            "/" => Arithmetic::Divide,
            "%" => Arithmetic::Remainder,
            _ => Arithmetic::Power,
        };
        let (a, b) = (self.value(left)?, self.value(right)?);
        let problem = format!("{sign} does not work with {} and {}", a.what(), b.what());
        // A quotient and a power are decimal even of whole numbers.
        let decimal = matches!(arithmetic, Arithmetic::Divide | Arithmetic::Power);
        match alike(a, b) {
            Ok(Alike::Numbers(a, b)) if decimal => {
                let both = Box::new((Float::OfNumber(Box::new(a)), Float::OfNumber(Box::new(b))));
                Ok(Value::Float(Float::Arithmetic(arithmetic, both)))
            }
            Ok(Alike::Numbers(a, b)) => Ok(Value::Number(Number::Arithmetic(arithmetic, Box::new((a, b))))),
            Ok(Alike::Floats(a, b)) if arithmetic != Arithmetic::Remainder => {
                Ok(Value::Float(Float::Arithmetic(arithmetic, Box::new((a, b)))))
            }
            Ok(Alike::Texts(a, b)) if arithmetic == Arithmetic::Add => {
                Ok(Value::Text(Text::Joined(Box::new((a, b)))))
            }
            _ => Err(Fault::new(node.at, problem)),
        }
    }

    pub(super) fn truth(&mut self, node: &'t Node) -> Result<Truth, Fault> {
        match self.value(node)? {
            Value::Truth(truth) => Ok(truth),
            other => Err(expected(node.at, "true or false", &other)),
        }
    }

    fn truths(&mut self, nodes: &'t [Node]) -> Result<Vec<Truth>, Fault> {
        nodes.iter().map(|node| self.truth(node)).collect()
    }

    pub(super) fn number(&mut self, node: &'t Node) -> Result<Number, Fault> {
        match self.value(node)? {
            Value::Number(number) => Ok(number),
            other => Err(expected(node.at, "a whole number", &other)),
        }
    }

    pub(super) fn text(&mut self, node: &'t Node) -> Result<Text, Fault> {
        match self.value(node)? {
            Value::Text(text) => Ok(text),
            other => Err(expected(node.at, "text", &other)),
        }
    }

    pub(super) fn list(&mut self, node: &'t Node) -> Result<List, Fault> {
        match self.value(node)? {
            Value::List(list) => Ok(list),
            other => Err(expected(node.at, "a list", &other)),
        }
    }
}

/// Names joined by dots. `$env` stands for all that there is.
pub(super) fn path(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Name(name) => Some(name.clone()),
        Kind::Member(of, name) => match path(of)? {
            of if of == "$env" => Some(name.clone()),
            of => Some(format!("{of}.{name}")),
        },
        _ => None,
    }
}
