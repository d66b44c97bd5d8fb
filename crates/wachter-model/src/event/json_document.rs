use std::sync::Arc;

use serde_json::{Number, Value};

use super::json_index::{Heavy, JsonIndex, Order, Slot, text_end};

/// A JSON text of which only what is asked for is read.
///
/// What is read of it is what `serde_json` reads: of members with the same name the last counts,
/// members come in the order of their names, and numbers are what [`Number`] makes of them.
#[derive(Clone, Debug)]
pub struct JsonDocument<'t> {
    text: &'t str,
    index: Arc<JsonIndex>,
}

/// A value of a [`JsonDocument`].
#[derive(Clone, Debug)]
pub enum JsonValue<'d> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text, its escapes resolved.
    Text(&'d str),
    /// An array.
    Array(JsonArray<'d>),
    /// An object.
    Object(JsonObject<'d>),
}

/// An array of a [`JsonDocument`].
#[derive(Clone, Copy, Debug)]
pub struct JsonArray<'d> {
    document: &'d JsonDocument<'d>,
    group: usize,
}

/// An object of a [`JsonDocument`].
#[derive(Clone, Copy, Debug)]
pub struct JsonObject<'d> {
    document: &'d JsonDocument<'d>,
    group: usize,
}

impl<'t> JsonDocument<'t> {
    pub(super) fn new(text: &'t str, index: Arc<JsonIndex>) -> Self {
        Self { text, index }
    }

    /// The value of the whole.
    #[must_use]
    pub fn root(&self) -> JsonValue<'_> {
        self.value(self.index.root)
    }

    fn value<'d>(&'d self, slot: Slot) -> JsonValue<'d> {
        let (at, inner) = (slot.at as usize, slot.inner());
        let heavy = inner.and_then(|place| self.index.heavy.get(place));
        let group = inner.unwrap_or_default();
        match self.text.as_bytes().get(at) {
            Some(b'{') => JsonValue::Object(JsonObject { document: self, group }),
            Some(b'[') => JsonValue::Array(JsonArray { document: self, group }),
            Some(b'"') => JsonValue::Text(self.text_at(at, heavy)),
            Some(b't') => JsonValue::Bool(true),
            Some(b'f') => JsonValue::Bool(false),
            Some(b'n') | None => JsonValue::Null,
            Some(_) => JsonValue::Number(self.number_at(at, heavy)),
        }
    }

    fn text_at<'d>(&'d self, at: usize, heavy: Option<&'d Heavy>) -> &'d str {
        const INDEXED: &str = "a text has an end, since it was found when the index was made";
        match heavy {
            Some(Heavy::Text { end, made: None }) => &self.text[at + 1..*end as usize - 1],
            Some(Heavy::Text { end, made: Some(made) }) => made.get_or_init(|| {
                let read = serde_json::from_str::<String>(&self.text[at..*end as usize]);
                read.expect("its escapes were gone through").into_boxed_str()
            }),
            _ => {
                let end = text_end(self.text.as_bytes(), at).expect(INDEXED).at;
                &self.text[at + 1..end - 1]
            }
        }
    }

    fn number_at(&self, at: usize, heavy: Option<&Heavy>) -> Number {
        if let Some(Heavy::Number(number)) = heavy {
            return number.clone();
        }
        let rest = &self.text[at..];
        let end = rest.bytes().position(|byte| matches!(byte, b',' | b'}' | b']'));
        let read = serde_json::from_str(&rest[..end.unwrap_or(rest.len())]);
        read.expect("a number in range, since the index was made")
    }
}

impl JsonValue<'_> {
    /// The value with all that is in it, read.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::from(*text),
            Self::Array(array) => array.to_json(),
            Self::Object(object) => object.to_json(),
        }
    }
}

impl<'d> JsonArray<'d> {
    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.document.index.held(self.group).len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An element, the first at 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<JsonValue<'d>> {
        let slot = self.document.index.held(self.group).get(index)?;
        Some(self.document.value(*slot))
    }

    /// The array with all that is in it, read.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let held = self.document.index.held(self.group);
        held.iter().map(|slot| self.document.value(*slot).to_json()).collect()
    }
}

impl<'d> JsonObject<'d> {
    /// How many members it has, those of the same name counted once.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.order() {
            Order::Written => self.few_names().len(),
            Order::Sorted | Order::Unescaped(_) => self.held().len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held().is_empty()
    }

    /// The value of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<JsonValue<'d>> {
        let (held, text) = (self.held(), self.document.text);
        let slot = match self.order() {
            Order::Written => held.iter().rev().find(|slot| slot.key(text) == name)?,
            Order::Sorted => {
                let place = held.binary_search_by_key(&name, |slot| slot.key(text)).ok()?;
                &held[place]
            }
            Order::Unescaped(keys) => {
                let names = &self.document.index.keys[keys as usize];
                &held[names.binary_search_by_key(&name, |known| known).ok()?]
            }
        };
        Some(self.document.value(*slot))
    }

    /// The names of its members, in their order.
    #[must_use]
    pub fn keys(&self) -> Vec<&'d str> {
        let document = self.document;
        match self.order() {
            Order::Written => self.few_names(),
            Order::Sorted => self.held().iter().map(|slot| slot.key(document.text)).collect(),
            Order::Unescaped(keys) => {
                document.index.keys[keys as usize].iter().map(|name| &**name).collect()
            }
        }
    }

    /// The object with all that is in it, read.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let member = |name: &str| Some((name.to_owned(), self.get(name)?.to_json()));
        Value::Object(self.keys().into_iter().filter_map(member).collect())
    }

    fn order(&self) -> Order {
        self.document.index.groups[self.group].order
    }

    fn held(&self) -> &'d [Slot] {
        self.document.index.held(self.group)
    }

    /// The names of few members, sorted and each once.
    fn few_names(&self) -> Vec<&'d str> {
        let text = self.document.text;
        let mut names: Vec<_> = self.held().iter().map(|slot| slot.key(text)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventData;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    /// What is read lazily is what is read at once: as a whole, and member by member.
    fn check(text: &str) {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        let Some(data) = EventData::from_raw(raw) else { return };
        let whole = data.to_json();
        // The second is of what the first has kept.
        for _ in 0..2 {
            let document = data.document();
            let read = document.as_ref().map(|document| document.root().to_json());
            assert_eq!(read, whole, "{text}");
            if let (Some(document), Some(whole)) = (&document, &whole) {
                compare(&document.root(), whole);
            }
        }
    }

    fn compare(lazy: &JsonValue<'_>, whole: &Value) {
        match (lazy, whole) {
            (JsonValue::Array(array), Value::Array(values)) => {
                assert_eq!(array.len(), values.len());
                assert_eq!(array.is_empty(), values.is_empty());
                assert!(array.get(values.len()).is_none());
                for (place, value) in values.iter().enumerate() {
                    compare(&array.get(place).unwrap(), value);
                }
            }
            (JsonValue::Object(object), Value::Object(members)) => {
                assert_eq!(object.len(), members.len());
                assert_eq!(object.is_empty(), members.is_empty());
                assert_eq!(object.keys(), members.keys().collect::<Vec<_>>());
                for (name, value) in members {
                    compare(&object.get(name).unwrap(), value);
                }
                for name in ["", "no", "\"", "\\", "a\":1,\"b"] {
                    assert_eq!(object.get(name).is_some(), members.contains_key(name), "{name}");
                }
            }
            (lazy, whole) => assert_eq!(&lazy.to_json(), whole),
        }
    }

    #[test]
    fn what_is_read_lazily_is_what_is_read_at_once() {
        let many = |key: &dyn Fn(usize) -> String| {
            let members: Vec<_> = (0..40).map(|n| format!("\"{}\":{n}", key(n))).collect();
            format!("{{{}}}", members.join(","))
        };
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for text in [
            "null",
            "true",
            "-0",
            "1.5e3",
            "\"a\"",
            "\"\\n\"",
            "[]",
            "{}",
            "[[],{}]",
            "{\"\":{}}",
            // The last of a name counts.
            r#"{"a":1,"a":2}"#,
            r#"{"b":0,"a":1,"\u0061":2}"#,
            r#"{"a\":1,\"b":1}"#,
            &many(&|number| format!("k{}", number % 30)),
            &many(&|number| format!("k\\u006{}", number % 10)),
            // Beyond the range of whole numbers, and of numbers.
            "[9223372036854775808,18446744073709551616,-9223372036854775809,1e308]",
            "[1e309]",
            "[-1E+309]",
            &format!("[{}]", "9".repeat(400)),
            &format!("[1,0.{}1]", "0".repeat(400)),
            &format!("-{}", "1".repeat(70)),
            // Half of a character, as a text and as a key.
            r#"["\ud800"]"#,
            r#"{"\ud800":1}"#,
            r#"["\ud83d\ude00","\\ud800","\uD83D\u0041"]"#,
            &format!("[\"{}\",\"{}\\\"\"]", "x".repeat(100), "é".repeat(100)),
            &nested(127),
            &nested(128),
            // Their index is larger than they are.
            &format!("[{}]", vec!["1"; 1000].join(",")),
            &format!("[{}]", vec!["\"\\n\""; 1000].join(",")),
        ] {
            check(text);
        }
    }

    #[test]
    fn an_index_is_kept_unless_it_is_larger_than_its_text() {
        let data =
            |text: String| EventData::from_raw(RawValue::from_string(text).unwrap()).unwrap();
        let is_kept = |data: &EventData| {
            let (one, other) = (data.document().unwrap(), data.document().unwrap());
            Arc::ptr_eq(&one.index, &other.index)
        };
        assert!(is_kept(&data(format!("[{}]", vec!["\"a text of a few words\""; 1000].join(",")))));
        assert!(!is_kept(&data(format!("[{}]", vec!["1"; 1000].join(",")))));
    }

    fn texts() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just("false".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            any::<f64>()
                .prop_filter("JSON has them", |n| n.is_finite())
                .prop_map(|n| format!("{n:e}")),
            "-?(0|[1-9][0-9]{0,400})(\\.[0-9]{1,80})?([eE][+-]?[0-9]{1,3})?",
            any::<String>().prop_map(|text| Value::from(text).to_string()),
            "\"([a-z]{0,3}|\\\\[nt\"\\\\/bfr]|\\\\u[0-9a-f]{4}|\\\\ud83d\\\\ude00){0,30}\"",
        ];
        leaf.prop_recursive(5, 200, 24, |inner| {
            let key =
                prop_oneof![4 => "\"[a-d]{0,2}\"", 1 => "\"(\\\\u006[1-4]|\\\\\"|[a-d]){0,2}\""];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..24)
                    .prop_map(|values| format!("[{}]", values.join(","))),
                prop::collection::vec((key, inner), 0..24).prop_map(|members| {
                    let members = members.into_iter().map(|(key, value)| format!("{key}: {value}"));
                    format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        #[test]
        fn any_json_is_read_alike(text in texts()) {
            check(&text);
        }
    }
}
