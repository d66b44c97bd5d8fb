use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;

use super::JsonDocument;
use super::json_index::JsonIndex;

/// A JSON value as text, without white space between its tokens.
#[derive(Clone, Debug)]
pub struct JsonText {
    raw: Box<RawValue>,
    index: OnceLock<Known>,
}

/// What is known of where the values of a text stand.
#[derive(Clone, Debug)]
enum Known {
    Index(Arc<JsonIndex>),
    /// The index is larger than the text, as few but hostile texts have it: it is not kept.
    Large,
    /// `serde_json` makes no value of it.
    Unreadable,
}

impl JsonText {
    pub(super) const fn new(raw: Box<RawValue>) -> Self {
        Self { raw, index: OnceLock::new() }
    }

    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.raw.get()
    }

    pub(super) const fn raw(&self) -> &RawValue {
        &self.raw
    }

    pub(super) fn document(&self) -> Option<JsonDocument<'_>> {
        let text = self.get();
        let mut made = None;
        let known = self.index.get_or_init(|| match JsonIndex::of(text).map(Arc::new) {
            None => Known::Unreadable,
            Some(index) if index.bytes() > text.len().max(SMALL) => {
                made = Some(index);
                Known::Large
            }
            Some(index) => Known::Index(index),
        });
        let index = match known {
            Known::Index(index) => Arc::clone(index),
            Known::Large => match made {
                Some(index) => index,
                None => Arc::new(JsonIndex::of(text)?),
            },
            Known::Unreadable => return None,
        };
        Some(JsonDocument::new(text, index))
    }
}

/// An index of so many bytes is kept however short its text.
const SMALL: usize = 512;
