use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;

use crate::arithmetic::{add, compare, divide, multiply, negate, remainder, subtract};
use crate::function::Function;
use crate::key::{Key, NotAKey};
use crate::node::{Kind, Literal, Loop, LoopKind, Node, Operator};
use crate::value::{List, Map};
use crate::{Bindings, EvaluationError, EvaluationFault, Expression, Span, Value, text, time};

/// The bytes of text that one step pays for.
const BYTES_A_STEP: u64 = 32;

pub(crate) type Evaluated<T> = Result<T, EvaluationError>;

/// One evaluation: its bindings, and what it may still cost.
pub(crate) struct Evaluation<'v> {
    bindings: &'v dyn Bindings,
    /// The variables of the loops around, outermost first.
    locals: Vec<Value<'v>>,
    steps: u64,
}

impl<'v> Evaluation<'v> {
    pub(crate) fn new(bindings: &'v dyn Bindings) -> Self {
        Self { bindings, locals: Vec::new(), steps: Expression::MAX_STEPS }
    }

    /// Pays before the work is done.
    pub(crate) fn pay(&mut self, span: Span, steps: u64) -> Evaluated<()> {
        match self.steps.checked_sub(steps) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => {
                self.steps = 0;
                Err(EvaluationError::new(span, EvaluationFault::TooExpensive))
            }
        }
    }

    /// Pays for looking at, or making, so many bytes of text.
    pub(crate) fn pay_bytes(&mut self, span: Span, bytes: usize) -> Evaluated<()> {
        self.pay(span, bytes as u64 / BYTES_A_STEP)
    }

    /// Pays for making so many elements.
    fn pay_elements(&mut self, span: Span, elements: usize) -> Evaluated<()> {
        self.pay(span, elements as u64)
    }

    pub(crate) fn value(&mut self, node: &'v Node) -> Evaluated<Value<'v>> {
        let span = node.span;
        self.pay(span, 1)?;
        match &node.kind {
            Kind::Literal(literal) => Ok(match literal {
                Literal::Null => Value::Null,
                Literal::Bool(value) => Value::Bool(*value),
                Literal::Int(number) => Value::Int(*number),
                Literal::Uint(number) => Value::Uint(*number),
                Literal::Double(number) => Value::Double(*number),
                Literal::Text(text) => Value::text(text),
            }),
            Kind::Root(name) => self
                .bindings
                .value(name)
                .ok_or_else(|| EvaluationError::new(span, EvaluationFault::Unbound(name.clone()))),
            Kind::Local(index) => Ok(self.locals[*index].clone()),
            Kind::Field(operand, name) => {
                let operand = self.value(operand)?;
                let Some(map) = Map::of(&operand) else {
                    return Err(types(span, ".", &[&operand]));
                };
                map.field(name).ok_or_else(|| {
                    EvaluationError::new(span, EvaluationFault::NoField(name.clone()))
                })
            }
            Kind::Has(operand, name) => {
                let operand = self.value(operand)?;
                match Map::of(&operand) {
                    Some(map) => Ok(Value::Bool(map.field(name).is_some())),
                    None => Err(types(span, "has()", &[&operand])),
                }
            }
            Kind::Index(both) => self.index(span, &both[0], &both[1]),
            Kind::Not(operand) => {
                let value = self.truth(span, "!", operand)?;
                Ok(Value::Bool(!value))
            }
            Kind::Negate(operand) => {
                let operand = self.value(operand)?;
                negate(&operand).map_err(|fault| EvaluationError::new(span, fault))
            }
            Kind::And(both) => self.logical(span, "&&", false, both),
            Kind::Or(both) => self.logical(span, "||", true, both),
            Kind::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                if self.truth(span, "?:", condition)? { self.value(yes) } else { self.value(no) }
            }
            Kind::Binary(operator, both) => {
                let (left, right) = (self.value(&both[0])?, self.value(&both[1])?);
                self.binary(span, *operator, &left, &right)
            }
            Kind::Call(function, arguments) => self.call(span, *function, arguments),
            Kind::Matches(operand, pattern) => {
                let operand = self.value(operand)?;
                let Value::Text(text) = &operand else {
                    return Err(types(span, "matches", &[&operand]));
                };
                self.pay(span, pattern.cost(text.len()))?;
                Ok(Value::Bool(pattern.is_match(text)))
            }
            Kind::List(elements) => {
                let values = elements.iter().map(|element| self.value(element));
                Ok(Value::List(values.collect::<Evaluated<Vec<_>>>()?.into()))
            }
            Kind::Map(entries) => self.map(entries),
            Kind::Loop(all) => self.run_loop(span, all),
        }
    }

    /// The value of an operand that has to be true or false.
    fn truth(&mut self, span: Span, operation: &'static str, node: &'v Node) -> Evaluated<bool> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            other => Err(types(span, operation, &[&other])),
        }
    }

    /// `&&` and `||`: the operand that decides does so whatever becomes of the other one.
    fn logical(
        &mut self,
        span: Span,
        operation: &'static str,
        decides: bool,
        both: &'v [Node; 2],
    ) -> Evaluated<Value<'v>> {
        let left = self.truth(span, operation, &both[0]);
        match left {
            Ok(value) if value == decides => return Ok(Value::Bool(decides)),
            Err(error) if error.is_final() => return Err(error),
            _ => {}
        }
        match self.truth(span, operation, &both[1]) {
            Ok(value) if value == decides => Ok(Value::Bool(decides)),
            Err(error) if error.is_final() => Err(error),
            right => left.and(right).map(Value::Bool),
        }
    }

    fn index(&mut self, span: Span, left: &'v Node, right: &'v Node) -> Evaluated<Value<'v>> {
        let (container, index) = (self.value(left)?, self.value(right)?);
        if let Some(list) = List::of(&container) {
            let Some(number) = Key::of(&index).ok().and_then(|key| key.number()) else {
                return Err(types(span, "[]", &[&container, &index]));
            };
            let found = usize::try_from(number).ok().and_then(|index| list.get(index));
            return found.ok_or_else(|| {
                let shown = i64::try_from(number).unwrap_or(i64::MAX);
                EvaluationError::new(span, EvaluationFault::OutOfRange(shown))
            });
        }
        let Some(map) = Map::of(&container) else {
            return Err(types(span, "[]", &[&container, &index]));
        };
        match map.get(&index) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => {
                let shown = text::shown(&index);
                Err(EvaluationError::new(span, EvaluationFault::NoField(shown)))
            }
            Err(NotAKey) => Err(types(span, "[]", &[&container, &index])),
        }
    }

    fn map(&mut self, entries: &'v [(Node, Node)]) -> Evaluated<Value<'v>> {
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            let span = key.span;
            let key = self.value(key)?;
            let Ok(key) = Key::of(&key) else {
                return Err(types(span, "{…}", &[&key]));
            };
            let value = self.value(value)?;
            match map.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(known) => {
                    let shown = known.key().to_string();
                    return Err(EvaluationError::new(span, EvaluationFault::DuplicateKey(shown)));
                }
            }
        }
        Ok(Value::Map(Rc::new(map)))
    }

    fn binary(
        &mut self,
        span: Span,
        operator: Operator,
        left: &Value<'v>,
        right: &Value<'v>,
    ) -> Evaluated<Value<'v>> {
        let fault = |fault| EvaluationError::new(span, fault);
        let ordered = |this: &mut Self| {
            if let (Value::Text(left), Value::Text(right)) = (left, right) {
                this.pay_bytes(span, left.len().min(right.len()))?;
            }
            compare(left, right).ok_or_else(|| types(span, operator.name(), &[left, right]))
        };
        Ok(match operator {
            Operator::Add => match (left, right) {
                (Value::Text(one), Value::Text(other)) => {
                    self.pay_bytes(span, one.len() + other.len())?;
                    Value::made([&**one, &**other].concat())
                }
                _ => match (List::of(left), List::of(right)) {
                    (Some(one), Some(other)) => {
                        self.pay_elements(span, one.len() + other.len())?;
                        Value::List(one.iter().chain(other.iter()).collect())
                    }
                    _ => add(left, right).map_err(fault)?,
                },
            },
            Operator::Subtract => subtract(left, right).map_err(fault)?,
            Operator::Multiply => multiply(left, right).map_err(fault)?,
            Operator::Divide => divide(left, right).map_err(fault)?,
            Operator::Remainder => remainder(left, right).map_err(fault)?,
            Operator::Equal => Value::Bool(self.equal(span, left, right)?),
            Operator::NotEqual => Value::Bool(!self.equal(span, left, right)?),
            Operator::Less => Value::Bool(ordered(self)?.is_lt()),
            Operator::LessOrEqual => Value::Bool(ordered(self)?.is_le()),
            Operator::Greater => Value::Bool(ordered(self)?.is_gt()),
            Operator::GreaterOrEqual => Value::Bool(ordered(self)?.is_ge()),
            Operator::In => Value::Bool(self.contains(span, left, right)?),
        })
    }

    fn contains(&mut self, span: Span, value: &Value<'v>, within: &Value<'v>) -> Evaluated<bool> {
        if let Some(list) = List::of(within) {
            for element in list.iter() {
                if self.equal(span, value, &element)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let found = Map::of(within).map(|map| map.get(value).map(|value| value.is_some()));
        match found {
            Some(Ok(found)) => Ok(found),
            // Every number may be asked for; one with a fraction equals no key.
            Some(Err(NotAKey)) if matches!(value, Value::Double(_)) => Ok(false),
            Some(Err(NotAKey)) | None => Err(types(span, "in", &[value, within])),
        }
    }

    /// Equality, which holds between no two values of different types but numbers.
    fn equal(&mut self, span: Span, left: &Value<'v>, right: &Value<'v>) -> Evaluated<bool> {
        self.pay(span, 1)?;
        if let (Value::Text(left), Value::Text(right)) = (left, right) {
            if left.len() != right.len() {
                return Ok(false);
            }
            self.pay_bytes(span, left.len())?;
            return Ok(left == right);
        }
        if let (Some(left), Some(right)) = (List::of(left), List::of(right)) {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right.iter()) {
                if !self.equal(span, &left, &right)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if let (Some(one), Some(other)) = (Map::of(left), Map::of(right)) {
            return match (one.keys(), one.len(), other.len()) {
                (Some(keys), Some(length), Some(of_other)) => {
                    if length != of_other {
                        return Ok(false);
                    }
                    self.pay_elements(span, length)?;
                    for key in keys {
                        let pair = (one.get(&key), other.get(&key));
                        let (Ok(Some(left)), Ok(Some(right))) = pair else { return Ok(false) };
                        if !self.equal(span, &left, &right)? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                }
                _ => Err(types(span, "==", &[left, right])),
            };
        }
        Ok(match (left, right) {
            (Value::Null, Value::Null) => true,
            _ => compare(left, right).is_some_and(std::cmp::Ordering::is_eq),
        })
    }

    fn run_loop(&mut self, span: Span, all: &'v Loop) -> Evaluated<Value<'v>> {
        let range = self.value(&all.range)?;
        let (list, keys);
        let elements: &mut dyn Iterator<Item = Value<'v>> = if let Some(found) = List::of(&range) {
            list = found;
            &mut list.iter()
        } else if let Some(found) = Map::of(&range)
            && let Some(length) = found.len()
        {
            self.pay_elements(span, length)?;
            keys = found.keys().unwrap_or_default();
            &mut keys.into_iter()
        } else {
            return Err(types(span, "a loop", &[&range]));
        };
        let mut state = LoopState::default();
        for element in elements {
            self.pay(span, 1)?;
            self.locals.push(element);
            let decided = self.run_body(span, all, &mut state);
            self.locals.pop();
            if let Some(value) = decided? {
                return Ok(Value::Bool(value));
            }
        }
        if let Some(error) = state.pending {
            return Err(error);
        }
        Ok(match all.kind {
            LoopKind::All => Value::Bool(true),
            LoopKind::Exists => Value::Bool(false),
            LoopKind::ExistsOne => Value::Bool(state.count == 1),
            LoopKind::Collect => Value::List(state.collected.into()),
        })
    }

    /// One element; gives the answer where it is decided.
    fn run_body(
        &mut self,
        span: Span,
        all: &'v Loop,
        state: &mut LoopState<'v>,
    ) -> Evaluated<Option<bool>> {
        let holds = match &all.condition {
            Some(condition) => self.truth(span, "the condition of a loop", condition),
            None => Ok(true),
        };
        let holds = match (holds, all.kind) {
            (Ok(holds), _) => holds,
            // A later element may still decide, as with `&&` and `||`.
            (Err(error), LoopKind::All | LoopKind::Exists) if !error.is_final() => {
                state.pending.get_or_insert(error);
                return Ok(None);
            }
            (Err(error), _) => return Err(error),
        };
        match all.kind {
            LoopKind::All if !holds => return Ok(Some(false)),
            LoopKind::Exists if holds => return Ok(Some(true)),
            LoopKind::ExistsOne if holds => state.count += 1,
            LoopKind::Collect if holds => {
                if let Some(transform) = &all.transform {
                    state.collected.push(self.value(transform)?);
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn call(
        &mut self,
        span: Span,
        function: Function,
        arguments: &'v [Node],
    ) -> Evaluated<Value<'v>> {
        let arguments = arguments.iter().map(|argument| self.value(argument));
        let arguments = arguments.collect::<Evaluated<Vec<_>>>()?;
        match function {
            Function::Part(part) => time::part(part, &arguments),
            Function::ToTimestamp => time::timestamp(&arguments),
            Function::ToDuration => time::duration(&arguments),
            _ => return text::call(self, span, function, &arguments),
        }
        .map_err(|fault| {
            EvaluationError::new(span, fault.unwrap_or_else(|| mismatch(function, &arguments)))
        })
    }
}

/// What a loop has come to so far.
#[derive(Default)]
struct LoopState<'v> {
    /// An error that a later element may make irrelevant.
    pending: Option<EvaluationError>,
    count: u64,
    collected: Vec<Value<'v>>,
}

/// The fault that says: not for these types.
pub(crate) fn mismatch(function: Function, arguments: &[Value<'_>]) -> EvaluationFault {
    let found: Vec<_> = arguments.iter().map(Value::type_name).collect();
    EvaluationFault::Types { operation: function.name(), found: found.join(" and ") }
}

fn types(span: Span, operation: &'static str, found: &[&Value<'_>]) -> EvaluationError {
    let found: Vec<_> = found.iter().map(|value| value.type_name()).collect();
    let fault = EvaluationFault::Types { operation, found: found.join(" and ") };
    EvaluationError::new(span, fault)
}
