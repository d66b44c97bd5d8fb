use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::anomaly::{Discovery, Numbers, Parameter, Profile, Range, Series, State, Weights};
use crate::template::{Miner, Shape};

use super::activity::Activity;
use super::facts::Facts;
use super::origins::{Origin, Origins};
use super::{Limits, Model};

/// The version of what is stored. Another one is refused: learning has to begin again.
///
/// | version | written by | read by |
/// |---|---|---|
/// | 1 | 0.1 | 0.1 |
const VERSION: u32 = 1;

/// A model as it is stored, after its version. Numbers are whole throughout, so that they come back exactly whatever
/// JSON goes through.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    bytes: usize,
    score: u32,
    since: i64,
    now: i64,
    day: i64,
    conclusions: u64,
    records: u64,
    forgotten: u64,
    programs: Discovery,
    host: Discovery,
    all: (State, Option<String>, Weights),
    activity: Activity,
    origins: Vec<(String, String, Discovery, Weights)>,
    templates: Vec<StoredTemplate>,
}

#[derive(Serialize, Deserialize)]
struct StoredTemplate(
    u16,
    String,
    u64,
    (u64, Vec<u64>),
    (u64, i64, i64, u64, u32),
    Option<Weights>,
    State,
    Option<String>,
    Vec<StoredParameter>,
);

#[derive(Serialize, Deserialize)]
struct StoredParameter(u8, u32, Option<Vec<(Box<str>, u32)>>, Option<Numbers>);

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut versioned = serializer.serialize_tuple(2)?;
        versioned.serialize_element(&VERSION)?;
        versioned.serialize_element(&self.to_stored())?;
        versioned.end()
    }
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(2, Versioned)
    }
}

/// Reads the version before what it is the version of.
struct Versioned;

impl<'de> Visitor<'de> for Versioned {
    type Value = Model;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a list of the version {VERSION} and a model")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Model, A::Error> {
        let version: u32 =
            list.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        if version != VERSION {
            return Err(A::Error::custom(format!(
                "the model has version {version}, and this reads {VERSION}; begin with a new model"
            )));
        }
        let stored: Stored =
            list.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
        Model::from_stored(stored).ok_or_else(|| {
            A::Error::custom("the model was changed by others; begin with a new one")
        })
    }
}

impl Model {
    fn to_stored(&self) -> Stored {
        // In the order in which they began, so that what is evicted first is so again.
        let mut entries: Vec<_> = self.miner.iter().map(|(_, entry)| entry).collect();
        entries.sort_by_key(|entry| entry.facts.sequence);
        let template = |shape: &Shape, facts: &Facts| {
            let Facts { id, former, count, first, last, sequence, score, .. } = facts;
            let parameter = |Parameter { place, seen, range }: &Parameter| match range {
                Range::Few(known) => StoredParameter(*place, *seen, Some(known.clone()), None),
                Range::Numbers(numbers) => {
                    StoredParameter(*place, *seen, None, Some(numbers.as_ref().clone()))
                }
                Range::Anything => StoredParameter(*place, *seen, None, None),
            };
            StoredTemplate(
                shape.origin,
                shape.text.clone(),
                shape.learned,
                (*id, former.clone()),
                (*count, *first, *last, *sequence, score.to_bits()),
                (!facts.weights.is_none()).then_some(facts.weights),
                facts.series.state.clone(),
                facts.series.profile.as_ref().map(Profile::to_text),
                facts.parameters.iter().map(parameter).collect(),
            )
        };
        let origin = |origin: &Origin| {
            let Origin { name, source, discovery, weights, .. } = origin;
            (name.clone(), source.clone(), *discovery, *weights)
        };
        Stored {
            bytes: self.limits.bytes,
            score: self.limits.score.to_bits(),
            since: self.since,
            now: self.now,
            day: self.day,
            conclusions: self.conclusions,
            records: self.records,
            forgotten: self.forgotten,
            programs: self.programs,
            host: self.host,
            all: (
                self.all.state.clone(),
                self.all.profile.as_ref().map(Profile::to_text),
                self.all_weights,
            ),
            activity: self.activity.clone(),
            origins: self.origins.list().iter().map(origin).collect(),
            templates: entries.iter().map(|entry| template(&entry.shape, &entry.facts)).collect(),
        }
    }

    /// Nothing where it cannot have come from [`to_stored`](Self::to_stored).
    fn from_stored(stored: Stored) -> Option<Self> {
        let limits = Limits { bytes: stored.bytes, score: f32::from_bits(stored.score) };
        let origins = stored.origins.into_iter().map(|(name, source, discovery, weights)| {
            weights.is_sound().then_some(Origin { name, source, discovery, weights, born: false })
        });
        let origins = origins.collect::<Option<Vec<_>>>().filter(|origins| !origins.is_empty())?;
        let (state, profile, all_weights) = stored.all;
        let mut model = Self {
            since: stored.since,
            now: stored.now,
            day: stored.day,
            conclusions: stored.conclusions,
            records: stored.records,
            forgotten: stored.forgotten,
            programs: stored.programs,
            host: stored.host,
            all: series(state, profile)?,
            all_weights,
            activity: stored.activity,
            ..Self::new(limits)
        };
        (model.all_weights.is_sound() && model.all.state.is_sound()).then_some(())?;
        let count = origins.len();
        model.origins = Origins::from_list(origins);
        model.miner = Miner::default();
        for template in stored.templates {
            let StoredTemplate(
                origin,
                text,
                learned,
                (id, former),
                counts,
                weights,
                state,
                profile,
                parameters,
            ) = template;
            let (count_of, first, last, sequence, score) = counts;
            // What is a value by its look may be another matter since it was stored: such a template is learned anew.
            let Some(shape) = Shape::of_text(origin, &text, learned, model.miner.key()) else {
                model.forgotten += 1;
                continue;
            };
            let facts = Facts {
                id,
                former,
                count: count_of,
                first,
                last,
                sequence,
                score: f32::from_bits(score),
                weights: weights.unwrap_or_default(),
                series: series(state, profile)?,
                parameters: parameters.into_iter().map(parameter).collect(),
                ..Facts::default()
            };
            (usize::from(origin) < count && facts.is_sound()).then_some(())?;
            model.insert(shape, facts);
        }
        model.make_room(None);
        Some(model)
    }
}

/// Nothing where the text is no profile.
fn series(state: State, profile: Option<String>) -> Option<Series> {
    let profile = match profile {
        Some(text) => Some(Profile::from_text(&text)?),
        None => None,
    };
    Some(Series::new(state, profile))
}

fn parameter(StoredParameter(place, seen, few, numbers): StoredParameter) -> Parameter {
    let range = match (few, numbers) {
        (Some(known), _) => Range::Few(known),
        (None, Some(numbers)) => Range::Numbers(Box::new(numbers)),
        (None, None) => Range::Anything,
    };
    Parameter { place, seen, range }
}
