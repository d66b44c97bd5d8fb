use std::cmp::Ordering;

use crate::{EvaluationFault, Value};

type Computed<'v> = Result<Value<'v>, EvaluationFault>;

/// The order of two values of one type, or of two numbers of any type; `None` where there is none,
/// as for lists and for what is not a number.
pub(crate) fn compare(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    use Value::{Bool, Double, Duration, Int, Text, Timestamp, Uint};
    match (left, right) {
        (Int(left), Int(right)) => Some(left.cmp(right)),
        (Uint(left), Uint(right)) => Some(left.cmp(right)),
        (Double(left), Double(right)) => left.partial_cmp(right),
        (Int(left), Uint(right)) => Some(i128::from(*left).cmp(&i128::from(*right))),
        (Uint(left), Int(right)) => Some(i128::from(*left).cmp(&i128::from(*right))),
        (Int(left), Double(right)) => whole_and_double((*left).into(), *right),
        (Uint(left), Double(right)) => whole_and_double((*left).into(), *right),
        (Double(left), Int(right)) => {
            whole_and_double((*right).into(), *left).map(Ordering::reverse)
        }
        (Double(left), Uint(right)) => {
            whole_and_double((*right).into(), *left).map(Ordering::reverse)
        }
        (Bool(left), Bool(right)) => Some(left.cmp(right)),
        (Text(left), Text(right)) => Some(left.cmp(right)),
        (Timestamp(left), Timestamp(right)) => Some(left.cmp(right)),
        (Duration(left), Duration(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Compares exactly, where making a double of the whole number could lose digits.
fn whole_and_double(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Beyond every 64-bit number, and infinite.
    if double.abs() >= 1e30 {
        return Some(if double > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 1e30 and without a fraction")]
    let floor = double.floor() as i128;
    let fraction = double.fract() != 0.0;
    Some(whole.cmp(&floor).then(if fraction { Ordering::Less } else { Ordering::Equal }))
}

pub(crate) fn add<'v>(left: &Value<'v>, right: &Value<'v>) -> Computed<'v> {
    use Value::{Double, Duration, Int, Timestamp, Uint};
    match (left, right) {
        (Int(left), Int(right)) => fits("+", left.checked_add(*right).map(Int)),
        (Uint(left), Uint(right)) => fits("+", left.checked_add(*right).map(Uint)),
        (Double(left), Double(right)) => Ok(Double(left + right)),
        (Duration(left), Duration(right)) => fits("+", left.checked_add(*right).map(Duration)),
        (Timestamp(time), Duration(span)) | (Duration(span), Timestamp(time)) => {
            fits("+", time.checked_add(*span).ok().map(Timestamp))
        }
        _ => Err(types("+", left, right)),
    }
}

pub(crate) fn subtract<'v>(left: &Value<'v>, right: &Value<'v>) -> Computed<'v> {
    use Value::{Double, Duration, Int, Timestamp, Uint};
    match (left, right) {
        (Int(left), Int(right)) => fits("-", left.checked_sub(*right).map(Int)),
        (Uint(left), Uint(right)) => fits("-", left.checked_sub(*right).map(Uint)),
        (Double(left), Double(right)) => Ok(Double(left - right)),
        (Duration(left), Duration(right)) => fits("-", left.checked_sub(*right).map(Duration)),
        (Timestamp(time), Duration(span)) => fits("-", time.checked_sub(*span).ok().map(Timestamp)),
        (Timestamp(left), Timestamp(right)) => Ok(Duration(left.duration_since(*right))),
        _ => Err(types("-", left, right)),
    }
}

pub(crate) fn multiply<'v>(left: &Value<'v>, right: &Value<'v>) -> Computed<'v> {
    use Value::{Double, Int, Uint};
    match (left, right) {
        (Int(left), Int(right)) => fits("*", left.checked_mul(*right).map(Int)),
        (Uint(left), Uint(right)) => fits("*", left.checked_mul(*right).map(Uint)),
        (Double(left), Double(right)) => Ok(Double(left * right)),
        _ => Err(types("*", left, right)),
    }
}

pub(crate) fn divide<'v>(left: &Value<'v>, right: &Value<'v>) -> Computed<'v> {
    use Value::{Double, Int, Uint};
    match (left, right) {
        (Int(_), Int(0)) | (Uint(_), Uint(0)) => Err(EvaluationFault::DivisionByZero),
        (Int(left), Int(right)) => fits("/", left.checked_div(*right).map(Int)),
        (Uint(left), Uint(right)) => fits("/", left.checked_div(*right).map(Uint)),
        (Double(left), Double(right)) => Ok(Double(left / right)),
        _ => Err(types("/", left, right)),
    }
}

pub(crate) fn remainder<'v>(left: &Value<'v>, right: &Value<'v>) -> Computed<'v> {
    use Value::{Int, Uint};
    match (left, right) {
        (Int(_), Int(0)) | (Uint(_), Uint(0)) => Err(EvaluationFault::DivisionByZero),
        (Int(left), Int(right)) => fits("%", left.checked_rem(*right).map(Int)),
        (Uint(left), Uint(right)) => fits("%", left.checked_rem(*right).map(Uint)),
        _ => Err(types("%", left, right)),
    }
}

pub(crate) fn negate<'v>(value: &Value<'v>) -> Computed<'v> {
    match value {
        Value::Int(number) => fits("-", number.checked_neg().map(Value::Int)),
        Value::Double(number) => Ok(Value::Double(-number)),
        Value::Duration(span) => fits("-", span.checked_neg().map(Value::Duration)),
        other => {
            Err(EvaluationFault::Types { operation: "-", found: other.type_name().to_owned() })
        }
    }
}

fn fits<'v>(operation: &'static str, value: Option<Value<'v>>) -> Computed<'v> {
    value.ok_or(EvaluationFault::Overflow(operation))
}

fn types(operation: &'static str, left: &Value<'_>, right: &Value<'_>) -> EvaluationFault {
    let found = format!("{} and {}", left.type_name(), right.type_name());
    EvaluationFault::Types { operation, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_and_doubles_compare_exactly() {
        use Ordering::{Equal, Greater, Less};
        for (whole, double, expected) in [
            (1, 1.0, Some(Equal)),
            (1, 1.5, Some(Less)),
            (-1, -1.5, Some(Greater)),
            (i128::from(i64::MAX), 9_223_372_036_854_775_808.0, Some(Less)),
            (i128::from(i64::MAX), 9_223_372_036_854_773_760.0, Some(Greater)),
            (i128::from(u64::MAX), f64::INFINITY, Some(Less)),
            (0, f64::NEG_INFINITY, Some(Greater)),
            (0, -0.0, Some(Equal)),
            (0, f64::NAN, None),
        ] {
            assert_eq!(whole_and_double(whole, double), expected, "{whole} and {double}");
        }
    }
}
