use std::collections::BTreeSet;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators,
};
use cel::parser::Expression as Tree;
use wachter_document::nearest;

use crate::function::{self, FUNCTIONS, Function, MACROS, Parameter, Signature};
use crate::node::{Kind, Literal, Loop, LoopKind, Node, Operator};
use crate::pattern::Pattern;
use crate::syntax::Parsed;
use crate::{CompileError, CompileFault, Environment, Expression, Shape, Span, macros};

type Checked = Result<(Node, Shape), CompileError>;

/// Turns the parser's tree into ours: resolves names, finds functions, knows types.
pub(crate) struct Checker<'t> {
    parsed: &'t Parsed<'t>,
    environment: &'t Environment,
    /// The variables of the loops around, outermost first.
    locals: Vec<(String, Shape)>,
    names: BTreeSet<String>,
    depth: usize,
}

impl<'t> Checker<'t> {
    pub(crate) fn new(parsed: &'t Parsed<'t>, environment: &'t Environment) -> Self {
        Self { parsed, environment, locals: Vec::new(), names: BTreeSet::new(), depth: 0 }
    }

    /// The names of the environment that were met.
    pub(crate) fn into_names(self) -> BTreeSet<String> {
        self.names
    }

    pub(crate) fn check(&mut self, tree: &Tree) -> Checked {
        // The tree of `1 + 1 + …` is as deep as it is long, which the parser does not count.
        if self.depth == Expression::MAX_DEPTH {
            let fault = CompileFault::Limit { what: "levels", most: Expression::MAX_DEPTH };
            return Err(CompileError::new(self.parsed.token(tree.id), fault));
        }
        self.depth += 1;
        let checked = self.check_here(tree);
        self.depth -= 1;
        checked
    }

    fn check_here(&mut self, tree: &Tree) -> Checked {
        let span = self.parsed.token(tree.id);
        let unsupported = |what| Err(CompileError::new(span, CompileFault::Unsupported(what)));
        match &tree.expr {
            Expr::Literal(literal) => match of_literal(literal) {
                Some((literal, shape)) => Ok((Node { span, kind: Kind::Literal(literal) }, shape)),
                None => unsupported("byte strings"),
            },
            Expr::Ident(name) => self.name(span, name),
            Expr::Select(select) => self.select(tree.id, select),
            Expr::Call(call) => self.call(tree.id, call),
            Expr::List(list) => {
                if !list.optional_indices.is_empty() {
                    return unsupported("optional elements");
                }
                let (mut nodes, mut common) = (Vec::new(), None);
                for element in &list.elements {
                    let (node, shape) = self.check(element)?;
                    nodes.push(node);
                    common = Some(match common {
                        Some(common) => shape.either(&common),
                        None => shape,
                    });
                }
                let shape = Shape::list(common.unwrap_or(Shape::Any));
                Ok((Node { span, kind: Kind::List(nodes) }, shape))
            }
            Expr::Map(map) => {
                let mut entries = Vec::new();
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return unsupported("messages");
                    };
                    if entry.optional {
                        return unsupported("optional entries");
                    }
                    let (key, shape) = self.check(&entry.key)?;
                    if !matches!(
                        shape,
                        Shape::Any | Shape::Bool | Shape::Int | Shape::Uint | Shape::Text
                    ) {
                        let fault = CompileFault::Types {
                            operation: "{…}".to_owned(),
                            found: format!("a key that is a {shape}"),
                        };
                        return Err(CompileError::new(key.span, fault));
                    }
                    entries.push((key, self.check(&entry.value)?.0));
                }
                let shape = Shape::Map(Box::new(Shape::Any));
                Ok((Node { span, kind: Kind::Map(entries) }, shape))
            }
            Expr::Comprehension(general) => self.comprehension(span, general),
            Expr::Struct(_) => unsupported("messages"),
            Expr::Unspecified => {
                let fault = CompileFault::Syntax("is not an expression".to_owned());
                Err(CompileError::new(span, fault))
            }
        }
    }

    fn name(&mut self, span: Span, name: &str) -> Checked {
        let local = self.locals.iter().rposition(|(local, _)| local == name);
        if let Some(index) = local {
            let shape = self.locals[index].1.clone();
            return Ok((Node { span, kind: Kind::Local(index) }, shape));
        }
        let name = name.trim_start_matches('.');
        let Some(shape) = self.environment.shape(name) else {
            let locals = self.locals.iter().map(|(local, _)| local.as_str());
            let known: Vec<_> = self.environment.names().chain(locals).map(str::to_owned).collect();
            let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            let fault = CompileFault::Name { name: name.to_owned(), nearest, known };
            return Err(CompileError::new(span, fault));
        };
        self.names.insert(name.to_owned());
        Ok((Node { span, kind: Kind::Root(name.to_owned()) }, shape.clone()))
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Checked {
        let (operand, of) = self.check(&select.operand)?;
        let name = &select.field;
        // A macro numbers its nodes anew: `has` knows its own place, not that of the dot.
        let from = if select.test { select.operand.id } else { id };
        let span = self.parsed.field(from, name);
        let shape = match &of {
            Shape::Any => Shape::Any,
            Shape::Map(value) => (**value).clone(),
            Shape::Record(fields) => match fields.get(name) {
                Some(shape) => shape.clone(),
                None => {
                    let fault = CompileFault::Field {
                        name: name.clone(),
                        of: path(&select.operand),
                        nearest: nearest(name, fields.keys().map(String::as_str))
                            .map(str::to_owned),
                        known: fields.keys().cloned().collect(),
                    };
                    return Err(CompileError::new(span, fault));
                }
            },
            other => {
                let fault =
                    CompileFault::Types { operation: format!(".{name}"), found: other.to_string() };
                return Err(CompileError::new(span, fault));
            }
        };
        let operand = Box::new(operand);
        Ok(if select.test {
            (Node { span, kind: Kind::Has(operand, name.clone()) }, Shape::Bool)
        } else {
            (Node { span, kind: Kind::Field(operand, name.clone()) }, shape)
        })
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Checked {
        let name = call.func_name.as_str();
        let span = match call.target {
            Some(_) => self.parsed.method(id, name),
            None => self.parsed.token(id),
        };
        match (&call.target, call.args.as_slice()) {
            (None, [one]) => {
                if let Some(checked) = self.unary(span, name, one) {
                    return checked;
                }
            }
            (None, [left, right]) => {
                if let Some(checked) = self.binary(span, name, left, right) {
                    return checked;
                }
            }
            (None, [condition, yes, no]) if name == operators::CONDITIONAL => {
                let condition = self.bool_operand("?:", span, condition)?;
                let (yes, left) = self.check(yes)?;
                let (no, right) = self.check(no)?;
                let kind = Kind::Conditional(Box::new([condition, yes, no]));
                return Ok((Node { span, kind }, left.either(&right)));
            }
            _ => {}
        }
        self.function(span, call)
    }

    fn unary(&mut self, span: Span, name: &str, operand: &Tree) -> Option<Checked> {
        match name {
            operators::LOGICAL_NOT => {
                Some(self.bool_operand("!", span, operand).map(|operand| {
                    (Node { span, kind: Kind::Not(Box::new(operand)) }, Shape::Bool)
                }))
            }
            operators::NEGATE => {
                Some(self.check(operand).and_then(|(operand, shape)| match shape {
                    Shape::Any | Shape::Int | Shape::Double | Shape::Duration => {
                        Ok((Node { span, kind: Kind::Negate(Box::new(operand)) }, shape))
                    }
                    other => Err(types(span, "-", &[&other])),
                }))
            }
            _ => None,
        }
    }

    fn binary(&mut self, span: Span, name: &str, left: &Tree, right: &Tree) -> Option<Checked> {
        let operator = match name {
            operators::LOGICAL_AND | operators::LOGICAL_OR => {
                let and = name == operators::LOGICAL_AND;
                return Some(self.logical(span, and, left, right));
            }
            operators::INDEX => return Some(self.index(span, left, right)),
            operators::OPT_INDEX | operators::OPT_SELECT => {
                let fault = CompileFault::Unsupported("optional values");
                return Some(Err(CompileError::new(span, fault)));
            }
            operators::ADD => Operator::Add,
            operators::SUBSTRACT => Operator::Subtract,
            operators::MULTIPLY => Operator::Multiply,
            operators::DIVIDE => Operator::Divide,
            operators::MODULO => Operator::Remainder,
            operators::EQUALS => Operator::Equal,
            operators::NOT_EQUALS => Operator::NotEqual,
            operators::LESS => Operator::Less,
            operators::LESS_EQUALS => Operator::LessOrEqual,
            operators::GREATER => Operator::Greater,
            operators::GREATER_EQUALS => Operator::GreaterOrEqual,
            operators::IN => Operator::In,
            _ => return None,
        };
        Some(self.operator(span, operator, left, right))
    }

    fn logical(&mut self, span: Span, and: bool, left: &Tree, right: &Tree) -> Checked {
        let name = if and { "&&" } else { "||" };
        let both =
            Box::new([self.bool_operand(name, span, left)?, self.bool_operand(name, span, right)?]);
        let kind = if and { Kind::And(both) } else { Kind::Or(both) };
        Ok((Node { span, kind }, Shape::Bool))
    }

    fn index(&mut self, span: Span, left: &Tree, right: &Tree) -> Checked {
        let (container, of) = self.check(left)?;
        let (index, by) = self.check(right)?;
        let shape = match (&of, &by) {
            (Shape::Any | Shape::Record(_), _) => Shape::Any,
            (Shape::List(element), by) if by.is_number() || *by == Shape::Any => {
                (**element).clone()
            }
            (Shape::Map(value), by) if !matches!(by, Shape::List(_) | Shape::Map(_)) => {
                (**value).clone()
            }
            _ => return Err(types(span, "[]", &[&of, &by])),
        };
        Ok((Node { span, kind: Kind::Index(Box::new([container, index])) }, shape))
    }

    fn operator(&mut self, span: Span, operator: Operator, left: &Tree, right: &Tree) -> Checked {
        let (left, one) = self.check(left)?;
        let (right, other) = self.check(right)?;
        let Some(shape) = result(operator, &one, &other) else {
            return Err(types(span, operator.name(), &[&one, &other]));
        };
        Ok((Node { span, kind: Kind::Binary(operator, Box::new([left, right])) }, shape))
    }

    fn bool_operand(
        &mut self,
        operation: &str,
        span: Span,
        tree: &Tree,
    ) -> Result<Node, CompileError> {
        let (node, shape) = self.check(tree)?;
        if shape.may_be(&Shape::Bool) { Ok(node) } else { Err(types(span, operation, &[&shape])) }
    }

    fn comprehension(&mut self, span: Span, general: &ComprehensionExpr) -> Checked {
        let Some(found) = macros::recognise(general) else {
            return Err(CompileError::new(span, CompileFault::Unsupported("loops of this kind")));
        };
        if self.locals.len() == Expression::MAX_LOOPS {
            let fault = CompileFault::Limit {
                what: "loops within each other",
                most: Expression::MAX_LOOPS,
            };
            return Err(CompileError::new(span, fault));
        }
        let (range, of) = self.check(&general.iter_range)?;
        let element = match of {
            Shape::List(element) => *element,
            Shape::Any => Shape::Any,
            // The keys.
            Shape::Map(_) => Shape::Any,
            other => return Err(types(range.span, "a loop", &[&other])),
        };
        self.locals.push((general.iter_var.clone(), element));
        let inner = self.body(span, &found);
        self.locals.pop();
        let (condition, transform, shape) = inner?;
        let kind = Kind::Loop(Box::new(Loop { kind: found.kind, range, condition, transform }));
        Ok((Node { span, kind }, shape))
    }

    fn body(
        &mut self,
        span: Span,
        found: &macros::Macro<'_>,
    ) -> Result<(Option<Node>, Option<Node>, Shape), CompileError> {
        let condition = match found.condition {
            Some(tree) => Some(self.bool_operand("the condition of a loop", span, tree)?),
            None => None,
        };
        let (transform, element) = match found.transform {
            Some(tree) => self.check(tree).map(|(node, shape)| (Some(node), shape))?,
            None => (None, Shape::Any),
        };
        let shape = match found.kind {
            LoopKind::Collect => Shape::list(element),
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Shape::Bool,
        };
        Ok((condition, transform, shape))
    }

    fn function(&mut self, span: Span, call: &CallExpr) -> Checked {
        let name = call.func_name.trim_start_matches('.');
        if name == "matches" {
            return self.matches(span, call);
        }
        if let Some((_, form)) = MACROS.iter().find(|(known, _)| *known == name) {
            return Err(CompileError::new(span, CompileFault::Form(form)));
        }
        let Some(signature) = FUNCTIONS.iter().find(|known| known.name == name) else {
            let known: Vec<_> = function::names().map(str::to_owned).collect();
            let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            let fault = CompileFault::Function { name: name.to_owned(), nearest, known };
            return Err(CompileError::new(span, fault));
        };
        let Signature { parameters, optional, .. } = signature;
        let given = usize::from(call.target.is_some()) + call.args.len();
        let style = if call.target.is_some() { signature.method } else { signature.global };
        if !style || given > parameters.len() || given + optional < parameters.len() {
            return Err(CompileError::new(span, CompileFault::Form(signature.form)));
        }
        let (mut nodes, mut shapes) = (Vec::new(), Vec::new());
        for tree in call.target.as_deref().into_iter().chain(&call.args) {
            let (node, shape) = self.check(tree)?;
            nodes.push(node);
            shapes.push(shape);
        }
        let fits =
            parameters.iter().zip(&shapes).all(|(parameter, shape)| parameter.accepts(shape));
        // Only a point in time has a zone.
        let zoned_span = shapes.first() == Some(&Shape::Duration) && shapes.len() > 1;
        if !fits || (zoned_span && matches!(signature.function, Function::Part(_))) {
            return Err(types(span, name, &shapes.iter().collect::<Vec<_>>()));
        }
        Ok((Node { span, kind: Kind::Call(signature.function, nodes) }, (signature.result)()))
    }

    fn matches(&mut self, span: Span, call: &CallExpr) -> Checked {
        let mut arguments = call.target.as_deref().into_iter().chain(&call.args);
        let (Some(text), Some(pattern), None) =
            (arguments.next(), arguments.next(), arguments.next())
        else {
            return Err(CompileError::new(span, CompileFault::Form("text.matches('pattern')")));
        };
        let (text, shape) = self.check(text)?;
        if !Parameter::Text.accepts(&shape) {
            return Err(types(span, "matches", &[&shape]));
        }
        let place = self.parsed.token(pattern.id);
        let Expr::Literal(LiteralValue::String(pattern)) = &pattern.expr else {
            return Err(CompileError::new(place, CompileFault::PatternNotLiteral));
        };
        let pattern = Pattern::compile(pattern.inner())
            .map_err(|reason| CompileError::new(place, CompileFault::Pattern(reason)))?;
        Ok((Node { span, kind: Kind::Matches(Box::new(text), pattern) }, Shape::Bool))
    }
}

fn types(span: Span, operation: &str, found: &[&Shape]) -> CompileError {
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    let fault = CompileFault::Types { operation: operation.to_owned(), found: found.join(" and ") };
    CompileError::new(span, fault)
}

/// How a value was reached, for people: `event.data`.
fn path(tree: &Tree) -> String {
    match &tree.expr {
        Expr::Ident(name) => name.clone(),
        Expr::Select(select) => format!("{}.{}", path(&select.operand), select.field),
        _ => "this".to_owned(),
    }
}

fn of_literal(literal: &LiteralValue) -> Option<(Literal, Shape)> {
    Some(match literal {
        LiteralValue::Null => (Literal::Null, Shape::Null),
        LiteralValue::Boolean(value) => (Literal::Bool(*value.inner()), Shape::Bool),
        LiteralValue::Int(number) => (Literal::Int(*number.inner()), Shape::Int),
        LiteralValue::UInt(number) => (Literal::Uint(*number.inner()), Shape::Uint),
        LiteralValue::Double(number) => (Literal::Double(*number.inner()), Shape::Double),
        LiteralValue::String(text) => (Literal::Text(text.inner().to_owned()), Shape::Text),
        LiteralValue::Bytes(_) => return None,
    })
}

/// What an operator gives for operands of which so much is known; `None` where it never gives
/// anything, or only ever the same.
fn result(operator: Operator, left: &Shape, right: &Shape) -> Option<Shape> {
    use Shape::{Any, Bool, Double, Duration, Int, List, Map, Record, Text, Timestamp, Uint};
    match operator {
        // Numbers of all kinds are compared, and anything with null, to see whether it is there.
        Operator::Equal | Operator::NotEqual => {
            let numbers = left.is_number() && right.is_number();
            let null = *left == Shape::Null || *right == Shape::Null;
            (numbers || null || left.may_be(right)).then_some(Bool)
        }
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            let ordered = |shape: &Shape| {
                matches!(shape, Any | Bool | Int | Uint | Double | Text | Timestamp | Duration)
            };
            let numbers = left.is_number() && right.is_number();
            let fits = numbers || left.may_be(right);
            (ordered(left) && ordered(right) && fits).then_some(Bool)
        }
        Operator::In => match right {
            Any => Some(Bool),
            List(element) => {
                let numbers = left.is_number() && element.is_number();
                (numbers || left.may_be(element)).then_some(Bool)
            }
            Map(_) | Record(_) => {
                let key = matches!(left, Any | Bool | Int | Uint | Double | Text);
                key.then_some(Bool)
            }
            _ => None,
        },
        Operator::Add => match (left, right) {
            (Any, Any) => Some(Any),
            (Any, List(_)) | (List(_), Any) => Some(Shape::list(Any)),
            (List(left), List(right)) => Some(Shape::list((**left).clone().either(right))),
            (Timestamp, Duration | Any) | (Duration | Any, Timestamp) => Some(Timestamp),
            (Any, Duration) | (Duration, Any) => Some(Any),
            (Duration, Duration) => Some(Duration),
            (Any, one) | (one, Any) if *one == Text || one.is_number() => Some(one.clone()),
            (Text, Text) => Some(Text),
            (left, right) if left == right && left.is_number() => Some(left.clone()),
            _ => None,
        },
        Operator::Subtract => match (left, right) {
            (Any, Any) | (Any, Duration) => Some(Any),
            (Timestamp, Timestamp) | (Any, Timestamp) | (Duration, Duration | Any) => {
                Some(Duration)
            }
            (Timestamp, Duration) => Some(Timestamp),
            (Timestamp, Any) => Some(Any),
            (Any, one) | (one, Any) if one.is_number() => Some(one.clone()),
            (left, right) if left == right && left.is_number() => Some(left.clone()),
            _ => None,
        },
        Operator::Multiply | Operator::Divide | Operator::Remainder => {
            let number = |shape: &Shape| {
                let whole = operator == Operator::Remainder;
                matches!(shape, Any | Int | Uint) || (*shape == Double && !whole)
            };
            let fits = number(left) && number(right) && left.may_be(right);
            fits.then(|| if *left == Any { right.clone() } else { left.clone() })
        }
    }
}
