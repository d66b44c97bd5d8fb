use crate::Shape;

/// A function of the language; those of times are told apart by [`Part`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    IndexOf,
    LastIndexOf,
    CharAt,
    Substring,
    LowerAscii,
    UpperAscii,
    Trim,
    Split,
    Join,
    Replace,
    ToBool,
    ToInt,
    ToUint,
    ToDouble,
    ToText,
    ToTimestamp,
    ToDuration,
    Dyn,
    Part(Part),
}

/// A part of a point in time, or a unit to count a span of time in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    Any,
    Text,
    Int,
    List,
    /// What has a size.
    Sized,
    Timestamp,
    /// A point in time or a span.
    Time,
}

impl Parameter {
    pub(crate) fn accepts(self, shape: &Shape) -> bool {
        match self {
            _ if *shape == Shape::Any => true,
            Self::Any => true,
            Self::Text => *shape == Shape::Text,
            Self::Int => *shape == Shape::Int,
            Self::List => matches!(shape, Shape::List(_)),
            Self::Sized => matches!(shape, Shape::Text | Shape::List(_) | Shape::Map(_)),
            Self::Timestamp => *shape == Shape::Timestamp,
            Self::Time => matches!(shape, Shape::Timestamp | Shape::Duration),
        }
    }
}

/// How a function is called.
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    pub(crate) function: Function,
    /// `f(x)`.
    pub(crate) global: bool,
    /// `x.f()`.
    pub(crate) method: bool,
    /// The value before the dot counts as the first.
    pub(crate) parameters: &'static [Parameter],
    /// How many of the last parameters may be left out.
    pub(crate) optional: usize,
    pub(crate) result: fn() -> Shape,
    /// How it is written, for people.
    pub(crate) form: &'static str,
}

use Parameter::{Any, Int, List, Sized, Text, Time, Timestamp};

const fn method(
    name: &'static str,
    function: Function,
    parameters: &'static [Parameter],
    optional: usize,
    result: fn() -> Shape,
    form: &'static str,
) -> Signature {
    Signature { name, function, global: false, method: true, parameters, optional, result, form }
}

const fn conversion(
    name: &'static str,
    function: Function,
    result: fn() -> Shape,
    form: &'static str,
) -> Signature {
    let parameters = &[Any];
    Signature { name, function, global: true, method: false, parameters, optional: 0, result, form }
}

const fn of_date(name: &'static str, part: Part, form: &'static str) -> Signature {
    method(name, Function::Part(part), &[Timestamp, Text], 1, || Shape::Int, form)
}

const fn of_time(name: &'static str, part: Part, form: &'static str) -> Signature {
    method(name, Function::Part(part), &[Time, Text], 1, || Shape::Int, form)
}

/// Every function but `matches`, whose pattern is compiled beforehand, and the macros.
pub(crate) const FUNCTIONS: &[Signature] = &[
    Signature {
        name: "size",
        function: Function::Size,
        global: true,
        method: true,
        parameters: &[Sized],
        optional: 0,
        result: || Shape::Int,
        form: "size(value)",
    },
    method("contains", Function::Contains, &[Text, Text], 0, || Shape::Bool, "text.contains(part)"),
    method(
        "startsWith",
        Function::StartsWith,
        &[Text, Text],
        0,
        || Shape::Bool,
        "text.startsWith(start)",
    ),
    method("endsWith", Function::EndsWith, &[Text, Text], 0, || Shape::Bool, "text.endsWith(end)"),
    method(
        "indexOf",
        Function::IndexOf,
        &[Text, Text, Int],
        1,
        || Shape::Int,
        "text.indexOf(part, from)",
    ),
    method(
        "lastIndexOf",
        Function::LastIndexOf,
        &[Text, Text],
        0,
        || Shape::Int,
        "text.lastIndexOf(part)",
    ),
    method("charAt", Function::CharAt, &[Text, Int], 0, || Shape::Text, "text.charAt(index)"),
    method(
        "substring",
        Function::Substring,
        &[Text, Int, Int],
        1,
        || Shape::Text,
        "text.substring(from, to)",
    ),
    method("lowerAscii", Function::LowerAscii, &[Text], 0, || Shape::Text, "text.lowerAscii()"),
    method("upperAscii", Function::UpperAscii, &[Text], 0, || Shape::Text, "text.upperAscii()"),
    method("trim", Function::Trim, &[Text], 0, || Shape::Text, "text.trim()"),
    method(
        "split",
        Function::Split,
        &[Text, Text, Int],
        1,
        || Shape::list(Shape::Text),
        "text.split(separator, most)",
    ),
    method("join", Function::Join, &[List, Text], 1, || Shape::Text, "list.join(separator)"),
    method(
        "replace",
        Function::Replace,
        &[Text, Text, Text, Int],
        1,
        || Shape::Text,
        "text.replace(old, new, most)",
    ),
    conversion("bool", Function::ToBool, || Shape::Bool, "bool(value)"),
    conversion("int", Function::ToInt, || Shape::Int, "int(value)"),
    conversion("uint", Function::ToUint, || Shape::Uint, "uint(value)"),
    conversion("double", Function::ToDouble, || Shape::Double, "double(value)"),
    conversion("string", Function::ToText, || Shape::Text, "string(value)"),
    conversion("timestamp", Function::ToTimestamp, || Shape::Timestamp, "timestamp(value)"),
    conversion("duration", Function::ToDuration, || Shape::Duration, "duration(value)"),
    conversion("dyn", Function::Dyn, || Shape::Any, "dyn(value)"),
    of_date("getFullYear", Part::FullYear, "time.getFullYear(zone)"),
    of_date("getMonth", Part::Month, "time.getMonth(zone)"),
    of_date("getDate", Part::Date, "time.getDate(zone)"),
    of_date("getDayOfMonth", Part::DayOfMonth, "time.getDayOfMonth(zone)"),
    of_date("getDayOfWeek", Part::DayOfWeek, "time.getDayOfWeek(zone)"),
    of_date("getDayOfYear", Part::DayOfYear, "time.getDayOfYear(zone)"),
    of_time("getHours", Part::Hours, "time.getHours(zone)"),
    of_time("getMinutes", Part::Minutes, "time.getMinutes(zone)"),
    of_time("getSeconds", Part::Seconds, "time.getSeconds(zone)"),
    of_time("getMilliseconds", Part::Milliseconds, "time.getMilliseconds(zone)"),
];

/// The macros, with the forms they have. One that is called otherwise arrives as a call.
pub(crate) const MACROS: &[(&str, &str)] = &[
    ("has", "has(value.field)"),
    ("all", "list.all(name, condition)"),
    ("exists", "list.exists(name, condition)"),
    ("exists_one", "list.exists_one(name, condition)"),
    ("existsOne", "list.existsOne(name, condition)"),
    ("map", "list.map(name, value)"),
    ("filter", "list.filter(name, condition)"),
    ("matches", "text.matches('pattern')"),
];

/// All names that can be called.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|known| known.name).chain(MACROS.iter().map(|(name, _)| *name))
}

impl Function {
    /// The name it is called by.
    pub(crate) fn name(self) -> &'static str {
        let known = FUNCTIONS.iter().find(|known| known.function == self);
        known.map_or("function", |known| known.name)
    }
}
