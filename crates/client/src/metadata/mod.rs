//! The definitions of an instance and what was learnt of it: [`discover`] requests them, a parser for each document
//! reads them, a [`site::Site`] keeps them. [`learnt`] is the memory of refusals, and
//! of what [`experience`] tells planners.

pub(crate) mod adhoc;
pub(crate) mod check;
pub(crate) mod csdl;
pub(crate) mod definition;
pub(crate) mod discover;
pub(crate) mod experience;
pub(crate) mod fields;
pub(crate) mod learnt;
pub(crate) mod lookup;
pub(crate) mod openapi;
pub(crate) mod rename;
pub(crate) mod sample;
pub(crate) mod service;
pub(crate) mod site;
pub(crate) mod speed;
