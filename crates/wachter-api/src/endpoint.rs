use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One thing that can be asked of a node: where, by whom, and in which shapes.
///
/// Server, client and the OpenAPI document are made of the same declaration, so that none of them
/// can say something else than the others.
pub trait Endpoint: 'static {
    /// The declaration without its types.
    const ROUTE: Route;
    /// What stands after the `?`; [`Nothing`] where nothing may.
    type Query: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;
    /// The JSON body; [`Nothing`] where there is none.
    type Body: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;
    /// What is answered: the whole of it, or, of an endpoint that streams, one line of it.
    type Answer: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
}

/// An endpoint that answers once.
pub trait Single: Endpoint {}

/// An endpoint that answers with JSON Lines, one answer a line, for as long as there is something
/// to say or until the caller hangs up.
pub trait Streaming: Endpoint {}

/// An endpoint as a value, for tables and tests.
#[derive(Clone, Copy)]
pub struct Route {
    /// The name of the endpoint: the `operationId` of OpenAPI.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// The path; at most one segment is a parameter, written `{name}`.
    pub path: &'static str,
    /// Who may call it, at the least.
    pub role: Role,
    /// Whether it answers with JSON Lines.
    pub streaming: bool,
    /// The shapes of query, body and answer.
    pub schemas: fn(&mut SchemaGenerator) -> Schemas,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({}, {})", self.method, self.path, self.name, self.role)
    }
}

/// The shapes of an endpoint.
#[derive(Debug)]
pub struct Schemas {
    /// Of the query; none where it has no key.
    pub query: Option<Schema>,
    /// Of the body; none where there is none.
    pub body: Option<Schema>,
    /// Of the answer; none where it is empty.
    pub answer: Option<Schema>,
}

/// The methods in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Changes nothing.
    Get,
    /// Does something.
    Post,
    /// Takes something away.
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        })
    }
}

/// What a caller may do. Each may do what the ones before may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees everything but secrets, which nobody sees.
    Viewer,
    /// Also starts, stops and repeats work, and freezes.
    Operator,
    /// Also decides which release is in force, and thaws.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

/// No query, no body or no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The schema of `T`; none for [`Nothing`].
#[must_use]
pub(crate) fn schema_of<T: JsonSchema + 'static>(
    generator: &mut SchemaGenerator,
) -> Option<Schema> {
    (std::any::TypeId::of::<T>() != std::any::TypeId::of::<Nothing>())
        .then(|| generator.subschema_for::<T>())
}

/// Declares endpoints, and the table of all of them.
macro_rules! endpoints {
    ($(
        #[doc = $summary:literal]
        $name:ident = $method:ident $path:literal, $role:ident, $kind:ident {
            query: $query:ty, body: $body:ty, answer: $answer:ty
        }
    )+) => {
        $(
            #[doc = $summary]
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl $crate::Endpoint for $name {
                const ROUTE: $crate::Route = $crate::Route {
                    name: stringify!($name),
                    summary: $summary.trim_ascii(),
                    method: $crate::Method::$method,
                    path: $path,
                    role: $crate::Role::$role,
                    streaming: endpoints!(@streaming $kind),
                    schemas: |generator| $crate::endpoint::Schemas {
                        query: $crate::endpoint::schema_of::<$query>(generator),
                        body: $crate::endpoint::schema_of::<$body>(generator),
                        answer: $crate::endpoint::schema_of::<$answer>(generator),
                    },
                };
                type Query = $query;
                type Body = $body;
                type Answer = $answer;
            }

            impl $crate::$kind for $name {}
        )+

        /// Every endpoint, in the order of the documentation.
        pub const ROUTES: &[$crate::Route] = &[$(<$name as $crate::Endpoint>::ROUTE),+];
    };
    (@streaming Single) => { false };
    (@streaming Streaming) => { true };
}
pub(crate) use endpoints;
