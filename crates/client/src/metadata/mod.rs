//! What an instance has and what its definitions say: asked for with [`discover`], read by a parser for each document, and
//! kept in a [`site::Site`], with what was learnt of the server otherwise ([`learnt`]).

pub(crate) mod adhoc;
pub(crate) mod check;
pub(crate) mod csdl;
pub(crate) mod definition;
pub(crate) mod discover;
pub(crate) mod fields;
pub(crate) mod learnt;
pub(crate) mod lookup;
pub(crate) mod openapi;
pub(crate) mod rename;
pub(crate) mod sample;
pub(crate) mod service;
pub(crate) mod site;
